"""Folders of models on the command line, and the digests that are kept between runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ..materials.cache import DigestCache
from ..materials.hasher import Hasher
from ..model_files import PlacedFile, find_files
from ..record import Material
from .progress import Progress

_VARIABLE: Final = "PROVENANCE_CACHE"
_FOLDER: Final = "comfyui-provenance"
_DATABASE: Final = "digests.sqlite"


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add `--models DIR`, which may be given several times."""
    parser.add_argument(
        "--models",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="look there for the files that the record names: ComfyUI's models folder, or any "
        "other; may be given several times",
    )


def find_models(materials: Iterable[Material], folders: Sequence[Path]) -> list[PlacedFile]:
    """Find the recorded files in the folders that were given; none were: none are looked for.

    Raises:
        OSError: A folder cannot be read.
    """
    if not folders:
        return []
    hasher = Hasher(DigestCache(cache_path(os.environ, sys.platform)))
    with Progress(sys.stderr, "bytes") as progress:
        return find_files(materials, folders, hasher, progress)


def cache_path(environ: Mapping[str, str], platform: str) -> Path | None:
    """Give the place where digests are kept: the user's folder for what can be made again.

    `PROVENANCE_CACHE` names another folder.

    Returns:
        `None` where there is no such folder; digests are then kept in memory alone.
    """
    if named := environ.get(_VARIABLE):
        return Path(named) / _DATABASE
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if platform == "win32":
        base = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        # XDG Base Directory: a relative path there is to be ignored.
        named = environ.get("XDG_CACHE_HOME", "")
        base = Path(named) if named.startswith("/") else home / ".cache"
    return base / _FOLDER / _DATABASE
