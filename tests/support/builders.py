"""Builders of small values, so that a test shows only what it is about."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image

from comfyui_provenance.containers.png import SIGNATURE
from comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt
from comfyui_provenance.pixels import Pixels
from comfyui_provenance.verdict import Check, Level


def prompt_of(**sources: list[str]) -> Prompt:
    """Build a prompt of nodes by id, each with the ids it takes its inputs from.

    A node's class is its id; each link is to slot 0.
    """
    return Prompt(
        {
            NodeId(node_id): Node(
                node_id,
                {f"input_{at}": Link(NodeId(item), 0) for at, item in enumerate(items)},
            )
            for node_id, items in sources.items()
        }
    )


def chain_of(length: int) -> Prompt:
    """Build a prompt in which node `k` takes its one input from node `k - 1`."""
    nodes = {
        NodeId(str(at)): Node("Step", {"before": Link(NodeId(str(at - 1)), 0)} if at else {})
        for at in range(length)
    }
    return Prompt(nodes)


def pixels_of(*samples: int, height: int = 1, channels: int = 1) -> Pixels:
    """Build pixels of as many columns as the samples fill."""
    return Pixels(bytes(samples), height, len(samples) // (height * channels), channels)


def gradient(height: int = 5, width: int = 7, channels: int = 3) -> Pixels:
    """Build pixels that all differ from their neighbours."""
    count = height * width * channels
    return Pixels(bytes(at * 37 % 256 for at in range(count)), height, width, channels)


def chunk_of(kind: bytes, body: bytes = b"") -> bytes:
    """Build a PNG chunk with its length and checksum."""
    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc


def stored(plain: bytes) -> bytes:
    """Build a zlib stream of one stored block: the same bytes with any zlib."""
    sizes = struct.pack("<HH", len(plain), len(plain) ^ 0xFFFF)
    return b"\x78\x01\x01" + sizes + plain + struct.pack(">I", zlib.adler32(plain))


def header_of(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    """Build an IHDR chunk; colour 0 is gray, 2 RGB, 3 palette, 4 and 6 with alpha."""
    return chunk_of(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png_of(*between: bytes, after: bytes = b"") -> bytes:
    """Build a PNG of one black pixel.

    Args:
        between: Chunks between IHDR and IDAT.
        after: Chunks between IDAT and IEND.
    """
    image = chunk_of(b"IDAT", stored(b"\0\0"))
    return b"".join([SIGNATURE, header_of(1, 1), *between, image, after, chunk_of(b"IEND")])


def check_of(level: Level, name: str = "pixels") -> Check:
    """Build a check of this level about nothing in particular."""
    return Check(name, level, None, None, "Compared.")


def image_file(kind: str, pixels: Pixels | None = None, **options: Any) -> bytes:
    """Build an image file with Pillow; of a gradient if nothing else is given."""
    image = pixels or gradient()
    size = (image.width, image.height)
    file = BytesIO()
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[image.channels]
    Image.frombytes(mode, size, image.samples).save(file, kind, **options)
    return file.getvalue()


def entry_of(
    tag: int, value: bytes, kind: int = 2, count: int | None = None
) -> tuple[int, int, int, bytes]:
    """Build an entry of an EXIF directory; kind 2 is ASCII, 3 SHORT, 4 LONG, 7 undefined."""
    sizes = {3: 2, 4: 4, 5: 8}
    return tag, kind, len(value) // sizes.get(kind, 1) if count is None else count, value


def tiff_of(*entries: tuple[int, int, int, bytes], order: str = ">") -> bytes:
    """Build EXIF of one directory, by hand, so that it may also be wrong.

    Args:
        entries: As `entry_of` gives them. Values of more than 4 bytes go behind the directory.
        order: `>` or `<`.
    """
    start = 8 + 2 + 12 * len(entries) + 4
    directory, values = struct.pack(f"{order}H", len(entries)), b""
    for tag, kind, count, value in entries:
        directory += struct.pack(f"{order}HHL", tag, kind, count)
        if len(value) <= 4:
            directory += value.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}L", start + len(values))
            values += value
    header = {">": b"MM\0*", "<": b"II*\0"}[order] + struct.pack(f"{order}L", 8)
    return header + directory + bytes(4) + values


def segment_of(marker: int, body: bytes = b"") -> bytes:
    """Build a JPEG segment with its length."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def riff_chunk_of(kind: bytes, body: bytes = b"") -> bytes:
    """Build a WebP chunk with its length and padding."""
    return struct.pack("<4sL", kind, len(body)) + body + b"\0" * (len(body) % 2)


def webp_of(*chunks: bytes) -> bytes:
    """Build a WebP file of these chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<L", len(body)) + body
