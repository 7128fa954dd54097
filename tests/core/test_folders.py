"""A walk gives every file once, in the order of its path, and always ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyui_provenance.folders import Passed, walk

from support.recorded_images import write_files

DEEP = 400
"""Deeper than a reader that calls itself for each folder could go in Python's stack of 1000."""


def names_in(folder: Path) -> tuple[list[str], Passed]:
    passed = Passed()
    return [path.relative_to(folder).as_posix() for path in walk(folder, passed)], passed


def test_a_folders_files_stand_where_its_name_does(tmp_path: Path) -> None:
    names = ["a", "b/a", "b/b/c", "b/c", "c", "d-", "d/x"]
    write_files(tmp_path, dict.fromkeys(reversed(names), b""))

    found, passed = names_in(tmp_path)

    assert found == ["a", "b/a", "b/b/c", "b/c", "c", "d/x", "d-"]
    assert passed == Passed()


@pytest.mark.posix
def test_a_folder_with_two_names_is_walked_under_the_first(tmp_path: Path) -> None:
    write_files(tmp_path, {"b/x": b"", "b/c/y": b""})
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "c" / "up").symlink_to(tmp_path)

    found, passed = names_in(tmp_path)

    assert found == ["a/c/y", "a/x"]
    assert passed.links == 2


@pytest.mark.posix
def test_links_to_files_are_followed_and_dead_ones_counted(tmp_path: Path) -> None:
    write_files(tmp_path, {"x": b""})
    (tmp_path / "also").symlink_to("x")
    (tmp_path / "dead").symlink_to("absent")

    found, passed = names_in(tmp_path)

    assert found == ["also", "x"]
    assert passed.others == 1


@pytest.mark.posix
def test_deep_folders_do_not_exhaust_the_stack(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["d"] * DEEP)
    folder.mkdir(parents=True)
    (folder / "x").touch()

    found, _ = names_in(tmp_path)

    assert found == ["/".join([*["d"] * DEEP, "x"])]


def test_an_absent_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(walk(tmp_path / "absent", Passed()))
