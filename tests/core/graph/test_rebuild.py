"""A rebuilt prompt differs in what was asked for; the old one stays as it was."""

from __future__ import annotations

import pytest

from comfyui_provenance.errors import GraphError, LimitError
from comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt
from comfyui_provenance.graph.rebuild import bypass, rename, set_input, with_values

from support.builders import prompt_of

PROMPT = Prompt(
    {
        NodeId("1"): Node("Loader", {"points": ["1", 0]}),
        NodeId("2"): Node("KSampler", {"seed": 7, "model": Link(NodeId("1"), 0)}),
    }
)


def test_renaming_changes_ids_and_links_but_no_literal() -> None:
    assert rename(PROMPT, "x.") == Prompt(
        {
            NodeId("x.1"): Node("Loader", {"points": ["1", 0]}),
            NodeId("x.2"): Node("KSampler", {"seed": 7, "model": Link(NodeId("x.1"), 0)}),
        }
    )


def test_an_id_that_becomes_too_long_is_refused() -> None:
    with pytest.raises(LimitError, match="at most 256 characters, got 257"):
        rename(prompt_of(a=[]), "x" * 256)


def test_an_input_is_set_in_its_place() -> None:
    changed = set_input(PROMPT, NodeId("2"), "seed", 8)

    assert list(changed.nodes[NodeId("2")].inputs.items()) == [
        ("seed", 8),
        ("model", Link(NodeId("1"), 0)),
    ]
    assert PROMPT.nodes[NodeId("2")].inputs["seed"] == 7


def test_a_new_input_is_added_last() -> None:
    changed = set_input(PROMPT, NodeId("2"), "steps", 20)

    assert list(changed.nodes[NodeId("2")].inputs) == ["seed", "model", "steps"]


def test_the_order_of_nodes_is_kept() -> None:
    assert list(set_input(PROMPT, NodeId("1"), "points", []).nodes) == ["1", "2"]


def test_an_input_of_no_node_cannot_be_set() -> None:
    with pytest.raises(GraphError, match="expected a node '3' in the prompt, got none"):
        set_input(PROMPT, NodeId("3"), "seed", 8)


def test_a_dangling_link_cannot_be_set() -> None:
    with pytest.raises(GraphError, match="dangling link"):
        set_input(PROMPT, NodeId("2"), "model", Link(NodeId("3"), 0))


def test_a_bypassed_node_stays_and_its_users_take_from_its_source() -> None:
    prompt = prompt_of(load=[], between=["load"], left=["between"], right=["between", "load"])

    changed = bypass(prompt, NodeId("between"), Link(NodeId("load"), 3))

    assert changed.nodes.keys() == prompt.nodes.keys()
    assert changed.nodes[NodeId("between")] == prompt.nodes[NodeId("between")]
    assert changed.nodes[NodeId("left")].inputs == {"input_0": Link(NodeId("load"), 3)}
    assert changed.nodes[NodeId("right")].inputs == {
        "input_0": Link(NodeId("load"), 3),
        "input_1": Link(NodeId("load"), 0),
    }


def test_a_node_cannot_be_bypassed_to_nowhere() -> None:
    with pytest.raises(GraphError, match="dangling link"):
        bypass(prompt_of(a=[], b=["a"]), NodeId("a"), Link(NodeId("gone"), 0))


def test_computed_values_take_the_place_of_the_links_to_them() -> None:
    seed, model = Link(NodeId("1"), 1), Link(NodeId("1"), 0)
    prompt = Prompt(
        {
            NodeId("1"): Node("Loader", {}),
            NodeId("2"): Node("KSampler", {"seed": seed, "model": model}),
        }
    )

    read = with_values(prompt, {seed: 2**64 - 1})

    assert read.nodes[NodeId("2")].inputs == {"seed": 2**64 - 1, "model": model}
    assert prompt.nodes[NodeId("2")].inputs["seed"] == seed
    assert with_values(prompt, {}) is prompt
