"""A file is written whole or not at all, and another one never written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyui_provenance.new_files import open_new, refuse_taken, write_new


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def write_half(path: Path) -> None:
    with open_new(path) as file:
        file.write(b"half")
        raise RuntimeError("half way")


def write_while_another_does(path: Path) -> None:
    with open_new(path) as file:
        file.write(b"ours")
        path.write_bytes(b"theirs")


def test_a_file_gets_its_name_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new"

    with open_new(path) as file:
        file.write(b"first ")
        assert not path.exists()
        file.write(b"second")

    assert path.read_bytes() == b"first second"
    assert names_in(tmp_path) == ["new"]


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        write_half(tmp_path / "new")

    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "kind", ["file", "folder", pytest.param("dead link", marks=pytest.mark.posix)]
)
def test_a_taken_name_is_refused(tmp_path: Path, kind: str) -> None:
    taken = tmp_path / "taken"
    if kind == "file":
        taken.write_bytes(b"mine")
    elif kind == "folder":
        taken.mkdir()
    else:
        taken.symlink_to("absent")

    for refuse in (refuse_taken, lambda path: write_new(path, b"other")):
        with pytest.raises(FileExistsError, match="taken: expected a new name"):
            refuse(taken)

    assert names_in(tmp_path) == ["taken"]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_name_that_is_taken_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", _refuse_links)
    path = tmp_path / "new"

    with pytest.raises(FileExistsError, match="expected a new name"):
        write_while_another_does(path)

    assert path.read_bytes() == b"theirs"
    assert names_in(tmp_path) == ["new"]


def test_where_there_are_no_hard_links_it_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "hardlink_to", _refuse_links)

    write_new(tmp_path / "new", b"whole")

    assert (tmp_path / "new").read_bytes() == b"whole"
    assert names_in(tmp_path) == ["new"]


def test_where_the_last_step_fails_the_name_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> Path:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "hardlink_to", _refuse_links)
    monkeypatch.setattr(Path, "replace", fail)

    with pytest.raises(OSError, match="Input/output"):
        write_new(tmp_path / "new", b"whole")

    assert names_in(tmp_path) == []


def _refuse_links(self: Path, target: Path) -> None:
    raise PermissionError(1, "Operation not permitted")
