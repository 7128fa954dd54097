"""Whoever asks for a file shares one reading of it, and may stop waiting at any time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final

import pytest

import comfyui_provenance
from comfyui_provenance.digest import digest_bytes
from comfyui_provenance.materials import hasher as module
from comfyui_provenance.materials.cache import DigestCache, identify
from comfyui_provenance.materials.hasher import Hasher
from comfyui_provenance.materials.hashing import (
    ALGORITHMS,
    AUTOV3,
    SHA256,
    Cancelled,
    Hashed,
    digest_now,
)

PATIENCE_S: Final = 60.0
"""Longer than any step here takes on a busy machine."""


@dataclass
class Gate:
    """Stands before each reading, and notes what comes by.

    Attributes:
        readings: Names of files and algorithms, in the order in which reading began.
        arrived: Set when a reading has come to the gate.
        opened: Set to let all pass.
    """

    readings: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    arrived: Event = field(default_factory=Event)
    opened: Event = field(default_factory=Event)

    def digest_now(
        self,
        path: Path,
        algorithms: tuple[str, ...],
        *,
        cache: DigestCache,
        progress: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> Hashed:
        """Hash a file, once it may pass."""
        self.readings.append((path.name, algorithms))
        self.arrived.set()
        assert self.opened.wait(PATIENCE_S)
        return digest_now(path, algorithms, cache=cache, progress=progress, cancelled=cancelled)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(module, "digest_now", gate.digest_now)
    yield gate
    gate.opened.set()


@pytest.fixture
def cache() -> DigestCache:
    """A cache whose clock is an hour ahead, so that new files have settled."""
    return DigestCache(now_ns=lambda: time.time_ns() + 3600 * 10**9)


@pytest.fixture
def hasher(cache: DigestCache) -> Hasher:
    return Hasher(cache, workers=1)


def write(folder: Path, name: str, size_bytes: int = 7) -> Path:
    path = folder / name
    path.write_bytes(name.encode() * size_bytes)
    return path


def block(hasher: Hasher, gate: Gate, folder: Path) -> None:
    """Give the one worker something to do, so that what follows has to wait."""
    hasher.submit(write(folder, "first"))
    assert gate.arrived.wait(PATIENCE_S)


def hashing_threads() -> list[Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("provenance")]


def test_a_job_gives_what_hashing_gives(hasher: Hasher, tmp_path: Path) -> None:
    path = write(tmp_path, "model")

    job = hasher.submit(path, ALGORITHMS)

    hashed = job.result(PATIENCE_S)
    assert hashed.identity == identify(path)
    assert hashed.digests == {SHA256: digest_bytes(path.read_bytes()), AUTOV3: None}
    assert job.done
    assert job.hashed_bytes == job.size_bytes == path.stat().st_size


def test_two_who_ask_share_one_reading(hasher: Hasher, gate: Gate, tmp_path: Path) -> None:
    path = write(tmp_path, "model")
    link = path.with_name("link")
    link.symlink_to(path)

    first, second = hasher.submit(path), hasher.submit(link)
    gate.opened.set()

    assert first.result(PATIENCE_S) == second.result(PATIENCE_S)
    assert gate.readings == [("model", (SHA256,))]


def test_a_known_file_is_not_read(
    hasher: Hasher, gate: Gate, cache: DigestCache, tmp_path: Path
) -> None:
    path = write(tmp_path, "model")
    digest_now(path, cache=cache)

    job = hasher.submit(path)

    assert job.done
    assert job.result(0).digest() == digest_bytes(path.read_bytes())
    assert hasher.wait([job])
    assert gate.readings == []


def test_a_result_is_kept_for_the_next_who_asks(hasher: Hasher, gate: Gate, tmp_path: Path) -> None:
    path = write(tmp_path, "model")
    gate.opened.set()
    hasher.submit(path).result(PATIENCE_S)

    assert hasher.submit(path).done
    assert len(gate.readings) == 1


def test_an_algorithm_is_added_to_a_reading_that_has_not_begun(
    hasher: Hasher, gate: Gate, tmp_path: Path
) -> None:
    block(hasher, gate, tmp_path)
    path = write(tmp_path, "model")

    jobs = [hasher.submit(path), hasher.submit(path, (AUTOV3,))]
    gate.opened.set()

    assert hasher.wait(jobs)
    assert gate.readings[1:] == [("model", (SHA256, AUTOV3))]


def test_an_algorithm_that_came_too_late_is_computed_after(
    cache: DigestCache, gate: Gate, tmp_path: Path
) -> None:
    hasher = Hasher(cache, workers=2)
    path = write(tmp_path, "model")
    first = hasher.submit(path)
    assert gate.arrived.wait(PATIENCE_S)

    second = hasher.submit(path, (AUTOV3,))
    block(hasher, gate, tmp_path)
    begun_meanwhile = [*gate.readings]
    gate.opened.set()

    assert second.result(PATIENCE_S).digests == {AUTOV3: None}
    assert first.result(PATIENCE_S).digests == {SHA256: digest_bytes(path.read_bytes())}
    assert ("model", (AUTOV3,)) not in begun_meanwhile


def test_the_largest_file_is_read_first(hasher: Hasher, gate: Gate, tmp_path: Path) -> None:
    block(hasher, gate, tmp_path)
    sizes = {"small": 1, "large": 9, "middle": 5}

    jobs = [hasher.submit(write(tmp_path, name, size)) for name, size in sizes.items()]
    gate.opened.set()

    assert hasher.wait(jobs)
    assert [name for name, _ in gate.readings] == ["first", "large", "middle", "small"]


def test_a_file_that_someone_waits_for_is_read_before_larger_ones(
    hasher: Hasher, gate: Gate, tmp_path: Path
) -> None:
    block(hasher, gate, tmp_path)
    large = hasher.submit(write(tmp_path, "large", 9))
    small = hasher.submit(write(tmp_path, "small", 1))

    def open_when_waited_for() -> bool:
        gate.opened.set()
        return False

    assert hasher.wait([small], interrupted=open_when_waited_for)
    assert hasher.wait([large])
    assert [name for name, _ in gate.readings] == ["first", "small", "large"]


def test_several_files_are_read_at_once(cache: DigestCache, gate: Gate, tmp_path: Path) -> None:
    hasher = Hasher(cache, workers=3)

    jobs = [hasher.submit(write(tmp_path, str(number))) for number in range(5)]
    deadline = time.monotonic() + PATIENCE_S
    while len(gate.readings) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    at_once = len(gate.readings)
    gate.opened.set()

    assert hasher.wait(jobs)
    assert (at_once, len(gate.readings)) == (3, 5)


def test_an_interrupted_wait_leaves_the_reading_to_go_on(
    hasher: Hasher, gate: Gate, tmp_path: Path
) -> None:
    path = write(tmp_path, "model")
    job = hasher.submit(path)

    waited = hasher.wait([job], interrupted=lambda: True)
    gate.opened.set()

    assert not waited
    assert job.result(PATIENCE_S).digest() == digest_bytes(path.read_bytes())
    assert hasher.submit(path).done


def test_waiting_tells_how_far_it_is(hasher: Hasher, gate: Gate, tmp_path: Path) -> None:
    paths = [write(tmp_path, name) for name in ("one", "two")]
    total_bytes = sum(path.stat().st_size for path in paths)
    told: list[tuple[int, int]] = []

    def tell(hashed_bytes: int, all_bytes: int) -> None:
        told.append((hashed_bytes, all_bytes))
        gate.opened.set()

    assert hasher.wait([hasher.submit(path) for path in paths], progress=tell, poll_s=0.01)

    assert told[0] == (0, total_bytes)
    assert told[-1] == (total_bytes, total_bytes)


def test_an_error_of_whoever_waits_leaves_the_reading_to_go_on(
    hasher: Hasher, gate: Gate, tmp_path: Path
) -> None:
    job = hasher.submit(write(tmp_path, "model"))

    def refuse() -> bool:
        raise KeyError("interrupted")

    with pytest.raises(KeyError):
        hasher.wait([job], interrupted=refuse)
    gate.opened.set()

    assert job.result(PATIENCE_S).digest() is not None
    assert job.reading.waiters == 0


def test_a_cancelled_reading_is_stopped(hasher: Hasher, gate: Gate, tmp_path: Path) -> None:
    path = write(tmp_path, "model")
    job = hasher.submit(path)
    assert gate.arrived.wait(PATIENCE_S)

    job.cancel()
    done_at_once = job.done
    gate.opened.set()
    again = hasher.submit(path)

    assert done_at_once
    with pytest.raises(Cancelled):
        job.result(PATIENCE_S)
    assert job.reading.ended.wait(PATIENCE_S)
    assert isinstance(job.reading.outcome, Cancelled)
    assert again.result(PATIENCE_S).digest() == digest_bytes(path.read_bytes())


def test_a_cancelled_reading_that_has_not_begun_never_does(
    hasher: Hasher, gate: Gate, tmp_path: Path
) -> None:
    block(hasher, gate, tmp_path)
    job, last = (hasher.submit(write(tmp_path, name)) for name in ("model", "last"))

    job.cancel()
    gate.opened.set()

    with pytest.raises(Cancelled):
        job.result()
    assert hasher.wait([last])
    assert [name for name, _ in gate.readings] == ["first", "last"]


def test_one_who_cancels_does_not_stop_another(hasher: Hasher, gate: Gate, tmp_path: Path) -> None:
    block(hasher, gate, tmp_path)
    path = write(tmp_path, "model")
    first, second = hasher.submit(path), hasher.submit(path)

    first.cancel()
    first.cancel()
    third = hasher.submit(path)
    gate.opened.set()

    assert second.result(PATIENCE_S).digest() == digest_bytes(path.read_bytes())
    assert third.result(PATIENCE_S) == second.result()
    with pytest.raises(Cancelled):
        first.result()
    assert [name for name, _ in gate.readings] == ["first", "model"]


def test_cancelling_wakes_who_waits_for_the_result(
    hasher: Hasher, gate: Gate, tmp_path: Path
) -> None:
    block(hasher, gate, tmp_path)
    job, raised = hasher.submit(write(tmp_path, "model")), Event()

    def wait_for_result() -> None:
        with pytest.raises(Cancelled):
            job.result(PATIENCE_S)
        raised.set()

    waiting = Thread(target=wait_for_result, daemon=True)
    waiting.start()
    job.cancel()

    assert raised.wait(PATIENCE_S)
    waiting.join()


def test_cancelling_what_is_done_changes_nothing(hasher: Hasher, tmp_path: Path) -> None:
    job = hasher.submit(write(tmp_path, "model"))
    hashed = job.result(PATIENCE_S)

    job.cancel()

    assert job.result() == hashed


def test_a_result_is_not_waited_for_longer_than_asked(
    hasher: Hasher, gate: Gate, tmp_path: Path
) -> None:
    job = hasher.submit(write(tmp_path, "model"))

    with pytest.raises(TimeoutError, match=r"expected a digest within 0\.01 s"):
        job.result(0.01)


def test_a_file_that_cannot_be_read_tells_all_who_asked(
    hasher: Hasher, gate: Gate, tmp_path: Path
) -> None:
    path = write(tmp_path, "model")
    jobs = [hasher.submit(path), hasher.submit(path)]
    path.unlink()
    gate.opened.set()

    assert hasher.wait(jobs)
    for job in jobs:
        with pytest.raises(FileNotFoundError):
            job.result()


def test_a_missing_file_is_refused_at_once(hasher: Hasher, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hasher.submit(tmp_path / "gone")


def test_an_unknown_algorithm_is_refused_at_once(hasher: Hasher, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected sha256 or autov3, got 'md5'"):
        hasher.submit(write(tmp_path, "model"), ["md5"])


def test_a_hasher_has_at_least_one_worker(cache: DigestCache) -> None:
    with pytest.raises(ValueError, match="at least one worker, got 0"):
        Hasher(cache, workers=0)


def test_a_system_without_threads_is_an_error_and_no_wait(
    hasher: Hasher, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    path = write(tmp_path, "model")
    with monkeypatch.context() as without_threads:
        without_threads.setattr(Thread, "start", refuse)
        with pytest.raises(OSError, match="can't start new thread"):
            hasher.submit(path)
    gate.opened.set()

    assert hasher.wait([hasher.submit(write(tmp_path, "other"))])
    assert [name for name, _ in gate.readings] == ["other"]


def test_threads_end_with_the_work(cache: DigestCache, tmp_path: Path) -> None:
    hasher = Hasher(cache, workers=2)

    assert hasher.wait([hasher.submit(write(tmp_path, str(number))) for number in range(9)])

    deadline = time.monotonic() + PATIENCE_S
    while hashing_threads() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert hashing_threads() == []


def test_the_interpreter_ends_in_the_middle_of_hashing(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one", "two")]
    for path in paths:
        path.touch()
        os.truncate(path, 10**12)  # all of it a hole; an hour to hash
    script = (
        "import sys; from pathlib import Path\n"
        "from comfyui_provenance.materials.cache import DigestCache\n"
        "from comfyui_provenance.materials.hasher import Hasher\n"
        "hasher = Hasher(DigestCache(), workers=2)\n"
        "jobs = [hasher.submit(Path(name)) for name in sys.argv[1:]]\n"
        "while not all(job.hashed_bytes for job in jobs): hasher.wait(jobs,"
        " interrupted=lambda: all(job.hashed_bytes for job in jobs), poll_s=0.001)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", script, *map(str, paths)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(comfyui_provenance.__file__).parents[1])},
        timeout=PATIENCE_S,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
