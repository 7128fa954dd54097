"""Which version of a program a folder holds, read from its files alone.

Git is not run: it may be missing, is slow to start, and a repository can make it run
programs of its own.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF: Final = re.compile(r"ref: (refs/[\w./+@-]+)")


def read_version(folder: Path) -> str | None:
    """Give the version that a folder's `pyproject.toml` states; none where it does not."""
    try:
        document: Any = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
        version = document["project"]["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return version if isinstance(version, str) else None


def read_commit(folder: Path) -> str | None:
    """Give the commit that is checked out in a folder; none where that cannot be told."""
    try:
        return _commit(folder / ".git")
    except (OSError, ValueError):
        return None


def _commit(git: Path) -> str | None:
    if git.is_file():
        # A worktree or a submodule: the file names the folder.
        git = git.parent / git.read_text("utf-8").removeprefix("gitdir:").strip()
    head = (git / "HEAD").read_text("utf-8").strip()
    if _COMMIT.fullmatch(head):
        return head
    ref = _REF.fullmatch(head)
    if ref is None or ".." in ref[1]:
        return None
    common = git / "commondir"
    root = git / common.read_text("utf-8").strip() if common.is_file() else git
    loose = root / ref[1]
    if loose.is_file():
        found = loose.read_text("utf-8").strip()
        return found if _COMMIT.fullmatch(found) else None
    for line in (root / "packed-refs").read_text("utf-8").splitlines():
        commit, _, name = line.partition(" ")
        if name == ref[1] and _COMMIT.fullmatch(commit):
            return commit
    return None
