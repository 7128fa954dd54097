"""What may have made two runs differ: graph, files, and values that nodes computed.

Each candidate carries what the records show of its effect, so that a change which reached nothing
is not taken for the cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..canonical import JsonValue
from ..graph.difference import GraphChange
from ..graph.prompt import Link, Node, NodeId
from ..graph.trace import upstream
from ..integrity import MATERIAL_KINDS
from ..record import Material
from ..text_difference import describe_text_difference
from ..verdict import Cause, CauseKind
from .points import Phase, same_conditioning, same_conditionings
from .sides import Runs, SamplingPair, objects

CHOSEN: Final = 0
"""A widget, the wiring or a file."""

DID: Final = 1
"""Something that a run did otherwise inside."""

WHERE: Final = 2
"""Machine or software."""

FOLLOWS: Final = 3
"""Something that follows from another difference, if there is one that it can follow from."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A difference that may be a cause.

    Attributes:
        cause: What it would be told as.
        phase: The first thing of a run that it can change; `None` for anything.
        node_id: The node of now from which it acts; `None` where it acts everywhere.
        is_refuted: Whether the records show that it changed nothing.
        tier: How directly it tells a cause: `CHOSEN`, `DID`, `WHERE` or `FOLLOWS`.
    """

    cause: Cause
    phase: Phase | None
    node_id: NodeId | None
    is_refuted: bool = False
    tier: int = CHOSEN


_BY_INPUT: Final[Mapping[str, CauseKind]] = {
    "seed": CauseKind.SEED,
    "noise_seed": CauseKind.SEED,
    "sampler_name": CauseKind.SAMPLER,
    "eta": CauseKind.SAMPLER,
    "s_noise": CauseKind.SAMPLER,
    "scheduler": CauseKind.SCHEDULER,
    "steps": CauseKind.STEPS,
    "start_at_step": CauseKind.STEPS,
    "end_at_step": CauseKind.STEPS,
    "cfg": CauseKind.CFG,
    "guidance": CauseKind.CFG,
    "denoise": CauseKind.DENOISE,
    "width": CauseKind.SIZE,
    "height": CauseKind.SIZE,
    "batch_size": CauseKind.BATCH,
    "batch_index": CauseKind.BATCH,
    "length": CauseKind.BATCH,
    "batch_invariant": CauseKind.BATCH,
    "cond_batch": CauseKind.BATCH,
    "add_noise": CauseKind.NOISE_SOURCE,
    "noise": CauseKind.NOISE_SOURCE,
    "precision": CauseKind.PRECISION,
    "weight_dtype": CauseKind.PRECISION,
}
"""What a literal stands for, by the name of its input."""

_PHASES: Final[Mapping[CauseKind, Phase]] = {
    CauseKind.SEED: Phase.NOISE,
    CauseKind.NOISE_SOURCE: Phase.NOISE,
    CauseKind.SAMPLER: Phase.STEP,
    CauseKind.SCHEDULER: Phase.SIGMAS,
    CauseKind.STEPS: Phase.SIGMAS,
    CauseKind.DENOISE: Phase.SIGMAS,
    CauseKind.CFG: Phase.STEP,
    CauseKind.CONTROLNET: Phase.CONDITIONING,
    CauseKind.PROMPT_TEXT: Phase.CONDITIONING,
    CauseKind.NEGATIVE_TEXT: Phase.CONDITIONING,
    CauseKind.TILED_VAE: Phase.DECODE,
}
"""The first thing of a run that each kind of change can reach, at the node that samples."""

_DETERMINISTIC: Final = frozenset(
    {
        "euler",
        "heun",
        "heunpp2",
        "dpm_2",
        "lms",
        "dpmpp_2m",
        "deis",
        "ipndm",
        "ipndm_v",
        "uni_pc",
        "uni_pc_bh2",
        "ddim",
        "res_multistep",
        "gradient_estimation",
    }
)
"""Core's samplers that draw no noise of their own: a seed acts through the first noise alone."""

_SHOWN_CHARS: Final = 80


def find_candidates(runs: Runs, equal: set[Link]) -> list[Candidate]:
    """List what somebody changed between two runs: widgets, wiring, files.

    Args:
        runs: Both, aligned.
        equal: Outputs of now whose values are shown to be the recorded ones.
    """
    inputs = {
        (runs.to_now.get(material.node_id), material.input)
        for material in runs.recorded.record.materials
    }
    graph = [
        candidate
        for change in runs.changes
        if (candidate := _of_change(runs, change, equal, inputs)) is not None
    ]
    found = [*_file_candidates(runs, equal), *graph, *_computed_candidates(runs)]
    return _of_order(runs, found)


def _of_order(runs: Runs, found: list[Candidate]) -> list[Candidate]:
    """Tell the same adapters in another order as that, and not as files and strengths."""
    before, after = (side.record.parameters.get("adapters") for side in (runs.recorded, runs.now))
    if not isinstance(before, list) or not isinstance(after, list) or before == after:
        return found
    if sorted(map(repr, before)) != sorted(map(repr, after)):
        return found
    adapters = (CauseKind.ADAPTER_FILE, CauseKind.ADAPTER_STRENGTH)
    moved = [item for item in found if item.cause.kind in adapters]
    if not moved:
        return found
    names = [[item.get("name") for item in objects(side)] for side in (before, after)]
    message = "the same adapters are applied in another order"
    cause = Cause(CauseKind.ADAPTER_FILE, message, [*names[0]], [*names[1]], moved[0].cause.node_id)
    order = Candidate(cause, None, moved[0].node_id, moved[0].is_refuted)
    return [order, *(item for item in found if item not in moved)]


def reaches_output(runs: Runs, node_id: NodeId, equal: set[Link]) -> bool:
    """Tell whether what a node gives can reach the image through outputs not shown equal."""
    users: dict[NodeId, list[Link]] = {}
    for user_id in runs.now.order:
        for value in runs.now.prompt.nodes[user_id].inputs.values():
            if isinstance(value, Link) and value not in equal:
                users.setdefault(value.node_id, []).append(Link(user_id, 0))
    output = runs.now.record.output
    if output in equal:
        return False
    seen: set[NodeId] = set()
    waiting = [node_id]
    while waiting:
        found = waiting.pop()
        if found == output.node_id:
            return True
        if found not in seen:
            seen.add(found)
            waiting += [link.node_id for link in users.get(found, ())]
    return False


def _of_change(
    runs: Runs,
    change: GraphChange,
    equal: set[Link],
    inputs: set[tuple[NodeId | None, str]],
) -> Candidate | None:
    """Name a change of the graph; nothing for the name of a file, which its digest tells."""
    node_id = change.now_id
    is_name = change.kind == "literal" and (node_id, change.input or "") in inputs
    if is_name and _text_kind(runs, node_id, change.input) is None:
        return None
    kind = _kind_of_change(runs, change)
    at = node_id if node_id is not None else _user_of_removed(runs, change)
    if at is None:
        refuted = False
    else:
        refuted = not reaches_output(runs, at, equal) or _is_refuted(runs, kind, at)
    cause = Cause(kind, _tell_change(change, kind), change.recorded, change.now, at)
    if change.kind in ("added", "removed", "replaced"):
        cause = Cause(kind, _tell_change(change, kind), *_classes(runs, change), at)
    return Candidate(_with_safe_seed(cause), _phase_of(runs, kind, at), at, refuted)


def _classes(runs: Runs, change: GraphChange) -> tuple[JsonValue, JsonValue]:
    """Give the classes of a node that was added, removed or replaced."""
    before = runs.recorded.prompt.nodes.get(change.recorded_id or NodeId(""))
    after = runs.now.prompt.nodes.get(change.now_id or NodeId(""))
    return (
        before.class_type if before is not None else None,
        after.class_type if after is not None else None,
    )


def _with_safe_seed(cause: Cause) -> Cause:
    """Show seeds as records do, as texts."""
    if cause.kind is not CauseKind.SEED:
        return cause
    recorded, now = (
        str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for value in (cause.recorded, cause.now)
    )
    return Cause(cause.kind, cause.message, recorded, now, cause.node_id, cause.remedy)


def _user_of_removed(runs: Runs, change: GraphChange) -> NodeId | None:
    """Find the node of now that took the place of a removed one's user."""
    for user_id in runs.recorded.order:
        node = runs.recorded.prompt.nodes[user_id]
        links = [value for value in node.inputs.values() if isinstance(value, Link)]
        if any(link.node_id == change.recorded_id for link in links) and user_id in runs.to_now:
            return runs.to_now[user_id]
    return None


def _text_kind(runs: Runs, node_id: NodeId | None, name: str | None) -> CauseKind | None:
    """Tell whether an input holds words of a prompt, and which."""
    for side, kind in (("positive", CauseKind.PROMPT_TEXT), ("negative", CauseKind.NEGATIVE_TEXT)):
        for pair in runs.samplings:
            for text in objects(pair.now.get(side)):
                if text.get("node_id") == node_id and text.get("input") == name:
                    return kind
    return None


def _kind_of_change(runs: Runs, change: GraphChange) -> CauseKind:
    """Tell what kind of cause a change of the graph is."""
    classes = {str(name) for name in _classes(runs, change) if name is not None}
    if change.kind in ("added", "removed", "replaced"):
        return _kind_of_nodes(runs, change, classes)
    node = runs.now.prompt.nodes[change.now_id] if change.now_id is not None else None
    name = change.input or ""
    text = _text_kind(runs, change.now_id, name)
    if text is not None:
        return text
    if node is not None and _is_controlnet(node):
        return CauseKind.CONTROLNET
    if name.startswith("strength"):
        return CauseKind.ADAPTER_STRENGTH
    is_late = change.now_id is not None and _is_after_decoding(runs, change.now_id)
    if is_late and name not in ("seed", "noise_seed"):
        return CauseKind.POST_PROCESS
    return _BY_INPUT.get(name, CauseKind.GRAPH_EDITED)


def _kind_of_nodes(runs: Runs, change: GraphChange, classes: set[str]) -> CauseKind:
    tiled = {name for name in classes if name.startswith("VAE") and "Tiled" in name}
    if tiled and change.kind == "replaced":
        return CauseKind.TILED_VAE
    side = runs.recorded if change.kind == "removed" else runs.now
    node_id = change.recorded_id if change.kind == "removed" else change.now_id
    if node_id is None or node_id not in side.prompt.nodes:
        return CauseKind.GRAPH_EDITED
    node = side.prompt.nodes[node_id]
    if _is_controlnet(node):
        return CauseKind.CONTROLNET
    if any(m.kind == "loras" and m.node_id == node_id for m in side.record.materials):
        return CauseKind.ADAPTER_FILE
    if "batch_index" in node.inputs:
        return CauseKind.BATCH
    if change.kind == "removed":
        is_late = _is_late(runs.recorded.prompt.nodes, node_id)
    else:
        is_late = _is_after_decoding(runs, node_id)
    return CauseKind.POST_PROCESS if is_late else CauseKind.GRAPH_EDITED


def _is_controlnet(node: Node) -> bool:
    return isinstance(node.inputs.get("control_net"), Link)


def _is_after_decoding(runs: Runs, node_id: NodeId) -> bool:
    return _is_late(runs.now.prompt.nodes, node_id)


def _is_late(nodes: Mapping[NodeId, Node], node_id: NodeId) -> bool:
    """Tell whether a node works on a decoded image and no sampling follows it."""
    before = _reached_up(nodes, node_id)
    decodes = any(_makes_images(nodes[found]) for found in before - {node_id})
    users = _reached_down(nodes, node_id)
    samples = any(isinstance(nodes[found].inputs.get("model"), Link) for found in users)
    return decodes and not samples


def _makes_images(node: Node) -> bool:
    has_vae = isinstance(node.inputs.get("vae"), Link) and "samples" in node.inputs
    return has_vae or ("vae" in node.inputs and isinstance(node.inputs.get("model"), Link))


def _reached_up(nodes: Mapping[NodeId, Node], node_id: NodeId) -> set[NodeId]:
    seen: set[NodeId] = set()
    waiting = [node_id]
    while waiting:
        found = waiting.pop()
        if found not in seen:
            seen.add(found)
            links = [v for v in nodes[found].inputs.values() if isinstance(v, Link)]
            waiting += [link.node_id for link in links]
    return seen


def _reached_down(nodes: Mapping[NodeId, Node], node_id: NodeId) -> set[NodeId]:
    seen = {node_id}
    growing = True
    while growing:
        new = {
            user_id
            for user_id, node in nodes.items()
            if user_id not in seen
            and any(isinstance(v, Link) and v.node_id in seen for v in node.inputs.values())
        }
        seen |= new
        growing = bool(new)
    return seen


def _tell_change(change: GraphChange, kind: CauseKind) -> str:
    place = f"node {change.now_id or change.recorded_id} ({change.class_type})"
    if kind in (CauseKind.PROMPT_TEXT, CauseKind.NEGATIVE_TEXT):
        before, after = change.recorded, change.now
        if isinstance(before, str) and isinstance(after, str):
            which = "prompt" if kind is CauseKind.PROMPT_TEXT else "negative prompt"
            return f"the {which} has other words: {describe_text_difference(before, after)}"
    if change.kind == "added":
        return f"{place} was added"
    if change.kind == "removed":
        return f"{place} was taken out"
    if change.kind == "replaced":
        return f"{place} took the place of a {_show(change.recorded)}"
    if change.kind == "link":
        return f"{place}: {change.input} is wired otherwise"
    return (
        f"{change.input} of {place} was {_show(change.recorded)} when the image was made and is "
        f"{_show(change.now)}"
    )


def _show(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def _phase_of(runs: Runs, kind: CauseKind, node_id: NodeId | None) -> Phase | None:
    if kind is CauseKind.POST_PROCESS:
        return Phase.POST_PROCESS
    if kind in _PHASES and node_id is not None:
        return _PHASES[kind]
    return None


def _is_refuted(runs: Runs, kind: CauseKind, node_id: NodeId) -> bool:
    """Tell whether the samplings show that a change of this kind changed none of them."""
    pairs = _samplings_below(runs, node_id)
    return bool(pairs) and all(_spares(pair, kind) for pair in pairs)


def _samplings_below(runs: Runs, node_id: NodeId) -> list[SamplingPair]:
    """Give the samplings that depend on a node; all of them where that is not known."""
    found: list[SamplingPair] = []
    for pair in runs.samplings:
        if pair.node_id in runs.now.prompt.nodes and node_id in upstream(
            runs.now.prompt, pair.node_id
        ):
            found.append(pair)
    return found


def _spares(pair: SamplingPair, kind: CauseKind) -> bool:
    """Tell whether one sampling shows that a change of this kind did not reach it."""
    if kind is CauseKind.SEED:
        return pair.agree("noise") and _draws_no_noise(pair)
    if kind in (CauseKind.SCHEDULER, CauseKind.STEPS, CauseKind.DENOISE):
        return pair.agree("sigmas")
    if kind is CauseKind.SAMPLER:
        return pair.agree("sampler_function") and pair.agree("sampler_options")
    if kind is CauseKind.PROMPT_TEXT:
        return same_conditioning(pair, "positive")
    if kind is CauseKind.NEGATIVE_TEXT:
        return same_conditioning(pair, "negative") or _ignores_negative(pair)
    if kind in (CauseKind.ADAPTER_FILE, CauseKind.ADAPTER_STRENGTH):
        return same_conditionings(pair) and _same_patches(pair)
    if kind is CauseKind.CONTROLNET:
        return same_conditionings(pair) and not _has_control(pair)
    return False


def _draws_no_noise(pair: SamplingPair) -> bool:
    samplers = pair.recorded.get("sampler"), pair.now.get("sampler")
    return all(isinstance(name, str) and name in _DETERMINISTIC for name in samplers)


def _ignores_negative(pair: SamplingPair) -> bool:
    """Tell whether core leaves the negative conditioning out: at a CFG of exactly 1."""
    sides = (pair.recorded, pair.now)
    return all(side.get("cfg") == 1 and "cfg_pp" not in str(side.get("sampler")) for side in sides)


def _same_patches(pair: SamplingPair) -> bool:
    return pair.agree("patches")


def _has_control(pair: SamplingPair) -> bool:
    text = str(pair.now.get("conditionings")) + str(pair.recorded.get("conditionings"))
    return "'control'" in text


def _file_candidates(runs: Runs, equal: set[Link]) -> list[Candidate]:
    """List the files that are others than the recorded ones."""
    now: dict[tuple[NodeId, str], list[Material]] = {}
    for material in runs.now.record.materials:
        now.setdefault((material.node_id, material.input), []).append(material)
    found: list[Candidate] = []
    for material in runs.recorded.record.materials:
        node_id = runs.to_now.get(material.node_id)
        if node_id is None:
            continue
        here = now.get((node_id, material.input), [])
        other = _other_file(material, here)
        if other is None or material.sha256 is None or material.sha256 == other.sha256:
            continue
        found.append(_of_file(runs, material, other, node_id, equal))
    return found


def _other_file(material: Material, here: list[Material]) -> Material | None:
    """Find the file that stands now where a material stood."""
    same_name = next((item for item in here if item.name == material.name), None)
    if any(item.sha256 == material.sha256 is not None for item in here):
        return None
    same_kind = [item for item in here if item.kind == material.kind]
    return same_name or (same_kind[0] if same_kind else here[0] if here else None)


def _of_file(
    runs: Runs, material: Material, other: Material, node_id: NodeId, equal: set[Link]
) -> Candidate:
    kind = MATERIAL_KINDS.get(material.kind, CauseKind.MODEL_FILE)
    if other.status == "missing":
        what = "is not there"
    elif other.name == material.name:
        what = "is not the one that was used: the file of this name has other content"
    else:
        what = f"was used, and now it is {other.name!r}, with other content"
    cause = Cause(
        kind,
        f"{material.kind} file {material.name!r} {what}",
        material.sha256,
        other.sha256 or other.status,
        node_id,
    )
    refuted = not reaches_output(runs, node_id, equal) or _is_refuted(runs, kind, node_id)
    if kind is CauseKind.MODEL_FILE and material.kind in ("text_encoders", "clip"):
        pairs = _samplings_below(runs, node_id)
        refuted = refuted or (bool(pairs) and all(same_conditionings(pair) for pair in pairs))
    return Candidate(cause, _PHASES.get(kind), node_id, refuted)


def _computed_candidates(runs: Runs) -> Iterator[Candidate]:
    """List the nodes that computed another value though nothing before them differs."""
    differing: set[NodeId] = set()
    for recorded_link, value in runs.recorded.computed.items():
        link = runs.link_now(recorded_link)
        if link is None or link not in runs.now.computed or runs.now.computed[link] == value:
            continue
        differing.add(link.node_id)
        changed = {change.now_id for change in runs.changes}
        above = set(upstream(runs.now.prompt, link.node_id))
        if above & changed or (differing - {link.node_id}) & above:
            continue
        cause = Cause(
            CauseKind.UNSEEDED_NODE,
            f"node {link.node_id} ({runs.now.prompt.nodes[link.node_id].class_type}) computed "
            "another value from the same inputs: no seed decides it, or it depends on something "
            "that is not recorded",
            _shown_value(value),
            _shown_value(runs.now.computed[link]),
            link.node_id,
        )
        yield Candidate(cause, Phase.INPUT, link.node_id)


def _shown_value(value: JsonValue) -> JsonValue:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
