"""The files that a graph refers to, found through what its nodes declare.

An input names a file when its class declares it as a choice and the value is a file
name of one of ComfyUI's registered model folders, or when it is an upload into the
input folder. No class is named here, so a loader never seen before works.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import folder_paths
import nodes as comfy_nodes

from ..src.comfyui_provenance.graph.prompt import NodeId, Prompt
from ..src.comfyui_provenance.materials.cache import DigestCache
from ..src.comfyui_provenance.record import Material

_NOT_MODELS: Final = frozenset({"custom_nodes", "datasets", "configs"})
"""Registered folders whose files are code or settings."""

_UPLOADS: Final = ("image_upload", "video_upload", "audio_upload", "file_upload")

_cache = DigestCache()


def list_materials(prompt: Prompt) -> list[Material]:
    """List every file that a graph refers to, hashed as it is on disk now.

    Args:
        prompt: Pruned to what the image depends on; classes not installed are passed over.
    """
    return [
        _measure(kind, name, node_id, input_name)
        for node_id, node in prompt.nodes.items()
        for input_name, kind, name in _references(node_id, prompt)
    ]


def _references(node_id: NodeId, prompt: Prompt) -> Iterator[tuple[str, str, str]]:
    """Yield the inputs of a node that name a file, with its kind and name."""
    node = prompt.nodes[node_id]
    declared = _declared_inputs(node.class_type)
    for name, value in node.inputs.items():
        if isinstance(value, str) and name in declared:
            kind = _kind(value, *declared[name])
            if kind is not None:
                yield name, kind, value


def _declared_inputs(class_type: str) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Give the type and options of each input that a class declares."""
    node_class = comfy_nodes.NODE_CLASS_MAPPINGS.get(class_type)
    if node_class is None:
        return {}
    declared = node_class.INPUT_TYPES()
    inputs = {**declared.get("required", {}), **declared.get("optional", {})}
    return {
        name: (entry[0], entry[1] if len(entry) > 1 and isinstance(entry[1], dict) else {})
        for name, entry in inputs.items()
        if isinstance(entry, (tuple, list)) and entry
    }


def _kind(value: str, input_type: Any, options: dict[str, Any]) -> str | None:
    """Tell what kind of file a value names, or that it names none."""
    if any(options.get(upload) for upload in _UPLOADS):
        return "input"
    choices = input_type if isinstance(input_type, list) else options.get("options")
    if not isinstance(choices, list):
        return None
    distances: dict[str, int] = {}
    for kind in folder_paths.folder_names_and_paths.keys() - _NOT_MODELS:
        files = set(folder_paths.get_filename_list(kind))
        if files & set(choices):
            distances[kind] = len(files ^ set(choices))
    if not distances:
        return None
    # Several folders can hold a file of one name: the declared choices tell which is meant.
    kind = min(distances, key=lambda kind: (distances[kind], kind))
    is_file = value in folder_paths.get_filename_list(kind)
    return kind if is_file or value not in choices else None


def _measure(kind: str, name: str, node_id: NodeId, input_name: str) -> Material:
    path = _path(kind, name)
    if path is None:
        return Material(kind, name, node_id, input_name, "missing")
    try:
        identity, digest = _cache.digest(path)
    except OSError:
        return Material(kind, name, node_id, input_name, "unresolved")
    if digest is None:
        return Material(kind, name, node_id, input_name, "unresolved", identity.size_bytes)
    return Material(kind, name, node_id, input_name, "hashed", identity.size_bytes, digest.hex)


def _path(kind: str, name: str) -> Path | None:
    """Resolve a name as ComfyUI does, below the folder of its kind."""
    if kind != "input":
        found = folder_paths.get_full_path(kind, name)
        return Path(found) if found is not None else None
    if not folder_paths.exists_annotated_filepath(name):
        return None
    return Path(folder_paths.get_annotated_filepath(name))
