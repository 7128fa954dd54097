"""A file is read once, whatever is computed of it; a file that changes meanwhile has no digest."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from safetensors.numpy import save

from comfyui_provenance.digest import Digest, digest_bytes
from comfyui_provenance.errors import ProvenanceError
from comfyui_provenance.materials import hashing, lanes
from comfyui_provenance.materials.cache import DigestCache, identify
from comfyui_provenance.materials.hashing import (
    ALGORITHMS,
    AUTOV3,
    SHA256,
    Cancelled,
    digest_now,
    hash_file,
)

PIECE_BYTES: Final = 16
TENSOR: Final = np.arange(100, dtype=np.uint8)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make threads hash what would otherwise be one piece."""
    monkeypatch.setattr(lanes, "_PIECE_BYTES", PIECE_BYTES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"weight": TENSOR}))
    return path


@pytest.fixture
def settled() -> DigestCache:
    """A cache whose clock is an hour ahead, so that new files have settled."""
    return DigestCache(now_ns=lambda: time.time_ns() + 3600 * 10**9)


def hashing_threads_end() -> bool:
    deadline = time.monotonic() + 60
    while any(thread.name.startswith("provenance") for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size_bytes", [0, 1, 15, 16, 17, 31, 32, 33, 48, 100])
@pytest.mark.parametrize("offset", [0, 1, 16, 17, 40, 100])
def test_several_hashes_of_one_reading_are_those_of_plain_slices(
    size_bytes: int, offset: int, tmp_path: Path
) -> None:
    content = bytes(range(size_bytes))
    offset = min(offset, size_bytes)
    read: list[int] = []
    path = tmp_path / "file"
    path.write_bytes(content)

    with path.open("rb") as file:
        both = lanes.sha256_from(file, size_bytes, [0, offset], read.append)
        alone = lanes.sha256_from(file, size_bytes, [offset], lambda count: None)

    assert both == [sha256(content), sha256(content[offset:])]
    assert alone == [sha256(content[offset:])]
    assert sum(read) == size_bytes


@pytest.mark.parametrize("size_bytes", [0, 39, 41])
def test_a_file_that_does_not_end_at_its_size_has_no_hash(size_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(40))

    with path.open("rb") as file:
        assert lanes.sha256_from(file, size_bytes, [0], lambda count: None) is None


def test_a_file_has_the_digest_of_its_bytes(path: Path) -> None:
    hashed = hash_file(path)

    assert hashed.identity == identify(path)
    assert hashed.digests == {SHA256: digest_bytes(path.read_bytes())}
    assert hashed.digest() == digest_bytes(path.read_bytes())
    assert not hashed.is_changed


def test_autov3_is_of_the_tensors_alone(path: Path) -> None:
    hashed = hash_file(path, algorithms=ALGORITHMS)

    assert hashed.digests == {
        SHA256: digest_bytes(path.read_bytes()),
        AUTOV3: Digest(AUTOV3, sha256(TENSOR.tobytes())),
    }
    assert hash_file(path, algorithms=[AUTOV3]).digests == {AUTOV3: hashed.digest(AUTOV3)}


def test_autov3_stays_when_the_header_is_edited(path: Path) -> None:
    before = hash_file(path, algorithms=ALGORITHMS)
    path.write_bytes(save({"weight": TENSOR}, {"title": "another"}))

    after = hash_file(path, algorithms=ALGORITHMS)

    assert after.digest(AUTOV3) == before.digest(AUTOV3)
    assert after.digest() != before.digest()


@pytest.mark.parametrize("content", [b"no tensors here, but some text", save({})])
def test_a_file_without_tensors_has_no_autov3(content: bytes, path: Path) -> None:
    path.write_bytes(content)

    hashed = hash_file(path, algorithms=(AUTOV3, SHA256))

    assert hashed.digests == {AUTOV3: None, SHA256: digest_bytes(content)}
    assert not hashed.is_changed


@pytest.mark.parametrize("algorithm", ["blake3", "md5", "sha256-rgb8", ""])
def test_what_is_not_computed_here_is_refused(algorithm: str, path: Path) -> None:
    with pytest.raises(ValueError, match=f"expected sha256 or autov3, got '{algorithm}'"):
        hash_file(path, algorithms=[algorithm])


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hash_file(tmp_path / "gone")


def test_progress_comes_to_the_end(path: Path) -> None:
    told: list[int] = []

    hash_file(path, algorithms=ALGORITHMS, progress=told.append)

    assert hashing_threads_end()
    assert told == sorted(set(told))
    assert len(told) > 2
    assert told[-1] == path.stat().st_size


@pytest.mark.parametrize("algorithms", [[SHA256], ALGORITHMS])
@pytest.mark.parametrize("asked_before", [0, 1, 3])
def test_hashing_stops_when_asked(path: Path, algorithms: list[str], asked_before: int) -> None:
    told: list[int] = []

    with pytest.raises(Cancelled) as raised:
        hash_file(
            path,
            algorithms=algorithms,
            progress=told.append,
            cancelled=lambda: len(told) == asked_before,
        )

    assert len(told) == asked_before
    assert hashing_threads_end()
    assert not isinstance(raised.value, (OSError, ProvenanceError))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def overwrite(path: Path) -> None:
    # Seen by its times alone, which a coarse clock might not move.
    with path.open("r+b") as file:
        file.write(b"\xff")
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("change", [append, cut, empty, overwrite, replace])
def test_a_file_that_changes_while_it_is_read_has_no_digest(
    path: Path, settled: DigestCache, change: Callable[[Path], None]
) -> None:
    before = identify(path)
    told: list[int] = []

    def change_once(hashed_bytes: int) -> None:
        told.append(hashed_bytes)
        if len(told) == 1:
            change(path)

    hashed = digest_now(path, ALGORITHMS, cache=settled, progress=change_once)

    assert hashed.is_changed
    assert (hashed.identity, hashed.digests) == (before, {})
    assert hashed.digest() is None
    assert settled.get(before) is None
    assert settled.get(identify(path)) is None


@pytest.mark.posix  # Windows lets no other file take the name of one that is open
def test_a_file_that_was_another_only_while_it_was_open_has_no_digest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identify(path)
    other = path.with_name("other")
    other.write_bytes(b"x" * path.stat().st_size)
    other.replace(path)
    # As if the first file had been put back, by means that leave no trace in its times.
    monkeypatch.setattr(hashing, "identify", lambda path: before)

    assert hash_file(path).is_changed


def test_a_known_digest_needs_no_reading(
    path: Path, settled: DigestCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digest_now(path, ALGORITHMS, cache=settled)
    monkeypatch.setattr(hashing, "hash_file", None)

    assert digest_now(path, ALGORITHMS, cache=settled) == first
    assert digest_now(path, [SHA256], cache=settled).digests == {SHA256: first.digest()}


def test_only_what_is_missing_is_computed(path: Path, settled: DigestCache) -> None:
    known = Digest(SHA256, "0" * 64)
    settled.put(identify(path), known, settled.now_ns())

    hashed = digest_now(path, (AUTOV3, SHA256), cache=settled)

    assert [*hashed.digests] == [AUTOV3, SHA256]
    assert hashed.digests == {AUTOV3: Digest(AUTOV3, sha256(TENSOR.tobytes())), SHA256: known}


def test_a_file_without_autov3_is_not_read_again_for_it(
    path: Path, settled: DigestCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"no tensors here, but some text")
    first = digest_now(path, ALGORITHMS, cache=settled)
    monkeypatch.setattr(hashing, "sha256_from", None)

    assert digest_now(path, ALGORITHMS, cache=settled) == first


def test_a_file_changed_just_now_is_read_each_time(path: Path) -> None:
    known = DigestCache()

    hashed = digest_now(path, cache=known)

    assert hashed.digest() == digest_bytes(path.read_bytes())
    assert known.get(hashed.identity) is None


def test_digests_of_two_contents_are_not_mixed(
    path: Path, settled: DigestCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest_now(path, [SHA256], cache=settled)

    def hash_later(path: Path, **options: object) -> hashing.Hashed:
        path.write_bytes(save({"weight": TENSOR[:50]}))
        return hash_file(path, algorithms=[AUTOV3])

    monkeypatch.setattr(hashing, "hash_file", hash_later)

    hashed = digest_now(path, ALGORITHMS, cache=settled)

    assert hashed.is_changed
    assert hashed.digests == {}


def test_without_a_cache_a_file_is_hashed(path: Path) -> None:
    assert digest_now(path).digest() == digest_bytes(path.read_bytes())


def test_no_page_that_others_use_is_dropped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advice: list[str] = []
    names = {getattr(os, name): name for name in dir(os) if name.startswith("POSIX_FADV_")}

    def advise(file: int, offset: int, length: int, given: int) -> None:
        advice.append(names[given])

    monkeypatch.setattr(os, "posix_fadvise", advise, raising=False)

    hash_file(path)

    expected = ["POSIX_FADV_SEQUENTIAL", "POSIX_FADV_NOREUSE"] if sys.platform == "linux" else []
    assert advice == expected


def test_a_system_without_threads_is_an_error_of_the_system(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)

    with pytest.raises(OSError, match="expected a thread to hash in: can't start new thread"):
        hash_file(path)
