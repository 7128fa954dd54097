"""The newest images of the output folder, and what each says of itself.

A listing is bounded in how many names it looks at, in what it reads and in time. What it found of a
file is kept as long as the file has the same size and time, so that the next listing is cheap and
goes on where this one stopped.
"""

from __future__ import annotations

import heapq
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import folder_paths

from ..src.comfyui_provenance import limits
from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.files import RecordedFile, read_file
from ..src.comfyui_provenance.plain_text import to_plain
from ..src.comfyui_provenance.recipe import WEIGHT_KINDS
from ..src.comfyui_provenance.record import JsonObject, JsonValue, Record
from ..src.comfyui_provenance.verdict import Level
from .verdicts import verdict_of

_log = logging.getLogger(__name__)

LARGEST_COUNT: Final = 100
"""Images of one listing."""

_SUFFIXES: Final = (".jpeg", ".jpg", ".png", ".webp")

_NAMES: Final = 100_000
"""Names to look at, in folders that changed last first; of a million the newest may be missed."""

_SEARCH_S: Final = 2.0
_READING_S: Final = 3.0
"""Until then files are read; one of 1024 x 1024 pixels takes about 0.03 s."""

_FILE_BYTES: Final = 64 * 1024**2
"""Of a file that is read for a list. One of 4096 x 4096 pixels has about 30 MB."""

_CAPACITY: Final = 1024
"""Files of which it is kept what they say: some 500 bytes each."""

_LINE_CHARS: Final = 60
"""Of one value of the line."""

_TOLD: Final = ("sampler", "scheduler", "steps", "cfg", "seed")
"""Parameters of the line, after the names of the models."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An image file of the output folder.

    Attributes:
        path: Where it is.
        size_bytes: Of the file.
        mtime_ns: When it was last written.
    """

    path: Path
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class _Said:
    """What a file says of itself.

    Attributes:
        sha256: Of its bytes; `None` where they were not read to their end.
        record: `whole`, `damaged` or `none`; `None` where that is not known.
        level: The weakest check of the file with its record.
        line: How it was made, shortly.
    """

    sha256: str | None
    record: str | None
    level: Level | None = None
    line: str | None = None


_known: OrderedDict[_Found, _Said] = OrderedDict()


def list_outputs(count: int) -> JsonObject:
    """List the newest images of the output folder, newest first; not for two threads at once.

    Args:
        count: How many, 1 to `LARGEST_COUNT`.

    Returns:
        `outputs`: of each its names, `time_ms`, `record`, `level`, `line` and `verdict`. `record`
        is `null` of a file that was not read: it is too large, as its line says, or there was no
        time, and another listing goes on with it.
    """
    root = Path(folder_paths.get_output_directory())
    newest = heapq.nlargest(count, _images(root), key=lambda found: found.mtime_ns)
    until = time.monotonic() + _READING_S
    return {"outputs": [_entry(found, root, until) for found in newest]}


def _images(root: Path) -> Iterator[_Found]:
    """Yield the image files below a folder, within bounds; links are not followed."""
    waiting = [(0, root)]
    left, until = _NAMES, time.monotonic() + _SEARCH_S
    while waiting:
        _, folder = heapq.heappop(waiting)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0 or time.monotonic() > until:
                        return
                    changed_ns = _changed_ns(entry)
                    if changed_ns is None:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        heapq.heappush(waiting, (-changed_ns, Path(entry.path)))
                    elif entry.is_file(follow_symlinks=False):
                        size_bytes = entry.stat(follow_symlinks=False).st_size
                        yield _Found(Path(entry.path), size_bytes, changed_ns)
        except OSError:
            _log.debug("a folder of outputs cannot be read", exc_info=True)


def _changed_ns(entry: os.DirEntry[str]) -> int | None:
    """Tell when a folder or an image changed; `None` for anything else, and what is gone."""
    # What does not print no client could name; bytes that are no text are among that.
    if not entry.name.isprintable():
        return None
    if not entry.name.lower().endswith(_SUFFIXES) and not entry.is_dir(follow_symlinks=False):
        return None
    try:
        return entry.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        return None


def _entry(found: _Found, root: Path, until: float) -> JsonObject:
    said = _say(found, until)
    subfolder = found.path.parent.relative_to(root).as_posix()
    subfolder = "" if subfolder == "." else subfolder
    name = f"{subfolder}/{found.path.name}" if subfolder else found.path.name
    verdict = verdict_of(said.sha256) if said is not None and said.sha256 is not None else None
    return {
        "image": f"{name} [output]",
        "filename": found.path.name,
        "subfolder": subfolder,
        "type": "output",
        "time_ms": found.mtime_ns // 1_000_000,
        "record": said.record if said is not None else None,
        "level": said.level.label if said is not None and said.level is not None else None,
        "line": said.line if said is not None else None,
        "verdict": verdict.label if verdict is not None else None,
    }


def _say(found: _Found, until: float) -> _Said | None:
    """Give what a file says, as known or by reading it; `None` where the time is up."""
    said = _known.get(found)
    if said is None and time.monotonic() > until:
        return None
    if said is None:
        said = _read(found)
        _known[found] = said
        while len(_known) > _CAPACITY:
            _known.popitem(last=False)
    _known.move_to_end(found)
    return said


def _read(found: _Found) -> _Said:
    if found.size_bytes > _FILE_BYTES:
        return _Said(None, None, line=f"larger than {_FILE_BYTES // 1024**2} MiB: not read here")
    try:
        file = read_file(found.path)
    except (ProvenanceError, RecursionError, OSError) as error:
        _log.debug("%s cannot be read: %s", found.path.name, error)
        return _Said(None, "none")
    if file.record is None:
        return _Said(file.sha256, "damaged" if file.is_damaged else "none")
    return _Said(file.sha256, "whole", _level(file), _line(file.record))


def _level(file: RecordedFile) -> Level | None:
    try:
        checks = file.integrity().checks
    except (ProvenanceError, RecursionError):
        return None
    return min((check.level for check in checks), default=Level.UNKNOWN)


def _line(record: Record) -> str | None:
    """Tell shortly what made an image; names and values come from strangers."""
    models = [item.name for item in record.materials if item.kind in WEIGHT_KINDS]
    told = [_plain(name.rpartition("/")[2].rpartition("\\")[2]) for name in models[:2]]
    for name in _TOLD:
        value = record.parameters.get(name)
        if value is not None:
            told.append(_plain(value) if name == "sampler" else f"{name} {_plain(value)}")
    return ", ".join(told) or None


def _plain(value: JsonValue) -> str:
    return to_plain(str(value)[: limits.NAME_CHARS], _LINE_CHARS)
