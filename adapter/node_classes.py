"""What node classes declare: their inputs, and the pack they come from."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

import nodes as comfy_nodes

_log = logging.getLogger(__name__)

_CUSTOM_NODES: Final = "custom_nodes."


def declared_inputs(class_type: str) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Give the type and options of each input that a class declares; none if it cannot say."""
    node_class = comfy_nodes.NODE_CLASS_MAPPINGS.get(class_type)
    if node_class is None:
        return {}
    try:
        declared = node_class.INPUT_TYPES()
        inputs = {**declared.get("required", {}), **declared.get("optional", {})}
    except Exception:  # noqa: BLE001 - a pack's own code, which may fail in its own way
        _log.warning("could not read the inputs of %s", class_type, exc_info=True)
        return {}
    return {
        name: (entry[0], entry[1] if len(entry) > 1 and isinstance(entry[1], dict) else {})
        for name, entry in inputs.items()
        if isinstance(entry, (tuple, list)) and entry
    }


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
