"""Which files ComfyUI has loaded, as they were when it loaded them.

ComfyUI caches a loaded model by its name: replace the file while the server runs, and the
old weights go on making images. Hashing the file on disk would then name weights that made
nothing. So the identity of each file is noted when its loader may run, and a record names a
file's digest only while the file still is that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from comfy.cli_args import args

from ..src.comfyui_provenance.graph.prompt import NodeId
from ..src.comfyui_provenance.materials.cache import FileIdentity
from ..src.comfyui_provenance.record import Material
from .live_prompt import digest_run, prompt_upstream
from .materials import FileReference, find_files

_loaded: dict[tuple[str, str], FileIdentity | None] = {}
"""The files as loaded, by what their loader computes and the input that names them."""


def note_files(nodes: dict[str, Any], output_id: str) -> set[str]:
    """Note the files that a prompt is about to load, where they are not loaded already.

    Args:
        nodes: The prompt, as ComfyUI holds it.
        output_id: One of its output nodes.

    Returns:
        The nodes that load files.

    Raises:
        GraphError: The prompt has a dangling link or a cycle.
    """
    references = find_files(prompt_upstream(nodes, output_id))
    for reference in references:
        key = _key(nodes, reference)
        # Without a cache every prompt loads anew.
        if args.cache_none or key not in _loaded:
            _loaded[key] = reference.identity()
    return {reference.node_id for reference in references}


def note_load(nodes: dict[str, Any], node_id: str) -> None:
    """Note the files of a loader that ran just now."""
    for reference in find_files(prompt_upstream(nodes, node_id)):
        if reference.node_id == node_id:
            _loaded[_key(nodes, reference)] = reference.identity()


def as_loaded(nodes: dict[str, Any], materials: Sequence[Material]) -> list[Material]:
    """Take the digest from every file that is no longer the one that was loaded.

    Args:
        nodes: The running prompt.
        materials: Its files, as they are on disk now.
    """
    return [
        replace(material, status="unresolved", size_bytes=None, sha256=None)
        if _has_changed(nodes, material)
        else material
        for material in materials
    ]


def _has_changed(nodes: dict[str, Any], material: Material) -> bool:
    reference = FileReference(material.node_id, material.input, material.kind, material.name)
    key = _key(nodes, reference)
    return key in _loaded and _loaded[key] != reference.identity()


def _key(nodes: dict[str, Any], reference: FileReference) -> tuple[str, str]:
    return digest_run(nodes, NodeId(reference.node_id)), reference.input
