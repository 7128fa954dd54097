"""Why two runs gave other pixels, and where they part.

The records of both are compared: what somebody chose, what the runs did inside, where they ran, and
the digests of what went from node to node. What the digests show to have had no effect is never
called a cause, and what can explain the first difference comes before what cannot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..graph.prompt import Link, NodeId
from ..graph.trace import upstream
from ..record import Record
from ..verdict import Cause, CauseKind, Divergence
from .candidate import FOLLOWS, Candidate
from .candidates import find_candidates
from .points import Phase, Point, equal_links, find_points
from .refutation import reaches_output
from .settings import find_settings, find_surroundings
from .sides import Runs

__all__ = ["Differences", "Phase", "compare_records"]

_ORDER = {phase: position for position, phase in enumerate(Phase)}


@dataclass(frozen=True, slots=True)
class Differences:
    """What tells two runs apart.

    Attributes:
        causes: What can explain it, most likely first.
        notes: What differs and is shown to have changed nothing.
        divergence: Where they part; `None` where no digest that both records hold differs.
        compared: How many places of both runs could be compared.
        steps: Of each sampling that both runs followed, where its steps part, or that they do not.
        without_effect: What differs and is shown to have changed nothing, as causes.
    """

    causes: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = ()
    divergence: Divergence | None = None
    compared: int = 0
    steps: tuple[str, ...] = ()
    without_effect: tuple[Cause, ...] = ()


def compare_records(recorded: Record, now: Record) -> Differences:
    """Compare two runs by their records.

    Args:
        recorded: Of the image in question.
        now: Of the other run. Its node ids may be others.
    """
    runs = Runs.of(recorded, now)
    points = find_points(runs)
    equal = equal_links(points)
    first = next((point for point in points if not point.is_equal), None)
    found = [*find_candidates(runs, equal), *find_settings(runs), *find_surroundings(runs)]
    found = _without_consequences(found)
    found += _unseeded(runs, points, first, found)
    found = [_with_evidence(runs, item, equal) for item in found]
    live = [item for item in found if not item.is_refuted]
    ranked = sorted(live, key=lambda item: _rank(runs, item, first))
    refuted = _unique(item.cause for item in found if item.is_refuted)
    told = {cause.kind for cause in (item.cause for item in ranked)}
    return Differences(
        causes=tuple(_unique(item.cause for item in ranked)),
        notes=tuple(
            f"without effect on this image: {cause.message}"
            for cause in refuted
            if cause.kind not in told or cause.node_id is not None
        ),
        divergence=_divergence(runs, points, first),
        compared=len(points),
        steps=tuple(runs.tell_steps()),
        without_effect=tuple(refuted),
    )


def _rank(runs: Runs, item: Candidate, first: Point | None) -> tuple[bool, int, int, int]:
    """Order candidates: those that can explain the first difference, then by directness."""
    position = {node_id: at for at, node_id in enumerate(runs.now.order)}
    at = position.get(item.node_id, 0) if item.node_id is not None else 0
    phase = _ORDER[item.phase] if item.phase is not None else -1
    return not _explains(runs, item, first), item.tier, phase, at


def _explains(runs: Runs, item: Candidate, first: Point | None) -> bool:
    """Tell whether a candidate can make the first difference that is seen."""
    if first is None:
        return True
    if item.phase is not None and _ORDER[item.phase] > _ORDER[first.phase]:
        return False
    if item.node_id is None or first.node_id not in runs.now.prompt.nodes:
        return True
    return item.node_id in upstream(runs.now.prompt, first.node_id)


def _with_evidence(runs: Runs, item: Candidate, equal: set[Link]) -> Candidate:
    """Refute what acts from a node whose outputs are shown to be the recorded ones."""
    if item.is_refuted or item.node_id is None or item.node_id not in runs.now.prompt.nodes:
        return item
    return replace(item, is_refuted=not reaches_output(runs, item.node_id, equal))


def _without_consequences(found: list[Candidate]) -> list[Candidate]:
    """Leave out what only follows from a change that is told already."""
    chosen = {item.cause.kind for item in found if item.tier == 0}
    models = {CauseKind.MODEL_FILE, CauseKind.ADAPTER_FILE, CauseKind.ADAPTER_STRENGTH}
    kept: list[Candidate] = []
    for item in found:
        follows = item.cause.kind in chosen or (
            item.cause.kind is CauseKind.NODE_PACK and chosen & {*models, CauseKind.GRAPH_EDITED}
        )
        if item.tier != FOLLOWS or not follows:
            kept.append(item)
    return kept


def _unseeded(
    runs: Runs, points: list[Point], first: Point | None, found: list[Candidate]
) -> list[Candidate]:
    """Name a node that gave something else from inputs that are shown to be the same."""
    if first is None or first.steps is not None or first.node_id not in runs.now.prompt.nodes:
        return []
    if any(not item.is_refuted and _explains(runs, item, first) for item in found):
        return []
    if first.phase not in (Phase.INPUT, Phase.POST_PROCESS, Phase.NOISE, Phase.LATENT):
        return []
    node_id = first.node_id
    if first.phase is Phase.NOISE:
        node_id = _noise_node(runs, node_id)
    class_type = runs.now.prompt.nodes[node_id].class_type
    message = (
        f"node {node_id} ({class_type}) gave something else from the same inputs: no seed decides "
        "it, or it depends on something that is not recorded"
    )
    return [Candidate(Cause(CauseKind.UNSEEDED_NODE, message, None, None, node_id), None, node_id)]


def _noise_node(runs: Runs, node_id: NodeId) -> NodeId:
    """Find the node that gives a sampler its noise."""
    source = runs.now.prompt.nodes[node_id].inputs.get("noise")
    return source.node_id if isinstance(source, Link) else node_id


def _divergence(runs: Runs, points: list[Point], first: Point | None) -> Divergence | None:
    if first is None:
        return None
    node = runs.now.prompt.nodes.get(first.node_id)
    class_type = node.class_type if node is not None else ""
    place = f"node {first.node_id} ({class_type})"
    step, size = None, None
    if first.steps is not None:
        step = first.steps.first_step
        size = first.steps.at_first.value if first.steps.at_first is not None else None
        words = f"sampler {first.node_id}: {first.steps}"
    else:
        words = _WORDS[first.phase].format(place=place)
    before = sum(point.is_equal for point in points[: points.index(first)])
    seen = f"; the {before} places before it that could be compared are the same bits"
    return Divergence(
        first.phase.value, first.node_id, class_type, words + (seen if before else ""), step, size
    )


_WORDS = {
    Phase.INPUT: "the difference enters with what {place} gives, before anything is sampled",
    Phase.CONDITIONING: "the difference enters with the conditioning, at {place}",
    Phase.LATENT: "the difference enters with the latent that goes into the sampling, at {place}",
    Phase.NOISE: "the difference enters with the noise, at {place}",
    Phase.SIGMAS: "the difference enters with the sigmas, at {place}",
    Phase.STEP: "the difference enters during the sampling, at {place}",
    Phase.DECODE: "the difference enters with the decoding, at {place}",
    Phase.POST_PROCESS: "the difference enters after the decoding, at {place}",
}


def _unique(causes: Iterable[Cause]) -> list[Cause]:
    """Keep the first cause of each kind and node."""
    kept: dict[tuple[CauseKind, str | None], Cause] = {}
    for cause in causes:
        kept.setdefault((cause.kind, cause.node_id), cause)
    return list(kept.values())
