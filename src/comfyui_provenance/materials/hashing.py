"""Digests of a file, read once, computed here and now.

`sha256` is of the whole file; `autov3` is the SHA-256 of a safetensors file from its first
tensor's bytes to its end, which stays the same when only the header is edited. It has no
value for any other file, nor for one without tensors, whose bytes would name nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final, TypeAlias

from ..digest import Digest
from .cache import DigestCache, FileIdentity, identify
from .lanes import sha256_from
from .tensor_file import find_tensors

Progress: TypeAlias = Callable[[int], None]
"""Told how many bytes of a file are done."""

SHA256: Final = "sha256"
AUTOV3: Final = "autov3"
ALGORITHMS: Final = (SHA256, AUTOV3)


class Cancelled(Exception):  # noqa: N818  not an error
    """Hashing was stopped as asked.

    Neither an `OSError` nor a `ProvenanceError`: it says nothing about the file.
    """


@dataclass(frozen=True, slots=True)
class Hashed:
    """What hashing a file gave.

    Attributes:
        identity: The file's, before reading and, unless it changed, after.
        digests: By algorithm, in the order asked for; `None` where the file has no such
            digest. Empty if the file changed.
        is_changed: Whether the file changed while it was read.
    """

    identity: FileIdentity
    digests: Mapping[str, Digest | None]
    is_changed: bool = False

    def digest(self, algorithm: str = SHA256) -> Digest | None:
        """Give the digest of an algorithm; `None` if there is none."""
        return self.digests.get(algorithm)


def hash_file(
    path: Path,
    *,
    algorithms: Collection[str] = (SHA256,),
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Hashed:
    """Digest a file, reading it once; several algorithms take about the time of one.

    Args:
        path: A regular file.
        algorithms: Of `sha256` and `autov3`.
        progress: Called after each piece of some megabytes.
        cancelled: Asked before the first and after each piece.

    Raises:
        OSError: The file cannot be read.
        Cancelled: `cancelled` gave true.
        ValueError: An algorithm is none of these.
    """
    refuse_unknown(algorithms)
    identity = identify(path)
    hashed_bytes = 0

    def advance(count: int) -> None:
        nonlocal hashed_bytes
        hashed_bytes += count
        if progress is not None and count:
            progress(hashed_bytes)
        if cancelled is not None and cancelled():
            raise Cancelled

    advance(0)
    with identity.path.open("rb") as file:
        # Put in its place since, and perhaps taken away before it is identified again.
        is_other = not _is(file, identity)
        digests = None if is_other else _digest(file, identity.size_bytes, algorithms, advance)
    if digests is None or identify(path) != identity:
        return Hashed(identity, {}, is_changed=True)
    return Hashed(identity, digests)


def digest_now(
    path: Path,
    algorithms: Collection[str] = (SHA256,),
    *,
    cache: DigestCache | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Hashed:
    """Give a file's digests from a cache, and compute those that it lacks in this thread.

    Args:
        path: A regular file.
        algorithms: Of `sha256` and `autov3`.
        cache: Keeps what is computed; `None` for no cache.
        progress: Called after each piece of some megabytes.
        cancelled: Asked before the first and after each piece.

    Raises:
        OSError: The file cannot be read.
        Cancelled: `cancelled` gave true.
        ValueError: An algorithm is none of these.
    """
    refuse_unknown(algorithms)
    cache = cache if cache is not None else DigestCache()
    identity = identify(path)
    known = cache.find(identity, algorithms)
    missing = [algorithm for algorithm in algorithms if algorithm not in known]
    if not missing:
        return Hashed(identity, known)
    started_ns = cache.now_ns()
    hashed = hash_file(path, algorithms=missing, progress=progress, cancelled=cancelled)
    for digest in hashed.digests.values():
        if digest is not None:
            cache.put(hashed.identity, digest, started_ns)
    if hashed.is_changed or hashed.identity != identity:
        return Hashed(identity, {}, is_changed=True)
    digests = {**known, **hashed.digests}
    return Hashed(identity, {algorithm: digests[algorithm] for algorithm in algorithms})


def refuse_unknown(algorithms: Collection[str]) -> None:
    """Refuse algorithms that are not computed here.

    Raises:
        ValueError: One of them is none of `ALGORITHMS`.
    """
    for algorithm in algorithms:
        if algorithm not in ALGORITHMS:
            raise ValueError(f"expected {' or '.join(ALGORITHMS)}, got {algorithm!r}")


def _is(file: BufferedReader, identity: FileIdentity) -> bool:
    status = os.fstat(file.fileno())
    return (status.st_ino, status.st_dev) == (identity.inode, identity.device)


def _digest(
    file: BufferedReader,
    size_bytes: int,
    algorithms: Collection[str],
    advance: Callable[[int], None],
) -> dict[str, Digest | None] | None:
    """Digest an open file; `None` if it did not end at its size."""
    tensors_at = find_tensors(file, size_bytes) if AUTOV3 in algorithms else None
    offsets = {algorithm: 0 for algorithm in algorithms if algorithm != AUTOV3}
    if tensors_at is not None and tensors_at < size_bytes:
        offsets[AUTOV3] = tensors_at
    digests: dict[str, Digest | None] = dict.fromkeys(algorithms)
    if offsets:
        hexes = sha256_from(file, size_bytes, [*offsets.values()], advance)
        if hexes is None:
            return None
        digests.update(
            (algorithm, Digest(algorithm, hex_text))
            for algorithm, hex_text in zip(offsets, hexes, strict=True)
        )
    return digests
