"""Which files ComfyUI has loaded, as they were when it loaded them.

ComfyUI caches a loaded model by its name: replace the file while the server runs, and the
old weights go on making images. Hashing the file on disk would then name weights that made
nothing. So the identity of each file is noted before its loader may run and again after it
ran, its bytes are hashed meanwhile, and a record names the digest of what was loaded; where
that cannot be established it says so.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import nodes as comfy_nodes
from comfy.cli_args import args

from ..src.comfyui_provenance.graph.prompt import Link, NodeId
from ..src.comfyui_provenance.materials.cache import FileIdentity
from ..src.comfyui_provenance.record import Material
from .digests import FileDigests, Patience, digests_of, hash_in_background
from .live_prompt import LivePrompt
from .materials import FileReference

_CAPACITY: Final = 4096
"""Files to remember; a forgotten one is `unresolved` until its loader runs again."""

_SETTLED_NS: Final = 2 * 10**9
"""A file that last changed so long before its loader began did not change while it was read."""


@dataclass(slots=True)
class _Loaded:
    """A file as it was when it was loaded.

    Attributes:
        identity: `None` if there was none, or it is not known which of two was read.
        is_seen: Whether its loader was seen to run. Only then it would be seen running again.
        digests: Once it was hashed.
    """

    identity: FileIdentity | None
    is_seen: bool = False
    digests: FileDigests | None = None


_loaded: OrderedDict[tuple[str, str], _Loaded] = OrderedDict()
"""By what the loader computes and the input that names the file."""

_queued: dict[tuple[str, str], FileIdentity | None] = {}
"""The files of the running prompt as they were when it began."""


def note_queued(live: LivePrompt, references: Iterable[FileReference]) -> None:
    """Note the files that a prompt may load, and begin to hash them.

    Args:
        live: The prompt that begins.
        references: Its files.
    """
    for reference in references:
        key = _key(live, reference)
        identity = reference.identity()
        _queued[key] = identity
        # Without a cache every prompt loads anew.
        if args.cache_none or key not in _loaded:
            _note(key, identity)
        hash_in_background(reference)


def note_load(
    live: LivePrompt, references: Iterable[FileReference], *, started_ns: int | None
) -> None:
    """Note the files of a loader that ran just now.

    Args:
        live: The running prompt.
        references: The files of that node.
        started_ns: When the prompt began, on the clock of file times.
    """
    for reference in references:
        key = _key(live, reference)
        # An object that keeps what it read, as core's LoRA loader does by path, may have
        # run without reading.
        known = _loaded.get(key)
        if known is not None and _has_state(live.node(reference.node_id).class_type):
            known.is_seen = True
            continue
        now = reference.identity()
        same = key in _queued and _queued[key] == now
        is_old = (
            now is not None
            and started_ns is not None
            and max(now.ctime_ns, now.mtime_ns) + _SETTLED_NS < started_ns
        )
        # A file that changed since the prompt began: which of the two was read is not known.
        _note(key, now if same or is_old else None, is_seen=True)
        hash_in_background(reference)


def forget_queued() -> None:
    """Forget how the files were when the prompt began, when it has ended."""
    _queued.clear()


def is_as_loaded(live: LivePrompt, material: Material) -> bool:
    """Tell whether a file is known to have the content with which it was loaded."""
    reference = FileReference(material.node_id, material.input, material.kind, material.name)
    loaded = _loaded.get(_key(live, reference))
    identity = reference.identity()
    if loaded is None or identity is None or material.sha256 is None or not _is_known(loaded):
        return False
    if loaded.digests is not None and loaded.digests.sha256 == material.sha256:
        loaded.identity = identity  # another time or place, the same bytes
        return True
    return loaded.identity == identity


def to_material(live: LivePrompt, reference: FileReference, patience: Patience) -> Material:
    """Tell a file as it was loaded.

    Args:
        live: The running prompt.
        reference: One of its files.
        patience: How long to wait for its digests.
    """
    place = (reference.kind, reference.name, reference.node_id, reference.input)
    key = _key(live, reference)
    loaded = _loaded.get(key)
    now = reference.identity()
    if loaded is not None:
        _loaded.move_to_end(key)  # what is still in use is not forgotten
    if loaded is None or loaded.identity is None or (now is not None and not _is_known(loaded)):
        return Material(*place, "missing" if now is None else "unresolved")
    found = loaded.digests
    if found is None:
        found = digests_of(loaded.identity, reference.kind, patience)
        loaded.digests = found
    if found is None:
        return Material(*place, "unresolved", loaded.identity.size_bytes)
    material = Material(
        *place,
        "hashed",
        loaded.identity.size_bytes,
        found.sha256,
        autov3=found.autov3,
        blake3=found.blake3,
        pixels=found.pixels,
    )
    if now == loaded.identity:
        return material
    present = digests_of(now, reference.kind, patience) if now is not None else None
    if present is not None and present.sha256 == found.sha256:
        loaded.identity = now  # another time or place, the same bytes
        return material
    if _may_have_run_unseen(live, reference, loaded):
        return Material(*place, "unresolved")
    return replace(material, on_disk="missing" if now is None else "replaced")


def _is_known(loaded: _Loaded) -> bool:
    """Tell whether a loader ran with this file, or must run in every prompt.

    One that was not seen to run may have run elsewhere, with another file, and be cached.
    """
    return loaded.is_seen or args.cache_none


def _may_have_run_unseen(live: LivePrompt, reference: FileReference, loaded: _Loaded) -> bool:
    """Tell whether a loader may have read another file without our being told."""
    has_state = _has_state(live.node(reference.node_id).class_type)
    return has_state or not loaded.is_seen or live.is_expanded(reference.node_id)


def _note(key: tuple[str, str], identity: FileIdentity | None, *, is_seen: bool = False) -> None:
    known = _loaded.get(key)
    digests = known.digests if known is not None and known.identity == identity else None
    _loaded[key] = _Loaded(identity, is_seen, digests)
    _loaded.move_to_end(key)
    while len(_loaded) > _CAPACITY:
        _loaded.popitem(last=False)


def _key(live: LivePrompt, reference: FileReference) -> tuple[str, str]:
    if _has_state(live.node(reference.node_id).class_type):
        return str(reference.path()), reference.kind
    link = Link(NodeId(reference.node_id), 0)
    # Several files of one input, as an object of names: told apart by their names.
    return live.digest_computation(link), f"{reference.input} {reference.kind} {reference.name}"


def _has_state(class_type: str) -> bool:
    """Tell whether a class's objects, which ComfyUI keeps between runs, may hold a file."""
    node_class: Any = comfy_nodes.NODE_CLASS_MAPPINGS.get(class_type)
    is_v3 = hasattr(node_class, "define_schema")
    return not is_v3 and getattr(node_class, "__init__", None) is not object.__init__


def now_ns() -> int:
    """Give the time on the clock of file times."""
    return time.time_ns()
