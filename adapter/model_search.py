"""Files of this server found by what is in them, whatever they are called.

The size is compared first, so only a file that can be the wanted one is ever hashed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import folder_paths

from ..src.comfyui_provenance.materials.cache import FileIdentity, identify
from ..src.comfyui_provenance.materials.hasher import Job
from ..src.comfyui_provenance.record import Material
from .digests import FileDigests, Patience, digests_of

_INPUT: Final = "input"
_INPUT_FILES: Final = 20_000
"""Of the input folder. Every upload to be reproduced stays there."""

_LOSSLESS: Final = ".png"
"""Pixels are read alike from PNG alone: ComfyUI 0.30 decodes a lossless WebP to other values."""

_PICTURE_BYTES: Final = 8 * 1024**2
_PICTURES: Final = 100
"""Pictures to decode at most in search of one with the same pixels: a second or two."""

_HURRY_S: Final = 0.05
"""Enough to hash 50 MB, and to find that a file cannot be read."""

Fits: TypeAlias = Callable[[str], bool]
"""Tells whether a file's name can be used."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file of one kind.

    Attributes:
        name: Below the folder of its kind.
        path: Where it is.
        size_bytes: Its size.
    """

    name: str
    path: str
    size_bytes: int


class Hurry(Patience):
    """Waits for all digests together no longer than a moment; hashing goes on without it.

    Attributes:
        unfinished: Files whose digest did not come in time.
    """

    def __init__(self, seconds: float = _HURRY_S) -> None:
        super().__init__()
        self._end = time.monotonic() + seconds
        self.unfinished: set[FileIdentity] = set()

    @property
    def is_over(self) -> bool:
        """Whether the moment has passed."""
        return time.monotonic() >= self._end

    def wait(self, job: Job) -> None:
        """Wait for what is left of the moment."""
        job.reading.ended.wait(max(0.0, self._end - time.monotonic()))
        if not job.done:
            self.unfinished.add(job.reading.identity)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gave; false where it gave nothing at all.

    Attributes:
        name: The file's name below the folder of its kind, as ComfyUI lists it, or `None`.
        kind: The folder type that it was found in.
        note: A sentence for humans, where it is not the same file.
        is_pending: Whether a file that may be the wanted one is still being hashed.
    """

    name: str | None = None
    kind: str = ""
    note: str = ""
    is_pending: bool = False

    def __bool__(self) -> bool:
        return self.name is not None or self.is_pending


class FileSearch:
    """Finds recorded files; lists each folder once, so it is made anew for each question.

    Args:
        patience: How long to wait for digests; a `Hurry` leaves some of them pending.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._listed: dict[str, list[_Listed]] = {}

    def digests(self, identity: FileIdentity, kind: str) -> tuple[FileDigests | None, bool]:
        """Give a file's digests, or nothing and whether they are still being made."""
        found = digests_of(identity, kind, self._patience)
        is_unfinished = isinstance(self._patience, Hurry) and identity in self._patience.unfinished
        return found, found is None and is_unfinished

    def find_by_digest(self, wanted: Material, fits: Fits) -> Found:
        """Find a file among those of its kind by its digest.

        Of several copies the one with the recorded name is taken, in whatever folder, then
        the one with the shortest name, then the first by name.

        Args:
            wanted: As recorded. Where its size is not known, only files of its name are looked
                at; else only files of its size.
            fits: Tells whether a name can be used.
        """
        return self._find(wanted.kind, wanted, fits)

    def find_in_other_kinds(self, wanted: Material, fits: Fits) -> Found:
        """Find a model file in the folders of other kinds; see `find_by_digest`."""
        if wanted.kind == _INPUT:
            return Found()
        own = folder_paths.map_legacy(wanted.kind)
        for kind, (_, suffixes) in sorted(folder_paths.folder_names_and_paths.items()):
            # A folder of files of any kind, as that of node packs, is none of models.
            if kind != own and suffixes and (found := self._find(kind, wanted, fits)):
                return found
        return Found()

    def find_by_pixels(self, wanted: Material, fits: Fits) -> Found:
        """Find a small PNG file of the input folder by its pixels; see `find_by_digest`."""
        if not wanted.name.lower().endswith(_LOSSLESS):
            return Found()
        pictures = [
            listed
            for listed in self._files(_INPUT)
            if listed.size_bytes <= _PICTURE_BYTES and listed.name.lower().endswith(_LOSSLESS)
        ]
        for listed in _in_order(pictures, wanted.name)[:_PICTURES]:
            if isinstance(self._patience, Hurry) and self._patience.is_over:
                return Found(is_pending=True)
            digests, _ = self._digests_at(listed.path, _INPUT)
            if digests is not None and digests.pixels == wanted.pixels and fits(listed.name):
                note = "another file with the same pixels is used"
                return Found(listed.name, _INPUT, note)
        return Found()

    def _find(self, kind: str, wanted: Material, fits: Fits) -> Found:
        if wanted.size_bytes is None:
            name = _last_part(wanted.name)
            likely = [listed for listed in self._files(kind) if _last_part(listed.name) == name]
        else:
            size = wanted.size_bytes
            likely = [listed for listed in self._files(kind) if listed.size_bytes == size]
        for listed in _in_order(likely, wanted.name):
            if not fits(listed.name):
                continue
            digests, is_pending = self._digests_at(listed.path, kind)
            if is_pending:
                return Found(is_pending=True)
            if digests is not None and digests.sha256 == wanted.sha256:
                return Found(listed.name, kind)
        return Found()

    def _digests_at(self, path: str, kind: str) -> tuple[FileDigests | None, bool]:
        try:
            return self.digests(identify(Path(path)), kind)
        except OSError:
            return None, False

    def _files(self, kind: str) -> list[_Listed]:
        if kind not in self._listed:
            self._listed[kind] = [*_list_files(kind)]
        return self._listed[kind]


def _in_order(files: Iterable[_Listed], like: str) -> list[_Listed]:
    """Sort files, the likeliest first."""
    wanted = _last_part(like)
    return sorted(files, key=lambda a: (_last_part(a.name) != wanted, len(a.name), a.name))


def _last_part(name: str) -> str:
    """Give a file's name without its folders, whichever system wrote it."""
    return name.replace("\\", "/").rpartition("/")[2]


def _list_files(kind: str) -> Iterator[_Listed]:
    """Yield the files of a kind, each under a name that ComfyUI resolves to that very file."""
    if kind == _INPUT:
        yield from _list_inputs()
        return
    if folder_paths.map_legacy(kind) not in folder_paths.folder_names_and_paths:
        return
    for name in folder_paths.get_filename_list(kind):
        path = folder_paths.get_full_path(kind, name)
        try:
            if path is not None:
                yield _Listed(name, path, os.stat(path).st_size)  # noqa: PTH116 - thousands
        except OSError:
            continue


def _list_inputs() -> Iterator[_Listed]:
    """Yield the files of the input folder; links to folders are not followed."""
    root = folder_paths.get_input_directory()
    count = 0
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            count += 1
            if count > _INPUT_FILES:
                return
            path = Path(folder, file)
            try:
                # A link out of the folder is none of its files, as core sees it.
                if folder_paths.is_within_directory(root, str(path)):
                    name = path.relative_to(root).as_posix()
                    yield _Listed(name, str(path), path.stat().st_size)
            except OSError:
                continue
