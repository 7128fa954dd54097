"""Which files of some folders are images to audit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..folders import Passed, walk

_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""By name: to open every file of a large folder would take longer than to judge its images."""


def find_images(folders: Sequence[Path], passed: Passed) -> tuple[list[str], int]:
    """List the image files below some folders, each folder's sorted by the parts of their paths.

    Args:
        folders: Folders, or images themselves.
        passed: Counts what the walks passed over.

    Returns:
        Their paths, and how many files of other kinds there were.

    Raises:
        OSError: One of the folders cannot be read.
    """
    found: list[str] = []
    others = 0
    for folder in folders:
        for path in walk(folder, passed) if not folder.is_file() else (folder,):
            if path.suffix.lower() in _SUFFIXES or path == folder:
                found.append(str(path))
            else:
                others += 1
    return found, others
