"""Rebuilding: new prompts from old ones. Nothing here changes the prompt it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..canonical import JsonValue
from ..errors import GraphError
from .prompt import Input, Link, Node, NodeId, Prompt


def rename(prompt: Prompt, prefix: str) -> Prompt:
    """Put a prefix before every node id, in links too.

    Raises:
        LimitError: An id becomes longer than `limits.NODE_ID_CHARS`.
    """
    return Prompt(
        {
            NodeId(prefix + node_id): Node(
                node.class_type,
                {name: _rename_link(value, prefix) for name, value in node.inputs.items()},
            )
            for node_id, node in prompt.nodes.items()
        }
    )


def with_values(prompt: Prompt, values: Mapping[Link, JsonValue]) -> Prompt:
    """Put what nodes computed in place of the links to them, to read it as if it had been typed."""
    if not values:
        return prompt
    return Prompt(
        {
            node_id: Node(
                node.class_type,
                {
                    name: values.get(value, value) if isinstance(value, Link) else value
                    for name, value in node.inputs.items()
                },
            )
            for node_id, node in prompt.nodes.items()
        }
    )


def set_input(prompt: Prompt, node_id: NodeId, name: str, value: Input) -> Prompt:
    """Set one input of one node, adding it last if it is new.

    Raises:
        GraphError: There is no such node, or the value is a dangling link.
    """
    node = prompt.nodes.get(node_id)
    if node is None:
        raise GraphError(f"expected a node {node_id[:80]!a} in the prompt, got none")
    changed = replace(node, inputs={**node.inputs, name: value})
    return Prompt({**prompt.nodes, node_id: changed})


def _rename_link(value: Input, prefix: str) -> Input:
    if isinstance(value, Link):
        return Link(NodeId(prefix + value.node_id), value.slot)
    return value


def bypass(prompt: Prompt, node_id: NodeId, source: Link) -> Prompt:
    """Lead every link to a node to another source instead; the node itself stays.

    Raises:
        GraphError: The source is not in the prompt.
    """
    return Prompt(
        {
            user_id: Node(
                node.class_type,
                {
                    name: source if isinstance(value, Link) and value.node_id == node_id else value
                    for name, value in node.inputs.items()
                },
            )
            for user_id, node in prompt.nodes.items()
        }
    )
