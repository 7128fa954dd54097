"""The files that a graph refers to, found through what its nodes declare.

An input names a file when its class declares it as a choice and the value is a file
name of one of ComfyUI's registered model folders, or when it is an upload into the
input folder. No class is named here, so a loader never seen before works.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import folder_paths

from ..src.comfyui_provenance.graph.prompt import Node, NodeId, Prompt
from ..src.comfyui_provenance.graph.samplings import resolve
from ..src.comfyui_provenance.materials.cache import DigestCache, FileIdentity, identify
from ..src.comfyui_provenance.record import Material
from .node_classes import declared_inputs

_NOT_MODELS: Final = frozenset({"custom_nodes", "datasets", "configs"})
"""Registered folders whose files are code or settings."""

_UPLOADS: Final = ("image_upload", "video_upload", "audio_upload", "file_upload")

_cache = DigestCache()


@dataclass(frozen=True, slots=True)
class FileReference:
    """An input that names a file.

    Attributes:
        node_id: The node.
        input: The input of that node.
        kind: ComfyUI's folder type, or `input`.
        name: As the graph names it.
    """

    node_id: NodeId
    input: str
    kind: str
    name: str

    def path(self) -> Path | None:
        """Resolve the name as ComfyUI does, below the folder of its kind."""
        if self.kind != "input":
            found = folder_paths.get_full_path(self.kind, self.name)
            return Path(found) if found is not None else None
        if not folder_paths.exists_annotated_filepath(self.name):
            return None
        return Path(folder_paths.get_annotated_filepath(self.name))

    def identity(self) -> FileIdentity | None:
        """Give the identity that the file has now; `None` if there is none to be read."""
        path = self.path()
        try:
            return identify(path) if path is not None else None
        except OSError:
            return None


def find_files(prompt: Prompt) -> list[FileReference]:
    """List every input of a graph that names a file.

    Args:
        prompt: Pruned to what the image depends on; classes not installed are passed over.
    """
    folders = _list_folders()
    return [
        FileReference(node_id, name, kind, value)
        for node_id, node in prompt.nodes.items()
        for name, value, declared in _declared_values(prompt, node)
        if (kind := _kind(value, *declared, folders)) is not None
    ]


def list_materials(prompt: Prompt) -> list[Material]:
    """List every file that a graph refers to, hashed as it is on disk now."""
    return [_measure(reference) for reference in find_files(prompt)]


def _declared_values(
    prompt: Prompt, node: Node
) -> Iterator[tuple[str, str, tuple[Any, dict[str, Any]]]]:
    """Yield the texts given to a node, each with what its class declares of that input."""
    declared = declared_inputs(node.class_type)
    for name in node.inputs:
        if name not in declared:
            continue
        value = resolve(prompt, node.inputs[name])
        if isinstance(value, str):
            yield name, value, declared[name]


def _list_folders() -> dict[str, frozenset[str]]:
    """Give the file names of each of ComfyUI's model folders, by folder type."""
    return {
        kind: frozenset(folder_paths.get_filename_list(kind))
        for kind in sorted(folder_paths.folder_names_and_paths.keys() - _NOT_MODELS)
    }


def _kind(
    value: str, input_type: Any, options: dict[str, Any], folders: dict[str, frozenset[str]]
) -> str | None:
    """Tell what kind of file a value names, or that it names none."""
    if any(options.get(upload) for upload in _UPLOADS):
        return "input"
    choices = input_type if isinstance(input_type, list) else options.get("options")
    if not isinstance(choices, list):
        return None
    holding = {kind: files for kind, files in folders.items() if value in files}
    if not holding and value in choices:
        return None  # a choice that is no file, as nearly all are
    choices = {choice for choice in choices if isinstance(choice, str)}
    # Several folders can hold a file of one name: the declared choices tell which is meant.
    # A name that is neither here nor a choice is a missing file of such a folder.
    distances = {
        kind: len(files ^ choices)
        for kind, files in (holding or folders).items()
        if not files.isdisjoint(choices)
    }
    return min(distances, key=lambda kind: distances[kind]) if distances else None


def _measure(reference: FileReference) -> Material:
    place = (reference.kind, reference.name, reference.node_id, reference.input)
    path = reference.path()
    if path is None:
        return Material(*place, "missing")
    try:
        identity, digest = _cache.digest(path)
    except OSError:
        return Material(*place, "unresolved")
    if digest is None:
        return Material(*place, "unresolved", identity.size_bytes)
    return Material(*place, "hashed", identity.size_bytes, digest.hex)
