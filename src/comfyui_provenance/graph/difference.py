"""Differences of two graphs, aligned from the images that they give.

Node ids mean nothing here: a workflow that was numbered anew is the same graph. Two nodes are taken
for one where they stand at the same place, seen from the image, and have the same class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ..canonical import JsonValue
from .prompt import Input, Link, Node, NodeId, Prompt
from .samplings import resolve
from .trace import upstream

_SEARCHED: Final = 32
"""Nodes to look at in search of the one that a node was put before."""

Kind = Literal["literal", "link", "added", "removed", "replaced"]


@dataclass(frozen=True, slots=True)
class GraphChange:
    """One difference of two graphs.

    Attributes:
        kind: `literal`: an input has another value. `link`: it is wired otherwise. `added`,
            `removed`, `replaced`: a node.
        recorded_id: The node in the first graph, if it has it.
        now_id: The node in the second graph, if it has it.
        class_type: Its class in the second graph; of a removed one, in the first.
        input: Which input, for `literal` and `link`.
        recorded: The value or `[node_id, slot]` before; the class of what was replaced.
        now: The value or `[node_id, slot]` now.
    """

    kind: Kind
    recorded_id: NodeId | None
    now_id: NodeId | None
    class_type: str
    input: str | None = None
    recorded: JsonValue = None
    now: JsonValue = None


_Change = tuple[NodeId, GraphChange]
"""With the node at whose place in the order of execution it is told."""

_Waiting = tuple[NodeId, NodeId, bool]
"""A pair whose inputs are still to be compared, and whether it is a replaced node."""


@dataclass(frozen=True, slots=True)
class GraphDifference:
    """How two graphs differ.

    Attributes:
        pairs: By node id of the first graph, the node at its place in the second.
        changes: In the order in which the second graph runs.
    """

    pairs: Mapping[NodeId, NodeId]
    changes: tuple[GraphChange, ...]


def compare_graphs(
    recorded: Prompt, recorded_output: Link, now: Prompt, now_output: Link
) -> GraphDifference:
    """Align two graphs from their outputs and list what differs.

    Raises:
        GraphError: A graph has a cycle, or lacks its output.
    """
    order = upstream(now, now_output.node_id)
    upstream(recorded, recorded_output.node_id)
    walk = _Walk(recorded, now)
    walk.meet(None, "", recorded_output, now_output)
    walk.run()
    position = {node_id: at for at, node_id in enumerate(order)}
    changes = sorted(walk.changes, key=lambda item: position.get(item[0], len(position)))
    return GraphDifference(walk.to_now, tuple(change for _, change in changes))


@dataclass
class _Walk:
    """Goes through two graphs side by side, each node once."""

    recorded: Prompt
    now: Prompt
    to_now: dict[NodeId, NodeId] = field(default_factory=dict[NodeId, NodeId])
    to_recorded: dict[NodeId, NodeId] = field(default_factory=dict[NodeId, NodeId])
    added: set[NodeId] = field(default_factory=set[NodeId])
    removed: set[NodeId] = field(default_factory=set[NodeId])
    changes: list[_Change] = field(default_factory=list[tuple[NodeId, GraphChange]])
    # Explicit: a graph from a stranger must not exhaust our stack.
    waiting: deque[tuple[NodeId, NodeId, bool]] = field(
        default_factory=deque[tuple[NodeId, NodeId, bool]]
    )

    def run(self) -> None:
        """Compare the inputs of each pair that was found."""
        while self.waiting:
            recorded_id, now_id, is_replaced = self.waiting.popleft()
            before, after = self.recorded.nodes[recorded_id], self.now.nodes[now_id]
            for name in dict.fromkeys((*after.inputs, *before.inputs)):
                links = before.inputs.get(name), after.inputs.get(name)
                # Of a node of another class only what both take from others is compared.
                if not is_replaced or all(isinstance(link, Link) for link in links):
                    self._compare_input(recorded_id, now_id, name)

    def _compare_input(self, recorded_id: NodeId, now_id: NodeId, name: str) -> None:
        before = self.recorded.nodes[recorded_id].inputs.get(name)
        after = self.now.nodes[now_id].inputs.get(name)
        value, value_now = resolve(self.recorded, before), resolve(self.now, after)
        plain = _is_plain(before, value) and _is_plain(after, value_now)
        if plain:
            if not _is_same(value, value_now):
                self._note("literal", recorded_id, now_id, name, value, value_now)
        elif isinstance(before, Link) and isinstance(after, Link):
            self.meet((recorded_id, now_id), name, before, after)
        else:
            self._note("link", recorded_id, now_id, name, _show(before), _show(after))

    def meet(
        self, user: tuple[NodeId, NodeId] | None, name: str, before: Link, after: Link
    ) -> None:
        """Align what two links lead to, and go on there."""
        place = _Place(user, name, before, after)
        known = self.to_now.get(before.node_id)
        if known is not None or after.node_id in self.to_recorded:
            self._compare_known(place, known)
            return
        first, second = self.recorded.nodes[before.node_id], self.now.nodes[after.node_id]
        if first.class_type == second.class_type and not self._is_before(place):
            self._pair(before.node_id, after.node_id)
            if before.slot != after.slot:
                self._note_link(place)
            return
        if self._skip_added(place) or self._skip_removed(place):
            return
        change = GraphChange(
            "replaced", before.node_id, after.node_id, second.class_type, None, first.class_type
        )
        self.changes.append((after.node_id, change))
        self._pair(before.node_id, after.node_id, is_replaced=True)

    def _compare_known(self, place: _Place, known: NodeId | None) -> None:
        """Compare two links of which at least one leads to a node that was aligned before."""
        if known == place.after.node_id:
            if place.before.slot != place.after.slot:
                self._note_link(place)
        elif place.after.node_id in self.added:
            if known is None or known not in self._above(self.now, place.after.node_id):
                self._note_link(place)
        elif not (
            place.before.node_id in self.removed
            and self.to_recorded.get(place.after.node_id)
            in self._above(self.recorded, place.before.node_id)
        ) and not self._skip_added(place):
            self._note_link(place)

    def _is_before(self, place: _Place) -> bool:
        """Tell whether a node of the same class was put after the recorded one, which is there."""
        before, after = place.before.node_id, place.after.node_id
        same = self.now.nodes.get(before)
        return (
            before != after
            and after not in self.recorded.nodes
            and same is not None
            and same.class_type == self.recorded.nodes[before].class_type
            and before in self._above(self.now, after)
        )

    def _skip_added(self, place: _Place) -> bool:
        """Go past nodes that stand before the recorded one now."""
        wanted = place.before.node_id
        known = self.to_now.get(wanted)

        def fits(node_id: NodeId) -> bool:
            if known is not None:
                return node_id == known
            if self._is_before(_Place(None, "", place.before, Link(node_id, 0))):
                return False
            fresh = node_id not in self.to_recorded
            same = self.now.nodes[node_id].class_type == self.recorded.nodes[wanted].class_type
            return fresh and same

        path = _find(self.now, place.after.node_id, fits)
        if path is None:
            return False
        *extra, found = path
        for node_id in extra:
            if node_id not in self.added and node_id not in self.to_recorded:
                self.added.add(node_id)
                change = GraphChange("added", None, node_id, self.now.nodes[node_id].class_type)
                self.changes.append((node_id, change))
        if known is None:
            self._pair(wanted, found)
        return True

    def _skip_removed(self, place: _Place) -> bool:
        """Go past nodes that stood before the present one."""
        wanted = place.after.node_id

        def fits(node_id: NodeId) -> bool:
            fresh = node_id not in self.to_now
            same = self.recorded.nodes[node_id].class_type == self.now.nodes[wanted].class_type
            return fresh and same

        path = _find(self.recorded, place.before.node_id, fits)
        if path is None:
            return False
        *extra, found = path
        for node_id in extra:
            if node_id not in self.removed and node_id not in self.to_now:
                self.removed.add(node_id)
                class_type = self.recorded.nodes[node_id].class_type
                self.changes.append((wanted, GraphChange("removed", node_id, None, class_type)))
        self._pair(found, wanted)
        return True

    def _pair(self, recorded_id: NodeId, now_id: NodeId, *, is_replaced: bool = False) -> None:
        self.to_now[recorded_id] = now_id
        self.to_recorded[now_id] = recorded_id
        self.waiting.append((recorded_id, now_id, is_replaced))

    def _above(self, prompt: Prompt, node_id: NodeId) -> set[NodeId]:
        return set(upstream(prompt, node_id))

    def _note_link(self, place: _Place) -> None:
        if place.user is None:
            return
        self._note("link", *place.user, place.name, _show(place.before), _show(place.after))

    def _note(
        self,
        kind: Kind,
        recorded_id: NodeId,
        now_id: NodeId,
        name: str,
        before: JsonValue,
        after: JsonValue,
    ) -> None:
        class_type = self.now.nodes[now_id].class_type
        change = GraphChange(kind, recorded_id, now_id, class_type, name, before, after)
        self.changes.append((now_id, change))


@dataclass(frozen=True, slots=True)
class _Place:
    """Two links at one input of a pair of nodes; of the images themselves without a user."""

    user: tuple[NodeId, NodeId] | None
    name: str
    before: Link
    after: Link


def _find(prompt: Prompt, start: NodeId, fits: Callable[[NodeId], bool]) -> list[NodeId] | None:
    """Find the nearest node above a node that fits, and the way to it, both ends included."""
    came_from: dict[NodeId, NodeId | None] = {start: None}
    waiting = deque([start])
    while waiting and len(came_from) <= _SEARCHED:
        node_id = waiting.popleft()
        if node_id != start and fits(node_id):
            return _way(came_from, node_id)
        for source in _sources(prompt.nodes[node_id]):
            if source not in came_from:
                came_from[source] = node_id
                waiting.append(source)
    return None


def _way(came_from: Mapping[NodeId, NodeId | None], end: NodeId) -> list[NodeId]:
    way: list[NodeId] = [end]
    while (before := came_from[way[-1]]) is not None:
        way.append(before)
    return way[::-1]


def _sources(node: Node) -> Iterator[NodeId]:
    return (value.node_id for value in node.inputs.values() if isinstance(value, Link))


def _is_plain(given: Input, value: JsonValue) -> bool:
    """Tell whether an input has a value that the graph itself tells."""
    return not isinstance(given, Link) or value is not None


def _is_same(first: JsonValue, second: JsonValue) -> bool:
    if isinstance(first, bool) != isinstance(second, bool):
        return False
    return first == second or repr(first) == repr(second)


def _show(value: Input) -> JsonValue:
    return [value.node_id, value.slot] if isinstance(value, Link) else value
