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
from ..src.comfyui_provenance.graph.samplings import is_sampling
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.verdict import CauseKind
from .mode import Demotion
from .node_classes import output_types
from .pinning import OPERATION as PIN_OPERATION
from .runs import Run

_USES: Final[Mapping[str, str]] = {
    "CLIP": "text",
    "VAE": "vae",
    "MODEL": "sample",
    "AUDIO_ENCODER": "",
    "CLIP_VISION": "",
    "LATENT_UPSCALE_MODEL": "",
    "STYLE_MODEL": "",
    "UPSCALE_MODEL": "",
}
"""Types of models that nodes compute with, and how the operation of a pinned use begins."""

_PINNABLE: Final = ("CLIP", "VAE")
"""Types whose objects are pinned wherever they are used; a model only where a guider samples."""

_SAMPLED: Final = frozenset({"IMAGE", "LATENT"})
"""What a node gives that samples a model by itself."""

_MADE: Final = frozenset(
    {
        "AUDIO",
        "AUDIO_ENCODER_OUTPUT",
        "CLIP_VISION_OUTPUT",
        "CONDITIONING",
        "IMAGE",
        "LATENT",
        "MASK",
        "STRING",
    }
)
"""Types of what a use of a model gives; other outputs are models, or hold one for later."""

_BY_NAME: Final[Mapping[str, str]] = {"clip": "CLIP", "vae": "VAE", "model": "MODEL"}
"""Types of inputs that their source does not tell."""

_FOLLOWED: Final = 64
"""Nodes to go back through in search of where a model was pinned."""

_NO_SAMPLING: Final = frozenset({"ARVideoI2V", "AddNoise", "WanInfiniteTalkToVideo"})
"""Nodes of core that take a model, give a latent and do not sample (0.30.0)."""

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
        own = runs.get(node_id, ())
        found = [
            *(demotion for run in own for demotion in run.demotions),
            *_uses_outside(prompt, node, own, runs),
            *demotions_of_class(node.class_type),
            *_embedding_demotions(node),
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


def is_pinned_at(prompt: Prompt, value: Any, runs: Mapping[NodeId, tuple[Run, ...]]) -> bool:
    """Tell whether a model comes from a Deterministic Mode node that pinned it.

    It may come through nodes that take a model of its type and give one, such as a LoRA.
    """
    for _ in range(_FOLLOWED):
        if not isinstance(value, Link):
            return False
        kind = _type_at(prompt, value)
        for run in runs.get(value.node_id, ()):
            if run.operation == PIN_OPERATION:
                pinned = run.entry.get("pinned")
                return isinstance(pinned, list) and kind in pinned
        inputs = prompt.nodes[value.node_id].inputs
        value = next(
            (
                source
                for name, source in inputs.items()
                if isinstance(source, Link) and _type_of(prompt, name, source) == kind
            ),
            None,
        )
    return False


def _uses_outside(
    prompt: Prompt,
    node: Node,
    own: tuple[Run, ...],
    runs: Mapping[NodeId, tuple[Run, ...]],
) -> Iterator[Demotion]:
    """Name the models that a node computes with and that were not pinned."""
    made = _MADE.intersection(output_types(node.class_type))
    if not made:
        return
    operations = {run.operation.partition("_")[0] for run in own if _is_pinned(run)}
    used: list[str] = []
    for name, value in node.inputs.items():
        if not isinstance(value, Link):
            continue
        kind = _type_of(prompt, name, value)
        if kind not in _USES or _USES[kind] in operations:
            continue
        if kind == "MODEL":
            # A sampler that reported nothing is told elsewhere, with what the graph says of it.
            told = is_sampling(node) or node.class_type in _NO_SAMPLING
            outside = not told and bool(_SAMPLED.intersection(made))
        else:
            outside = kind not in _PINNABLE or not is_pinned_at(prompt, value, runs)
        if outside:
            used.append(name)
    if used:
        yield Demotion(
            CauseKind.MEMORY, f"uses its {' and '.join(used)} outside Deterministic Mode"
        )


def _is_pinned(run: Run) -> bool:
    """Tell whether a run was in Deterministic Mode; a sampling may only have been watched."""
    return run.entry.get("deterministic_mode") is not False


def _type_of(prompt: Prompt, name: str, link: Link) -> str:
    """Give the type of a link, by its source, else by the name of the input."""
    kind = _type_at(prompt, link)
    return kind if kind in _USES else _BY_NAME.get(name, kind)


def _type_at(prompt: Prompt, link: Link) -> str:
    """Give the type of an output, as its class declares it."""
    types = output_types(prompt.nodes[link.node_id].class_type)
    return types[link.slot] if 0 <= link.slot < len(types) else ""


def demotions_of_class(class_type: str) -> Iterator[Demotion]:
    """Say what is known of a class, whatever graph it is in."""
    node_class = comfy_nodes.NODE_CLASS_MAPPINGS.get(class_type)
    if getattr(node_class, "API_NODE", False):
        yield Demotion(CauseKind.UNSEEDED_NODE, "runs on somebody else's machine")
    if class_type in _UNSEEDED:
        yield Demotion(CauseKind.UNSEEDED_NODE, "draws random numbers that no seed decides")
    if class_type in _BY_MEMORY:
        yield Demotion(CauseKind.MEMORY, "divides its work by free memory")


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
                CauseKind.NODE_PACK,
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
