"""The files that a graph refers to, found through what its nodes declare.

An input names a file when its class declares it as a choice and the value is a file name of
one of ComfyUI's registered model folders, when it is a text that is exactly such a name, or
when it is a file of the input folder. No class is named here, so a loader never seen before
works. Prompt texts name textual inversions besides, and core's loaders keep the path of what
they read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

import comfy.sd1_clip
import folder_paths

from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt
from ..src.comfyui_provenance.graph.samplings import resolve
from ..src.comfyui_provenance.materials.cache import FileIdentity, identify
from .node_classes import Declared, declared_inputs, output_types

_NOT_MODELS: Final = frozenset({"custom_nodes", "datasets"})
"""Registered folders whose files are no part of what makes an image."""

_UPLOADS: Final = ("image_upload", "video_upload", "audio_upload", "file_upload")

_SWITCHES: Final = ("on", "enabled", "active")
"""Entries of an object by which packs switch a file off that it names."""

_MODELS: Final = frozenset({"MODEL", "CLIP", "VAE", "CONTROL_NET"})
"""What a loader gives and does not take."""

_PLAIN: Final = frozenset({"BOOLEAN", "COMBO", "FLOAT", "INT", "STRING"})
"""Types of links that carry no model."""

_NAME_CHARS: Final = 1024
"""Of a text that may be a file's name."""

_EMBEDDING: Final = "embedding:"
_EMBEDDING_SUFFIXES: Final = ("", ".safetensors", ".pt", ".bin")
_PAIRED: Final = ("_encoder.", "_decoder.")
"""How the two files go on that core loads for one name of a small autoencoder."""


@dataclass(frozen=True, slots=True)
class FileReference:
    """An input that names a file.

    Attributes:
        node_id: The node.
        input: The input of that node; empty where none names the file.
        kind: ComfyUI's folder type, or `input`.
        name: Below the folder of its kind, as the graph names it where that is a file's name.
        file: Where the file is, if its name alone does not tell.
    """

    node_id: NodeId
    input: str
    kind: str
    name: str
    file: Path | None = None

    def path(self) -> Path | None:
        """Resolve the name as ComfyUI does, below the folder of its kind."""
        if self.file is not None:
            return self.file
        if self.kind == "input":
            return _input_path(self.name)
        found = folder_paths.get_full_path(self.kind, self.name)
        return Path(found) if found is not None else None

    def identity(self) -> FileIdentity | None:
        """Give the identity that the file has now; `None` if there is none to be read."""
        path = self.path()
        try:
            return identify(path) if path is not None else None
        except OSError:
            return None


def find_files(
    prompt: Prompt, seen: Mapping[NodeId, Sequence[Path]] | None = None
) -> list[FileReference]:
    """List the files that a graph refers to, in its order.

    Args:
        prompt: Pruned to what the image depends on, with the values that its nodes computed;
            classes not installed are passed over.
        seen: What core's loaders are known to have read, by node.
    """
    folders = _list_folders()
    return [
        reference
        for node_id in prompt.nodes
        for reference in _files_of(prompt, node_id, folders, (seen or {}).get(node_id, ()))
    ]


def find_files_of(prompt: Prompt, node_id: NodeId, seen: Sequence[Path]) -> list[FileReference]:
    """List the files that one node of a graph refers to; see `find_files`."""
    return _files_of(prompt, node_id, _list_folders(), seen)


def _files_of(
    prompt: Prompt,
    node_id: NodeId,
    folders: Mapping[str, frozenset[str]],
    seen: Sequence[Path],
) -> list[FileReference]:
    node = prompt.nodes[node_id]
    named = [*dict.fromkeys(_named_files(prompt, node_id, node, folders))]
    if seen and _loads(prompt, node):
        return [*dict.fromkeys(_as_seen(node_id, named, seen))]
    return named


def _named_files(
    prompt: Prompt, node_id: NodeId, node: Node, folders: Mapping[str, frozenset[str]]
) -> Iterator[FileReference]:
    declared = declared_inputs(node.class_type)
    for name, given in node.inputs.items():
        if name not in declared:
            continue
        value = resolve(prompt, given)
        for text in _texts(value):
            kind = _kind(text, declared[name], f"{name} {node.class_type}".lower(), folders)
            if kind is not None:
                yield FileReference(node_id, name, kind, text)
            elif not isinstance(value, str):
                continue
            elif _EMBEDDING in text and _encodes_text(prompt, node):
                yield from _embeddings(node_id, name, text)
            else:
                yield from _paired(node_id, name, text, declared[name])


def _texts(value: Any) -> Iterator[str]:
    """Yield a text, or those of an object or a list that are not switched off."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict) and not any(value.get(name) is False for name in _SWITCHES):
        for item in value.values():
            yield from _texts(item)


def _list_folders() -> dict[str, frozenset[str]]:
    """Give the file names of each of ComfyUI's model folders, by folder type."""
    return {
        kind: frozenset(folder_paths.get_filename_list(kind))
        for kind in sorted(folder_paths.folder_names_and_paths.keys() - _NOT_MODELS)
    }


def _kind(
    value: str, declared: Declared, hint: str, folders: Mapping[str, frozenset[str]]
) -> str | None:
    """Tell what kind of file a value names, or that it names none."""
    if any(declared.options.get(upload) for upload in _UPLOADS):
        return "input"
    choices = declared.choices
    if choices is None:
        return _kind_of_text(value, hint, folders)
    holding = {kind: files for kind, files in folders.items() if value in files}
    if not holding and (value in choices or not choices):
        # A choice that is no file, as nearly all are; or one of the input folder's.
        return "input" if PurePath(value).suffix and _input_path(value) is not None else None
    # Several folders can hold a file of one name: the declared choices tell which is meant.
    # A name that is neither here nor a choice is a missing file of such a folder.
    distances = {
        kind: len(files ^ choices)
        for kind, files in (holding or folders).items()
        if not files.isdisjoint(choices)
    }
    return min(distances, key=lambda kind: distances[kind]) if distances else None


def _kind_of_text(value: str, hint: str, folders: Mapping[str, frozenset[str]]) -> str | None:
    """Tell what file a text names that is exactly a file's name."""
    if len(value) > _NAME_CHARS or not PurePath(value).suffix or "\n" in value:
        return None
    holding = [kind for kind, files in folders.items() if value in files]
    if holding:
        # The input's own words tell between folders: `lora_name` means the one of `loras`.
        return next((kind for kind in holding if kind.rstrip("s") in hint), holding[0])
    return "input" if _input_path(value) is not None else None


def _input_path(name: str) -> Path | None:
    """Find a file of the input folder, or of the one that its annotation names."""
    try:
        if not folder_paths.exists_annotated_filepath(name):
            return None
        path = Path(folder_paths.get_annotated_filepath(name))
    except (OSError, ValueError):
        return None
    return path if path.is_file() else None


def _paired(node_id: NodeId, name: str, value: str, declared: Declared) -> Iterator[FileReference]:
    """Name the files of a small autoencoder, of which core loads two for one name."""
    if declared.choices is None or value not in declared.choices:
        return
    if "vae_approx" not in folder_paths.folder_names_and_paths:
        return
    listed = folder_paths.get_filename_list("vae_approx")
    for part in _PAIRED:
        # The first one, as core takes it.
        file = next((file for file in listed if file.startswith(value + part)), None)
        if file is not None:
            yield FileReference(node_id, name, "vae_approx", file)


def _encodes_text(prompt: Prompt, node: Node) -> bool:
    """Tell whether a node has a text encoder."""
    return any(
        isinstance(value, Link) and (name.startswith("clip") or _type_at(prompt, value) == "CLIP")
        for name, value in node.inputs.items()
    )


def _embeddings(node_id: NodeId, name: str, text: str) -> Iterator[FileReference]:
    """Name the textual inversions that core's tokenizer takes from a prompt text."""
    parsed = comfy.sd1_clip.token_weights(comfy.sd1_clip.escape_important(text), 1.0)
    weighted = [comfy.sd1_clip.unescape_important(part) for part, _ in parsed]
    found = {word: find_embedding(word) for part in weighted for word in _embedding_names(part)}
    # A text encoder that knows no weights takes the text as it is.
    for word in _embedding_names(text):
        path = find_embedding(word)
        if path is not None:
            found.setdefault(word, path)
    for word, path in found.items():
        place = _below_folder("embeddings", path) if path is not None else word
        yield FileReference(node_id, name, "embeddings", place, path)


def _embedding_names(text: str) -> Iterator[str]:
    """Give the names in a text, cut out as core's tokenizer does (0.30.0: comfy/sd1_clip.py)."""
    for position, part in enumerate(re.split(rf"(?<=\s){_EMBEDDING}", text)):
        if position == 0 and not part.startswith(_EMBEDDING):
            continue
        words = (part.removeprefix(_EMBEDDING) if position == 0 else part).split()
        name = re.split(r"[<\[]", words[0], maxsplit=1)[0] if words else ""
        if name:
            yield name


def find_embedding(name: str) -> Path | None:
    """Find the file that core loads for the name of a textual inversion in this process.

    Core looks through the folders in the order of a set, which differs by process; its own
    function, called with the same folders, gives the same order here.
    """
    if "embeddings" not in folder_paths.folder_names_and_paths:
        return None
    folders = comfy.sd1_clip.expand_directory_list(folder_paths.get_folder_paths("embeddings"))
    for wanted in dict.fromkeys((name, name.strip(","))):
        for folder in folders:
            inside = Path(os.path.normpath(folder)).absolute()
            # By names, as core compares them: a link may lead elsewhere.
            place = Path(os.path.normpath(inside / wanted))
            if inside not in place.parents:
                continue
            for suffix in _EMBEDDING_SUFFIXES:
                file = place.with_name(place.name + suffix)
                if file.is_file():
                    return file
    return None


def _below_folder(kind: str, path: Path) -> str:
    """Give a file's name below one of the folders of a kind."""
    folders = [Path(folder) for folder in folder_paths.get_folder_paths(kind)]
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name


def _loads(prompt: Prompt, node: Node) -> bool:
    """Tell whether a node gives models and can take none.

    A link of any other than a plain type may carry a model: switches and pipes do.
    """
    if _MODELS.isdisjoint(output_types(node.class_type)):
        return False
    declared = declared_inputs(node.class_type)
    takes = {declared[name].type for name in node.inputs if name in declared}
    links = [value for value in node.inputs.values() if isinstance(value, Link)]
    return _MODELS.isdisjoint(takes) and all(_type_at(prompt, link) in _PLAIN for link in links)


def _as_seen(
    node_id: NodeId, named: Sequence[FileReference], seen: Sequence[Path]
) -> Iterator[FileReference]:
    """Set right what a loader's inputs seem to name by what it was seen reading."""
    left = dict.fromkeys(path.absolute() for path in seen)
    paths = {reference: reference.path() for reference in named}
    for path in paths.values():
        if path is not None:
            left.pop(path.absolute(), None)
    for reference, path in paths.items():
        name = PurePath(reference.name).name
        elsewhere = [file for file in left if file.name == name]
        if path is None and len(elsewhere) == 1:
            del left[elsewhere[0]]  # a file of this name in another folder
            yield _reference_to(node_id, elsewhere[0])
        else:
            yield reference
    for file in left:
        yield _reference_to(node_id, file)


def _reference_to(node_id: NodeId, file: Path) -> FileReference:
    """Name a file by the model folder that it is in."""
    for kind in sorted(folder_paths.folder_names_and_paths.keys() - _NOT_MODELS):
        folders = folder_paths.get_folder_paths(kind)
        if any(file.is_relative_to(Path(folder).absolute()) for folder in folders):
            return FileReference(node_id, "", kind, _below_folder(kind, file), file)
    return FileReference(node_id, "", "other", file.name, file)


def _type_at(prompt: Prompt, link: Link) -> str:
    types = output_types(prompt.nodes[link.node_id].class_type)
    return types[link.slot] if 0 <= link.slot < len(types) else ""
