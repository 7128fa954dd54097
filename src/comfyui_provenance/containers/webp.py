"""WebP text, in the EXIF chunk: read it, embed it, remove it; the coded pixels keep their bytes.

Chunks are those of RFC 9649. A file of one image chunk has no room for metadata; with EXIF
it becomes an extended one, which begins with VP8X, and without EXIF it is the simple one again.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from .. import limits
from ..errors import ContainerError, LimitError
from . import exif

_CODED: Final = (b"VP8 ", b"VP8L")
_BEFORE_METADATA: Final = frozenset({b"VP8X", b"ICCP", b"ANIM", b"ALPH", b"VP8 ", b"VP8L", b"ANMF"})
_METADATA: Final = frozenset({b"EXIF", b"XMP "})
_EXIF_FLAG, _XMP_FLAG, _ALPHA_FLAG = 0x08, 0x04, 0x10
_HEADER_BYTES: Final = 10


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One chunk: its kind and its body without length and padding."""

    kind: bytes
    body: memoryview | bytes


@dataclass(frozen=True, slots=True)
class _File:
    """The chunks of a file, and whatever follows them."""

    chunks: list[_Chunk]
    tail: memoryview


def read_text(data: bytes) -> dict[str, str]:
    """Read the texts of a WebP file's first EXIF chunk by keyword; animations have them, too.

    Raises:
        LimitError: The file, its chunks or its EXIF exceed `limits`.
        ContainerError: The file is not a whole WebP, or its EXIF is damaged.
    """
    found = _find_exif(_parse(data).chunks)
    return exif.read_exif(found) if found else {}


def is_lossless(data: bytes) -> bool:
    """Tell whether a file's one image is coded without loss.

    Raises:
        LimitError: The file exceeds `limits`.
        ContainerError: The file is damaged.
    """
    return any(chunk.kind == b"VP8L" for chunk in _parse(data).chunks)


def embed_text(data: bytes, texts: Mapping[str, str]) -> bytes:
    """Put texts into a WebP file, in place of those with the same keywords.

    The EXIF chunk is written anew behind the image, with what the first one held otherwise,
    see `exif`; further ones, which the format does not allow, are dropped. Every other chunk
    keeps its bytes and order, VP8X but for its flag.

    Args:
        data: A whole WebP file, animated or not.
        texts: As for `exif.dump_exif`.

    Raises:
        LimitError: The file or the texts exceed `limits`.
        ContainerError: The file is not a whole WebP, or its EXIF is damaged; a keyword or a
            text cannot be written.
    """
    return _edit(data, texts.keys(), texts)


def remove_text(data: bytes, keywords: Collection[str]) -> bytes:
    """Remove all text with these keywords from a WebP file, and EXIF that nothing is left in.

    Raises:
        LimitError: The file or its chunks exceed `limits`.
        ContainerError: The file is not a whole WebP, or its EXIF is damaged.
    """
    return _edit(data, keywords, {})


def strip(data: bytes) -> bytes:
    """Remove EXIF, XMP and what follows the end of the image.

    The colour profile stays, and of EXIF the orientation.

    Raises:
        LimitError: The file or its chunks exceed `limits`.
        ContainerError: The file is not a whole WebP.
    """
    chunks = _parse(data).chunks
    orientation = exif.keep_orientation(_find_exif(chunks))
    return _join([chunk for chunk in chunks if chunk.kind not in _METADATA], orientation)


def _edit(data: bytes, removed: Collection[str], texts: Mapping[str, str]) -> bytes:
    file = _parse(data)
    found = _find_exif(file.chunks)
    edited = exif.edit_exif(found, removed, texts)
    if edited == found:
        return data
    kept = [chunk for chunk in file.chunks if chunk.kind != b"EXIF"]
    return _join(kept, edited, file.tail)


def _find_exif(chunks: list[_Chunk]) -> bytes:
    """Give the body of the first EXIF chunk, or no bytes."""
    return next((bytes(chunk.body) for chunk in chunks if chunk.kind == b"EXIF"), b"")


def _parse(data: bytes) -> _File:
    if len(data) > limits.IMAGE_FILE_BYTES:
        raise LimitError(
            f"expected a WebP file of at most {limits.IMAGE_FILE_BYTES} bytes, got {len(data)}"
        )
    if not (data.startswith(b"RIFF") and data[8:12] == b"WEBP"):
        raise ContainerError("expected a WebP file, got bytes without its signature")
    (size,) = struct.unpack_from("<L", data, 4)
    source, end = memoryview(data), 8 + size
    if end > len(data):
        raise ContainerError(f"expected {end} bytes in a WebP file, got {len(data)}: cut off")
    chunks: list[_Chunk] = []
    start = 12
    while start < end:
        if len(chunks) == limits.CHUNK_COUNT:
            raise LimitError(f"expected at most {limits.CHUNK_COUNT} chunks, got more")
        kind, length = struct.unpack_from("<4sL", data, start) if start + 8 <= end else (b"", 0)
        following = start + 8 + length + length % 2
        if following > end:
            raise ContainerError(f"expected a chunk at offset {start}, got one cut off")
        chunks.append(_Chunk(kind, source[start + 8 : start + 8 + length]))
        start = following
    if not chunks or chunks[0].kind not in (*_CODED, b"VP8X"):
        raise ContainerError("expected VP8, VP8L or VP8X first in a WebP file, got none of them")
    return _File(chunks, source[end:])


def _join(chunks: list[_Chunk], exif_bytes: bytes, tail: memoryview | bytes = b"") -> bytes:
    """Write a file of these chunks, none of them EXIF, and of this EXIF if there is any."""
    written = list(chunks)
    if exif_bytes:
        at = max(at for at, chunk in enumerate(chunks) if chunk.kind in _BEFORE_METADATA)
        # The prefix belongs to JPEG; RFC 9649 knows none. Readers have to take either.
        written.insert(at + 1, _Chunk(b"EXIF", exif_bytes.removeprefix(exif.PREFIX)))
    pieces: list[memoryview | bytes] = []
    for chunk in _with_flags(written):
        pieces += [struct.pack("<4sL", chunk.kind, len(chunk.body)), chunk.body]
        pieces.append(b"\0" * (len(chunk.body) % 2))
    size = 4 + sum(map(len, pieces))
    return b"".join([b"RIFF", struct.pack("<L", size), b"WEBP", *pieces, tail])


def _with_flags(chunks: list[_Chunk]) -> list[_Chunk]:
    """Make VP8X say what there is: put it there, correct it, or leave it out if it says nothing."""
    kinds = {chunk.kind for chunk in chunks}
    metadata = _EXIF_FLAG * (b"EXIF" in kinds) | _XMP_FLAG * (b"XMP " in kinds)
    is_extended = chunks[0].kind == b"VP8X"
    if not is_extended and not metadata:
        return chunks
    image = chunks[is_extended:]
    header = bytes(chunks[0].body) if is_extended else _to_header(image[0])
    if len(header) != _HEADER_BYTES:
        raise ContainerError(f"expected {_HEADER_BYTES} bytes in VP8X, got {len(header)}")
    header = bytes([header[0] & ~(_EXIF_FLAG | _XMP_FLAG) | metadata]) + header[1:]
    if image and image[0].kind in _CODED and header == _to_header(image[0]):
        return image
    return [_Chunk(b"VP8X", header), *image]


def _to_header(image: _Chunk) -> bytes:
    """Give the body of the VP8X that a file of this image alone would have."""
    head = bytes(image.body[:10])
    if image.kind == b"VP8L" and len(head) >= 5 and head[0] == 0x2F:
        # RFC 9649 3.4: 14 bits of width less one, 14 of height less one, one of alpha.
        (bits,) = struct.unpack_from("<L", head, 1)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags = _ALPHA_FLAG if bits >> 28 & 1 else 0
    elif image.kind == b"VP8 " and len(head) == 10 and head[3:6] == b"\x9d\x01\x2a":
        # RFC 6386 9.1: 14 bits of width and of height, each below two bits of scaling.
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", head, 6))
        flags = 0
    else:
        raise ContainerError("expected a key frame with its size in a WebP file, got none")
    if not (width and height):
        raise ContainerError(f"expected at least one pixel, got {height}x{width}")
    return struct.pack("<LHBHB", flags, width - 1, 0, height - 1, 0)
