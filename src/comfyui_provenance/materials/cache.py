"""A cache of file digests in which doubt is a miss.

A digest is kept under everything that a replaced file would change: its resolved path,
size, modification time, inode and device. A cache that goes by name, or trusts an
older time, records the wrong model without a sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from ..digest import Digest, digest_file


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells a file from one that was put in its place.

    Attributes:
        path: Resolved, so that two names of one file are one identity.
        size_bytes: Its size.
        mtime_ns: Its modification time.
        inode: Its number in its file system.
        device: Its file system's number.
    """

    path: Path
    size_bytes: int
    mtime_ns: int
    inode: int
    device: int


def identify(path: Path) -> FileIdentity:
    """Give the identity that a file has now.

    Raises:
        OSError: The file cannot be found.
    """
    resolved = path.resolve(strict=True)
    status = resolved.stat()
    return FileIdentity(resolved, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)


class DigestCache:
    """Digests of files, each computed once while the file stays what it is.

    Safe to use from several threads; two that ask for one new file both read it.
    """

    def __init__(self) -> None:
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
        with self._lock:
            known = self._digests.get(identity)
        if known is not None:
            return identity, known
        digest = digest_file(identity.path)
        if identify(path) != identity:
            return identity, None
        with self._lock:
            self._digests[identity] = digest
        return identity, digest
