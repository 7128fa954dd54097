"""Where the files of a recorded graph are on this server now."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import folder_paths
import nodes as comfy_nodes
from comfy_api.internal import first_real_override

from ..src.comfyui_provenance.embedding_words import is_word, owned_words, rename_words
from ..src.comfyui_provenance.graph.prompt import Link, Node, Prompt
from ..src.comfyui_provenance.graph.rebuild import set_input, with_values
from ..src.comfyui_provenance.graph.samplings import resolve
from ..src.comfyui_provenance.materials.cache import FileIdentity, identify
from ..src.comfyui_provenance.preflight import PlacedMaterial, State
from ..src.comfyui_provenance.record import JsonValue, Material
from .digests import Patience
from .materials import FileReference, find_embedding, find_files_of
from .model_search import FileSearch, Found
from .node_classes import declared_inputs

_EMBEDDINGS: Final = "embeddings"
_OUTSIDE: Final = "other"
_PART: Final = re.compile(r"_(?:encoder|decoder)\.")
"""How the names of the two files go on that core loads for one name of a small autoencoder."""


def locate(
    prompt: Prompt,
    materials: Sequence[Material],
    patience: Patience,
    values: Mapping[Link, JsonValue] | None = None,
) -> list[PlacedMaterial]:
    """Tell where each recorded file of a graph is now.

    Files of nodes that are not in the graph, and those that were missing when it was recorded
    and still are, are left out.

    Args:
        prompt: The recorded graph.
        materials: Its files, as recorded.
        patience: How long to wait for digests.
        values: What its nodes computed, as recorded.
    """
    locator = _Locator(prompt, with_values(prompt, values or {}), materials, FileSearch(patience))
    found = (locator.place(material) for material in materials if material.node_id in prompt.nodes)
    return [placed for placed in found if placed is not None]


def words_of(text: str, material: Material, materials: Sequence[Material]) -> list[str]:
    """List the words of a prompt text that name a recorded textual inversion."""
    place = material.kind, material.node_id, material.input
    names = (item.name for item in materials if (item.kind, item.node_id, item.input) == place)
    return owned_words(text, material.name, names)


@dataclass(frozen=True, slots=True)
class _Locator:
    """Looks for the files of one graph.

    Attributes:
        prompt: The graph.
        as_read: The same with what nodes computed.
        materials: All of its files.
        search: Where to look.
    """

    prompt: Prompt
    as_read: Prompt
    materials: Sequence[Material]
    search: FileSearch

    def place(self, material: Material) -> PlacedMaterial | None:
        """Tell where one file is; nothing where there is nothing to say."""
        if material.kind == _OUTSIDE:
            return _unknown(material, "it was read outside of ComfyUI's folders")
        if not material.input:
            return self._place_fixed(material, material.name)
        given = self.as_read.nodes[material.node_id].inputs.get(material.input)
        value = resolve(self.as_read, given)
        if _holds(value, material.name):
            return self._place(material, _path_of(material, material.name), self._search)
        if material.kind == _EMBEDDINGS:
            return self._place_words(material)
        paired = _paired_name(value, material)
        if paired is not None:
            return self._place_fixed(material, paired)
        return _unknown(material, "the graph does not name it any more")

    def _place_fixed(self, material: Material, name: str) -> PlacedMaterial | None:
        """Place a file that no input names, so that it cannot be put under another name."""
        return self._place(material, _path_of(material, name), lambda _: Found())

    def _place_words(self, material: Material) -> PlacedMaterial | None:
        """Place a textual inversion, which words of a prompt text name."""
        text = resolve(self.prompt, self.prompt.nodes[material.node_id].inputs.get(material.input))
        if not isinstance(text, str):
            return _unknown(material, "another node computes the words that name it")
        words = words_of(text, material, self.materials)
        if not words:
            return _unknown(material, "the words do not name it in a form that can be read")

        def search(wanted: Material) -> Found:
            return self._search_word(wanted, text, words)

        found = [self._place(material, find_embedding(word), search) for word in words]
        return next(
            (item for item in found if item is None or item.state is not State.HERE), found[0]
        )

    def _place(
        self, material: Material, path: Path | None, search: Callable[[Material], Found]
    ) -> PlacedMaterial | None:
        """Compare the file that ComfyUI would read now with the recorded one, else look for it."""
        identity = _identity_of(path)
        if material.sha256 is None:
            if identity is None:
                was_there = material.status != State.MISSING
                return PlacedMaterial(material, State.MISSING) if was_there else None
            return _unknown(material, "no digest of it is recorded")
        state, is_pending = self._compare(material, identity)
        if state in (State.HERE, State.UNKNOWN):
            return PlacedMaterial(material, state, is_pending=is_pending)
        found = search(material)
        if found.is_pending:
            return PlacedMaterial(material, State.UNKNOWN, is_pending=True)
        if found.name is not None:
            return PlacedMaterial(material, State.ELSEWHERE, found.name, found.note)
        return self._place_lost(material, state)

    def _compare(self, material: Material, identity: FileIdentity | None) -> tuple[State, bool]:
        """Tell what file this is, or that it is still being hashed."""
        if identity is None:
            return State.MISSING, False
        if material.size_bytes not in (None, identity.size_bytes):
            return State.OTHER, False
        digests, is_pending = self.search.digests(identity, material.kind)
        if digests is None:
            return State.UNKNOWN, is_pending
        return (State.HERE if digests.sha256 == material.sha256 else State.OTHER), False

    def _search(self, material: Material) -> Found:
        """Look for a file among those that its node's input takes."""
        node = self.prompt.nodes[material.node_id]
        choices = _choices(node, material.input)

        def is_choice(name: str) -> bool:
            return choices is None or name in choices

        def is_taken(name: str) -> bool:
            return is_choice(name) or _validates(node, material.input)

        found = self.search.find_by_digest(material, is_taken)
        if choices is not None and not found:
            # A loader may list several folders; a name of its own one would hide the other.
            found = self.search.find_in_other_kinds(
                material, lambda name: is_choice(name) and _path_of(material, name) is None
            )
        if material.pixels is not None and not found:
            found = self.search.find_by_pixels(material, is_taken)
        return found

    def _search_word(self, material: Material, text: str, words: Sequence[str]) -> Found:
        """Look for a textual inversion whose name the tokenizer will cut out of the text."""

        def is_read(name: str) -> bool:
            """Tell whether ComfyUI reads that very file for the name, in that text."""
            path = _path_of(material, name)
            if not is_word(_to_word(name)) or path is None:
                return False
            changed = rename_words(text, dict.fromkeys(words, _to_word(name)))
            prompt = set_input(self.prompt, material.node_id, material.input, changed)
            read = (found.path() for found in find_files_of(prompt, material.node_id, ()))
            return any(file is not None and file.samefile(path) for file in read)

        found = self.search.find_by_digest(material, is_read)
        if found.name is None:
            return found
        note = "the words of the prompt name it anew"
        return replace(found, name=_to_word(found.name), note=note)

    def _place_lost(self, material: Material, state: State) -> PlacedMaterial:
        """Place a file that cannot be used, and say where it lies all the same."""
        found = self.search.find_by_digest(material, _any_name)
        found = found or self.search.find_in_other_kinds(material, _any_name)
        if found.is_pending:
            return PlacedMaterial(material, State.UNKNOWN, is_pending=True)
        if found.name is None:
            return PlacedMaterial(material, state)
        note = f"it is here as {found.name!r} in the folder of {found.kind}, and this node cannot"
        return PlacedMaterial(material, state, note=f"{note} be given it there")


def _any_name(_: str) -> bool:
    return True


def _unknown(material: Material, note: str) -> PlacedMaterial:
    return PlacedMaterial(material, State.UNKNOWN, note=note)


def _to_word(name: str) -> str:
    """Write a file's name as in a prompt text, where a backslash stands before a bracket."""
    return name.replace("\\", "/")


def _path_of(material: Material, name: str) -> Path | None:
    """Resolve a name as ComfyUI does for the folder of a file's kind."""
    return FileReference(material.node_id, material.input, material.kind, name).path()


def _identity_of(path: Path | None) -> FileIdentity | None:
    try:
        return identify(path) if path is not None else None
    except OSError:
        return None


def _holds(value: JsonValue, name: str) -> bool:
    """Tell whether a value is a name, or a list or an object that holds it."""
    if isinstance(value, list):
        return any(_holds(item, name) for item in value)
    if isinstance(value, dict):
        return any(_holds(item, name) for item in value.values())
    return value == name


def _paired_name(value: JsonValue, material: Material) -> str | None:
    """Give the name here of a file of a small autoencoder, of which core loads two by one name."""
    if not isinstance(value, str) or not value or not material.name.startswith(value):
        return None
    part = _PART.match(material.name, len(value))
    if part is None or material.kind not in folder_paths.folder_names_and_paths:
        return None
    start = value + part[0]
    # The first one, as core takes it.
    listed = folder_paths.get_filename_list(material.kind)
    return next((name for name in listed if name.startswith(start)), material.name)


def _choices(node: Node, name: str) -> frozenset[str] | None:
    """Give what an input may be chosen from, where ComfyUI checks that it is."""
    declared = declared_inputs(node.class_type).get(name)
    return declared.choices or None if declared is not None else None


def _validates(node: Node, name: str) -> bool:
    """Tell whether a class checks an input itself, so that core leaves its choices alone."""
    node_class: Any = comfy_nodes.NODE_CLASS_MAPPINGS.get(node.class_type)
    if hasattr(node_class, "VALIDATE_INPUTS"):
        validate = node_class.VALIDATE_INPUTS
    elif hasattr(node_class, "GET_SCHEMA"):
        validate = first_real_override(node_class, "validate_inputs")
    else:
        validate = None
    if validate is None:
        return False
    declared = inspect.getfullargspec(validate)
    return name in declared.args or declared.varkw is not None
