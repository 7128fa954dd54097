"""What kind of cause a change of the graph is, by the names of inputs and by where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..canonical import JsonValue
from ..graph.difference import GraphChange
from ..graph.prompt import Link, Node, NodeId
from ..verdict import CauseKind
from .points import Phase
from .sides import Runs, objects

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

PHASES: Final[Mapping[CauseKind, Phase]] = {
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


def text_kind(runs: Runs, node_id: NodeId | None, name: str | None) -> CauseKind | None:
    """Tell whether an input holds words of a prompt, and which."""
    for side, kind in (("positive", CauseKind.PROMPT_TEXT), ("negative", CauseKind.NEGATIVE_TEXT)):
        for pair in runs.samplings:
            for text in objects(pair.now.get(side)):
                if text.get("node_id") == node_id and text.get("input") == name:
                    return kind
    return None


def kind_of_change(runs: Runs, change: GraphChange) -> CauseKind:
    """Tell what kind of cause a change of the graph is."""
    classes = {str(name) for name in classes_of(runs, change) if name is not None}
    if change.kind in ("added", "removed", "replaced"):
        return _kind_of_nodes(runs, change, classes)
    node = runs.now.prompt.nodes[change.now_id] if change.now_id is not None else None
    name = change.input or ""
    text = text_kind(runs, change.now_id, name)
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


def classes_of(runs: Runs, change: GraphChange) -> tuple[JsonValue, JsonValue]:
    """Give the classes of a node that was added, removed or replaced."""
    before = runs.recorded.prompt.nodes.get(change.recorded_id or NodeId(""))
    after = runs.now.prompt.nodes.get(change.now_id or NodeId(""))
    return (
        before.class_type if before is not None else None,
        after.class_type if after is not None else None,
    )


def phase_of(kind: CauseKind, node_id: NodeId | None) -> Phase | None:
    """Tell what of a run a change of some kind can reach first; `None` for anything."""
    if kind is CauseKind.POST_PROCESS:
        return Phase.POST_PROCESS
    if kind in PHASES and node_id is not None:
        return PHASES[kind]
    return None
