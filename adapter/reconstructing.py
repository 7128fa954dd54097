"""The graph that an A1111 text tells, with this server's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

import folder_paths

from ..src.comfyui_provenance.infotext import parse_infotext
from ..src.comfyui_provenance.materials.cache import FileIdentity, identify
from ..src.comfyui_provenance.reconstruction import KnownFiles, Reconstruction, reconstruct
from .digests import FileDigests, Patience, digests_of, known_digests

_KINDS = ("checkpoints", "vae", "loras", "embeddings")
_AUTOV3_CHARS = 12


def reconstruct_here(text: str, patience: Patience) -> Reconstruction:
    """Build the graph that an A1111 text tells.

    Args:
        text: The file's `parameters`.
        patience: How long to wait for the digests of files that have the right name.

    Raises:
        GraphError: It tells too little, or of something that is not here.
        LimitError: It is larger than we agree to read.
    """
    names = {kind: folder_paths.get_filename_list(kind) for kind in _KINDS}

    def find(kind: str, digest: str, name: str | None) -> str | None:
        for listed, found in _digests(kind, names[kind], name, patience):
            whole = found.autov3 if len(digest) == _AUTOV3_CHARS else found.sha256
            if whole is not None and whole.startswith(digest):
                return listed
        return None

    return reconstruct(parse_infotext(text), KnownFiles(names, find))


def _digests(
    kind: str, names: list[str], wanted: str | None, patience: Patience
) -> Iterator[tuple[str, FileDigests]]:
    """Yield files with their digests; only one of the wanted name is hashed for it."""
    stem = PurePath(wanted or "").stem.casefold()
    for name in sorted(names, key=lambda name: PurePath(name).stem.casefold() != stem):
        path = folder_paths.get_full_path(kind, name)
        identity = _identity(path)
        if identity is None:
            continue
        is_named = PurePath(name).stem.casefold() == stem
        found = digests_of(identity, kind, patience) if is_named else known_digests(identity, kind)
        if found is not None:
            yield name, found


def _identity(path: str | None) -> FileIdentity | None:
    try:
        return identify(Path(path)) if path is not None else None
    except OSError:
        return None
