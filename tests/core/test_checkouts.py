"""The version in a folder is read from its files, in every layout that git leaves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from comfyui_provenance.checkouts import read_commit, read_version

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
BRANCH = "ref: refs/heads/fix/a-branch\n"


def files(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")


def detached(folder: Path) -> None:
    (folder / ".git").mkdir()
    files(folder / ".git", HEAD=f"{COMMIT}\n")


def branch(folder: Path) -> None:
    (folder / ".git" / "refs" / "heads" / "fix").mkdir(parents=True)
    files(folder / ".git", HEAD=BRANCH)
    (folder / ".git" / "refs" / "heads" / "fix" / "a-branch").write_text(f"{COMMIT}\n", "utf-8")


def packed(folder: Path) -> None:
    (folder / ".git").mkdir()
    files(folder / ".git", HEAD=BRANCH)
    text = f"# pack-refs with: peeled\n{OTHER} refs/heads/fix\n{COMMIT} refs/heads/fix/a-branch\n"
    (folder / ".git" / "packed-refs").write_text(text, "utf-8")


def worktree(folder: Path) -> None:
    main = folder.parent / "main"
    (main / "own").mkdir(parents=True)
    files(main, own__HEAD=BRANCH, own__commondir="../common\n")
    (main / "common").mkdir()
    (main / "common" / "packed-refs").write_text(f"{COMMIT} refs/heads/fix/a-branch\n", "utf-8")
    files(folder, **{".git": f"gitdir: {main / 'own'}\n"})


@pytest.mark.parametrize("layout", [detached, branch, packed, worktree])
def test_the_commit_is_found(tmp_path: Path, layout: Callable[[Path], None]) -> None:
    folder = tmp_path / "clone"
    folder.mkdir()
    layout(folder)

    assert read_commit(folder) == COMMIT


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("", id="empty"),
        pytest.param("/home/somebody", id="something else"),
        pytest.param("ref: refs/heads/none", id="a branch without a commit"),
        pytest.param("ref: refs/../../../secret", id="a way out of the folder"),
        pytest.param("\xff" * 40, id="not hexadecimal"),
    ],
)
def test_what_names_no_commit_gives_none(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git" / "refs").mkdir(parents=True)
    files(tmp_path / ".git", HEAD=head)
    (tmp_path.parent / "secret").write_text(COMMIT, "utf-8")

    assert read_commit(tmp_path) is None


def test_a_folder_that_is_no_clone_has_no_commit(tmp_path: Path) -> None:
    assert read_commit(tmp_path) is None
    assert read_commit(tmp_path / "missing") is None


def test_a_version_is_the_projects_own(tmp_path: Path) -> None:
    files(tmp_path, **{"pyproject.toml": '[project]\nname = "a"\nversion = "1.2.3"\n'})

    assert read_version(tmp_path) == "1.2.3"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('[project]\ndynamic = ["version"]', id="worked out elsewhere"),
        pytest.param("[project]\nversion = 1", id="no text"),
        pytest.param('project = "a"', id="no table"),
        pytest.param("[project", id="no TOML"),
        pytest.param("", id="empty"),
    ],
)
def test_what_states_no_version_gives_none(tmp_path: Path, text: str) -> None:
    files(tmp_path, **{"pyproject.toml": text})

    assert read_version(tmp_path) is None


def test_this_pack_states_its_version() -> None:
    version = read_version(Path(__file__).resolve().parents[2])

    assert version is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
