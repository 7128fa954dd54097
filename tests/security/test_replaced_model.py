"""Attack: another file under a model's name, dressed up to look like the one that was hashed.

A cache of digests that trusts name, size and time vouches for the wrong weights; one that
opens whatever a graph names can be sent to read a pipe for ever.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comfyui_provenance.digest import digest_bytes
from comfyui_provenance.materials import hashing
from comfyui_provenance.materials.cache import DigestCache, identify
from comfyui_provenance.materials.hashing import digest_now

LATER_NS = 3600 * 10**9


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


def settled_cache(path: Path) -> DigestCache:
    """Build a cache for which the file was last changed an hour ago, and that knows it."""
    known = DigestCache(now_ns=lambda: path.stat().st_mtime_ns + LATER_NS)
    digest_now(path, cache=known)
    return known


def test_another_file_of_the_same_size_and_time_is_hashed(model: Path) -> None:
    known, before = settled_cache(model), model.stat()
    other = model.with_name("other")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(model)

    digest = digest_now(model, cache=known).digest()

    assert model.stat().st_size == before.st_size
    assert model.stat().st_mtime_ns == before.st_mtime_ns
    assert digest == digest_bytes(b"WEIGHTS")


@pytest.mark.posix  # Windows keeps no time of the inode's change
def test_a_file_overwritten_in_place_with_its_time_set_back_is_hashed(model: Path) -> None:
    known, before = settled_cache(model), model.stat()
    with model.open("r+b") as file:
        file.write(b"WEIGHTS")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))

    digest = digest_now(model, cache=known).digest()

    assert model.stat().st_ino == before.st_ino
    assert digest == digest_bytes(b"WEIGHTS")


def test_a_file_changed_just_now_is_not_trusted_to_stay(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = DigestCache(now_ns=lambda: model.stat().st_mtime_ns + 10**9)
    digest_now(model, cache=fresh)
    identity = identify(model)
    # Two writes within one tick of the file system's clock leave one and the same identity.
    model.write_bytes(b"WEIGHTS")
    monkeypatch.setattr(hashing, "identify", lambda path: identity)

    assert digest_now(model, cache=fresh).digest() == digest_bytes(b"WEIGHTS")


@pytest.mark.posix  # Windows has no named pipes in folders
def test_a_pipe_is_refused_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OSError, match="expected a regular file"):
        digest_now(tmp_path / "pipe")


def test_a_circle_of_links_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")

    with pytest.raises(OSError, match=r"circle|[Ss]ymbolic"):
        digest_now(tmp_path / "a")
