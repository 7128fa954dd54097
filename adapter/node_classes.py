"""What node classes declare: their inputs, and the pack they come from."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import nodes as comfy_nodes

_log = logging.getLogger(__name__)

_CUSTOM_NODES: Final = "custom_nodes."

_UNLIKELY: Final = "provenance: an input of any name"
"""A name that a class knows only if it knows all."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a class declares of an input.

    Attributes:
        type: ComfyUI's type; `COMBO` for a choice.
        choices: What it may be chosen from; `None` for an input that is no choice. Empty where
            the page asks the server for them.
        options: The rest of what it declares.
    """

    type: str
    choices: frozenset[str] | None
    options: Mapping[str, Any]


class _AnyName(dict[str, Declared]):
    """Declarations of a class that takes inputs of any name."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Declared:
        return Declared("*", None, {})


def declared_inputs(class_type: str) -> Mapping[str, Declared]:
    """Give what a class declares of each of its inputs; nothing if it cannot say.

    A class that takes inputs of any name, as the flexible ones of several packs do, says yes to
    every name.
    """
    node_class = comfy_nodes.NODE_CLASS_MAPPINGS.get(class_type)
    if node_class is None:
        return {}
    try:
        declared = node_class.INPUT_TYPES()
        parts = [declared.get("required", {}), declared.get("optional", {})]
        inputs = {name: entry for part in parts for name, entry in part.items()}
        takes_any = any(_UNLIKELY in part for part in parts)
    except Exception:  # noqa: BLE001 - a pack's own code, which may fail in its own way
        _log.warning("could not read the inputs of %s", class_type, exc_info=True)
        return {}
    found = {
        name: _to_declared(entry[0], entry[1] if len(entry) > 1 else {})
        for name, entry in inputs.items()
        if isinstance(entry, (tuple, list)) and entry
    }
    takes_any = takes_any or bool(getattr(node_class, "ACCEPT_ALL_INPUTS", False))
    return _AnyName(found) if takes_any else found


def _to_declared(kind: Any, options: Any) -> Declared:
    options = options if isinstance(options, dict) else {}
    choices = kind if isinstance(kind, (list, tuple)) else options.get("options")
    if isinstance(choices, (list, tuple)):
        return Declared("COMBO", frozenset(str(choice) for choice in choices), options)
    return Declared(str(kind), frozenset() if kind == "COMBO" else None, options)


def output_types(class_type: str) -> list[str]:
    """Give the types of a class's outputs, by slot."""
    node_class: Any = comfy_nodes.NODE_CLASS_MAPPINGS.get(class_type)
    return [str(kind) for kind in getattr(node_class, "RETURN_TYPES", ())]


def packs_of(class_types: Iterable[str]) -> set[str]:
    """Give the custom node packs, by folder name, that these classes come from."""
    packs = {pack_of(comfy_nodes.NODE_CLASS_MAPPINGS.get(name)) for name in class_types}
    return {pack for pack in packs if pack is not None}


def pack_of(node_class: Any) -> str | None:
    """Give the folder name of a class's custom node pack; `None` for core's classes."""
    module = str(getattr(node_class, "RELATIVE_PYTHON_MODULE", "nodes"))
    return module.removeprefix(_CUSTOM_NODES) if module.startswith(_CUSTOM_NODES) else None


def pack_folder(pack: str) -> Path | None:
    """Give the folder of a custom node pack; none for a pack that is a single file."""
    folder = getattr(comfy_nodes, "LOADED_MODULE_DIRS", {}).get(pack)
    return Path(folder) if folder and Path(folder).name == pack else None


@cache
def is_unique(node_class: Any) -> bool:
    """Tell whether ComfyUI caches what a node gives under its id, and for no other node."""
    if getattr(node_class, "NOT_IDEMPOTENT", False):
        return True
    try:
        return "UNIQUE_ID" in node_class.INPUT_TYPES().get("hidden", {}).values()
    except Exception:  # noqa: BLE001 - no such class, or a pack's own code
        return False
