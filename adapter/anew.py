"""Nodes that are made to run again, so that nothing is compared with its own cached result.

A nonce on every node that does more than load models changes its cache signature. A loader may come
from the cache, while its files are the ones it loaded: it carries their digests instead.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import nodes as comfy_nodes
from comfy_execution.graph import get_input_info

from ..src.comfyui_provenance.digest import Digest
from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.files import RecordedFile
from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt
from ..src.comfyui_provenance.graph.rebuild import set_input
from ..src.comfyui_provenance.graph.trace import upstream
from ..src.comfyui_provenance.pixels import digest_pixels
from ..src.comfyui_provenance.record import Material
from .images import to_rgb
from .live_prompt import LivePrompt
from .loaded_files import is_as_loaded
from .node_classes import is_unique
from .reading import read_pixels

_NONCE: Final = "provenance_nonce"
_LOADED: Final = frozenset(
    {
        "MODEL",
        "CLIP",
        "VAE",
        "CLIP_VISION",
        "CONTROL_NET",
        "STYLE_MODEL",
        "GLIGEN",
        "UPSCALE_MODEL",
    }
)
"""Outputs of nodes that only load or patch a model: not run anew, their files are compared."""


def nodes_to_run_anew(prompt: Prompt) -> set[NodeId]:
    """Find the nodes that do more than load or patch a model, and can carry a nonce."""
    anew: set[NodeId] = set()
    for node_id, node in prompt.nodes.items():
        if not only_loads(node) and _ignores(_class_of(node), _NONCE):
            anew.add(node_id)
    return anew


def _class_of(node: Node) -> Any:
    return comfy_nodes.NODE_CLASS_MAPPINGS[node.class_type]


def only_loads(node: Node) -> bool:
    """Tell whether a node gives nothing but models."""
    return set(map(str, _class_of(node).RETURN_TYPES)) <= _LOADED


def mark(prompt: Prompt, anew: set[NodeId], materials: Sequence[Material]) -> Prompt:
    """Put a nonce on the nodes to run anew, and the digests of its files on each loader.

    A loader may come from the cache only while its files are the ones it loaded.
    """
    nonce = secrets.token_hex(16)
    marks = dict.fromkeys(anew, nonce)
    nodes = prompt.to_json()
    live = LivePrompt(lambda: nodes, nodes)
    for material in materials:
        # A model that is loaded from the very file need not be loaded twice.
        if material.node_id not in anew and not is_as_loaded(live, material):
            digest = material.sha256 or nonce
            marks[material.node_id] = f"{marks.get(material.node_id, '')}{material.input}:{digest};"
    for node_id, mark in marks.items():
        if _ignores(_class_of(prompt.nodes[node_id]), _NONCE):
            prompt = set_input(prompt, node_id, _NONCE, mark)
    return prompt


def _ignores(node_class: Any, name: str) -> bool:
    """Tell whether a class drops an input that it does not declare."""
    accepts_all = getattr(node_class, "ACCEPT_ALL_INPUTS", False)
    return not accepts_all and get_input_info(node_class, name)[1] is None


def doubt_of(
    image: RecordedFile,
    expected: Digest,
    prompt: Prompt,
    materials: Sequence[Material],
    anew: set[NodeId],
) -> str | None:
    """Say why running a graph would not show that it makes the image, if it would not."""
    if not anew:
        return "no node of this graph can be made to run again, so nothing was shown"
    files = {material.node_id for material in materials}
    for node_id, node in prompt.nodes.items():
        if not anew.isdisjoint(upstream(prompt, node_id)) or is_unique(_class_of(node)):
            continue
        # What is left may come from the cache. That is no harm to a loader alone, unless it
        # cannot be marked with the digests of its files.
        sources = any(isinstance(value, Link) for value in node.inputs.values())
        unmarked = not _ignores(_class_of(node), _NONCE) and (node_id in files or not sources)
        if unmarked or not only_loads(node):
            return f"node {node_id} ({node.class_type}) cannot be made to run again"
    for material in materials:
        if material.kind == "input" and _holds(material, image.sha256, expected):
            return f"the graph loads the image itself ({material.name}), so nothing was shown"
    return None


def _holds(material: Material, sha256: str, expected: Digest) -> bool:
    """Tell whether an input file is an image, or has its pixels."""
    if material.sha256 == sha256:
        return True
    try:
        return digest_pixels(to_rgb(read_pixels(material.name))) == expected
    except (ProvenanceError, OSError, ValueError):
        return False
