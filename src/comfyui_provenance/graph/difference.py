"""Differences of two graphs, aligned from the images that they give.

Node ids mean little here: a workflow that was numbered anew is the same graph. Two nodes are taken
for one where they stand at the same place, seen from the image, and have the same class. What
computes the same is always the same; after that an id that both graphs have decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ..canonical import JsonValue
from .prompt import Input, Link, Node, NodeId, Prompt
from .samplings import resolve
from .sides import Side, is_same

_SEARCHED: Final = 256
"""Links to follow in search of the node that others were put before."""

_SEARCHED_TOTAL: Final = 200_000
"""Links to follow in all searches of one comparison; the next ones are told as replaced."""

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
        input: Which input, for `literal` and `link`; `None` where the image itself is another
            output of the same node.
        recorded: The value or `[node_id, slot]` before; the class of a node removed or replaced.
        now: The value or `[node_id, slot]` now.
    """

    kind: Kind
    recorded_id: NodeId | None
    now_id: NodeId | None
    class_type: str
    input: str | None = None
    recorded: JsonValue = None
    now: JsonValue = None


@dataclass(frozen=True, slots=True)
class GraphDifference:
    """How two graphs differ.

    Attributes:
        pairs: By node id of the first graph, the node at its place in the second.
        changes: In the order in which the second graph runs; a removed node before the next one
            of the first graph that is still there. None at all where both compute the same.
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
    first, second = Side.of(recorded, recorded_output), Side.of(now, now_output)
    walk = _Walk(first, second)
    walk.meet(_Place(None, recorded_output, now_output))
    walk.run()
    walk.pair_the_rest()
    changes = _in_order([*walk.changes, *_only_one_has(first, second)], first, second)
    _pair_holders(recorded, now, first.partners)
    return GraphDifference(first.partners, tuple(changes))


@dataclass(frozen=True, slots=True)
class _Place:
    """An input of a pair of nodes, and what it is linked to; the image itself without a user."""

    user: tuple[NodeId, NodeId, str] | None
    before: Link
    after: Link


class _Walk:
    """Goes through two graphs side by side, each node once."""

    def __init__(self, first: Side, second: Side) -> None:
        self.first = first
        self.second = second
        self.changes: list[GraphChange] = []
        # Explicit: a graph from a stranger must not exhaust our stack.
        self._waiting: deque[tuple[NodeId, NodeId]] = deque()
        self._searched = 0

    def run(self) -> None:
        """Compare the inputs of each pair that was found."""
        while self._waiting:
            recorded_id, now_id = self._waiting.popleft()
            before, after = self.first.nodes[recorded_id], self.second.nodes[now_id]
            # Of a node of another class only what both take is compared.
            if before.class_type == after.class_type:
                names = list(dict.fromkeys((*after.inputs, *before.inputs)))
            else:
                names = [name for name in after.inputs if name in before.inputs]
            for name in names:
                user = (recorded_id, now_id, name)
                self._compare_input(user, before.inputs.get(name), after.inputs.get(name))

    def _compare_input(self, user: tuple[NodeId, NodeId, str], before: Input, after: Input) -> None:
        if isinstance(before, Link) and isinstance(after, Link):
            self.meet(_Place(user, before, after))
        elif isinstance(before, Link) or isinstance(after, Link):
            self._note("link", user, before, after)
        elif not is_same(before, after):
            self._note("literal", user, before, after)

    def meet(self, place: _Place) -> None:
        """Align what two links lead to, and tell what differs there."""
        before, after = place.before.node_id, place.after.node_id
        if self.first.partners.get(before) == after:
            self._compare_slots(place)
            return
        is_free = self.first.is_free(before) and self.second.is_free(after)
        if self.first.digests[before] == self.second.digests[after]:
            if is_free:
                self._pair(before, after)
            # Of twins that compute the same it does not matter which one is taken.
            self._compare_slots(place)
            return
        same_class = self.first.nodes[before].class_type == self.second.nodes[after].class_type
        is_same = is_free and same_class
        # Of one class and one place, only what is surely elsewhere is not taken for the same.
        if self._skip(place, is_sure=is_same):
            return
        if is_same:
            self._pair(before, after)
            self._compare_slots(place)
        else:
            self._replace(place, is_free=is_free)

    def _replace(self, place: _Place, *, is_free: bool) -> None:
        """Tell a node of another class, or only the wiring where the old one stands elsewhere."""
        before, after = place.before.node_id, place.after.node_id
        is_elsewhere = self.first.counterpart_in(self.second, before) or (
            self.second.counterpart_in(self.first, after)
        )
        if not is_free or is_elsewhere:
            self._note_wiring(place)
            return
        was, is_now = self.first.nodes[before].class_type, self.second.nodes[after].class_type
        self.changes.append(GraphChange("replaced", before, after, is_now, None, was))
        self._pair(before, after)

    def _skip(self, place: _Place, *, is_sure: bool) -> bool:
        """Go past nodes that only one of the graphs has, to where both meet again.

        Args:
            place: Where they part.
            is_sure: Whether they must meet at what is known to be one node, and not only at two
                of one class.
        """
        before, after = place.before.node_id, place.after.node_id
        added = self._search(self.second, self.first, after, before, is_sure=is_sure)
        if added is not None:
            self.second.extra.update(added[:-1])
            self._pair(before, added[-1])
            return True
        removed = self._search(self.first, self.second, before, after, is_sure=is_sure)
        if removed is not None:
            self.first.extra.update(removed[:-1])
            self._pair(removed[-1], after)
        return removed is not None

    def _search(
        self, side: Side, other: Side, start: NodeId, wanted: NodeId, *, is_sure: bool
    ) -> list[NodeId] | None:
        """Find the way past new nodes to the nearest one that is a node of the other graph."""
        came_from: dict[NodeId, NodeId | None] = {start: None}
        waiting = deque([start])
        left = min(_SEARCHED, _SEARCHED_TOTAL - self._searched)
        while waiting:
            node_id = waiting.popleft()
            if not side.is_new(other, node_id):
                continue
            for source in _sources(side.nodes[node_id]):
                if left <= 0:
                    return None
                left -= 1
                self._searched += 1
                if source in came_from:
                    continue
                came_from[source] = node_id
                if _fits(side, other, source, wanted, is_sure=is_sure):
                    return _way(came_from, source)
                waiting.append(source)
        return None

    def pair_the_rest(self) -> None:
        """Pair nodes that both graphs have, but not at the same place."""
        by_digest: dict[str, list[NodeId]] = {}
        for node_id in self.second.order:
            by_digest.setdefault(self.second.digests[node_id], []).append(node_id)
        last_first = self.first.order[::-1]
        for node_id in last_first:
            if self.second.digests.get(node_id) == self.first.digests[node_id]:
                self._pair_free(node_id, [node_id])
        for node_id in last_first:
            self._pair_free(node_id, by_digest.get(self.first.digests[node_id], []))
        for node_id in last_first:
            self._pair_free(node_id, [node_id])

    def _pair_free(self, recorded_id: NodeId, candidates: list[NodeId]) -> None:
        """Pair a node with the last of some that is free and of its class, and go on there."""
        while candidates and self.first.is_free(recorded_id):
            now_id = candidates.pop()
            node = self.second.nodes.get(now_id)
            class_type = self.first.nodes[recorded_id].class_type
            if node is None or node.class_type != class_type or not self.second.is_free(now_id):
                continue
            self._pair(recorded_id, now_id)
            self.run()

    def _pair(self, recorded_id: NodeId, now_id: NodeId) -> None:
        if self.first.partners.get(recorded_id) != now_id:
            self.first.partners[recorded_id] = now_id
            self.second.partners[now_id] = recorded_id
            self._waiting.append((recorded_id, now_id))

    def _compare_slots(self, place: _Place) -> None:
        if place.before.slot != place.after.slot:
            self._note_wiring(place)

    def _note_wiring(self, place: _Place) -> None:
        if place.user is not None:
            self._note("link", place.user, place.before, place.after)
        elif self.first.partners.get(place.before.node_id) == place.after.node_id:
            ids = place.before.node_id, place.after.node_id
            class_type = self.second.nodes[ids[1]].class_type
            links = _show(place.before), _show(place.after)
            self.changes.append(GraphChange("link", *ids, class_type, None, *links))

    def _note(
        self, kind: Kind, user: tuple[NodeId, NodeId, str], before: Input, after: Input
    ) -> None:
        recorded_id, now_id, name = user
        class_type = self.second.nodes[now_id].class_type
        values = _show(before), _show(after)
        self.changes.append(GraphChange(kind, recorded_id, now_id, class_type, name, *values))


def _fits(side: Side, other: Side, node_id: NodeId, wanted: NodeId, *, is_sure: bool) -> bool:
    """Tell whether a node of a graph may be one of the other graph."""
    known = other.partners.get(wanted)
    if known is not None:
        return node_id == known
    if not side.is_free(node_id) or not other.is_free(wanted):
        return False
    if side.digests[node_id] == other.digests[wanted]:
        return True
    if side.nodes[node_id].class_type != other.nodes[wanted].class_type:
        return False
    if node_id == wanted:
        return True
    is_another = side.counterpart_in(other, node_id) or other.counterpart_in(side, wanted)
    return not is_sure and not is_another


def _way(came_from: Mapping[NodeId, NodeId | None], end: NodeId) -> list[NodeId]:
    way: list[NodeId] = []
    node_id: NodeId | None = end
    while node_id is not None:
        way.append(node_id)
        node_id = came_from[node_id]
    return way[::-1]


def _only_one_has(first: Side, second: Side) -> Iterator[GraphChange]:
    """Yield the nodes without a partner, but for twins of what both graphs compute."""
    for node_id in first.order:
        if node_id not in first.partners and first.digests[node_id] not in second.computed:
            class_type = first.nodes[node_id].class_type
            yield GraphChange("removed", node_id, None, class_type, None, class_type)
    for node_id in second.order:
        if node_id not in second.partners and second.digests[node_id] not in first.computed:
            yield GraphChange("added", None, node_id, second.nodes[node_id].class_type)


def _in_order(changes: list[GraphChange], first: Side, second: Side) -> list[GraphChange]:
    position = {node_id: 2 * at + 1 for at, node_id in enumerate(second.order)}
    before: dict[NodeId, int] = {}
    next_one = 2 * len(second.order)
    for node_id in reversed(first.order):
        if node_id in first.partners:
            next_one = position[first.partners[node_id]]
        before[node_id] = next_one - 1

    def place(change: GraphChange) -> int:
        if change.now_id is not None:
            return position[change.now_id]
        return before[change.recorded_id] if change.recorded_id is not None else 0

    return sorted(changes, key=place)


def _pair_holders(recorded: Prompt, now: Prompt, pairs: dict[NodeId, NodeId]) -> None:
    """Pair the nodes that only hold a value which a pair of nodes takes."""
    taken = set(pairs.values())
    waiting = list(pairs.items())
    while waiting:
        recorded_id, now_id = waiting.pop()
        inputs = now.nodes[now_id].inputs
        for name, before in recorded.nodes[recorded_id].inputs.items():
            after = inputs.get(name)
            if not isinstance(before, Link) or not isinstance(after, Link):
                continue
            holders = before.node_id, after.node_id
            is_free = holders[0] not in pairs and holders[1] not in taken
            is_held = all(
                resolve(prompt, link) is not None
                for prompt, link in ((recorded, before), (now, after))
            )
            same_class = recorded.nodes[holders[0]].class_type == now.nodes[holders[1]].class_type
            if is_free and is_held and same_class:
                pairs[holders[0]] = holders[1]
                taken.add(holders[1])
                waiting.append(holders)


def _sources(node: Node) -> Iterator[NodeId]:
    return (value.node_id for value in node.inputs.values() if isinstance(value, Link))


def _show(value: Input) -> JsonValue:
    return [value.node_id, value.slot] if isinstance(value, Link) else value
