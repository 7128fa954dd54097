"""A snapshot: the list of what to keep for a rerun in years, and the files themselves.

The list says what the record says and nothing of this machine, so one image gives one list.
Beside it lie the files, each in the place that its kind and name give, whole and verified by
digest. A snapshot is checked against its list alone, without the record and without a cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from . import limits
from .canonical import JsonValue, parse_json
from .digest import digest_bytes
from .errors import LimitError, RecordError
from .files import RecordedFile
from .materials.hashing import hash_file
from .model_files import PlacedFile, Progress, name_parts
from .new_files import open_new, write_new
from .plain_text import to_plain
from .record import JsonObject, Material

LIST_NAME: Final = "snapshot.json"
"""The name of the list in a folder of its own."""

_VERSION: Final = 1
_FORMAT: Final = "comfyui-provenance snapshot"
_PIECE_BYTES: Final = 4 * 1024**2
_MACHINE: Final = ("python", "os", "os_release", "libc", "device", "cpu", "attention", "precision")
_MODELS: Final = "models"


def to_snapshot(file: RecordedFile) -> JsonObject:
    """Give the list of what an image was made with.

    Raises:
        RecordError: The file carries no record.
    """
    record = file.required()
    environment = record.environment
    unique = {(item.kind, item.name, item.sha256): item for item in record.materials}
    image = None if file.pixels is None else _entry(file.name, file.data)
    beside = file.sidecar
    if file.pixels is None:
        sidecar: JsonValue = _entry(file.name, file.data)
    else:
        sidecar = None if beside is None else _entry(beside.name, beside.data)
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "image": image,
        "sidecar": sidecar,
        "record": record.digest,
        "recipe": record.recipe,
        "files": [_to_entry(item) for item in unique.values()],
        "comfyui": {
            "version": environment.get("comfyui"),
            "commit": environment.get("comfyui_commit"),
        },
        "node_packs": _node_packs(environment),
        "packages": environment.get("packages"),
        "machine": {name: environment[name] for name in _MACHINE if name in environment},
    }


def _entry(name: str, data: bytes) -> JsonObject:
    return {"name": name, "size_bytes": len(data), "sha256": digest_bytes(data).hex}


def _to_entry(material: Material) -> JsonObject:
    place = _place(material.kind, material.name)
    entry: JsonObject = {
        "kind": material.kind,
        "name": material.name,
        "size_bytes": material.size_bytes,
        "sha256": material.sha256,
        "status": material.status,
        "place": "/".join(place) if place is not None else None,
    }
    return entry if material.autov3 is None else {**entry, "autov3": material.autov3}


def _place(kind: str, name: str) -> tuple[str, ...] | None:
    """Give a file's place in a snapshot; `None` where its names lead out of it."""
    folder, below = name_parts(kind), name_parts(name)
    return None if folder is None or below is None else (_MODELS, *folder, *below)


def _node_packs(environment: Mapping[str, JsonValue]) -> list[JsonValue]:
    versions, commits = environment.get("node_packs"), environment.get("node_pack_commits")
    known = versions if isinstance(versions, dict) else {}
    at = commits if isinstance(commits, dict) else {}
    return [
        {"name": name, "version": known.get(name), "commit": at.get(name)}
        for name in sorted({*known, *at})
    ]


def dump_snapshot(document: JsonObject) -> bytes:
    """Give the bytes of a list: JSON, ASCII, laid out for reading."""
    return json.dumps(document, indent=2).encode("ascii") + b"\n"


def tell_snapshot(document: JsonObject) -> list[str]:
    """Tell a list in plain lines."""
    lines = [f"Image: {_tell_file(_object(document['image']))}"] if document["image"] else []
    if document["sidecar"]:
        lines.append(f"Sidecar: {_tell_file(_object(document['sidecar']))}")
    for entry in _objects(document["files"]):
        autov3 = f", autov3 {_shown(entry['autov3'])}" if "autov3" in entry else ""
        lines.append(f"{_shown(entry['kind'])}: {_tell_file(entry)}{autov3}")
    comfyui = _object(document["comfyui"])
    lines.append(f"ComfyUI: {_shown(comfyui['version'])}, commit {_shown(comfyui['commit'])}")
    lines += [
        f"Node pack: {_shown(pack['name'])} {_shown(pack['version'])},"
        f" commit {_shown(pack['commit'])}"
        for pack in _objects(document["node_packs"])
    ]
    packages = document["packages"]
    for name, version in packages.items() if isinstance(packages, dict) else ():
        lines.append(f"Package: {_shown(name)} {_shown(version)}")
    machine = _object(document["machine"])
    return [*lines, *(f"{_shown(name)}: {_shown(value)}" for name, value in machine.items())]


def _tell_file(entry: JsonObject) -> str:
    size = entry["size_bytes"]
    bytes_told = "size not recorded" if size is None else f"{_shown(size)} bytes"
    digest = entry["sha256"]
    told = "no recorded digest" if digest is None else f"sha256 {_shown(digest)}"
    return f"{_shown(entry['name'])}, {bytes_told}, {told}"


def _shown(value: JsonValue) -> str:
    if value is None:
        return "unknown"
    return to_plain(value if isinstance(value, str) else json.dumps(value))


@dataclass(frozen=True, slots=True)
class Copied:
    """One file of a snapshot that was to be copied.

    Attributes:
        place: Below the snapshot's folder.
        done: Whether it is there now, whole.
        message: One sentence for humans.
    """

    place: str
    done: bool
    message: str

    def to_json(self) -> JsonObject:
        """Give the attributes under their names."""
        return {"place": self.place, "done": self.done, "message": self.message}


def copy_snapshot(
    folder: Path,
    file: RecordedFile,
    placed: Sequence[PlacedFile],
    progress: Progress | None = None,
) -> Iterator[Copied]:
    """Copy what was found of a snapshot into a folder, the list last.

    A file that is there already and has the digest counts as done. Each copy gets its name only
    when it is whole and has the recorded digest. Files without a recorded digest are passed over.

    Args:
        folder: Made if it is not there.
        file: The image.
        placed: Its materials, as `model_files.find_files` gives them.
        progress: Told how far the copying has come.

    Raises:
        FileExistsError: A different file has the name of the image, of its sidecar or the list.
        OSError: A file cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counter = _Counter(sum(item.material.size_bytes or 0 for item in placed), progress)
    for item in placed:
        if item.material.sha256 is not None:
            yield _copy_material(folder, item, item.material.sha256, counter)
    own = [(file.name, file.data)]
    if file.sidecar is not None:
        own.append((file.sidecar.name, file.sidecar.data))
    for name, data in (*own, (LIST_NAME, dump_snapshot(to_snapshot(file)))):
        path = folder / name
        if not _is_same(path, data):
            write_new(path, data)
        yield Copied(name, True, f"{to_plain(name)} is there, whole")


class _Counter:
    """Bytes done of all that is to be done."""

    def __init__(self, total_bytes: int, progress: Progress | None) -> None:
        self._total_bytes = total_bytes
        self._progress = progress
        self._ended_bytes = 0
        self._in_hand_bytes = 0

    def begin(self) -> None:
        """Begin with the next file."""
        self._ended_bytes += self._in_hand_bytes
        self._in_hand_bytes = 0

    def advance(self, done_bytes: int) -> None:
        """Note how far the file in hand has come."""
        self._in_hand_bytes = done_bytes
        if self._progress is not None:
            self._progress(self._ended_bytes + done_bytes, self._total_bytes)


def _copy_material(folder: Path, item: PlacedFile, sha256: str, counter: _Counter) -> Copied:
    material = item.material
    parts = _place(material.kind, material.name)
    if parts is None:
        name = f"{material.kind}/{material.name}"
        return Copied(name, False, f"not copied: {to_plain(name)} leads out of the folder")
    place = "/".join(parts)
    if item.path is None or not item.is_found:
        return Copied(place, False, f"not copied: {item.message}")
    path = folder.joinpath(*parts)
    # Before any folder is made: a link in it must not lead the writing out.
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        return Copied(place, False, f"not copied: a link leads {to_plain(place)} out of the folder")
    counter.begin()
    if path.exists():
        digest = hash_file(path, progress=counter.advance).digest()
        done = digest is not None and digest.hex == sha256
        told = "was there, whole" if done else "is another file, and stays"
        return Copied(place, done, f"{to_plain(place)} {told}")
    path.parent.mkdir(parents=True, exist_ok=True)
    _copy(item.path, path, sha256, counter)
    return Copied(place, True, f"{to_plain(place)} is there, whole")


def _copy(source: Path, path: Path, sha256: str, counter: _Counter) -> None:
    """Copy a file, and give it its name only if the bytes written have the digest."""
    state = hashlib.sha256()
    copied_bytes = 0
    with source.open("rb") as original, open_new(path) as copy:
        while piece := original.read(_PIECE_BYTES):
            state.update(piece)
            copy.write(piece)
            copied_bytes += len(piece)
            counter.advance(copied_bytes)
        if state.hexdigest() != sha256:
            raise OSError(
                f"{to_plain(source.name)}: expected sha256 {to_plain(sha256)}, got"
                f" {state.hexdigest()}: it changed while it was copied"
            )


def _is_same(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


class Finding(StrEnum):
    """What became of one file of a snapshot."""

    WHOLE = "whole"
    OTHER = "differs"
    MISSING = "missing"
    NOT_RECORDED = "not recorded"
    """The list has no digest of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file of a snapshot, looked at.

    Attributes:
        place: Below the snapshot's folder.
        finding: What became of it.
        expected: Its recorded SHA-256.
        found: The one that the file has.
    """

    place: str
    finding: Finding
    expected: str | None
    found: str | None = None

    def to_json(self) -> JsonObject:
        """Give the attributes under their names."""
        return {
            "place": self.place,
            "finding": self.finding.value,
            "expected": self.expected,
            "found": self.found,
        }


def check_snapshot(path: Path, progress: Progress | None = None) -> Iterator[Found]:
    """Hash the files of a snapshot anew and compare them with its list.

    Args:
        path: The list, or a folder that has it under its usual name.
        progress: Told how far the hashing has come.

    Raises:
        RecordError: The list is not one.
        LimitError: It is larger than we agree to read, or of a newer version.
        OSError: The list or a file cannot be read.
    """
    where = path / LIST_NAME if path.is_dir() else path
    entries = [*_entries(_parse_list(where))]
    counter = _Counter(sum(size_bytes for *_, size_bytes in entries), progress)
    for place, expected, _ in entries:
        parts = name_parts(place)
        if expected is None:
            yield Found(place, Finding.NOT_RECORDED, None)
            continue
        # A name that leads out of the folder names nothing in it.
        file = where.parent.joinpath(*parts) if parts is not None else None
        if file is None or not file.is_file():
            yield Found(place, Finding.MISSING, expected)
            continue
        counter.begin()
        digest = hash_file(file, progress=counter.advance).digest()
        found = digest.hex if digest is not None else None
        finding = Finding.WHOLE if found == expected else Finding.OTHER
        yield Found(place, finding, expected, found)


def _parse_list(path: Path) -> JsonObject:
    if path.stat().st_size > limits.TEXT_BYTES:
        raise LimitError(f"expected a list of at most {limits.TEXT_BYTES} bytes, got more")
    document = parse_json(path.read_bytes())
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise RecordError(f"{to_plain(path.name)}: expected a snapshot's list, got something else")
    version = document.get("version")
    if version != _VERSION:
        raise RecordError(f"expected a list of version {_VERSION}, got {_shown(version)}")
    return document


def _entries(document: JsonObject) -> Iterator[tuple[str, str | None, int]]:
    """Yield the place, the digest and the size of each file that a list names."""
    for name in ("image", "sidecar"):
        if document.get(name) is not None:
            entry = _object(document[name])
            yield _text(entry, "name"), _text(entry, "sha256"), _size(entry)
    for entry in _objects(document.get("files")):
        place = entry.get("place")
        named = place if isinstance(place, str) else f"../{_text(entry, 'name')}"
        digest = None if entry.get("sha256") is None else _text(entry, "sha256")
        yield named, digest, _size(entry)


def _size(entry: JsonObject) -> int:
    size = entry.get("size_bytes")
    return size if isinstance(size, int) else 0


def _object(value: JsonValue) -> JsonObject:
    if not isinstance(value, dict):
        raise RecordError(f"expected an object, got {type(value).__name__}")
    return value


def _objects(value: JsonValue) -> list[JsonObject]:
    if not isinstance(value, list):
        raise RecordError(f"expected a list, got {type(value).__name__}")
    return [_object(item) for item in value]


def _text(entry: JsonObject, name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise RecordError(f"{name}: expected a string, got {type(value).__name__}")
    return value
