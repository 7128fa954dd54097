"""Attack: JSON nested a million deep, to overflow the stack of a parser that recurses.

Python's own parser stops at the recursion limit, which the host may have raised,
on a thread whose stack may be small. Depth is counted before it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest

from comfyui_provenance.canonical import parse_json
from comfyui_provenance.errors import GraphError, LimitError, RecordError
from comfyui_provenance.graph.prompt import parse_prompt, to_prompt

DEEP = 1_000_000


@pytest.fixture(autouse=True)
def high_recursion_limit() -> Generator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**9)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * DEEP, id="lists"),
        pytest.param('{"a":' * DEEP, id="objects"),
        pytest.param('[{"a":' * DEEP, id="both"),
        pytest.param('["\\"[",' * DEEP, id="behind strings with quotes"),
        pytest.param("[" * DEEP + "]" * DEEP, id="closed again"),
    ],
)
def test_deep_nesting_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(LimitError, match="nesting of at most 64"):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('"' + "[" * DEEP, id="an open string"),
        pytest.param('"' + '\\"' * DEEP, id="a string of escaped quotes that never ends"),
        pytest.param('"' * DEEP, id="quotes alone"),
        pytest.param("]" * DEEP + "[" * DEEP, id="closed before it is opened"),
    ],
)
def test_text_made_to_confuse_the_count_is_refused_as_json(text: str) -> None:
    with pytest.raises(RecordError, match="expected JSON"):
        parse_json(text)


def test_a_deep_prompt_is_refused() -> None:
    with pytest.raises(LimitError, match="nesting"):
        parse_prompt('{"1":{"class_type":"A","inputs":{"value":' + "[" * DEEP)


def test_a_live_prompt_with_a_cycle_is_refused() -> None:
    cycle: list[object] = []
    cycle.append(cycle)

    with pytest.raises(LimitError, match="nesting"):
        to_prompt({"1": {"class_type": "A", "inputs": {"value": cycle}}})  # type: ignore[dict-item]  # not JSON on purpose


def test_a_deep_literal_that_just_fits_is_not_a_prompt_for_its_depth() -> None:
    with pytest.raises(GraphError, match="expected an object"):
        parse_prompt("[" * 64 + "]" * 64)
