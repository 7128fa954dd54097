"""Traces: the nodes upstream of an image, and a digest of what they compute."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from ..canonical import JsonValue
from ..digest import Digest, digest_value
from ..errors import GraphError
from .prompt import Input, Link, Node, NodeId, Prompt


def upstream(prompt: Prompt, node_id: NodeId) -> list[NodeId]:
    """List what a node depends on: each node once, inputs before users, the node last.

    Raises:
        GraphError: There is no such node, or its dependencies form a cycle.
    """
    return _trace(prompt.nodes, [node_id])


def prune(prompt: Prompt, node_ids: Iterable[NodeId]) -> Prompt:
    """Keep these nodes and what they depend on, in the prompt's order.

    Raises:
        GraphError: There is no such node, or its dependencies form a cycle.
    """
    kept = set(_trace(prompt.nodes, node_ids))
    return Prompt({node_id: node for node_id, node in prompt.nodes.items() if node_id in kept})


def digest_graph(prompt: Prompt, link: Link) -> Digest:
    """Digest the computation that gives the value at a link.

    Two links have one digest where the same classes are wired in the same way
    with the same literals; node ids and the order of keys do not count, and
    literals are compared by their exact JSON, so `1` is not `1.0`.

    Raises:
        GraphError: There is no such node, or its dependencies form a cycle.
    """
    return NodeDigests(prompt.nodes).at(link)


class NodeDigests:
    """Digests of what the nodes of a graph compute, each made once.

    Args:
        nodes: The graph; it may grow, and must not change otherwise.
        state: Gives what else decides what a node computes, or nothing; of two nodes with
            different states neither they nor what depends on them have one digest.
    """

    def __init__(
        self, nodes: Mapping[NodeId, Node], state: Callable[[NodeId], str] | None = None
    ) -> None:
        self._nodes = nodes
        self._state = state
        self._digests: dict[NodeId, str] = {}

    def __getitem__(self, node_id: NodeId) -> str:
        """Digest the computation of a node, `algorithm:hex`.

        Raises:
            GraphError: There is no such node, or its dependencies form a cycle.
        """
        if node_id not in self._digests:
            for found in _trace(self._nodes, [node_id], self._digests):
                digest = str(_digest_node(self._nodes[found], self._digests))
                state = self._state(found) if self._state is not None else ""
                self._digests[found] = str(digest_value([digest, state])) if state else digest
        return self._digests[node_id]

    def adopt(self, other: NodeDigests) -> None:
        """Take over the digests of the same nodes, in the same states."""
        self._digests.update(other._digests)

    def at(self, link: Link) -> Digest:
        """Digest the computation that gives the value at a link; see `digest_graph`.

        Raises:
            GraphError: There is no such node, or its dependencies form a cycle.
        """
        _ = self[link.node_id]
        return digest_value(_to_signature(link, self._digests))


def _trace(
    nodes: Mapping[NodeId, Node], node_ids: Iterable[NodeId], known: Container[NodeId] = ()
) -> list[NodeId]:
    """Depth-first search from these nodes, inputs in order; known ones are passed over."""
    order: dict[NodeId, None] = {}
    # Explicit stack: a prompt from a stranger must not exhaust ours. Its keys are
    # the path from the start to the node in hand.
    path: dict[NodeId, Iterator[NodeId]] = {}
    for start in node_ids:
        if start not in nodes:
            raise GraphError(f"expected a node {start[:80]!a} in the prompt, got none")
        if start not in order and start not in known:
            path[start] = _sources(nodes[start])
        while path:
            node_id, sources = next(reversed(path.items()))
            new = (item for item in sources if item not in order and item not in known)
            source = next(new, None)
            if source is None:
                del path[node_id]
                order[node_id] = None
            elif source in path:
                raise GraphError(f"cycle: {_show_cycle(path, source)}")
            else:
                path[source] = _sources(nodes[source])
    return list(order)


def _sources(node: Node) -> Iterator[NodeId]:
    return (value.node_id for value in node.inputs.values() if isinstance(value, Link))


def _show_cycle(path: Iterable[NodeId], source: NodeId) -> str:
    """Name the nodes of a cycle from its first to its first again, eight at most."""
    nodes = list(path)
    cycle = [f"{node_id[:80]!a}" for node_id in nodes[nodes.index(source) :]]
    shown = cycle if len(cycle) <= 8 else [*cycle[:7], f"{len(cycle) - 7} more"]
    return " <- ".join([*shown, cycle[0]])


def _digest_node(node: Node, digests: dict[NodeId, str]) -> Digest:
    inputs: dict[str, JsonValue] = {
        name: _to_signature(value, digests) for name, value in node.inputs.items()
    }
    return digest_value({"class_type": node.class_type, "inputs": inputs})


def _to_signature(value: Input, digests: dict[NodeId, str]) -> dict[str, JsonValue]:
    if isinstance(value, Link):
        return {"node": digests[value.node_id], "slot": str(value.slot)}
    # As text: a seed past 2^53 or a NaN has no canonical form.
    return {"literal": json.dumps(value, sort_keys=True, separators=(",", ":"))}
