"""Digests in an SQLite database that several processes share.

Nothing read from it is believed without the seal of its row, so neither a damaged page nor
two processes that disagree about the file can give a wrong digest. That is why it may be
fast where a database of record may not: no write waits for the disk.

A connection lasts for one operation (measured: 0.09 ms to find, 0.12 ms to keep). One that
stayed open would have to outlive forks, locks and the exchange of a damaged file. It also
means no write-ahead log, which the last connection to close must fold back each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_VERSION: Final = 1
"""Of the schema. A database of another one is emptied."""

_SCHEMA: Final = """
CREATE TABLE digests (
    id INTEGER PRIMARY KEY,
    place BLOB NOT NULL,
    algorithm BLOB NOT NULL,
    hex BLOB NOT NULL,
    seal BLOB NOT NULL,
    UNIQUE (place, algorithm)
)
"""
"""`id` is the order of use: a row that is kept or used again takes the next one."""

_ROWS: Final = 100_000
"""About 30 MB. Ids are unique, so that many newest ids are at most that many rows."""

_VALUE_BYTES: Final = 1024**2
"""One value; a damaged length must not allocate more. Paths end at 4096 bytes on Linux."""

_BUSY_S: Final = 2.0
"""How long another process may hold the database; measured: 0.1 ms."""

_DAMAGED: Final = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_NOTADB}
)
"""What SQLite says of a damaged file: our statements are fixed, so an error in one of them
(`SQLITE_ERROR`) means that the schema is not ours."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a digest is filed under.

    Attributes:
        place: A file's resolved path. One place holds one digest of each algorithm.
        stamp: Everything else that tells the file from another one; no NUL.
        algorithm: The digest's; no NUL.
    """

    place: bytes
    stamp: bytes
    algorithm: str

    def seal(self, hex_text: bytes) -> bytes:
        """Give the checksum that binds a digest to this entry."""
        # No part but the place may hold a NUL, so that no two entries join to the same bytes.
        parts = (self.place, self.stamp, self.algorithm.encode("utf-8"), hex_text)
        return hashlib.blake2b(b"\0".join(parts), digest_size=16, usedforsecurity=False).digest()


class DigestStore:
    """The digests at one path; safe with several threads and processes.

    A damaged database is moved out of the way, once, and a new one begun.
    """

    def __init__(self, path: Path) -> None:
        """Name the database; it is made when it is first needed, readable by its owner alone."""
        self._path = path.absolute()  # a relative `:memory:` would be no file
        # One connection at a time: a descriptor that closes drops the POSIX locks of all
        # others that this process has on the same file.
        self._lock = Lock()

    def find(self, entry: Entry) -> str | None:
        """Give the digest kept under an entry, and count it as used.

        Raises:
            OSError: The database cannot be made.
            sqlite3.Error: It is locked, cannot be read, or was damaged twice.
        """
        return self._run(lambda connection: _find(connection, entry))

    def keep(self, entry: Entry, hex_text: str) -> None:
        """Keep a digest, in place of one of the same place and algorithm.

        Raises:
            OSError: The database cannot be made.
            sqlite3.Error: It is locked, full or read-only, or was damaged twice.
        """
        self._run(lambda connection: _keep(connection, entry, hex_text.encode("utf-8")))

    def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._lock:
            found = self._inode()
            try:
                return self._attempt(work)
            except sqlite3.Error as error:
                # The low byte is the error, the others say where it arose.
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                    raise
                # Another process may have been first: its new file is not the damaged one.
                if self._inode() == found:
                    self._set_aside(error)
            return self._attempt(work)

    def _attempt(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
        with contextlib.closing(connection):
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_BYTES)
            connection.text_factory = bytes  # a damaged text need not be UTF-8
            connection.execute("PRAGMA synchronous = OFF")
            if _version(connection) != _VERSION:
                _begin_anew(connection)
            return work(connection)

    def _inode(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_dev

    def _set_aside(self, error: sqlite3.Error) -> None:
        aside = self._path.with_name(f"{self._path.name}.damaged")
        # The journal first: a new database must not be rolled back to pages of the old one.
        self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
        self._path.replace(aside)
        _log.warning("set the damaged cache of digests aside as %s: %s", aside, error)


@contextlib.contextmanager
def _writing(connection: sqlite3.Connection) -> Generator[None]:
    """Take the database for writing; commit, or roll back on an error."""
    with connection:
        # IMMEDIATE: two readers that both want to write would wait for each other.
        connection.execute("BEGIN IMMEDIATE")
        yield


def _version(connection: sqlite3.Connection) -> object:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _begin_anew(connection: sqlite3.Connection) -> None:
    with _writing(connection):
        if _version(connection) == _VERSION:
            return  # another process was first
        connection.execute("DROP TABLE IF EXISTS digests")
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _find(connection: sqlite3.Connection, entry: Entry) -> str | None:
    row = connection.execute(
        "SELECT id, hex, seal, (SELECT max(id) FROM digests) FROM digests"
        " WHERE place = ? AND algorithm = ?",
        (entry.place, entry.algorithm.encode("utf-8")),
    ).fetchone()
    if row is None:
        return None
    row_id, hex_text, seal, newest_id = row
    if not isinstance(hex_text, bytes) or seal != entry.seal(hex_text):
        return None
    # Writing at each use would be slower than finding; a tenth of the rows is close enough.
    if newest_id - row_id > _ROWS // 10:
        with contextlib.suppress(sqlite3.Error):  # found all the same
            connection.execute(
                "UPDATE digests SET id = (SELECT max(id) + 1 FROM digests) WHERE id = ?",
                (row_id,),
            )
    return hex_text.decode("utf-8", "replace")


def _keep(connection: sqlite3.Connection, entry: Entry, hex_text: bytes) -> None:
    with _writing(connection):
        connection.execute(
            "INSERT OR REPLACE INTO digests"
            " SELECT coalesce(max(id), 0) + 1, ?, ?, ?, ? FROM digests",
            (entry.place, entry.algorithm.encode("utf-8"), hex_text, entry.seal(hex_text)),
        )
        connection.execute(
            "DELETE FROM digests WHERE id <= (SELECT max(id) FROM digests) - ?", (_ROWS,)
        )
