"""Points at which two runs can be seen to agree or to part, in order of execution.

A record holds digests of what went from node to node, of what went into each sampling, and of
the latent after each step. The first of them that differs tells where a difference enters; a
link whose value is shown equal carries none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..canonical import JsonValue
from ..errors import ProvenanceError
from ..graph.prompt import Link, Node, NodeId
from ..record import JsonObject
from ..trace import TraceDifference, compare_traces, parse_trace
from .sides import Runs, SamplingPair, are_same, fields, is_known


class Phase(StrEnum):
    """What a difference enters, in the order of a sampling."""

    INPUT = "input"
    CONDITIONING = "conditioning"
    LATENT = "latent"
    NOISE = "noise"
    SIGMAS = "sigmas"
    STEP = "step"
    DECODE = "decode"
    POST_PROCESS = "post_process"


@dataclass(frozen=True, slots=True)
class Point:
    """One comparison of what both runs did at a place.

    Attributes:
        node_id: The node of now.
        phase: What of it.
        is_equal: Whether both runs had the same bits there.
        link: The output it is about, if it is about one.
        steps: Where the steps part, if it is about those.
    """

    node_id: NodeId
    phase: Phase
    is_equal: bool
    link: Link | None = None
    steps: TraceDifference | None = None


_CONDITIONING_FIELDS: Final = "conditionings"


def find_points(runs: Runs) -> list[Point]:
    """List every place at which both runs can be compared, in order of execution."""
    stages = _stage_points(runs)
    operations = _operation_points(runs)
    samplings: dict[NodeId, list[Point]] = {}
    for pair in runs.samplings:
        samplings.setdefault(pair.node_id, []).extend(_sampling_points(pair))
    points: list[Point] = []
    for node_id in runs.now.order:
        points.extend(samplings.get(node_id, ()))
        points.extend(operations.get(node_id, ()))
        points.extend(stages.get(node_id, ()))
    return points


def equal_links(points: list[Point]) -> set[Link]:
    """Give the outputs of now whose values are shown to be those of the record."""
    found = {point.link: True for point in points if point.link is not None}
    for point in points:
        if point.link is not None and not point.is_equal:
            found[point.link] = False
    return {link for link, is_equal in found.items() if is_equal}


def _stage_points(runs: Runs) -> dict[NodeId, list[Point]]:
    found: dict[NodeId, list[Point]] = {}
    for recorded_link, before in runs.recorded.stages.items():
        link = runs.link_now(recorded_link)
        after = runs.now.stages.get(link) if link is not None else None
        if link is not None and after is not None:
            phase = _phase(runs, link, runs.now.stage_types.get(link, ""))
            is_equal = _same_digests(before, after, runs.place)
            if is_equal is not None:
                found.setdefault(link.node_id, []).append(
                    Point(link.node_id, phase, is_equal, link)
                )
    for recorded_link, value in runs.recorded.computed.items():
        link = runs.link_now(recorded_link)
        if link is not None and link in runs.now.computed:
            same = runs.now.computed[link] == value
            found.setdefault(link.node_id, []).append(Point(link.node_id, Phase.INPUT, same, link))
    return found


def _same_digests(before: list[JsonValue], after: list[JsonValue], place: int) -> bool | None:
    """Compare the digests of a batch; of batches of two sizes only the image that is meant."""
    if len(before) == len(after):
        return before == after
    if len(after) == 1 and place < len(before):
        return before[place] == after[0]
    return None


def _phase(runs: Runs, link: Link, kind: str) -> Phase:
    """Tell what a stage is: by its type, and by whether something was sampled before it."""
    node = runs.now.prompt.nodes[link.node_id]
    is_sampler = any(pair.node_id == link.node_id for pair in runs.samplings)
    if kind == "LATENT":
        return Phase.STEP if is_sampler else Phase.LATENT
    if is_sampler or _decodes(node):
        return Phase.DECODE
    sources = [value for value in node.inputs.values() if isinstance(value, Link)]
    return Phase.POST_PROCESS if sources and kind == "IMAGE" else Phase.INPUT


def _decodes(node: Node) -> bool:
    """Tell whether a node makes an image of a latent, by the names of its inputs."""
    return isinstance(node.inputs.get("vae"), Link) and "samples" in node.inputs


def _operation_points(runs: Runs) -> dict[NodeId, list[Point]]:
    """Compare what text encoders and VAEs gave inside Deterministic Mode."""
    found: dict[NodeId, list[Point]] = {}
    for recorded_id, before in runs.recorded.operations.items():
        node_id = runs.to_now.get(recorded_id)
        after = runs.now.operations.get(node_id, []) if node_id is not None else []
        for first, second in zip(before, after, strict=False):
            known = is_known(first.get("output")) and is_known(second.get("output"))
            if node_id is None or not known:
                continue
            if first.get("operation") != second.get("operation"):
                continue
            if _has_other_shape(first, second):
                continue
            same = first.get("output") == second.get("output")
            phase = _OPERATION_PHASES.get(str(first.get("operation")), Phase.CONDITIONING)
            found.setdefault(node_id, []).append(Point(node_id, phase, same))
    return found


_OPERATION_PHASES: Final = {"vae_encode": Phase.LATENT, "vae_decode": Phase.DECODE}


def _has_other_shape(first: JsonObject, second: JsonObject) -> bool:
    """Tell whether two operations worked on batches of different size."""
    sizes = [fields(entry.get("images_per_forward")) for entry in (first, second)]
    counts = [
        sum(int(size) * times for size, times in entry.items() if isinstance(times, int))
        for entry in sizes
        if all(size.isdecimal() for size in entry)
    ]
    return len(counts) == 2 and counts[0] != counts[1]


def _sampling_points(pair: SamplingPair) -> Iterator[Point]:
    """Compare what went into a sampling, then its steps."""
    node_id = pair.node_id
    before, after = (fields(side.get(_CONDITIONING_FIELDS)) for side in (pair.recorded, pair.now))
    for name in before:
        if name in after:
            yield Point(node_id, Phase.CONDITIONING, before[name] == after[name])
    if not is_one_batch(pair):
        return
    for name, phase in (("latent_in", Phase.LATENT), ("noise", Phase.NOISE)):
        if is_known(pair.recorded.get(name)) and is_known(pair.now.get(name)):
            yield Point(node_id, phase, pair.agree(name))
    if is_known(pair.recorded.get("sigmas")) and is_known(pair.now.get("sigmas")):
        yield Point(node_id, Phase.SIGMAS, pair.agree("sigmas"))
    steps = trace_difference(pair)
    if steps is not None:
        yield Point(node_id, Phase.STEP, is_equal=False, steps=steps)
    elif pair.recorded_trace is not None and pair.now_trace is not None:
        yield Point(node_id, Phase.STEP, is_equal=True)


def is_one_batch(pair: SamplingPair) -> bool:
    """Tell whether both samplings worked on latents of one shape, as far as it is known."""
    shapes = pair.recorded.get("latent_shape"), pair.now.get("latent_shape")
    if not all(isinstance(shape, list) and shape for shape in shapes):
        return True
    # Another size of image is a difference; another number of images cannot be compared.
    first, second = (shape[0] if isinstance(shape, list) else None for shape in shapes)
    return first == second


def trace_difference(pair: SamplingPair) -> TraceDifference | None:
    """Say where the steps of a sampling part; `None` where they do not, or it is not known."""
    if pair.recorded_trace is None or pair.now_trace is None:
        return None
    try:
        return compare_traces(parse_trace(pair.recorded_trace), parse_trace(pair.now_trace))
    except (ProvenanceError, ValueError):
        return None


def same_conditioning(pair: SamplingPair, name: str) -> bool:
    """Tell whether one conditioning of a sampling is shown to be the same."""
    before, after = (fields(side.get(_CONDITIONING_FIELDS)) for side in (pair.recorded, pair.now))
    return are_same(before.get(name), after.get(name))


def same_conditionings(pair: SamplingPair) -> bool:
    """Tell whether all conditionings of a sampling are shown to be the same."""
    before, after = pair.recorded.get(_CONDITIONING_FIELDS), pair.now.get(_CONDITIONING_FIELDS)
    return bool(before) and are_same(before, after)
