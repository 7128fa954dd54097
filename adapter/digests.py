"""Digests of this server's files: one cache in its private folder, one pool that hashes.

Files are hashed beside the work that uses them, from the moment a prompt begins; a save waits
for what is left, shows how far it is, and stops waiting when the user interrupts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import comfy.model_management
import comfy.utils
import folder_paths
from comfy.cli_args import args
from comfy_execution.utils import get_executing_context
from server import PromptServer

from ..src.comfyui_provenance.digest import Digest
from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.graph.prompt import Prompt
from ..src.comfyui_provenance.materials.cache import DigestCache, FileIdentity, identify
from ..src.comfyui_provenance.materials.hasher import Hasher, Job
from ..src.comfyui_provenance.materials.hashing import Cancelled
from ..src.comfyui_provenance.pixels import decode_pixels, digest_pixels
from ..src.comfyui_provenance.record import Material
from .materials import FileReference, find_files

_log = logging.getLogger(__name__)

_FOLDER: Final = "provenance"
_NAME: Final = "digests.sqlite3"
_POLL_S: Final = 0.05
_SHOWN_AFTER_BYTES: Final = 64 * 1024**2
"""Less than this is hashed before anybody could read how far it is."""

_WITH_AUTOV3: Final = frozenset({"loras", "hypernetworks"})
"""Kinds of files that Civitai's and A1111's tools also know by the digest of their tensors."""

_PIXEL_DIGESTS: Final = tuple(
    f"sha256-{layout}{bits}" for bits in (8, 16) for layout in ("rgb", "rgba", "gray", "graya")
)
_PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp")
_PICTURE_BYTES: Final = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class FileDigests:
    """The digests of one file.

    Attributes:
        sha256: Of its bytes, 64 hexadecimal digits.
        autov3: Of a LoRA's tensors alone, 64 hexadecimal digits.
        blake3: As ComfyUI's assets hold it, 64 hexadecimal digits.
        pixels: Of an input image, decoded.
    """

    sha256: str
    autov3: str | None = None
    blake3: str | None = None
    pixels: str | None = None


class Patience:
    """Waits for digests on behalf of a node, until the user interrupts.

    Args:
        node_id: The node that shows how far it is; the executing one if not given.
    """

    def __init__(self, node_id: str | None = None) -> None:
        context = get_executing_context()
        self._node_id = node_id or (context.node_id if context is not None else "")
        self._is_over = False

    def wait(self, job: Job) -> None:
        """Wait until a file is hashed; after an interrupt that goes on without us.

        The interrupt stays in force: the node ends its work, and ComfyUI stops after it.
        """
        bar = None
        if job.size_bytes - job.hashed_bytes > _SHOWN_AFTER_BYTES:
            bar = comfy.utils.ProgressBar(job.size_bytes, node_id=self._node_id)

        def show(hashed_bytes: int, size_bytes: int) -> None:
            if bar is not None and not self._is_interrupted():
                self._say(f"hashing files: {hashed_bytes / 1e9:.1f} of {size_bytes / 1e9:.1f} GB")
                bar.update_absolute(hashed_bytes, size_bytes)

        try:
            _hasher().wait([job], progress=show, interrupted=self._is_interrupted, poll_s=_POLL_S)
        except comfy.model_management.InterruptProcessingException:
            # Core's progress bar looks for an interrupt, too, and takes it off.
            comfy.model_management.interrupt_current_processing(True)
            self._is_over = True

    def _is_interrupted(self) -> bool:
        self._is_over = self._is_over or comfy.model_management.processing_interrupted()
        return self._is_over

    def _say(self, text: str) -> None:
        server: Any = PromptServer.instance
        server.send_progress_text(text, self._node_id)


@cache
def _cache() -> DigestCache:
    return DigestCache(Path(folder_paths.get_system_user_directory(_FOLDER)) / _NAME)


@cache
def _hasher() -> Hasher:
    return Hasher(_cache())


def hash_in_background(reference: FileReference) -> None:
    """Begin to hash a file, unless its digests are known."""
    path = reference.path()
    if path is None:
        return
    try:
        _hasher().submit(path, _algorithms(reference.kind))
    except OSError:
        _log.debug("could not begin to hash %r", reference.name, exc_info=True)


def digests_of(identity: FileIdentity, kind: str, patience: Patience) -> FileDigests | None:
    """Give the digests of a file as it was.

    Args:
        identity: The file's; it need not be there any more.
        kind: ComfyUI's folder type, or `input`.
        patience: How long to wait.

    Returns:
        `None` where it cannot be established: it is another file now and was never hashed, it
        changes, it cannot be read, or the user interrupted.
    """
    algorithms = _algorithms(kind)
    known = _cache().find(identity, algorithms)
    if len(known) < len(algorithms) and identity == _identity_now(identity.path):
        known = {**known, **_hashed(identity, kind, patience)}
    if "sha256" not in known:
        return None
    autov3 = known.get("autov3")
    return FileDigests(
        sha256=known["sha256"].hex,
        autov3=autov3.hex if autov3 is not None else None,
        blake3=_asset_blake3(identity),
        pixels=_pixel_digest(identity) if kind == "input" else None,
    )


def known_digests(identity: FileIdentity, kind: str) -> FileDigests | None:
    """Give the digests of a file where it was hashed before; nothing is read for it."""
    known = _cache().find(identity, _algorithms(kind))
    if "sha256" not in known:
        return None
    autov3 = known.get("autov3")
    return FileDigests(known["sha256"].hex, autov3.hex if autov3 is not None else None)


def list_materials(prompt: Prompt, patience: Patience) -> list[Material]:
    """List every file that a graph refers to, as it is on disk now.

    Args:
        prompt: The graph, with the values that its nodes computed.
        patience: How long to wait for digests.
    """
    references = find_files(prompt)
    for reference in references:
        hash_in_background(reference)
    return [_to_present_material(reference, patience) for reference in references]


def _to_present_material(reference: FileReference, patience: Patience) -> Material:
    """Tell a file as it is on disk now."""
    place = (reference.kind, reference.name, reference.node_id, reference.input)
    identity = reference.identity()
    if identity is None:
        return Material(*place, "missing" if reference.path() is None else "unresolved")
    found = digests_of(identity, reference.kind, patience)
    if found is None:
        return Material(*place, "unresolved", identity.size_bytes)
    return Material(
        *place,
        "hashed",
        identity.size_bytes,
        found.sha256,
        autov3=found.autov3,
        blake3=found.blake3,
        pixels=found.pixels,
    )


def _algorithms(kind: str) -> tuple[str, ...]:
    return ("sha256", "autov3") if kind in _WITH_AUTOV3 else ("sha256",)


def _identity_now(path: Path) -> FileIdentity | None:
    try:
        return identify(path)
    except OSError:
        return None


def _hashed(identity: FileIdentity, kind: str, patience: Patience) -> dict[str, Digest]:
    try:
        job = _hasher().submit(identity.path, _algorithms(kind))
        patience.wait(job)
        hashed = job.result(0)
    except (OSError, TimeoutError, Cancelled):
        return {}
    if hashed.is_changed or hashed.identity != identity:
        return {}
    return {name: digest for name, digest in hashed.digests.items() if digest is not None}


def _pixel_digest(identity: FileIdentity) -> str | None:
    """Digest an input image's decoded pixels; nothing for files that are no such images."""
    if identity.path.suffix.lower() not in _PICTURES or identity.size_bytes > _PICTURE_BYTES:
        return None
    known = _cache().find(identity, _PIXEL_DIGESTS)
    if known:
        return str(next(iter(known.values())))
    try:
        started_ns = _cache().now_ns()
        digest = digest_pixels(decode_pixels(identity.path.read_bytes()))
        if identify(identity.path) != identity:
            return None
    except (ProvenanceError, OSError):
        return None
    _cache().put(identity, digest, started_ns)
    return str(digest)


def _asset_blake3(identity: FileIdentity) -> str | None:
    """Give the BLAKE3 that ComfyUI's assets hold of a file, if they hold one of this very file."""
    if not args.enable_assets:
        return None
    try:
        from app.assets.database.queries.asset_reference import get_reference_by_file_path
        from app.assets.services.file_utils import verify_file_unchanged
        from app.database.db import create_session

        with create_session() as session:
            found = get_reference_by_file_path(session, str(identity.path))
            if found is None or not str(found.asset.hash).startswith("blake3:"):
                return None
            same = verify_file_unchanged(
                found.mtime_ns, found.asset.size_bytes, identity.path.stat()
            )
            return str(found.asset.hash).removeprefix("blake3:") if same else None
    except Exception:  # noqa: BLE001 - an internal database of the host: locked, missing, changed
        _log.debug("could not ask ComfyUI's assets", exc_info=True)
        return None
