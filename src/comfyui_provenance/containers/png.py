"""PNG text: read it, embed it, remove it; the other chunks are never touched.

Text is written uncompressed: ASCII as `tEXt`, other text as `iTXt`. ComfyUI's page
ignores `zTXt`, decodes `tEXt` as UTF-8 though the standard says Latin-1, and hangs on
a compressed `iTXt`, whatever its keyword (measured on frontend 1.47.12 and 1.58.1).
Paragraphs are those of the standard's second edition, ISO/IEC 15948:2004.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Final

from .. import limits
from ..errors import ContainerError, LimitError
from . import exif

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TEXT_KINDS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_METADATA_KINDS: Final = _TEXT_KINDS | {b"eXIf", b"tIME", b"comf"}
"""`comf` is where ComfyUI keeps the texts of an animation, behind the first frame."""

_KEYWORD_CHARS: Final = 79
_HEADER_BYTES: Final = 13


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One chunk: where it starts in the file, and its body without length, kind and CRC."""

    kind: bytes
    start: int
    body: memoryview

    @property
    def end(self) -> int:
        return self.start + 12 + len(self.body)

    def __str__(self) -> str:
        return f"{self.kind.decode('ascii')} chunk at offset {self.start}"


def read_text(data: bytes) -> dict[str, str]:
    """Read the texts of a PNG file by keyword.

    All of `tEXt`, `zTXt` and `iTXt` count; of two chunks with one keyword the
    later one wins, as on ComfyUI's page. Bytes after IEND are ignored.

    Raises:
        LimitError: The file, its chunks or its texts exceed `limits`.
        ContainerError: The file is not a whole PNG with right checksums, or a
            text chunk is malformed.
    """
    texts: dict[str, str] = {}
    left_bytes = limits.TEXT_TOTAL_BYTES
    for chunk in _walk(data):
        if chunk.kind in _TEXT_KINDS:
            keyword, text = _to_text(chunk, min(limits.TEXT_BYTES, left_bytes))
            left_bytes -= len(text)
            texts[keyword] = _decode(chunk, text)
    return texts


def embed_text(data: bytes, texts: Mapping[str, str]) -> bytes:
    """Put texts into a PNG file, in place of all its text with the same keywords.

    Each becomes one chunk right after IHDR, in the order given: `tEXt` for ASCII, else
    `iTXt`. Every other chunk, and whatever follows IEND, keeps its bytes and its place:
    also a compressed `iTXt` of another keyword, though such a file hangs ComfyUI's page.
    The file is copied once, however many texts there are.

    Args:
        data: A whole PNG file.
        texts: Text without NUL by keyword.

    Raises:
        LimitError: A text is larger than `limits` lets it be read back.
        ContainerError: The file is not a whole PNG with right checksums, or a
            keyword or a text cannot be written.
    """
    chunks = [_to_chunk(keyword, text) for keyword, text in texts.items()]
    if sum(map(len, chunks)) > limits.TEXT_TOTAL_BYTES:
        raise LimitError(f"expected at most {limits.TEXT_TOTAL_BYTES} bytes of text, got more")
    return _replace(data, texts.keys(), b"".join(chunks))


def remove_text(data: bytes, keywords: Collection[str]) -> bytes:
    """Remove all text with these keywords from a PNG file, and nothing else.

    Raises:
        LimitError: The file or its chunks exceed `limits`.
        ContainerError: The file is not a whole PNG with right checksums.
    """
    return _replace(data, keywords, b"")


def strip(data: bytes) -> bytes:
    """Remove text, EXIF, time, ComfyUI's own chunk and what follows the end of the image.

    What decides the displayed pixels stays: colour profile and space, transparency, and of
    EXIF the orientation.

    Raises:
        LimitError: The file or its chunks exceed `limits`.
        ContainerError: The file is not a whole PNG with right checksums.
    """
    source = memoryview(data)
    pieces: list[memoryview | bytes] = [SIGNATURE]
    for chunk in _walk(data):
        if chunk.kind == b"eXIf" and (orientation := exif.keep_orientation(bytes(chunk.body))):
            pieces.append(_build_chunk(b"eXIf", orientation.removeprefix(exif.PREFIX)))
        elif chunk.kind not in _METADATA_KINDS:
            pieces.append(source[chunk.start : chunk.end])
    return b"".join(pieces)


def _walk(data: bytes) -> Generator[_Chunk]:
    """Yield the chunks from IHDR to IEND, each after its bounds and checksum were verified."""
    if len(data) > limits.IMAGE_FILE_BYTES:
        raise LimitError(
            f"expected a PNG file of at most {limits.IMAGE_FILE_BYTES} bytes, got {len(data)}"
        )
    if not data.startswith(SIGNATURE):
        raise ContainerError("expected a PNG file, got bytes without its signature")
    start = len(SIGNATURE)
    for _ in range(limits.CHUNK_COUNT):
        chunk = _read_chunk(data, start)
        if start == len(SIGNATURE) and (chunk.kind, len(chunk.body)) != (b"IHDR", _HEADER_BYTES):
            raise ContainerError(f"expected IHDR of {_HEADER_BYTES} bytes first, got {chunk}")
        yield chunk
        if chunk.kind == b"IEND":
            return
        start = chunk.end
    raise LimitError(f"expected at most {limits.CHUNK_COUNT} chunks, got more")


def _read_chunk(data: bytes, start: int) -> _Chunk:
    left_bytes = len(data) - start
    if left_bytes < 12:
        raise ContainerError(f"expected a chunk at offset {start}, got {left_bytes} bytes: cut off")
    length, kind = struct.unpack_from(">I4s", data, start)
    if not (kind.isascii() and kind.isalpha()):
        raise ContainerError(f"expected a chunk's name at offset {start + 4}, got {kind!r}")
    chunk = _Chunk(kind, start, memoryview(data)[start + 8 : start + 8 + length])
    if length > left_bytes - 12:
        raise ContainerError(f"expected {length} bytes in {chunk}, got {left_bytes - 12}: cut off")
    (expected,) = struct.unpack_from(">I", data, start + 8 + length)
    found = zlib.crc32(chunk.body, zlib.crc32(kind))
    if found != expected:
        raise ContainerError(f"expected CRC {expected:08x} in {chunk}, got {found:08x}: damaged")
    return chunk


def _to_keyword(chunk: _Chunk) -> str | None:
    """Give a text chunk's keyword, or None where it has none."""
    # A keyword has at most 79 bytes: no copy of the text behind it.
    keyword, separator, _ = bytes(chunk.body[: _KEYWORD_CHARS + 1]).partition(b"\0")
    return keyword.decode("latin-1") if separator else None


def _to_text(chunk: _Chunk, limit_bytes: int) -> tuple[str, bytes]:
    """Give a text chunk's keyword and its text, inflated, in the file's encoding."""
    keyword = _to_keyword(chunk)
    if keyword is None:
        raise ContainerError(f"expected a keyword and NUL in {chunk}, got neither")
    rest = chunk.body[len(keyword) + 1 :]
    is_compressed = chunk.kind == b"zTXt"
    if chunk.kind == b"iTXt":
        # PNG 11.3.4.5: flag, method, language tag, NUL, translated keyword, NUL, text.
        parts = bytes(rest[2:]).split(b"\0", 2)
        if len(parts) != 3 or rest[0] > 1:
            raise ContainerError(f"expected flags, language and translation in {chunk}")
        is_compressed, method, text = rest[0] == 1, rest[1:2], memoryview(parts[2])
    else:
        method, text = (rest[:1], rest[1:]) if is_compressed else (rest[:0], rest)
    if is_compressed:
        if bytes(method) != b"\0":
            raise ContainerError(f"expected compression method 0 in {chunk}")
        return keyword, _inflate(chunk, text, limit_bytes)
    if len(text) > limit_bytes:
        raise LimitError(f"expected at most {limit_bytes} bytes of text in {chunk}")
    return keyword, bytes(text)


def _inflate(chunk: _Chunk, compressed: memoryview, limit_bytes: int) -> bytes:
    # A kilobyte can inflate to a megabyte: stop one byte past the limit.
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(compressed, limit_bytes + 1)
    except zlib.error as error:
        raise ContainerError(f"expected zlib data in {chunk}: {error}") from error
    if len(text) > limit_bytes:
        raise LimitError(f"expected at most {limit_bytes} bytes of text in {chunk}")
    if not inflater.eof:
        raise ContainerError(f"expected whole zlib data in {chunk}, got a part")
    return text


def _decode(chunk: _Chunk, text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        if chunk.kind == b"iTXt":
            raise ContainerError(f"expected UTF-8 in {chunk}: {error.reason}") from error
        # PNG 11.3.4.3 says Latin-1, but ComfyUI's page and tools that write by hand
        # use UTF-8. Latin-1 text is hardly ever valid UTF-8 unless it is ASCII.
        return text.decode("latin-1")


def _to_chunk(keyword: str, text: str) -> bytes:
    if not _is_keyword(keyword):
        raise ContainerError(
            f"expected a keyword of 1 to {_KEYWORD_CHARS} printable Latin-1 characters with single"
            f" spaces inside alone, got {keyword[:100]!r}"
        )
    if "\0" in text:
        raise ContainerError(f"expected text without NUL under {keyword!r}, got NUL in it")
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ContainerError(f"expected Unicode under {keyword!r}: {error.reason}") from error
    if len(encoded) > limits.TEXT_BYTES:
        raise LimitError(
            f"expected at most {limits.TEXT_BYTES} bytes under {keyword!r}, got {len(encoded)}"
        )
    # PNG 11.3.4.5, for iTXt: not compressed, method 0, no language, no translated keyword.
    kind, before = (b"tEXt", b"\0") if text.isascii() else (b"iTXt", b"\0\0\0\0\0")
    return _build_chunk(kind, keyword.encode("latin-1") + before + encoded)


def _build_chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(body, zlib.crc32(kind))
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", crc)


def _is_keyword(keyword: str) -> bool:
    # PNG 11.3.4.2: codes 32-126 and 161-255; no leading, trailing or double space.
    return (
        0 < len(keyword) <= _KEYWORD_CHARS
        and all(" " <= char <= "~" or "\xa1" <= char <= "\xff" for char in keyword)
        and keyword == keyword.strip(" ")
        and "  " not in keyword
    )


def _replace(data: bytes, keywords: Collection[str], inserted: bytes) -> bytes:
    """Drop the text chunks with these keywords and insert bytes after IHDR."""
    source = memoryview(data)
    pieces = [source[: len(SIGNATURE)]]
    end = 0
    for chunk in _walk(data):
        if chunk.kind not in _TEXT_KINDS or _to_keyword(chunk) not in keywords:
            pieces.append(source[chunk.start : chunk.end])
        if chunk.kind == b"IHDR":
            pieces.append(memoryview(inserted))
        end = chunk.end
    return b"".join([*pieces, source[end:]])
