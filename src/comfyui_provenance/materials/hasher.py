"""Hashing in the background: several files side by side, each of them once for all who ask.

A caller may stop waiting at any time. The hashing goes on, and its result is in the cache
when the same file is asked for again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Final

from .cache import DigestCache, FileIdentity, identify
from .hashing import SHA256, Cancelled, Hashed, digest_now, refuse_unknown
from .lanes import start_daemon

_WORKERS: Final = 4
"""Files to read at once. The largest file decides how long several take, and four readers
already ask 2 to 8 GB/s of a disk, by what the processor's SHA-256 gives."""


@dataclass(eq=False, slots=True)
class Reading:
    """One reading of one file, for all who asked for it.

    Attributes:
        identity: The file's when it was asked for.
        algorithms: What to compute; more may be added until it is begun.
        askers: Jobs that were not cancelled; without any it is stopped.
        waiters: Calls that wait for it now; with any it comes before the others.
        hashed_bytes: How far it has come.
        outcome: What it gave or raised, once `ended` is set.
        ended: Set when there is an outcome.
    """

    identity: FileIdentity
    algorithms: tuple[str, ...]
    askers: int = 0
    waiters: int = 0
    hashed_bytes: int = 0
    outcome: Hashed | Exception | None = None
    ended: Event = field(default_factory=Event)

    def advance(self, hashed_bytes: int) -> None:
        """Note how far it has come."""
        self.hashed_bytes = hashed_bytes

    def is_abandoned(self) -> bool:
        """Tell whether nobody wants it any more."""
        return self.askers == 0

    def end(self, outcome: Hashed | Exception) -> None:
        """Give the outcome to all who wait."""
        self.outcome = outcome
        self.hashed_bytes = self.identity.size_bytes
        self.ended.set()


class Job:
    """One caller's share in a reading, as `Hasher.submit` gives it.

    Attributes:
        reading: Shared with all who asked for the same file meanwhile.
        is_cancelled: Whether this caller wants the result no more.
    """

    def __init__(self, reading: Reading, drop: Callable[[Job], None]) -> None:
        self.reading = reading
        self.is_cancelled = False
        self._drop = drop

    @property
    def done(self) -> bool:
        """Whether `result` answers without waiting."""
        return self.is_cancelled or self.reading.ended.is_set()

    @property
    def size_bytes(self) -> int:
        """The file's size."""
        return self.reading.identity.size_bytes

    @property
    def hashed_bytes(self) -> int:
        """How many of the file's bytes are done; all of them once the reading has ended."""
        return self.reading.hashed_bytes

    def result(self, timeout_s: float | None = None) -> Hashed:
        """Wait for what hashing gives.

        It may hold what other callers asked for besides. Its identity is that of the file
        that was read: another one than was submitted, if the file was replaced before.

        Raises:
            OSError: The file cannot be read; `TimeoutError`, it takes longer than this.
            Cancelled: The job was cancelled.
        """
        if not self.is_cancelled and not self.reading.ended.wait(timeout_s):
            raise TimeoutError(f"expected a digest within {timeout_s} s, got none")
        outcome = self.reading.outcome
        if self.is_cancelled or outcome is None:
            raise Cancelled
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def cancel(self) -> None:
        """Want the result no more; the file is read on while another job wants it."""
        self._drop(self)


class Hasher:
    """Hashes files in threads that start when there is work and end when there is none.

    No thread keeps the interpreter from ending. Files that someone waits for come first, and
    among them the largest: begun last, it would be read alone while other cores have nothing
    left to do.
    """

    def __init__(self, cache: DigestCache, workers: int | None = None) -> None:
        """Begin with nothing to do.

        Args:
            cache: Asked before a file is read, and given what that gave.
            workers: How many files to read at once.

        Raises:
            ValueError: That is no positive number.
        """
        if workers is not None and workers < 1:
            raise ValueError(f"expected at least one worker, got {workers}")
        self._cache = cache
        self._workers = workers or min(os.cpu_count() or 1, _WORKERS)
        self._lock = Lock()
        self._pending: list[Reading] = []
        self._newest: dict[FileIdentity, Reading] = {}
        self._being_read: set[FileIdentity] = set()
        self._running = 0

    def submit(self, path: Path, algorithms: Collection[str] = (SHA256,)) -> Job:
        """Ask for a file's digests; those that are known need no thread.

        Args:
            path: A regular file.
            algorithms: Of `sha256` and `autov3`.

        Raises:
            OSError: The file cannot be found, is not a regular file, or no thread is left.
            ValueError: An algorithm is none of these.
        """
        refuse_unknown(algorithms)
        identity = identify(path)
        known = self._cache.find(identity, algorithms)
        if all(algorithm in known for algorithm in algorithms):
            reading = Reading(identity, tuple(algorithms))
            reading.end(Hashed(identity, known))
            return Job(reading, self._drop)
        with self._lock:
            reading = self._join(identity, algorithms)
            if reading in self._pending and self._running < self._workers:
                self._start_worker(reading)
        return Job(reading, self._drop)

    def wait(
        self,
        jobs: Collection[Job],
        *,
        progress: Callable[[int, int], None] | None = None,
        interrupted: Callable[[], bool] | None = None,
        poll_s: float = 0.1,
    ) -> bool:
        """Wait until every job has ended, or until that is no longer wanted.

        Args:
            jobs: Of this hasher. They go on after an interruption, unless cancelled.
            progress: Called with the bytes hashed and the bytes in all.
            interrupted: Asked about every `poll_s`; true ends the waiting.
            poll_s: Seconds.

        Returns:
            Whether all have ended.
        """
        readings = {job.reading for job in jobs}
        self._add_waiters(readings, 1)
        try:
            while unfinished := [job for job in jobs if not job.done]:
                if interrupted is not None and interrupted():
                    return False
                unfinished[0].reading.ended.wait(poll_s)
                if progress is not None:
                    progress(
                        sum(reading.hashed_bytes for reading in readings),
                        sum(reading.identity.size_bytes for reading in readings),
                    )
            return True
        finally:
            self._add_waiters(readings, -1)

    def _join(self, identity: FileIdentity, algorithms: Collection[str]) -> Reading:
        """Take part in a reading that gives these algorithms, or can still be made to."""
        reading = self._newest.get(identity)
        if reading in self._pending:
            reading.algorithms = tuple(dict.fromkeys((*reading.algorithms, *algorithms)))
        elif reading is None or not set(algorithms) <= set(reading.algorithms):
            reading = self._newest[identity] = Reading(identity, tuple(algorithms))
            self._pending.append(reading)
        reading.askers += 1
        return reading

    def _start_worker(self, reading: Reading) -> None:
        self._running += 1
        try:
            start_daemon(self._work, "provenance-hasher")
        except OSError:
            self._running -= 1
            if self._running == 0:
                self._forget(reading)
                raise
            # A worker that runs comes to it later.

    def _work(self) -> None:
        while (reading := self._take()) is not None:
            try:
                outcome: Hashed | Exception = digest_now(
                    reading.identity.path,
                    reading.algorithms,
                    cache=self._cache,
                    progress=reading.advance,
                    cancelled=reading.is_abandoned,
                )
            except Exception as error:  # noqa: BLE001  raised again where it is waited for
                outcome = error
            with self._lock:
                self._being_read.discard(reading.identity)
                self._forget(reading)
            reading.end(outcome)

    def _take(self) -> Reading | None:
        with self._lock:
            # A second reading of one file waits for the first: it may find all it needs.
            ready = [
                reading for reading in self._pending if reading.identity not in self._being_read
            ]
            if not ready:
                self._running -= 1
                return None
            reading = max(
                ready, key=lambda reading: (reading.waiters > 0, reading.identity.size_bytes)
            )
            self._pending.remove(reading)
            self._being_read.add(reading.identity)
            return reading

    def _drop(self, job: Job) -> None:
        """Count one asker less; without any, nobody may join what is about to stop."""
        reading = job.reading
        with self._lock:
            if job.done:
                return
            job.is_cancelled = True
            reading.askers -= 1
            if reading.askers:
                return
            was_begun = reading not in self._pending
            self._forget(reading)
        if not was_begun:
            reading.end(Cancelled())

    def _forget(self, reading: Reading) -> None:
        if reading in self._pending:
            self._pending.remove(reading)
        if self._newest.get(reading.identity) is reading:
            del self._newest[reading.identity]

    def _add_waiters(self, readings: Collection[Reading], count: int) -> None:
        with self._lock:
            for reading in readings:
                reading.waiters += count
