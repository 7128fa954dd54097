"""One of two graphs that are compared: what its nodes compute, and which the other one has, too.

A node that only holds a value counts as the value, `1` as `1.0`, and an input that is null as none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..canonical import JsonValue
from .prompt import Input, Link, Node, NodeId, Prompt
from .samplings import resolve
from .trace import NodeDigests, upstream


@dataclass(frozen=True, slots=True)
class Side:
    """One of the graphs, and what is known of its nodes so far.

    Attributes:
        nodes: What the image depends on; nodes that only hold a value have become the value.
        order: Their order of execution.
        digests: Of what each computes.
        computed: The digests as a set.
        partners: The same nodes in the other graph.
        extra: Nodes that only this graph has.
    """

    nodes: Mapping[NodeId, Node]
    order: list[NodeId]
    digests: Mapping[NodeId, str]
    computed: frozenset[str]
    partners: dict[NodeId, NodeId] = field(default_factory=dict[NodeId, NodeId])
    extra: set[NodeId] = field(default_factory=set[NodeId])

    @classmethod
    def of(cls, prompt: Prompt, output: Link) -> Side:
        """Take from a prompt what an image depends on.

        Raises:
            GraphError: The prompt has a cycle, or lacks the output.
        """
        needed = upstream(prompt, output.node_id)
        plain = Prompt({node_id: _without_holders(prompt, node_id) for node_id in needed})
        order = upstream(plain, output.node_id)
        nodes = {node_id: plain.nodes[node_id] for node_id in order}
        digests = NodeDigests({node_id: _with_equal_numbers(nodes[node_id]) for node_id in order})
        by_node = {node_id: digests[node_id] for node_id in order}
        return cls(nodes, order, by_node, frozenset(by_node.values()))

    def is_free(self, node_id: NodeId) -> bool:
        """Tell whether a node may still become one of a pair."""
        return node_id not in self.partners and node_id not in self.extra

    def counterpart_in(self, other: Side, node_id: NodeId) -> bool:
        """Tell whether another graph has this very node, wherever it stands there."""
        same = other.nodes.get(node_id)
        same_id = same is not None and same.class_type == self.nodes[node_id].class_type
        return same_id or self.digests[node_id] in other.computed

    def is_new(self, other: Side, node_id: NodeId) -> bool:
        """Tell whether a node may be one that only this graph has."""
        return node_id not in self.partners and not self.counterpart_in(other, node_id)


def is_same(first: JsonValue, second: JsonValue) -> bool:
    """Tell whether two literals are the same JSON; to Python `True` is 1."""
    texts = (json.dumps(_equal_numbers(value), sort_keys=True) for value in (first, second))
    return next(texts) == next(texts)


def _without_holders(prompt: Prompt, node_id: NodeId) -> Node:
    """Put values in place of the nodes that hold them, and leave out inputs that are null."""
    node = prompt.nodes[node_id]
    inputs: dict[str, Input] = {}
    for name, value in node.inputs.items():
        resolved = resolve(prompt, value)
        if resolved is not None:
            inputs[name] = resolved
        elif isinstance(value, Link):
            inputs[name] = value
    return Node(node.class_type, inputs)


def _with_equal_numbers(node: Node) -> Node:
    return Node(
        node.class_type,
        {
            name: value if isinstance(value, Link) else _equal_numbers(value)
            for name, value in node.inputs.items()
        },
    )


def _equal_numbers(value: JsonValue) -> JsonValue:
    """Give equal numbers one form."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_equal_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _equal_numbers(item) for key, item in value.items()}
    return value
