"""One image judged by itself: how far it agrees with its record, and what is in that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from ..errors import NoRecordError, ProvenanceError
from ..files import RecordedFile, read_file
from ..plain_text import to_plain
from ..recipe import WEIGHT_KINDS
from ..record import JsonObject, Record
from ..verdict import Level
from .thumbnails import to_thumbnail

_MESSAGE_CHARS: Final = 300


class State(StrEnum):
    """How far an image agrees with its record, or why that was not established."""

    BITWISE = "bitwise"
    WITHIN_TOLERANCE = "within_tolerance"
    UNKNOWN = "unknown"
    MISMATCH = "mismatch"
    NO_RECORD = "no_record"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Audited:
    """What an audit says of one file.

    Attributes:
        file: Its path, as it was found.
        state: How far it agrees with its record.
        checks: The level of each check by its name: `record`, `graph`, `tuple`, `image`, ...
        cause: The kind of the first cause.
        message: What that is about; or why there is no record; or why it cannot be read.
        record: The record's digest, as written.
        recipe: The digest of its tuple, as written.
        seed: As recorded, a decimal string.
        model: Name of the weights.
        pixels: Digest of the file's pixels.
        expected: The digest that the record says they have.
        thumbnail: A small JPEG file, where it was asked for.
    """

    file: str
    state: State
    checks: Mapping[str, str] = field(default_factory=dict[str, str])
    cause: str | None = None
    message: str | None = None
    record: str | None = None
    recipe: str | None = None
    seed: str | None = None
    model: str | None = None
    pixels: str | None = None
    expected: str | None = None
    thumbnail: bytes | None = field(default=None, repr=False)

    def to_json(self) -> JsonObject:
        """Give the attributes under their names, all but the thumbnail."""
        return {
            "file": self.file,
            "state": self.state.value,
            "checks": {**self.checks},
            "cause": self.cause,
            "message": self.message,
            "record": self.record,
            "recipe": self.recipe,
            "seed": self.seed,
            "model": self.model,
            "pixels": self.pixels,
        }


def audit_file(path: str, *, thumbnail: bool = False) -> Audited:
    """Judge one file; whatever is wrong with it, it gives an answer.

    Args:
        path: The file.
        thumbnail: Whether to make a small picture of it, too.
    """
    try:
        file = read_file(Path(path))
        found = _judge(path, file)
        if thumbnail and file.pixels is not None:
            return replace(found, thumbnail=to_thumbnail(file.pixels))
        return found
    except (ProvenanceError, OSError, RecursionError) as error:
        return unreadable(path, str(error))
    # Thousands of others are waiting, and this one may be a stranger's.
    except Exception as error:  # noqa: BLE001
        return unreadable(path, f"{type(error).__name__}: {error}")


def unreadable(path: str, reason: str) -> Audited:
    """Say of a file why it cannot be read."""
    return Audited(path, State.UNREADABLE, message=to_plain(reason, _MESSAGE_CHARS))


def _judge(path: str, file: RecordedFile) -> Audited:
    pixels = str(file.digest) if file.digest is not None else None
    record = file.record
    if record is None:
        is_damaged = not isinstance(file.problem, NoRecordError | None)
        state = State.UNREADABLE if is_damaged else State.NO_RECORD
        told = "; ".join([*([str(file.problem)] if file.problem is not None else []), *file.notes])
        message = to_plain(told, _MESSAGE_CHARS) if told else None
        return Audited(path, state, message=message, pixels=pixels)
    integrity = file.integrity()
    level = min((check.level for check in integrity.checks), default=Level.UNKNOWN)
    cause = integrity.causes[0] if integrity.causes and level is not Level.BITWISE else None
    seed = record.parameters.get("seed")
    return Audited(
        path,
        State(level.label),
        {check.name: check.level.label for check in integrity.checks},
        cause.kind.value if cause is not None else None,
        to_plain(cause.message, _MESSAGE_CHARS) if cause is not None else None,
        record.digest,
        record.recipe,
        to_plain(seed) if isinstance(seed, str) else None,
        _model(record),
        pixels,
        str(record.subject.in_file),
    )


def _model(record: Record) -> str | None:
    """Name the weights; of several the first."""
    names = (item.name for item in record.materials if item.kind in WEIGHT_KINDS)
    name = next(names, None)
    return to_plain(name) if name is not None else None
