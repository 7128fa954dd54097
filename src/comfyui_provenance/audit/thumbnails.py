"""Small pictures of large ones, for a page of many."""

from __future__ import annotations

from typing import Final

from ..pixels import Pixels, encode_jpeg

SIDE_PX: Final = 96
"""The longer side at most."""

_QUALITY: Final = 75


def to_thumbnail(pixels: Pixels) -> bytes:
    """Give a small JPEG file of an image, without its alpha; never larger than the image.

    Each of its samples is the mean of four of the image's.
    """
    step = -(-max(pixels.height, pixels.width) // SIDE_PX)
    height, width = max(1, pixels.height // step), max(1, pixels.width // step)
    channels = 3 if pixels.channels >= 3 else 1
    offsets = (step // 4, 3 * step // 4)
    top, bottom = (
        _mean(*(_take(pixels, step, row, column) for column in offsets)) for row in offsets
    )
    return encode_jpeg(Pixels(_mean(top, bottom), height, width, channels), quality=_QUALITY)


def _take(pixels: Pixels, step: int, row: int, column: int) -> bytes:
    """Take every `step`th pixel of every `step`th row, from these two on."""
    channels = 3 if pixels.channels >= 3 else 1
    # Of 16 bits the more significant byte, which comes first.
    sample_bytes = pixels.bits // 8
    pixel_bytes = pixels.channels * sample_bytes
    width = max(1, pixels.width // step)
    first = min(column, pixels.width - 1) * pixel_bytes
    pieces: list[bytes] = []
    for at in range(max(1, pixels.height // step)):
        start = min(at * step + row, pixels.height - 1) * pixels.width * pixel_bytes
        line = pixels.samples[start : start + pixels.width * pixel_bytes]
        piece = bytearray(width * channels)
        for channel in range(channels):
            taken = line[first + channel * sample_bytes :: step * pixel_bytes]
            piece[channel::channels] = taken[:width]
        pieces.append(bytes(piece))
    return b"".join(pieces)


def _mean(first: bytes, second: bytes) -> bytes:
    """Give the mean of each pair of bytes, cut off."""
    # As one large number each: half the sum is what both have, and half of what one has. The
    # mask keeps a byte's lowest bit from moving into the next.
    ours, others = int.from_bytes(first), int.from_bytes(second)
    mask = int.from_bytes(b"\xfe" * len(first))
    return ((ours & others) + (((ours ^ others) & mask) >> 1)).to_bytes(len(first))
