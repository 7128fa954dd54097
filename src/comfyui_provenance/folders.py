"""Walking folders: every file once, in the order of its path, whatever links there are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Passed:
    """What a walk passed over.

    Attributes:
        folders: Folders that cannot be read.
        links: Names of folders that were walked before, as a link back to one above is.
        others: What is neither a folder nor a regular file: sockets, links that lead nowhere.
    """

    folders: int = 0
    links: int = 0
    others: int = 0


def walk(folder: Path, passed: Passed) -> Iterator[Path]:
    """Yield the regular files below a folder, sorted by the parts of their paths.

    Links are followed, as ComfyUI follows them; a folder with several names is walked once, under
    the first of them.

    Args:
        folder: Where to begin.
        passed: Counts what is passed over, as the walk goes on.

    Raises:
        OSError: The folder itself cannot be read.
    """
    seen = {_identity(folder)}
    # Explicit stack: folders may be nested deeper than ours reaches.
    waiting = [iter(_entries(folder))]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            continue
        try:
            if entry.is_dir():
                identity = _identity(entry.path)
                if identity in seen:
                    passed.links += 1
                    continue
                seen.add(identity)
                waiting.append(iter(_entries(entry.path)))
            elif entry.is_file():
                yield Path(entry.path)
            else:
                passed.others += 1
        except OSError:
            passed.folders += 1


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _identity(folder: Path | str) -> tuple[int, int]:
    # Not the entry's own numbers: on Windows those are zero.
    status = os.stat(folder)  # noqa: PTH116  entries are texts, and a walk has many
    return status.st_dev, status.st_ino
