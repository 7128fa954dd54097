"""What a file says of itself does not depend on how often, or in which form, it says the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyui_provenance.graph.prompt import parse_prompt
from comfyui_provenance.integrity import compare_integrity
from comfyui_provenance.pixels import digest_pixels
from comfyui_provenance.record import Record
from comfyui_provenance.verdict import CauseKind, Level

from support.records import IMAGE, Edit, at, edited, in_graph, record

EDITS = [
    pytest.param(lambda document: None, id="nothing"),
    pytest.param(in_graph("sampler", "cfg", 9.5), id="a parameter of the graph"),
    pytest.param(at("tuple", "seed", value="7"), id="the tuple"),
    pytest.param(at("samplings", 0, "steps", value=3), id="a sampling"),
    pytest.param(at("subject", "width", value=9), id="the subject"),
    pytest.param(at("graph_sha256", value="0" * 64), id="the graph's digest"),
]


def in_other_words(text: str) -> str:
    """Write the same graph with its nodes in another order."""
    graph: dict[str, Any] = json.loads(text)
    return json.dumps(dict(reversed(graph.items())), indent=1)


def cyclic() -> Record:
    """Build a record of a graph that can never run; every node of it leads to the image."""
    return edited(in_graph("latent", "width", ["sampler", 0]), resealed=True)


@pytest.mark.parametrize("edit", EDITS)
def test_a_prompt_to_the_letter_is_judged_like_the_same_in_other_words(edit: Edit) -> None:
    found = edited(edit)

    same, reworded = (
        compare_integrity(found, IMAGE, prompt)
        for prompt in (found.graph, in_other_words(found.graph))
    )

    assert parse_prompt(found.graph) == parse_prompt(in_other_words(found.graph))
    assert same == reworded


def test_a_prompt_that_says_another_thing_is_seen() -> None:
    other = edited(in_graph("sampler", "cfg", 9.5)).graph

    found = compare_integrity(record(), IMAGE, other)

    assert [cause.kind for cause in found.causes] == [CauseKind.CFG, CauseKind.GRAPH_EDITED]


def test_a_number_of_another_type_is_another_graph() -> None:
    # 7.0 is 7 to Python, and not to a node that tells integers from floats.
    other = record().graph.replace('"cfg":7.0', '"cfg":7')
    assert other != record().graph

    found = compare_integrity(record(), IMAGE, other)

    assert CauseKind.GRAPH_EDITED in [cause.kind for cause in found.causes]


def test_a_graph_with_a_cycle_is_not_the_same_as_itself() -> None:
    found = compare_integrity(cyclic(), IMAGE, cyclic().graph)

    levels = {check.name: check.level for check in found.checks}
    assert levels["graph"] is Level.MISMATCH


@pytest.mark.parametrize("edit", EDITS)
def test_a_known_digest_of_the_pixels_changes_nothing(edit: Edit) -> None:
    found = edited(edit)

    assert compare_integrity(found, IMAGE, None, digest=digest_pixels(IMAGE)) == compare_integrity(
        found, IMAGE, None
    )
