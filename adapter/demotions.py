"""What of a graph Deterministic Mode did not reach, node by node.

What ran inside the mode says so itself (`runs`); everything else that uses a model, and
the few nodes of core that draw from a generator which nothing seeds, is listed here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import folder_paths
import nodes as comfy_nodes

from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.verdict import CauseKind
from .mode import Demotion
from .runs import Run

_MODELS: Final = ("clip", "vae")
"""Inputs of nodes that encode text, or encode and decode images, with models of their own."""

_LOADED: Final = frozenset({"MODEL", "CLIP", "VAE"})

_UNSEEDED: Final = frozenset(
    {
        "DA3Inference",
        "DA3Render",
        "SVD_img2vid_Conditioning",
        "VOIDWarpedNoise",
        "WanMoveTrackToVideo",
    }
)
"""Nodes of core that draw random numbers without a seed (0.30.0)."""

_BY_MEMORY: Final = frozenset(
    {
        "FrameInterpolate",
        "ImageUpscaleWithModel",
        "SeedVR2PostProcessing",
        "SeedVR2TemporalChunk",
    }
)
"""Nodes of core that divide their work by free memory, or again when it runs out (0.30.0)."""

_EMBEDDING: Final = re.compile(r"embedding:([^\s<\[]+)")
"""A textual inversion in a prompt text (0.30.0: comfy/sd1_clip.py)."""

_EMBEDDING_SUFFIXES: Final = ("", ".safetensors", ".pt", ".bin")


def list_demotions(prompt: Prompt, runs: Mapping[NodeId, tuple[Run, ...]]) -> list[JsonObject]:
    """List what was not pinned, in the order of the graph.

    Args:
        prompt: The graph of an image.
        runs: What its nodes reported from inside the mode, where they did.
    """
    listed: list[JsonObject] = []
    for node_id, node in prompt.nodes.items():
        found = [
            *(demotion for run in runs.get(node_id, ()) for demotion in run.demotions),
            *_demotions_of_node(node, runs.get(node_id, ())),
        ]
        listed.extend(
            {
                "node_id": node_id,
                "class_type": node.class_type,
                "kind": demotion.kind.value,
                "message": demotion.message,
            }
            for demotion in dict.fromkeys(found)
        )
    return listed


def is_pinned(run: Run) -> bool:
    """Tell whether a run was in Deterministic Mode; a sampling may only have been watched."""
    return run.entry.get("deterministic_mode") is not False


def _demotions_of_node(node: Node, runs: tuple[Run, ...]) -> Iterator[Demotion]:
    operations = {run.operation.partition("_")[0] for run in runs if is_pinned(run)}
    used = [
        name
        for name, operation in zip(_MODELS, ("text", "vae"), strict=True)
        if isinstance(node.inputs.get(name), Link) and operation not in operations
    ]
    if used and "model" not in node.inputs and not _only_hands_on(node):
        yield Demotion(
            CauseKind.MEMORY, f"uses its {' and '.join(used)} outside Deterministic Mode"
        )
    node_class = comfy_nodes.NODE_CLASS_MAPPINGS.get(node.class_type)
    if getattr(node_class, "API_NODE", False):
        yield Demotion(CauseKind.UNSEEDED_NODE, "runs on somebody else's machine")
    if node.class_type in _UNSEEDED:
        yield Demotion(CauseKind.UNSEEDED_NODE, "draws random numbers that no seed decides")
    if node.class_type in _BY_MEMORY:
        yield Demotion(CauseKind.MEMORY, "divides its work by free memory")
    yield from _embedding_demotions(node)


def _only_hands_on(node: Node) -> bool:
    """Tell whether a node gives nothing but models, and so computes nothing with them."""
    node_class: Any = comfy_nodes.NODE_CLASS_MAPPINGS.get(node.class_type)
    types = set(map(str, getattr(node_class, "RETURN_TYPES", ("?",))))
    return types <= _LOADED


def _embedding_demotions(node: Node) -> Iterator[Demotion]:
    """Name the textual inversions of which core takes whichever file comes first.

    It looks through their folders in the order of a Python set, which changes by process
    unless PYTHONHASHSEED is set (0.30.0: comfy/sd1_clip.py).
    """
    if not sys.flags.hash_randomization:
        return
    texts = [value for value in node.inputs.values() if isinstance(value, str)]
    for name in dict.fromkeys(match for text in texts for match in _EMBEDDING.findall(text)):
        if _candidates(name.rstrip(",")) > 1:
            yield Demotion(
                CauseKind.UNSEEDED_NODE,
                f"several files are called embedding {name!r}, and which one is used changes by "
                "process; rename all but one, or set PYTHONHASHSEED",
            )


def _candidates(name: str) -> int:
    """Count the files below the embedding folders that core may take for a name."""
    wanted = {Path(name + suffix).name for suffix in _EMBEDDING_SUFFIXES}
    found = {
        path.resolve()
        for folder in folder_paths.get_folder_paths("embeddings")
        for path in Path(folder).rglob("*")
        if path.name in wanted and path.is_file()
    }
    return len(found)
