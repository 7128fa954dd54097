"""JPEG text, in one EXIF segment: read it, embed it, remove it; all else keeps its bytes.

Segments are those of ISO/IEC 10918-1 annex B. A segment holds at most 65533 bytes and no
reader puts EXIF together from several, so long texts do not fit; the caller decides which
of them gives way.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Final

from .. import limits
from ..errors import ContainerError, LimitError
from . import exif

SIGNATURE: Final = b"\xff\xd8\xff"
EXIF_BYTES: Final = 65533
"""One segment, after the two bytes of its length."""

_EOI, _SOS, _APP0, _APP1, _APP2, _APP13, _COM = 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xED, 0xFE
_COLOUR_PROFILE: Final = b"ICC_PROFILE\0"

_MARKER: Final = re.compile(rb"\xff+([^\xff])", re.DOTALL)
_END_OF_SCAN: Final = re.compile(rb"\xff(?=[^\x00\xff\xd0-\xd7])")


@dataclass(frozen=True, slots=True)
class _Segment:
    """One segment: from the fill bytes before its marker to the end of its body.

    Attributes:
        marker: The marker's second byte.
        body: Without the length; empty for a marker that stands alone.
        end: After the body, and for SOS after the coded samples that follow it.
    """

    marker: int
    start: int
    body: memoryview
    end: int

    def is_a(self, marker: int, identifier: bytes) -> bool:
        """Tell a segment of an application by the identifier that its body begins with."""
        return self.marker == marker and bytes(self.body[: len(identifier)]) == identifier


def read_text(data: bytes) -> dict[str, str]:
    """Read the texts of a JPEG file's first EXIF segment by keyword.

    Nothing from the first scan on is looked at.

    Raises:
        LimitError: The file, its segments or its EXIF exceed `limits`.
        ContainerError: The file is not JPEG, is cut off, or its EXIF is damaged.
    """
    found = _find_exif(_walk(data))
    return exif.read_exif(found) if found else {}


def embed_text(data: bytes, texts: Mapping[str, str]) -> bytes:
    """Put texts into a JPEG file, in place of those with the same keywords.

    The EXIF segment is written anew right after the start and JFIF, with what the first
    one held otherwise, see `exif`; further ones are dropped, since readers disagree on
    them. Every other byte of the file stays.

    Args:
        data: A JPEG file; nothing from its first scan on is looked at.
        texts: As for `exif.dump_exif`.

    Raises:
        LimitError: The file exceeds `limits`, or the EXIF would exceed `EXIF_BYTES`.
        ContainerError: The file is not JPEG, is cut off, or its EXIF is damaged; a keyword
            or a text cannot be written.
    """
    return _edit(data, texts.keys(), texts)


def remove_text(data: bytes, keywords: Collection[str]) -> bytes:
    """Remove all text with these keywords from a JPEG file, and EXIF that nothing is left in.

    Raises:
        LimitError: The file or its segments exceed `limits`.
        ContainerError: The file is not JPEG, is cut off, or its EXIF is damaged.
    """
    return _edit(data, keywords, {})


def fits(texts: Mapping[str, str]) -> bool:
    """Tell whether texts have room in a JPEG file that holds no EXIF yet.

    Raises:
        ContainerError: A keyword or a text cannot be written, whatever its size.
    """
    try:
        return len(exif.dump_exif(texts)) <= EXIF_BYTES
    except LimitError:
        return False


def strip(data: bytes) -> bytes:
    """Remove EXIF, XMP, IPTC, comments, previews and what follows the end of the image.

    What decides the displayed pixels stays: the colour profile, Adobe's colour transform,
    and of EXIF the orientation.

    Raises:
        LimitError: The file or its segments exceed `limits`.
        ContainerError: The file is not JPEG or is cut off.
    """
    segments = list(_walk(data, to_end=True))
    orientation = exif.keep_orientation(_find_exif(segments))
    kept = [segment for segment in segments if not _is_metadata(segment)]
    return _join(data, kept, orientation)


def _edit(data: bytes, removed: Collection[str], texts: Mapping[str, str]) -> bytes:
    segments = list(_walk(data))
    found = _find_exif(segments)
    edited = exif.edit_exif(found, removed, texts)
    if edited == found:
        return data
    if len(edited) > EXIF_BYTES:
        raise LimitError(
            f"expected EXIF of at most {EXIF_BYTES} bytes in a JPEG file, got {len(edited)}"
        )
    kept = [segment for segment in segments if not segment.is_a(_APP1, exif.PREFIX)]
    return _join(data, kept, edited, memoryview(data)[segments[-1].end :])


def _join(
    data: bytes, segments: list[_Segment], exif_bytes: bytes, tail: memoryview | bytes = b""
) -> bytes:
    """Put segments behind the start, and EXIF behind the APP0 that they begin with."""
    source = memoryview(data)
    pieces = [source[segment.start : segment.end] for segment in segments]
    if exif_bytes:
        at = next(at for at, segment in enumerate(segments) if segment.marker != _APP0)
        header = struct.pack(">BBH", 0xFF, _APP1, 2 + len(exif_bytes))
        pieces.insert(at, memoryview(header + exif_bytes))
    return b"".join([source[:2], *pieces, tail])


def _is_metadata(segment: _Segment) -> bool:
    # APP2 is also where pictures behind the end are listed, and where FlashPix keeps texts.
    if segment.marker == _APP2:
        return not segment.is_a(_APP2, _COLOUR_PROFILE)
    return segment.marker in (_APP1, _APP13, _COM)


def _find_exif(segments: Collection[_Segment] | Generator[_Segment]) -> bytes:
    """Give the body of the first EXIF segment, or no bytes."""
    return next(
        (bytes(segment.body) for segment in segments if segment.is_a(_APP1, exif.PREFIX)), b""
    )


def _walk(data: bytes, *, to_end: bool = False) -> Generator[_Segment]:
    """Yield the segments after SOI up to the header of the first scan, or up to EOI."""
    if len(data) > limits.IMAGE_FILE_BYTES:
        raise LimitError(
            f"expected a JPEG file of at most {limits.IMAGE_FILE_BYTES} bytes, got {len(data)}"
        )
    if not data.startswith(SIGNATURE):
        raise ContainerError("expected a JPEG file, got bytes without its signature")
    start, has_scan = 2, False
    for _ in range(limits.CHUNK_COUNT):
        segment = _read_segment(data, start)
        if segment.marker == _SOS and to_end:
            segment = _with_samples(data, segment)
        has_scan = has_scan or segment.marker == _SOS
        if segment.marker == _EOI and not has_scan:
            raise ContainerError(f"expected a scan before the end at offset {start}, got none")
        yield segment
        if segment.marker == _EOI or (has_scan and not to_end):
            return
        start = segment.end
    raise LimitError(f"expected at most {limits.CHUNK_COUNT} segments, got more")


def _read_segment(data: bytes, start: int) -> _Segment:
    match = _MARKER.match(data, start)
    if match is None:
        found = "other bytes" if start < len(data) else "a file cut off"
        raise ContainerError(f"expected a marker at offset {start}, got {found}")
    marker, at = match[1][0], match.end()
    if marker == _EOI:
        return _Segment(marker, start, memoryview(b""), at)
    # Below SOF0, and from RST0 to SOI, stand markers that a header has no use for.
    if marker < 0xC0 or 0xD0 <= marker <= 0xD8:
        raise ContainerError(f"expected a segment at offset {start}, got marker {marker:#04x}")
    (length,) = struct.unpack_from(">H", data, at) if at + 2 <= len(data) else (0,)
    if length < 2 or at + length > len(data):
        raise ContainerError(
            f"expected {length} bytes in segment {marker:#04x} at offset {start}, got"
            f" {len(data) - at}: cut off"
        )
    return _Segment(marker, start, memoryview(data)[at + 2 : at + length], at + length)


def _with_samples(data: bytes, header: _Segment) -> _Segment:
    # B.1.1.5: within coded samples a byte 0xff is followed by 0 or is a restart marker.
    match = _END_OF_SCAN.search(data, header.end)
    if match is None:
        raise ContainerError(f"expected an end after the scan at offset {header.start}: cut off")
    return _Segment(header.marker, header.start, header.body, match.start())
