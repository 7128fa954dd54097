"""A cache of file digests in which doubt is a miss.

A digest is kept under everything that a replaced file would change: its resolved path,
size, times, inode and device. A cache that goes by name, or trusts an older time,
records the wrong model without a sign.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from ..digest import Digest, digest_file

_SETTLED_NS: Final = 2 * 10**9
"""A file changed later than this may change again within one tick of its file system's
clock, and keep its times. FAT has the coarsest: two seconds."""


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
    """Digests of files, each computed once while the file stays what it is.

    Safe to use from several threads; two that ask for one new file both read it.
    """

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        """Begin with nothing known.

        Args:
            now_ns: Gives the time, on the clock of file times.
        """
        self._now_ns = now_ns
        self._digests: dict[FileIdentity, Digest] = {}
        self._lock = Lock()

    def digest(self, path: Path) -> tuple[FileIdentity, Digest | None]:
        """Give a file's sha256 and the identity it was computed under.

        Returns:
            The identity before reading, and the digest; `None` for the digest if the file
            changed while it was read.

        Raises:
            OSError: The file cannot be read.
        """
        identity = identify(path)
        started_ns = self._now_ns()
        with self._lock:
            known = self._digests.get(identity)
        if known is not None:
            return identity, known
        digest = digest_file(identity.path)
        if identify(path) != identity:
            return identity, None
        changes_ns = identity.mtime_ns, identity.ctime_ns
        if all(abs(started_ns - changed_ns) > _SETTLED_NS for changed_ns in changes_ns):
            with self._lock:
                self._digests[identity] = digest
        return identity, digest
