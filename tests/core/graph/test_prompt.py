"""A prompt is read as ComfyUI runs it, and written so that it runs the same again."""

from __future__ import annotations

import json
import math
from typing import cast

import pytest

from comfyui_provenance import limits
from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.errors import GraphError, LimitError, ProvenanceError, RecordError
from comfyui_provenance.graph.prompt import (
    Input,
    Link,
    Node,
    NodeId,
    Prompt,
    dump_prompt,
    parse_prompt,
    to_prompt,
)


def with_input(value: object) -> Prompt:
    """Parse a prompt of a loader and a node with this one input."""
    loader = {"class_type": "Loader", "inputs": {}}
    user = {"class_type": "User", "inputs": {"value": value}}
    return to_prompt(cast("JsonValue", {"1": loader, "2": user}))


def input_of(prompt: Prompt) -> Input:
    return prompt.nodes[NodeId("2")].inputs["value"]


def test_a_prompt_is_nodes_with_links_and_literals() -> None:
    text = """{
        "3": {"class_type": "KSampler", "inputs": {"seed": 7, "model": ["4", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}}
    }"""

    prompt = parse_prompt(text)

    assert prompt.nodes == {
        "3": Node("KSampler", {"seed": 7, "model": Link(NodeId("4"), 0)}),
        "4": Node("CheckpointLoaderSimple", {"ckpt_name": "a.safetensors"}),
    }


def test_only_class_and_inputs_are_kept() -> None:
    node = {"inputs": {}, "is_changed": [math.nan], "_meta": {"title": "x"}, "class_type": "Load"}

    prompt = parse_prompt(json.dumps({"1": node}))

    assert dump_prompt(prompt) == '{"1":{"class_type":"Load","inputs":{}}}'


def test_the_order_of_keys_is_kept() -> None:
    text = (
        '{"9":{"class_type":"B","inputs":{"z":1,"a":["1",0]}},"1":{"class_type":"A","inputs":{}}}'
    )

    assert dump_prompt(parse_prompt(text)) == text


@pytest.mark.parametrize(
    ("value", "dumped"),
    [
        pytest.param(2**64 - 1, "18446744073709551615", id="the largest seed"),
        pytest.param(10**30, "1" + "0" * 30, id="an integer past 64 bits"),
        pytest.param(1.0, "1.0", id="a whole float"),
        pytest.param(math.nan, "NaN", id="NaN"),
        pytest.param("é\n", '"\\u00e9\\n"', id="text past ASCII"),
        pytest.param(None, "null", id="null"),
        pytest.param([], '{"__value__":[]}', id="an empty list"),
        pytest.param([["1", 0]], '{"__value__":[["1",0]]}', id="a link within a list"),
        pytest.param(["1", 0, 0], '{"__value__":["1",0,0]}', id="a list of three"),
        pytest.param(["1", "0"], '{"__value__":["1","0"]}', id="a list of texts"),
        pytest.param([1, 0], '{"__value__":[1,0]}', id="a list of numbers"),
        pytest.param(("1", 0), '{"__value__":["1",0]}', id="a tuple, which is no link to core"),
        pytest.param({"__value__": [1]}, '{"__value__":[1]}', id="a wrapped list"),
        pytest.param({"__value__": ["1", 0]}, '{"__value__":["1",0]}', id="a wrapped link"),
        pytest.param({"__value__": "42"}, '{"__value__":"42"}', id="a wrapper of no list"),
        pytest.param({"__value__": [1], "t": 2}, '{"__value__":[1],"t":2}', id="a typed wrapper"),
        pytest.param({"a": [1]}, '{"a":[1]}', id="an object"),
    ],
)
def test_a_literal_is_dumped_exactly_and_stays_a_literal(value: object, dumped: str) -> None:
    prompt = with_input(value)

    text = dump_prompt(prompt)

    assert text.endswith(f'"inputs":{{"value":{dumped}}}}}}}')
    assert dump_prompt(parse_prompt(text)) == text


def test_a_wrapped_list_is_a_literal_even_if_it_looks_like_a_link() -> None:
    assert input_of(with_input({"__value__": ["1", 0]})) == ["1", 0]


def test_a_wrapper_of_no_list_is_kept_for_the_seed_check() -> None:
    assert input_of(with_input({"__value__": "42"})) == {"__value__": "42"}


def test_a_prompt_shares_nothing_with_the_object_it_was_taken_from() -> None:
    points: list[JsonValue] = [1, [2]]
    prompt = with_input(points)

    points.append(3)
    cast("list[JsonValue]", points[1]).append(4)

    assert input_of(prompt) == [1, [2]]


def test_the_object_of_a_prompt_shares_nothing_with_it() -> None:
    prompt = with_input({"a": [1]})
    node = cast("dict[str, dict[str, dict[str, list[int]]]]", prompt.to_json()["2"])

    node["inputs"]["value"]["a"].append(2)

    assert input_of(prompt) == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        pytest.param([], GraphError, "object as a prompt, got list", id="a list"),
        pytest.param({"1": []}, GraphError, "object as node '1', got list", id="a list as node"),
        pytest.param({1: {}}, GraphError, "text as keys of a prompt, got int", id="a number as id"),
        pytest.param({"1": {"inputs": {}}}, GraphError, "class_type in node '1'", id="no class"),
        pytest.param(
            {"1": {"class_type": 5, "inputs": {}}}, GraphError, "class_type", id="a number as class"
        ),
        pytest.param(
            {"1": {"class_type": "", "inputs": {}}}, GraphError, "empty one", id="an empty class"
        ),
        pytest.param(
            {"1": {"class_type": "A"}}, GraphError, "inputs of node '1', got None", id="no inputs"
        ),
        pytest.param(
            {"": {"class_type": "A", "inputs": {}}}, GraphError, "empty one", id="an empty id"
        ),
        pytest.param(
            {"x" * 257: {"class_type": "A", "inputs": {}}}, LimitError, "got 257", id="a long id"
        ),
        pytest.param(
            {"1": {"class_type": "A" * 4097, "inputs": {}}}, LimitError, "4097", id="a long class"
        ),
        pytest.param(
            {"1": {"class_type": "A", "inputs": {"x" * 4097: 1}}},
            LimitError,
            "got 4097",
            id="a long name",
        ),
        pytest.param(
            {"\ud800": {"class_type": "A", "inputs": {}}},
            GraphError,
            "lone surrogate",
            id="a lone surrogate as id",
        ),
    ],
)
def test_what_is_not_a_prompt_is_refused(
    value: object, error: type[ProvenanceError], message: str
) -> None:
    with pytest.raises(error, match=message):
        to_prompt(cast("JsonValue", value))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        pytest.param(
            ["7", 0],
            GraphError,
            "input 'value' of node '2' expects node '7', which is not there",
            id="a dangling link",
        ),
        pytest.param(["1", -1], GraphError, "slot from 0 in a link to '1', got -1", id="below 0"),
        pytest.param(["1", 0.0], GraphError, "got 0.0", id="a float as slot"),
        pytest.param(["1", True], GraphError, "got True", id="a truth value as slot"),
        pytest.param(["1", -(10**9000)], GraphError, "got a number too large", id="absurdly low"),
        pytest.param(["1", 10**9000], GraphError, "got a number too large", id="absurdly high"),
        pytest.param(["1", math.nan], GraphError, "got a number too large", id="NaN as slot"),
        pytest.param({1, 2}, GraphError, "a literal, got set", id="what is not JSON"),
        pytest.param("\ud800", GraphError, "lone surrogate", id="a lone surrogate"),
        pytest.param({"\ud800": 1}, GraphError, "lone surrogate", id="a lone surrogate as key"),
        pytest.param(10**640, LimitError, "640 digits", id="an absurd integer"),
        pytest.param(-(10**9000), LimitError, "640 digits", id="an absurd negative integer"),
    ],
)
def test_an_input_that_cannot_be_run_again_is_refused(
    value: object, error: type[ProvenanceError], message: str
) -> None:
    with pytest.raises(error, match=message):
        with_input(value)


def test_a_repeated_node_is_refused() -> None:
    node = '{"class_type":"A","inputs":{}}'

    with pytest.raises(RecordError, match="each key once, got '1' again"):
        parse_prompt(f'{{"1":{node},"1":{node}}}')


def test_too_many_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NODE_COUNT", 1)

    with pytest.raises(LimitError, match="at most 1 nodes, got 2"):
        with_input(1)


def test_only_what_is_needed_is_taken_and_the_rest_may_be_broken() -> None:
    broken: list[JsonValue] = [
        {"class_type": "A", "inputs": {"x": ["gone", 0]}},
        {"class_type": 5, "inputs": {}},
        {"class_type": "A"},
        None,
    ]
    value: dict[str, JsonValue] = {
        "user": {"class_type": "B", "inputs": {"x": ["load", 0], "y": ["load", 1]}},
        "load": {"class_type": "A", "inputs": {"points": {"__value__": ["broken0", 0]}}},
        **{f"broken{at}": node for at, node in enumerate(broken)},
    }

    prompt = to_prompt(value, needed=[NodeId("user")])

    assert list(prompt.nodes) == ["user", "load"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        pytest.param({"a": {"class_type": "A"}}, "inputs of node 'a'", id="a broken one"),
        pytest.param(
            {"a": {"class_type": "A", "inputs": {"x": ["gone", 0]}}}, "dangling", id="a gap"
        ),
        pytest.param(
            {"a": {"class_type": "A", "inputs": {"x": ["b", 0]}}, "b": {}}, "node 'b'", id="deeper"
        ),
    ],
)
def test_what_is_needed_must_be_whole(nodes: dict[str, JsonValue], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        to_prompt(nodes, needed=[NodeId("a")])


def test_needed_nodes_of_a_cycle_are_taken_once() -> None:
    value: dict[str, JsonValue] = {
        "a": {"class_type": "A", "inputs": {"x": ["b", 0]}},
        "b": {"class_type": "A", "inputs": {"x": ["a", 0]}},
    }

    assert list(to_prompt(value, needed=[NodeId("b")]).nodes) == ["a", "b"]


def test_a_needed_node_that_is_not_there_is_left_out() -> None:
    assert to_prompt({}, needed=[NodeId("a")]).nodes == {}
