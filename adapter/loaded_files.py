"""Which files ComfyUI has loaded, as they were when it loaded them.

ComfyUI caches a loaded model by its name: replace the file while the server runs, and the
old weights go on making images. Hashing the file on disk would then name weights that made
nothing. So the identity of each file is noted when its loader may run, and a record names a
file's digest only while the file still has the content that it had then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import nodes as comfy_nodes
from comfy.cli_args import args

from ..src.comfyui_provenance.graph.prompt import Link, NodeId
from ..src.comfyui_provenance.graph.trace import digest_graph
from ..src.comfyui_provenance.materials.cache import FileIdentity
from ..src.comfyui_provenance.record import Material
from .live_prompt import prompt_upstream
from .materials import FileReference, find_files

_CAPACITY: Final = 4096
"""Files to remember; a forgotten one is `unresolved` until its loader runs again."""


@dataclass(slots=True)
class _Loaded:
    """A file as it was when it was loaded.

    Attributes:
        identity: `None` if there was none.
        sha256: Once it was hashed.
    """

    identity: FileIdentity | None
    sha256: str | None = None


_loaded: OrderedDict[tuple[str, str], _Loaded] = OrderedDict()
"""By what the loader computes and the input that names the file."""


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
            _note(key, reference)
    return {reference.node_id for reference in references}


def note_load(nodes: dict[str, Any], node_id: str) -> None:
    """Note the files of a loader that ran just now."""
    for reference in find_files(prompt_upstream(nodes, node_id)):
        # An object that keeps what it read, as core's LoRA loader does by path, may have
        # run without reading.
        if reference.node_id == node_id and not _has_state(nodes[node_id]["class_type"]):
            _note(_key(nodes, reference), reference)


def is_as_loaded(nodes: dict[str, Any], material: Material) -> bool:
    """Tell whether a file is known to have the content with which it was loaded."""
    reference = FileReference(material.node_id, material.input, material.kind, material.name)
    loaded = _loaded.get(_key(nodes, reference))
    identity = reference.identity()
    if loaded is None or identity is None or material.sha256 is None:
        return False
    if loaded.identity == identity:
        loaded.sha256 = material.sha256
    elif loaded.sha256 == material.sha256:
        loaded.identity = identity  # another time or place, the same bytes
    else:
        return False
    return True


def as_loaded(nodes: dict[str, Any], materials: Sequence[Material]) -> list[Material]:
    """Take the digest from every file that is not known to be the one that was loaded.

    Args:
        nodes: The running prompt.
        materials: Its files, as they are on disk now.
    """
    return [
        material
        if material.status != "hashed" or is_as_loaded(nodes, material)
        else replace(material, status="unresolved", size_bytes=None, sha256=None)
        for material in materials
    ]


def _note(key: tuple[str, str], reference: FileReference) -> None:
    _loaded[key] = _Loaded(reference.identity())
    _loaded.move_to_end(key)
    while len(_loaded) > _CAPACITY:
        _loaded.popitem(last=False)


def _key(nodes: dict[str, Any], reference: FileReference) -> tuple[str, str]:
    if _has_state(nodes[reference.node_id]["class_type"]):
        return str(reference.path()), reference.kind
    prompt = prompt_upstream(nodes, reference.node_id)
    digest = digest_graph(prompt, Link(NodeId(reference.node_id), 0))
    return str(digest), reference.input


def _has_state(class_type: str) -> bool:
    """Tell whether a class's objects, which ComfyUI keeps between runs, may hold a file."""
    node_class = comfy_nodes.NODE_CLASS_MAPPINGS.get(class_type)
    is_v3 = hasattr(node_class, "define_schema")
    return not is_v3 and getattr(node_class, "__init__", None) is not object.__init__
