"""The files that a record names, looked for in folders of models by size and digest.

A name proves nothing: a file is the recorded one where its SHA-256 is. Only files of the
recorded size are hashed, those under the recorded name first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final, TypeAlias

from .edits import MATERIAL_KINDS
from .folders import Passed, walk
from .materials.hasher import Hasher, Job
from .materials.hashing import SHA256
from .plain_text import to_plain
from .record import JsonObject, Material
from .verdict import Cause, CauseKind

Progress: TypeAlias = Callable[[int, int], None]
"""Told the bytes hashed and the bytes in all."""

_ALSO_UNDER: Final[Mapping[str, tuple[str, ...]]] = {
    "diffusion_models": ("unet",),
    "text_encoders": ("clip",),
}
"""Folders that ComfyUI reads besides the one that a kind is named after."""

_ANNOTATION: Final = re.compile(r" ?\[(?:input|output|temp)\]\Z")
"""How ComfyUI marks which of its folders an input image is in."""


class State(StrEnum):
    """Where a recorded file is now."""

    HERE = "here"
    """Under its name, with the recorded digest."""

    ELSEWHERE = "elsewhere"
    """Under another name or in another folder, with the recorded digest."""

    OTHER = "other"
    """Its name is there, with another digest."""

    MISSING = "missing"
    """Neither its digest nor its name is there."""

    UNREADABLE = "unreadable"
    """Its name is there, and the file cannot be read."""

    NOT_RECORDED = "not recorded"
    """The record does not tell its digest."""


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A recorded file, and where it is now.

    Attributes:
        material: As recorded.
        state: Where it is.
        path: The file with the recorded digest, or else the one that has its name.
        place: That path below the folder in which it was found, with forward slashes.
        sha256: What the file has that has its name, where that is another one and was hashed.
        is_name_taken: Whether another file has its name.
    """

    material: Material
    state: State
    path: Path | None = None
    place: str | None = None
    sha256: str | None = None
    is_name_taken: bool = False

    @property
    def is_found(self) -> bool:
        """Whether the very file is there, whatever its name."""
        return self.state in (State.HERE, State.ELSEWHERE)

    @property
    def message(self) -> str:
        """One sentence for humans."""
        material = self.material
        name = f"{to_plain(material.kind)} file '{to_plain(material.name)}'"
        taken = "; another file has its name" if self.is_name_taken else ""
        return {
            State.HERE: f"{name} is here",
            State.ELSEWHERE: f"{name} is here as '{to_plain(self.place or '')}'{taken}",
            State.OTHER: f"{name} is not the one that was used: {self._what_is_other()}",
            State.MISSING: f"{name} is missing",
            State.UNREADABLE: f"{name} cannot be read",
            State.NOT_RECORDED: f"{name} has no recorded digest ({to_plain(material.status)})",
        }[self.state]

    def cause(self) -> Cause | None:
        """Give what this may cause; `None` where the file is there, or its digest not recorded."""
        if self.is_found or self.state is State.NOT_RECORDED:
            return None
        return Cause(
            MATERIAL_KINDS.get(self.material.kind, CauseKind.MODEL_FILE),
            self.message,
            self.material.sha256,
            self.sha256 or self.state.value,
            self.material.node_id,
        )

    def to_json(self) -> JsonObject:
        """Give what was found, with its cause if it is one."""
        material, cause = self.material, self.cause()
        return {
            "kind": material.kind,
            "name": material.name,
            "size_bytes": material.size_bytes,
            "sha256": material.sha256,
            "state": self.state.value,
            "place": self.place,
            "found_sha256": self.sha256,
            "message": self.message,
            "cause": None if cause is None else cause.to_json(),
        }

    def _what_is_other(self) -> str:
        return "the file of that name has another " + ("digest" if self.sha256 else "size")


def find_files(
    materials: Iterable[Material],
    folders: Sequence[Path],
    hasher: Hasher,
    progress: Progress | None = None,
) -> list[PlacedFile]:
    """Tell where the recorded files are, each once.

    Args:
        materials: From a record.
        folders: ComfyUI's folders of models, with `checkpoints` and the like in them, or any
            other folders.
        hasher: Hashes what its cache does not know.
        progress: Told how far the hashing has come.

    Raises:
        OSError: A folder cannot be read, or is none.
    """
    for folder in folders:
        if not folder.is_dir():
            raise NotADirectoryError(f"expected a folder of models, got {to_plain(str(folder))}")
    unique = {(item.kind, item.name, item.sha256): item for item in materials}
    search = _Search(folders, hasher, progress)
    return search.place([*unique.values()])


def count_states(placed: Iterable[PlacedFile]) -> str:
    """Tell on one line how many files are in each state."""
    states = [item.state for item in placed]
    if not states:
        return "no files are recorded"
    counts = [f"{states.count(state)} {state.value}" for state in State if state in states]
    return f"{', '.join(counts)}, of {len(states)} recorded"


def name_parts(name: str) -> tuple[str, ...] | None:
    """Take a recorded name apart, below whatever folder it is looked for in.

    Returns:
        `None` for a name that would lead out of that folder, on any system.
    """
    if not name or "\0" in name:
        return None
    # A graph made on Windows has backslashes, and names there may also hold a drive.
    if PureWindowsPath(name).anchor or PurePosixPath(name).anchor:
        return None
    parts = tuple(part for part in re.split(r"[/\\]", name) if part not in ("", "."))
    # Windows leaves out dots and spaces at the end of a part, and so takes ".. " for "..".
    is_safe = all(part.strip(". ") and ":" not in part for part in parts)
    return parts if parts and is_safe else None


class _Search:
    """One search: what is below the folders, and what was hashed of it."""

    def __init__(self, folders: Sequence[Path], hasher: Hasher, progress: Progress | None) -> None:
        self._folders = folders
        self._hasher = hasher
        self._progress = progress
        self._digests: dict[Path, str | None] = {}

    def place(self, materials: Sequence[Material]) -> list[PlacedFile]:
        named = {id(item): self._named(item) for item in materials if item.sha256 is not None}
        self._hash(
            path
            for item in materials
            for path in named.get(id(item), ())
            if item.size_bytes in (None, _size(path))
        )
        lost = [
            item
            for item in materials
            if item.sha256 is not None and not self._holding(named[id(item)], item)
        ]
        of_size = self._of_size({item.size_bytes for item in lost} - {None})
        self._hash(path for paths in of_size.values() for path in paths)
        return [
            self._placed(item, named.get(id(item), []), of_size.get(item.size_bytes, []))
            for item in materials
        ]

    def _placed(
        self, material: Material, named: Sequence[Path], of_size: Sequence[Path]
    ) -> PlacedFile:
        if material.sha256 is None:
            return PlacedFile(material, State.NOT_RECORDED)
        for state, paths in ((State.HERE, named), (State.ELSEWHERE, of_size)):
            path = self._holding(paths, material)
            if path is not None:
                is_taken = state is State.ELSEWHERE and bool(named)
                return PlacedFile(material, state, path, self._below(path), None, is_taken)
        if not named:
            return PlacedFile(material, State.MISSING)
        path = named[0]
        is_unreadable = path in self._digests and self._digests[path] is None
        state = State.UNREADABLE if is_unreadable else State.OTHER
        sha256 = self._digests.get(path)
        return PlacedFile(material, state, path, self._below(path), sha256, not is_unreadable)

    def _named(self, material: Material) -> list[Path]:
        """List the files that have a material's name, in the folders that its kind is kept in."""
        kind = name_parts(material.kind)
        name = name_parts(_ANNOTATION.sub("", material.name))
        if name is None:
            return []
        kinds = [kind] if kind is not None else []
        kinds += [(other,) for other in _ALSO_UNDER.get(material.kind, ())]
        paths = [
            folder.joinpath(*below, *name) for folder in self._folders for below in (*kinds, ())
        ]
        return [path for path in paths if _is_file(path)]

    def _of_size(self, sizes: set[int | None]) -> dict[int | None, list[Path]]:
        found: dict[int | None, list[Path]] = {size: [] for size in sizes}
        for path in self._walk() if sizes else ():
            size = _size(path)
            if size in found:
                found[size].append(path)
        return found

    def _walk(self) -> Iterator[Path]:
        passed = Passed()
        for folder in self._folders:
            yield from walk(folder, passed)

    def _hash(self, paths: Iterable[Path]) -> None:
        """Hash files side by side; those that cannot be read have no digest."""
        jobs: dict[Path, Job] = {}
        for path in paths:
            if path in self._digests or path in jobs:
                continue
            try:
                jobs[path] = self._hasher.submit(path)
            except OSError:
                self._digests[path] = None
        self._hasher.wait([*jobs.values()], progress=self._progress)
        for path, job in jobs.items():
            try:
                digest = job.result().digest(SHA256)
            except OSError:
                digest = None
            self._digests[path] = digest.hex if digest is not None else None

    def _holding(self, paths: Iterable[Path], material: Material) -> Path | None:
        return next((path for path in paths if self._digests.get(path) == material.sha256), None)

    def _below(self, path: Path) -> str:
        for folder in self._folders:
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return path.name


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # names that no file system takes
        return False
