"""A digest is computed once while a file stays what it is; doubt is a miss."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comfyui_provenance.digest import Digest, digest_bytes, digest_file
from comfyui_provenance.materials import cache
from comfyui_provenance.materials.cache import DigestCache, FileIdentity, identify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read, in order."""
    made: list[Path] = []

    def read(path: Path) -> Digest:
        made.append(path)
        return digest_file(path)

    monkeypatch.setattr(cache, "digest_file", read)
    return made


def settled(path: Path) -> DigestCache:
    return DigestCache(lambda: path.stat().st_mtime_ns + 10**12)


def test_an_unchanged_file_is_read_once(path: Path, reads: list[Path]) -> None:
    known = settled(path)

    first, second = known.digest(path), known.digest(path)

    assert first == second == (identify(path), digest_bytes(b"weights"))
    assert len(reads) == 1


def test_two_names_of_one_file_are_one_file(path: Path, reads: list[Path]) -> None:
    known, link = settled(path), path.with_name("link")
    link.symlink_to(path)

    assert known.digest(path) == known.digest(link)
    assert len(reads) == 1


def test_a_file_with_another_time_is_read_again(path: Path, reads: list[Path]) -> None:
    known = settled(path)
    known.digest(path)
    os.utime(path, ns=(1, 1))

    known.digest(path)

    assert len(reads) == 2


def test_a_file_with_another_size_is_read_again(path: Path) -> None:
    known = settled(path)
    known.digest(path)
    path.write_bytes(b"more weights")

    assert known.digest(path)[1] == digest_bytes(b"more weights")


def test_a_file_that_changes_while_it_is_read_has_no_digest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> Digest:
        path.write_bytes(b"longer than before")
        return digest_bytes(b"weights")

    monkeypatch.setattr(cache, "digest_file", read)
    known = settled(path)

    identity, digest = known.digest(path)

    assert (identity.size_bytes, digest) == (7, None)


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DigestCache().digest(tmp_path / "gone")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="expected a regular file"):
        identify(tmp_path)


def test_an_identity_is_all_that_a_replaced_file_would_change(path: Path) -> None:
    status = path.stat()

    assert identify(path) == FileIdentity(
        path=path.resolve(),
        size_bytes=7,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
        device=status.st_dev,
    )
