"""An image file or a sidecar, read as its record, its pixels and its texts.

Saving writes the sidecar `STEM.provenance.json` beside `STEM.png` on request, and where a JPEG
file cannot hold its whole record. An image whose own record is missing, or lacks its graph, is
read with the sidecar beside it; whether that is about these pixels is a check like any other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from . import limits
from .containers import extract, is_lossless, sniff
from .digest import Digest, digest_bytes
from .errors import LimitError, NoRecordError, ProvenanceError, RecordError
from .integrity import Integrity, compare_integrity
from .pixels import Pixels, decode_pixels, digest_pixels
from .record import KEYWORD, SIDECAR, Record, parse_record
from .verdict import Cause, CauseKind, Check, Level

_OF_THE_FILE_ALONE: Final = frozenset({"digest", "left_out"})
"""Fields by which the record in a file may differ from the whole one beside fields it lacks."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The file beside an image that holds its whole record.

    Attributes:
        name: Its file name.
        data: Its bytes.
    """

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """What an image file says, or a sidecar that is read alone.

    Attributes:
        name: Its file name.
        data: Its bytes.
        pixels: Decoded; `None` of a sidecar.
        digest: Of the pixels.
        texts: By keyword, as the file holds them; none of a sidecar.
        record: Its record, read for these pixels; the sidecar's where `sidecar` is set.
        problem: Why there is none, if the file says anything about it.
        sidecar: Where the record is from, if it is from the file beside this one.
        own: The file's own record, where the sidecar's stands in its place.
        notes: Sentences for humans.
    """

    name: str
    data: bytes = field(repr=False)
    pixels: Pixels | None
    digest: Digest | None
    texts: Mapping[str, str]
    record: Record | None
    problem: RecordError | None = None
    sidecar: Sidecar | None = None
    own: Record | None = None
    notes: tuple[str, ...] = ()

    @property
    def prompt(self) -> str | None:
        """The text under `prompt`, as ComfyUI writes it."""
        return self.texts.get("prompt")

    @property
    def is_damaged(self) -> bool:
        """Whether it has a record that cannot be read because it is damaged, not too new."""
        return self.problem is not None and not isinstance(self.problem, NoRecordError)

    @property
    def is_lossless(self) -> bool:
        """Whether its pixels are the ones that were written into it, by its kind."""
        return self.pixels is None or is_lossless(self.data)

    def decoded(self) -> Pixels:
        """Give its pixels.

        Raises:
            NoRecordError: It is a sidecar, which has none.
        """
        if self.pixels is None:
            raise NoRecordError(f"{self.name}: expected an image, got a sidecar alone")
        return self.pixels

    @property
    def sha256(self) -> str:
        """Of the file, 64 hexadecimal digits."""
        return digest_bytes(self.data).hex

    def required(self) -> Record:
        """Give its record.

        Raises:
            NoRecordError: It has none, or none that this version can read.
            RecordError: It is damaged.
        """
        if self.record is not None:
            return self.record
        if self.problem is not None:
            raise self.problem
        raise NoRecordError(f"{self.name}: this image carries no record (sha256:{self.sha256})")

    def integrity(self) -> Integrity:
        """Compare its record with itself, with the rest of the file, and with its own one.

        Raises:
            RecordError: It has no record that can be read.
        """
        found = compare_integrity(
            self.required(),
            self.pixels,
            self.prompt,
            self.texts.get("workflow"),
            digest=self.digest,
        )
        if self.own is None or self.record is None:
            return found
        check = _check_sidecar(self.own, self.record)
        if check.level is Level.BITWISE:
            return Integrity((*found.checks, check), found.causes)
        cause = Cause(CauseKind.RECORD_EDITED, check.message, check.expected, check.found)
        return Integrity((*found.checks, check), (*found.causes, cause))


def read_file(path: Path, *, beside: bool = True) -> RecordedFile:
    """Read an image file, or a sidecar by itself.

    Args:
        path: The file.
        beside: Whether a sidecar beside it is read where its own record is missing or not whole.

    Raises:
        ContainerError: It is not an image file that can be read.
        RecordError: It is a sidecar that cannot be read.
        LimitError: It is larger than we agree to read.
        OSError: It cannot be read.
    """
    file = parse_file(path.name, _read_bounded(path, limits.IMAGE_FILE_BYTES))
    return _with_sidecar_at(file, path.with_name(path.stem + SIDECAR)) if beside else file


def parse_file(name: str, data: bytes) -> RecordedFile:
    """Take the bytes of an image file or of a sidecar apart; raises as `read_file`, but `OSError`.

    Args:
        name: Its file name.
        data: Its bytes.
    """
    if sniff(data) is None and data[:64].lstrip().startswith(b"{"):
        return RecordedFile(name, data, None, None, {}, parse_record(data))
    texts = extract(data)
    pixels = decode_pixels(data)
    digest = digest_pixels(pixels)
    record, problem = None, None
    if KEYWORD in texts:
        try:
            record = parse_record(texts[KEYWORD]).read_for(digest)
        except RecordError as error:
            problem = error
    return RecordedFile(name, data, pixels, digest, texts, record, problem)


def _read_bounded(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as file:
        # Not up to the limit at once: the reader would take that much memory first.
        expected_bytes = min(os.fstat(file.fileno()).st_size, limit_bytes)
        data = file.read(expected_bytes + 1)
        if len(data) > expected_bytes:  # a pipe, or a file that grows
            data += file.read(limit_bytes + 1 - len(data))
    if len(data) > limit_bytes:
        raise LimitError(f"{path.name}: expected a file of at most {limit_bytes} bytes, got more")
    return data


def with_sidecar(file: RecordedFile, sidecar: Sidecar) -> RecordedFile:
    """Take the record of an image from a sidecar, where its own one is not whole."""
    if not _wants_sidecar(file):
        return file
    try:
        whole = parse_record(sidecar.data)
    except ProvenanceError as error:
        return _without_sidecar(file, sidecar.name, str(error))
    if file.digest is not None:
        whole = whole.read_for(file.digest)
    return replace(
        file,
        record=whole,
        problem=None,
        sidecar=sidecar,
        own=file.record,
        notes=(f"the record is that of the sidecar {sidecar.name}",),
    )


def _wants_sidecar(file: RecordedFile) -> bool:
    """Tell whether a sidecar says more than the file itself."""
    record = file.record
    if record is not None and (record.is_redacted or not record.lacks_graph):
        return False
    # Damaged: what it was is for the reader of the sidecar to ask.
    return file.pixels is not None and not file.is_damaged


def _with_sidecar_at(file: RecordedFile, path: Path) -> RecordedFile:
    """Take the record of an image from the sidecar beside it; see `with_sidecar`."""
    if not _wants_sidecar(file):
        return file
    try:
        data = _read_bounded(path, limits.TEXT_BYTES)
    except FileNotFoundError:
        return file
    except OSError as error:
        # Without the error's own words, which name the folder of a server.
        return _without_sidecar(file, path.name, str(error.strerror))
    except LimitError as error:
        return _without_sidecar(file, path.name, str(error))
    return with_sidecar(file, Sidecar(path.name, data))


def _without_sidecar(file: RecordedFile, name: str, reason: str) -> RecordedFile:
    return replace(file, notes=(f"the sidecar {name} cannot be read: {reason}",))


def _check_sidecar(own: Record, whole: Record) -> Check:
    """Compare the record in a file with the whole one beside it.

    They differ in the fields that the file lacks, in `left_out` and in `digest`, and in nothing
    else.
    """
    agrees = str(own.actual_digest()) == own.digest and all(
        whole.document.get(name) == value
        for name, value in own.document.items()
        if name not in _OF_THE_FILE_ALONE
    )
    return Check(
        "sidecar",
        Level.BITWISE if agrees else Level.MISMATCH,
        own.digest,
        whole.digest,
        "the sidecar holds the record of this file, whole"
        if agrees
        else "the sidecar does not hold the record of this file",
    )
