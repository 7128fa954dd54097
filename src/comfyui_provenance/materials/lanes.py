"""Several hashes of one file in one reading, side by side.

The calling thread reads; each hash runs in a thread of its own (`hashlib` lets other threads
run meanwhile). Two hashes then take about the time of one, and none waits for the disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from io import BufferedReader
from queue import SimpleQueue
from threading import Thread
from typing import Final

_PIECE_BYTES: Final = 8 * 1024**2
"""Measured with 1 to 8 MiB: within 2 % on an idle interpreter. Beside a thread of pure Python,
for which each piece has to wait, 8 MiB took half the time of 1 MiB."""

_BUFFERS: Final = 2
"""One to read into while the other is hashed. A third one gained nothing measurable."""


def sha256_from(
    file: BufferedReader, size_bytes: int, offsets: Sequence[int], advance: Callable[[int], None]
) -> list[str] | None:
    """Give the SHA-256 of a file from each of several offsets to its end, reading it once.

    Args:
        file: A regular file.
        size_bytes: Its size.
        offsets: Within the file; what comes before the least one is not read.
        advance: Called with the number of bytes that are hashed, piece by piece. What it
            raises ends the reading.

    Returns:
        Hex, in the order of the offsets; `None` if the file did not end at its size.

    Raises:
        OSError: The file cannot be read, or the system has no thread left.
    """
    start = min(offsets)
    _expect_one_reading(file)
    file.seek(start)
    with contextlib.ExitStack() as stack:
        is_small = size_bytes - start <= _PIECE_BYTES
        lanes = [_Lane(offset) for offset in offsets]
        for lane in [] if is_small else lanes:
            stack.callback(lane.stop)
            lane.start()
        if not _feed(file, start, size_bytes, lanes, advance):
            return None
    return [lane.hex for lane in lanes]


def start_daemon(target: Callable[[], None], name: str) -> None:
    """Start a thread that does not keep the interpreter from ending.

    Raises:
        OSError: The system has no thread left, or the interpreter is ending.
    """
    try:
        Thread(target=target, name=name, daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"expected a thread to hash in: {error}") from error


class _Lane:
    """A SHA-256 from an offset on: of each piece at once, or in order in its own thread."""

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._state = hashlib.sha256(usedforsecurity=False)
        self._has_thread = False
        self._pieces: SimpleQueue[memoryview | None] = SimpleQueue()
        self._hashed: SimpleQueue[None] = SimpleQueue()

    @property
    def hex(self) -> str:
        """The digest, once every piece was waited for."""
        return self._state.hexdigest()

    def start(self) -> None:
        start_daemon(self._run, "provenance-sha256")
        self._has_thread = True

    def stop(self) -> None:
        self._pieces.put(None)

    def add(self, piece: memoryview, at: int) -> None:
        """Hash the part of a piece, which begins at `at`, that is not before the offset."""
        part = piece[max(0, self._offset - at) :]
        if self._has_thread:
            self._pieces.put(part)
        else:
            self._state.update(part)
            self._hashed.put(None)

    def wait(self) -> None:
        """Wait for one more piece to be hashed."""
        self._hashed.get()

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            self._state.update(piece)
            self._hashed.put(None)


def _feed(
    file: BufferedReader,
    start: int,
    size_bytes: int,
    lanes: Sequence[_Lane],
    advance: Callable[[int], None],
) -> bool:
    """Give every piece of a file to every lane; tell whether it ended at its size."""
    left_bytes = size_bytes - start
    count = _BUFFERS if left_bytes > _PIECE_BYTES else 1
    buffers = deque(memoryview(bytearray(min(left_bytes, _PIECE_BYTES))) for _ in range(count))
    given: deque[int] = deque()
    at = start

    def settle_oldest() -> None:
        for lane in lanes:
            lane.wait()
        advance(given.popleft())

    while at < size_bytes:
        if len(given) == len(buffers):
            settle_oldest()
        read_bytes = file.readinto(buffers[0][: size_bytes - at])
        if read_bytes == 0:
            return False
        for lane in lanes:
            lane.add(buffers[0][:read_bytes], at)
        given.append(read_bytes)
        buffers.rotate(-1)
        at += read_bytes
    while given:
        settle_oldest()
    return not file.read(1)


def _expect_one_reading(file: BufferedReader) -> None:
    """Let the system read ahead, and keep what others use rather than what is read here.

    Never `DONTNEED`: it would also drop pages that were there before, of a model in use.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # advice that a file system may not take
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_NOREUSE)
