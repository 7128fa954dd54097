"""A cache of file digests in which doubt is a miss.

A digest is kept under everything that a replaced file would change: its resolved path,
size, times, inode and device. A cache that goes by name, or trusts an older time,
records the wrong model without a sign.
"""

from __future__ import annotations

import logging
import sqlite3
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from ..digest import Digest
from .digest_store import DigestStore, Entry

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_SETTLED_NS: Final = 2 * 10**9
"""A file changed later than this may change again within one tick of its file system's
clock, and keep its times. FAT has the coarsest: two seconds."""

_IN_MEMORY: Final = 10_000
"""Digests to hold in memory, about 1 KB each. Large model collections have about 2 000 files."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells a file from one that was put in its place.

    Attributes:
        path: Resolved, so that two names of one file are one identity.
        size_bytes: Its size.
        mtime_ns: Its modification time.
        ctime_ns: When its inode last changed, which no program can set back. On Windows,
            when the file was created.
        inode: Its number in its file system.
        device: Its file system's number.
    """

    path: Path
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


def identify(path: Path) -> FileIdentity:
    """Give the identity that a file has now.

    Raises:
        OSError: The file cannot be found, or is not a regular file.
    """
    try:
        resolved = path.resolve(strict=True)
    except RuntimeError as error:  # Python 3.11 and 3.12, for links that form a circle
        raise OSError(f"expected a file, got a circle of links at {path.name!r}") from error
    status = resolved.stat()
    # A pipe or a device named by a stranger's graph would be read for ever.
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"expected a regular file, got another kind at {path.name!r}")
    return FileIdentity(
        resolved,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )


class DigestCache:
    """Digests of files, in memory and on disk, each good while the file stays what it is.

    Safe to use from several threads, and from several processes with one path. Trouble with
    the disk is logged once and never raised: from then on the cache is in memory alone.
    """

    def __init__(self, path: Path | None = None, now_ns: Callable[[], int] = time.time_ns) -> None:
        """Begin with what the disk holds.

        Args:
            path: The database, made when it is first needed; `None` to keep nothing on disk.
            now_ns: Gives the time, on the clock of file times.
        """
        self.now_ns = now_ns
        self._known: OrderedDict[tuple[FileIdentity, str], Digest] = OrderedDict()
        self._lock = Lock()
        self._store = DigestStore(path) if path is not None else None

    def get(self, identity: FileIdentity, algorithm: str = "sha256") -> Digest | None:
        """Give the digest that was kept under exactly this identity and algorithm."""
        key = identity, algorithm
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        hex_text = self._on_disk(lambda store: store.find(_entry(identity, algorithm)))
        try:
            digest = Digest(algorithm, hex_text) if hex_text is not None else None
        except ValueError:
            return None
        if digest is not None:
            self._remember(identity, digest)
        return digest

    def find(self, identity: FileIdentity, algorithms: Iterable[str]) -> dict[str, Digest]:
        """Give those of several digests that are kept, by algorithm."""
        found = ((algorithm, self.get(identity, algorithm)) for algorithm in algorithms)
        return {algorithm: digest for algorithm, digest in found if digest is not None}

    def put(self, identity: FileIdentity, digest: Digest, started_ns: int) -> None:
        """Keep a digest, unless the file may still change without a sign.

        Args:
            identity: What the file was both before and after it was read.
            digest: Of what was read.
            started_ns: When reading began, by `now_ns`.
        """
        changes_ns = identity.mtime_ns, identity.ctime_ns
        if any(abs(started_ns - changed_ns) <= _SETTLED_NS for changed_ns in changes_ns):
            return
        self._remember(identity, digest)
        entry = _entry(identity, digest.algorithm)
        self._on_disk(lambda store: store.keep(entry, digest.hex))

    def _remember(self, identity: FileIdentity, digest: Digest) -> None:
        with self._lock:
            self._known[identity, digest.algorithm] = digest
            self._known.move_to_end((identity, digest.algorithm))
            if len(self._known) > _IN_MEMORY:
                self._known.popitem(last=False)

    def _on_disk(self, work: Callable[[DigestStore], _T]) -> _T | None:
        store = self._store
        if store is None:
            return None
        try:
            return work(store)
        except (OSError, sqlite3.Error) as error:
            with self._lock:
                is_first, self._store = self._store is not None, None
            if is_first:
                _log.warning("digests are kept in memory alone from now on: %s", error)
            return None


def _entry(identity: FileIdentity, algorithm: str) -> Entry:
    numbers = (
        identity.size_bytes,
        identity.mtime_ns,
        identity.ctime_ns,
        identity.inode,
        identity.device,
    )
    # surrogatepass: names that are no Unicode have their own bytes, too.
    place = str(identity.path).encode("utf-8", "surrogatepass")
    return Entry(place, ":".join(map(str, numbers)).encode("ascii"), algorithm)
