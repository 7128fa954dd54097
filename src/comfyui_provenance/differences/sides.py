"""Two runs side by side: their graphs aligned, their samplings paired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..canonical import JsonValue
from ..errors import ProvenanceError
from ..graph.difference import GraphChange, compare_graphs
from ..graph.prompt import Link, NodeId, Prompt
from ..graph.trace import upstream
from ..record import JsonObject, Record
from ..trace import tell_difference


@dataclass(frozen=True)
class Side:
    """One run, as its record tells it.

    Attributes:
        record: The record.
        prompt: Its graph; an empty one where the record holds none.
        order: Its nodes in order of execution.
    """

    record: Record
    prompt: Prompt
    order: tuple[NodeId, ...]

    @classmethod
    def of(cls, record: Record) -> Side:
        """Read the graph of a record, if there is one."""
        try:
            prompt = record.prompt()
            return cls(record, prompt, tuple(upstream(prompt, record.output.node_id)))
        except ProvenanceError:
            return cls(record, Prompt({}), ())

    @cached_property
    def stages(self) -> Mapping[Link, list[JsonValue]]:
        """Digests of the images and latents between nodes, by output."""
        found: dict[Link, list[JsonValue]] = {}
        for entry in objects(self.record.document.get("stages")):
            link = _link(entry)
            digests = entry.get("digests")
            if link is not None and isinstance(digests, list):
                found[link] = digests
        return found

    @cached_property
    def stage_types(self) -> Mapping[Link, str]:
        """ComfyUI's type of each of the stages."""
        entries = objects(self.record.document.get("stages"))
        return {link: str(entry.get("type")) for entry in entries if (link := _link(entry))}

    @cached_property
    def computed(self) -> Mapping[Link, JsonValue]:
        """Plain values that nodes computed, by output."""
        return self.record.computed

    @cached_property
    def operations(self) -> Mapping[NodeId, list[JsonObject]]:
        """What text encoders and VAEs did in Deterministic Mode, by node, in order."""
        return _by_node(objects(self.record.document.get("operations")))

    @cached_property
    def traces(self) -> Mapping[tuple[str, int], JsonObject]:
        """The followed samplings, by node and which of its samplings."""
        return {(node_id, index): entry for node_id, index, entry in self.record.traces}

    @cached_property
    def demotions(self) -> list[JsonObject]:
        """What was not pinned."""
        determinism = self.record.document.get("determinism")
        return objects(determinism.get("demotions")) if isinstance(determinism, dict) else []


@dataclass(frozen=True)
class SamplingPair:
    """One sampling of both runs.

    Attributes:
        node_id: The sampler, in the run of now.
        index: Which of that node's samplings.
        recorded: Its entry in the record.
        now: Its entry of now.
        recorded_trace: Its steps in the record, where it was followed.
        now_trace: Its steps now.
    """

    node_id: NodeId
    index: int
    recorded: JsonObject
    now: JsonObject
    recorded_trace: JsonObject | None
    now_trace: JsonObject | None

    def differ(self, name: str) -> bool:
        """Tell whether both know a field and it is not the same."""
        return are_different(self.recorded.get(name), self.now.get(name))

    def agree(self, name: str) -> bool:
        """Tell whether both know a field and it is the same."""
        return are_same(self.recorded.get(name), self.now.get(name))


@dataclass(frozen=True)
class Runs:
    """Two runs.

    Attributes:
        recorded: The one that was recorded.
        now: The other.
        to_now: By node id of the record, that of the same node now.
        changes: Where the graphs differ.
        place: Which image of its batch both are about; compared alone where the runs made
            batches of different size.
    """

    recorded: Side
    now: Side
    to_now: Mapping[NodeId, NodeId]
    changes: tuple[GraphChange, ...]
    place: int

    @classmethod
    def of(cls, recorded: Record, now: Record) -> Runs:
        """Align two runs."""
        first, second = Side.of(recorded), Side.of(now)
        place = recorded.subject.batch_index
        if not first.order or not second.order:
            return cls(first, second, {}, (), place)
        try:
            found = compare_graphs(first.prompt, recorded.output, second.prompt, now.output)
        except ProvenanceError:
            return cls(first, second, {}, (), place)
        return cls(first, second, found.pairs, found.changes, place)

    @cached_property
    def to_recorded(self) -> Mapping[NodeId, NodeId]:
        """By node id of now, that of the same node in the record."""
        return {now: recorded for recorded, now in self.to_now.items()}

    def link_now(self, link: Link) -> Link | None:
        """Give the output of now that is one of the record's."""
        node_id = self.to_now.get(link.node_id)
        return Link(node_id, link.slot) if node_id is not None else None

    @cached_property
    def samplings(self) -> list[SamplingPair]:
        """The samplings that both runs made, in order."""
        first, second = _places(self.recorded), _places(self.now)
        by_node = {
            place: at for at, place in enumerate((node_id, index) for node_id, index, _ in second)
        }
        pairs: list[SamplingPair] = []
        for at, (recorded_id, index, entry) in enumerate(first):
            here = by_node.get((self.to_now.get(NodeId(recorded_id), NodeId("")), index), at)
            if here >= len(second):
                continue
            node_id, now_index, now = second[here]
            pairs.append(
                SamplingPair(
                    NodeId(node_id),
                    now_index,
                    entry,
                    now,
                    self.recorded.traces.get((recorded_id, index)),
                    self.now.traces.get((node_id, now_index)),
                )
            )
        return pairs

    def tell_steps(self) -> list[str]:
        """Say of each sampling that both runs followed where its steps part, or that they do not.

        Returns:
            One sentence for each, without a full stop.
        """
        told: list[str] = []
        for pair in self.samplings:
            if pair.recorded_trace is not None and pair.now_trace is not None:
                number = pair.index + 1
                which = f"sampler {pair.node_id}"
                which = which if pair.index == 0 else f"sampling {number} of {pair.node_id}"
                told.append(f"{which}: {tell_difference(pair.recorded_trace, pair.now_trace)}")
        return told


def _places(side: Side) -> list[tuple[str, int, JsonObject]]:
    """Give the samplings with their node and which of its samplings each is."""
    seen: dict[str, int] = {}
    found: list[tuple[str, int, JsonObject]] = []
    for entry in side.record.samplings:
        node_id = str(entry.get("node_id"))
        index = seen.get(node_id, 0)
        seen[node_id] = index + 1
        found.append((node_id, index, entry))
    return found


def are_same(recorded: JsonValue, now: JsonValue) -> bool:
    """Tell whether two values are both known and the same."""
    return is_known(recorded) and is_known(now) and recorded == now


def are_different(recorded: JsonValue, now: JsonValue) -> bool:
    """Tell whether two values are both known and not the same."""
    return is_known(recorded) and is_known(now) and recorded != now


def is_known(value: JsonValue) -> bool:
    """Tell whether a record says something."""
    return value is not None and value not in ("unresolved", "unknown")


def objects(value: JsonValue) -> list[JsonObject]:
    """Give the objects of a list; none of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def fields(value: JsonValue) -> JsonObject:
    """Give an object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def _by_node(entries: list[JsonObject]) -> dict[NodeId, list[JsonObject]]:
    found: dict[NodeId, list[JsonObject]] = {}
    for entry in entries:
        found.setdefault(NodeId(str(entry.get("node_id"))), []).append(entry)
    return found


def _link(entry: JsonObject) -> Link | None:
    node_id, slot = entry.get("node_id"), entry.get("slot")
    try:
        return Link(NodeId(str(node_id)), slot) if isinstance(slot, int) else None
    except ProvenanceError:
        return None
