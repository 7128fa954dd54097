"""Files judged over all cores, in processes, with the answers in the order of the files.

Few are in hand at any time, so the memory that it takes does not grow with their number. A file
that ends the process which reads it is told as unreadable, and the others are judged all the same.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Final, TypeAlias

from .judging import Audited, audit_file, unreadable

_CHUNK: Final = 8
"""Files given to a process at once: about a tenth of a second of work."""

_CHUNKS_AHEAD: Final = 4
"""Chunks waiting for each process; answers that are early wait, too."""

_FEW: Final = 16
"""Up to this many are judged in this process: a new one takes as long to start."""

_MOST_WORKERS: Final = 61
"""Windows waits for no more processes than that."""

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Options of glibc's `mallopt`, from its `malloc.h`."""

_KEPT_BYTES: Final = 64 * 1024**2
"""An image of 4096 x 4096 pixels; the memory of a larger one is given back."""

Judge: TypeAlias = Callable[[str, bool], Audited]
"""Judges a file; told whether to make a thumbnail, too. Found by its name in a new process."""


def audit_files(
    paths: Sequence[str],
    *,
    thumbnails: bool = False,
    workers: int | None = None,
    judge: Judge | None = None,
) -> Generator[Audited]:
    """Judge files, and give the answers in their order.

    Args:
        paths: The files.
        thumbnails: Whether to make a small picture of each, too.
        workers: Processes; as many as there are cores if not given.
        judge: What to do with each; `audit_file` if not given.

    Raises:
        ValueError: The number of workers is not positive.
    """
    count = workers if workers is not None else min(_cores(), _MOST_WORKERS)
    if count < 1:
        raise ValueError(f"expected at least one worker, got {count}")
    judge = judge or _audit_file
    if judge is _audit_file and (count == 1 or len(paths) <= _FEW):
        for path in paths:
            yield judge(path, thumbnails)
        return
    crew = _Crew(count, judge, thumbnails)
    try:
        yield from crew.judge(paths)
    finally:
        crew.close()


def _audit_file(path: str, thumbnail: bool) -> Audited:
    return audit_file(path, thumbnail=thumbnail)


def _cores() -> int:
    """Give the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Crew:
    """The processes of one audit."""

    def __init__(self, workers: int, judge: Judge, thumbnails: bool) -> None:
        self._workers = workers
        self._judge = judge
        self._thumbnails = thumbnails
        self._executor = _start(workers)

    def judge(self, paths: Sequence[str]) -> Iterator[Audited]:
        """Judge files, and give the answers in their order."""
        pending: deque[tuple[Sequence[str], Future[list[Audited]]]] = deque()
        for at in range(0, len(paths), _CHUNK):
            if len(pending) == self._workers * _CHUNKS_AHEAD:
                yield from self._result(*pending.popleft())
            chunk = paths[at : at + _CHUNK]
            pending.append((chunk, self._submit(chunk)))
        while pending:
            yield from self._result(*pending.popleft())

    def close(self) -> None:
        """End the processes; what they have not begun is dropped."""
        self._executor.shutdown(cancel_futures=True)

    def _submit(self, chunk: Sequence[str]) -> Future[list[Audited]]:
        try:
            return self._executor.submit(_judge_all, self._judge, chunk, self._thumbnails)
        except BrokenProcessPool:
            self.close()
            self._executor = _start(self._workers)
            return self._executor.submit(_judge_all, self._judge, chunk, self._thumbnails)

    def _result(self, chunk: Sequence[str], future: Future[list[Audited]]) -> list[Audited]:
        try:
            return future.result()
        except BrokenProcessPool:
            return self._apart(chunk)

    def _apart(self, paths: Sequence[str]) -> list[Audited]:
        """Judge files in a process of their own, and each in one if that ends it, too."""
        with _start(1) as executor:
            try:
                return executor.submit(_judge_all, self._judge, paths, self._thumbnails).result()
            except BrokenProcessPool:
                pass
        if len(paths) == 1:
            return [unreadable(paths[0], "reading it ended the process")]
        return [found for path in paths for found in self._apart([path])]


def _start(workers: int) -> ProcessPoolExecutor:
    # Not by fork, which copies the locks that other threads hold; numpy starts some.
    return ProcessPoolExecutor(workers, get_context("spawn"), _begin)


def _begin() -> None:
    """Prepare a process: the interruption is for the first one to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    _keep_memory()


def _keep_memory() -> None:
    """Let glibc use memory again for the next image instead of giving it back.

    Each image would be put on pages that are new: measured, 12 % of an audit's time at
    1024 x 1024.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
        mallopt(option, _KEPT_BYTES)


def _judge_all(judge: Judge, paths: Sequence[str], thumbnails: bool) -> list[Audited]:
    return [judge(path, thumbnails) for path in paths]
