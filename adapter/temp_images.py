"""Pictures for the page: what Reproduce and Verify compared, in ComfyUI's temporary folder."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Final

import folder_paths
import numpy as np

from ..src.comfyui_provenance.pixels import Pixels, difference_image, encode_png

_log = logging.getLogger(__name__)

_SUBFOLDER: Final = "provenance"
_COMPRESSION: Final = 1
"""Of zlib: they are looked at once, and the run that made them must not wait."""

_KEPT: Final = 192
"""Files to keep, of 64 comparisons or more: ComfyUI empties the folder only when it starts, and an
audit of a folder would fill the disk."""

_written: deque[Path] = deque()
_lock = Lock()


def show_pictures(found: Pixels, original: Pixels | None) -> list[dict[str, str]]:
    """Write the pictures of a comparison, without metadata.

    Where that fails there are none, and a warning in the log.

    Args:
        found: The image that was judged.
        original: That of the file; `None` of a sidecar.

    Returns:
        For the page, of each its `role`, `reproduced`, `original` or `difference`, and where it
        is. There is no difference where the geometry is not the same.
    """
    try:
        return _show(found, original)
    # A picture to look at must never cost the report.
    except Exception:  # noqa: BLE001
        _log.warning("could not write the pictures for the page", exc_info=True)
        return []


def _show(found: Pixels, original: Pixels | None) -> list[dict[str, str]]:
    pictures = {"reproduced": found}
    if original is not None:
        pictures["original"] = original
        if str(original) == str(found):
            pictures["difference"] = _difference(found, original)
    names: dict[Pixels, str] = {}
    for pixels in pictures.values():
        if pixels not in names:  # one file for both where nothing differs
            names[pixels] = _write(pixels)
    return [
        {"role": role, "filename": names[pixels], "subfolder": _SUBFOLDER, "type": "temp"}
        for role, pixels in pictures.items()
    ]


def _difference(first: Pixels, second: Pixels) -> Pixels:
    """Give the absolute difference as 8 bits without alpha: it would be nowhere visible.

    One of alpha is shown in the colours. Of 16 bits it is rounded up, so that none vanishes.
    """
    distance = difference_image(first, second)
    kind = np.dtype(np.uint8) if distance.bits == 8 else np.dtype(">u2")
    samples: Any = np.frombuffer(distance.samples, kind).reshape(-1, distance.channels)
    if distance.bits == 16:
        samples = ((samples.astype(np.uint32) + 256) // 257).astype(np.uint8)
    channels = distance.channels
    if channels in (2, 4):
        samples, alpha = samples[:, :-1], samples[:, -1:]
        samples, channels = np.maximum(samples, alpha), channels - 1
    return Pixels(samples.tobytes(), distance.height, distance.width, channels)


def _write(pixels: Pixels) -> str:
    """Write one picture under a name that nobody can guess, and give that."""
    folder = Path(folder_paths.get_temp_directory()) / _SUBFOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{secrets.token_hex(16)}.png"
    with _lock:
        _written.append(path)
        old = [_written.popleft() for _ in range(len(_written) - _KEPT)]
    for gone in old:
        _remove(gone)
    path.write_bytes(encode_png(pixels, _COMPRESSION))
    return path.name


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
