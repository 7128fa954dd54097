"""Prompts: the API-format graph as parsed values, and its exact JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NewType, TypeAlias, cast

from .. import limits
from ..canonical import JsonValue, parse_json
from ..errors import GraphError, LimitError

NodeId = NewType("NodeId", str)

_WRAPPER: Final = "__value__"
"""The page's wrapper around the list of a widget: core takes a bare list for a link."""

_INTEGER_END: Final = 10**limits.INTEGER_DIGITS


@dataclass(frozen=True, slots=True)
class Link:
    """One output of another node.

    Attributes:
        node_id: The node that gives the value.
        slot: Index of its output, from 0 and below `limits.OUTPUT_COUNT`.

    Raises:
        GraphError: The slot is not such an integer.
    """

    node_id: NodeId
    slot: int

    def __post_init__(self) -> None:
        # bool is an int to Python, and core's is_link also takes floats.
        if type(self.slot) is not int or not 0 <= self.slot < limits.OUTPUT_COUNT:
            # Python refuses to show an integer of more than 4300 digits.
            found = (
                repr(self.slot) if abs(self.slot) < limits.OUTPUT_COUNT else "a number too large"
            )
            raise GraphError(
                f"expected a slot from 0 in a link to {_show(self.node_id)}, got {found}"
            )


Input: TypeAlias = "Link | JsonValue"
"""The value of an input: a link or a literal. A list is a literal, and is kept unwrapped."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a prompt.

    Attributes:
        class_type: The node's class, not empty.
        inputs: Links and literals by name, in the order of the prompt.

    Raises:
        GraphError: The class is not a name.
        LimitError: The class or an input's name exceeds `limits.NAME_CHARS`.
    """

    class_type: str
    inputs: Mapping[str, Input]

    def __post_init__(self) -> None:
        for name in (self.class_type, *self.inputs):
            if len(name) > limits.NAME_CHARS:
                raise LimitError(
                    f"expected a name of at most {limits.NAME_CHARS} characters, got {len(name)}"
                )
        if not self.class_type:
            raise GraphError("expected a class_type, got an empty one")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A graph in which every link leads somewhere; it may still have cycles.

    Attributes:
        nodes: The nodes by id, in the order of the prompt.

    Raises:
        GraphError: A link is dangling, or an id is empty.
        LimitError: There are more nodes than `limits.NODE_COUNT`, or an id is
            longer than `limits.NODE_ID_CHARS`.
    """

    nodes: Mapping[NodeId, Node]

    def __post_init__(self) -> None:
        _refuse_many(len(self.nodes))
        for node_id, node in self.nodes.items():
            if not node_id:
                raise GraphError("expected a node id, got an empty one")
            if len(node_id) > limits.NODE_ID_CHARS:
                raise LimitError(
                    f"expected a node id of at most {limits.NODE_ID_CHARS} characters,"
                    f" got {len(node_id)}"
                )
            for name, value in node.inputs.items():
                if isinstance(value, Link) and value.node_id not in self.nodes:
                    raise GraphError(
                        f"dangling link: input {_show(name)} of node {_show(node_id)} expects node"
                        f" {_show(value.node_id)}, which is not there"
                    )

    def to_json(self) -> dict[str, JsonValue]:
        """Give the object that ComfyUI takes, sharing nothing with this prompt."""
        return {
            node_id: {
                "class_type": node.class_type,
                "inputs": {name: _dump_input(value) for name, value in node.inputs.items()},
            }
            for node_id, node in self.nodes.items()
        }


def parse_prompt(text: str | bytes, *, needed: Iterable[NodeId] | None = None) -> Prompt:
    """Parse the JSON text of a prompt.

    Args:
        text: JSON.
        needed: As for `to_prompt`.

    NaN and infinities are read: ComfyUI writes them. Seeds keep all their digits.

    Raises:
        LimitError: The text or the graph exceeds `limits`.
        RecordError: The text is not JSON, or repeats a key.
        GraphError: As for `to_prompt`.
    """
    return to_prompt(parse_json(text, allow_nan=True), needed=needed)


def to_prompt(value: JsonValue, *, needed: Iterable[NodeId] | None = None) -> Prompt:
    """Take a prompt from an object: parsed JSON, or the live one ComfyUI executes.

    Of each node only `class_type` and `inputs` are kept; `is_changed` and `_meta`
    are not part of what ran. A list of a string and a number is a link, as in
    core; any other list is a literal, as is the list in `{"__value__": [...]}`.
    That wrapper around anything but a list is kept as it is. Nothing is shared
    with the object, which ComfyUI goes on changing.

    Args:
        value: The object.
        needed: Take only these nodes and what they depend on. ComfyUI runs a prompt whose
            other nodes are broken, so those must not matter here either.

    Raises:
        GraphError: The value is not an object of nodes with class and inputs, a
            link is dangling or its slot not an integer from 0, or a literal is
            not JSON.
        LimitError: The graph or a literal exceeds `limits`.
    """
    nodes: dict[NodeId, Node] = {}
    entries = _to_object(value, "a prompt")
    kept = entries.keys() if needed is None else _reach(entries, needed)
    # Before they are parsed: a stranger's hundred thousand take seconds.
    _refuse_many(len(kept))
    for node_id, node in entries.items():
        if node_id not in kept:
            continue
        nodes[NodeId(node_id)] = to_node(node, node_id)
    return Prompt(nodes)


def to_node(value: JsonValue, node_id: str) -> Node:
    """Take one node from the entry that a prompt has of it; see `to_prompt`.

    Raises:
        GraphError: It is not an object with a class and inputs, or a literal is not JSON.
        LimitError: A name or a literal exceeds `limits`.
    """
    place = f"node {_show(node_id)}"
    fields = _to_object(value, place)
    class_type = fields.get("class_type")
    if not isinstance(class_type, str):
        raise GraphError(f"expected a class_type in {place}, got {type(class_type).__name__}")
    _refuse_surrogates(class_type)
    inputs = _to_object(fields.get("inputs"), f"the inputs of {place}")
    return Node(class_type, {name: _to_input(item) for name, item in inputs.items()})


def _reach(entries: dict[str, JsonValue], needed: Iterable[str]) -> set[str]:
    """Find the nodes that some nodes lead to over links, in a prompt not yet parsed."""
    reached: set[str] = set()
    waiting = list(needed)
    while waiting:
        node_id = waiting.pop()
        if node_id in reached:
            continue
        reached.add(node_id)
        node = entries.get(node_id)
        inputs = node.get("inputs") if isinstance(node, dict) else None
        for value in inputs.values() if isinstance(inputs, dict) else ():
            if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
                waiting.append(value[0])
    return reached


def dump_prompt(prompt: Prompt) -> str:
    """Dump a prompt as JSON: ASCII, compact, keys in the prompt's order.

    Literal lists are wrapped as `{"__value__": [...]}`, the form in which core
    takes them. The same prompt always gives the same text, and `parse_prompt`
    gives the prompt back.
    """
    return json.dumps(prompt.to_json(), separators=(",", ":"))


def _refuse_many(node_count: int) -> None:
    if node_count > limits.NODE_COUNT:
        raise LimitError(f"expected at most {limits.NODE_COUNT} nodes, got {node_count}")


def _to_object(value: object, place: str) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise GraphError(f"expected an object as {place}, got {type(value).__name__}")
    entries = cast("dict[object, JsonValue]", value)
    for key in entries:
        if not isinstance(key, str):
            raise GraphError(f"expected text as keys of {place}, got {type(key).__name__}")
        _refuse_surrogates(key)
    return cast("dict[str, JsonValue]", value)


def _to_input(value: JsonValue) -> Input:
    # A tuple is no link: core's is_link asks for a list.
    if isinstance(value, list) and len(value) == 2:
        node_id, slot = value
        if isinstance(node_id, str) and isinstance(slot, (int, float)):
            return Link(NodeId(node_id), cast("int", slot))
    if isinstance(value, dict) and len(value) == 1:
        wrapped = value.get(_WRAPPER)
        if isinstance(wrapped, (list, tuple)):
            return _to_literal(wrapped)
    return _to_literal(value)


def _dump_input(value: Input) -> JsonValue:
    if isinstance(value, Link):
        return [value.node_id, value.slot]
    literal = _to_literal(value)
    return {_WRAPPER: literal} if isinstance(literal, list) else literal


def _to_literal(value: object, depth: int = 0) -> JsonValue:
    """Copy a JSON value; the recursion ends at `limits.JSON_DEPTH`."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, str):
        _refuse_surrogates(value)
        return value
    if isinstance(value, int):
        if abs(value) >= _INTEGER_END:
            raise LimitError(f"expected integers of at most {limits.INTEGER_DIGITS} digits")
        return value
    if depth == limits.JSON_DEPTH:
        raise LimitError(f"expected nesting of at most {limits.JSON_DEPTH}, got more")
    if isinstance(value, (list, tuple)):
        items = cast("list[object]", value)
        return [_to_literal(item, depth + 1) for item in items]
    entries = _to_object(value, "a literal")
    return {key: _to_literal(item, depth + 1) for key, item in entries.items()}


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise GraphError(
            f"expected Unicode text, got {_show(text)} with a lone surrogate"
        ) from error


def _show(name: object) -> str:
    """Quote a stranger's name for a message: escaped, and not longer than a line."""
    return ascii(str(name)[:80])
