"""The last verdict on each file that was reproduced here, until ComfyUI ends.

It is kept by the digest of the file's bytes: a file that was changed since has none.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

from ..src.comfyui_provenance.files import RecordedFile
from ..src.comfyui_provenance.verdict import Level

_CAPACITY: Final = 4096
"""Files to remember: some 200 bytes each."""

_levels: OrderedDict[str, Level] = OrderedDict()
_lock = Lock()


def note_verdict(image: RecordedFile, level: Level) -> None:
    """Remember how far a reproduction of a file agreed with it."""
    sha256 = image.sha256
    with _lock:
        _levels[sha256] = level
        _levels.move_to_end(sha256)
        while len(_levels) > _CAPACITY:
            _levels.popitem(last=False)


def verdict_of(sha256: str) -> Level | None:
    """Give the last level that a reproduction of exactly these bytes reached.

    Args:
        sha256: Of a file, 64 hexadecimal digits.
    """
    with _lock:
        return _levels.get(sha256)
