"""Decoded images: samples of 8 or 16 bits, their digest, their files, and how far two differ."""

from __future__ import annotations

import hashlib
import math
import struct
import threading
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from . import limits
from .canonical import JsonValue
from .digest import Digest
from .errors import ContainerError, LimitError

_LAYOUTS: Final = {1: "gray", 2: "graya", 3: "rgb", 4: "rgba"}
_PNG_COLOURS: Final = {1: 0, 2: 4, 3: 2, 4: 6}
_SAMPLE_TYPES: Final = {8: "u1", 16: ">u2"}
_PILLOW_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_CHANNELS: Final = {"1": 1, "L": 1, "LA": 2, "P": 3, "PA": 4, "RGB": 3, "RGBA": 4}
"""Channels that each of Pillow's modes is decoded to, before transparency beside the samples."""

_PNG_PIXELS_OF_A_BYTE: Final = 8 * 1032
"""At most: a bit for each, and deflate's best, by which a byte gives 1032."""

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
"""The kinds that carry records; each further decoder would be one more thing to attack."""

_DECODER_ERRORS: Final = (
    OSError,
    EOFError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)
"""What Pillow raises on damaged files; it promises no closed list. A warning is raised where
the process turns warnings into errors."""

_PASSES_16: Final = {
    "RGB;16B": ("RGB;16B", "RGB;16L"),
    "RGBA;16B": ("RGBA;16B", "RGBA;16L"),
    "LA;16B": ("RGBA",),
}
"""By the raw mode of a 16-bit PNG: the raw modes that together give all its bytes.

Pillow, 10.1 as 13, has no mode for such samples and keeps the first byte of each. Asked for
`16L`, which takes them to stand the other way round, it keeps the second. A pixel of gray
and alpha has as many bytes as one of RGBA, so that raw mode gives them as they are.
"""

_SIDE_PX: Final = {"WebP": 16383, "JPEG": 65500}
"""Largest width and height; of JPEG those that libjpeg allows itself, out of 65535."""

_BLOCK: Final = 2**20
_pillow_lock: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Pixels:
    """An image's samples.

    Attributes:
        samples: Row by row from the top, pixel by pixel from the left, channel
            by channel; no padding. Of 16 bits the more significant byte comes first, as
            in PNG.
        height: In pixels, at least 1.
        width: In pixels, at least 1.
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; alpha is not
            premultiplied.
        bits: 8 or 16.

    Raises:
        ValueError: The number of samples is not that of the geometry, or the
            geometry is none.
    """

    samples: bytes
    height: int
    width: int
    channels: int
    bits: int = 8

    def __post_init__(self) -> None:
        if self.channels not in _LAYOUTS:
            raise ValueError(f"expected 1 to 4 channels, got {self.channels}")
        if self.height < 1 or self.width < 1:
            raise ValueError(f"expected at least one pixel, got {self.height}x{self.width}")
        if self.bits not in (8, 16):
            raise ValueError(f"expected samples of 8 or 16 bits, got {self.bits}")
        expected = self.height * self.width * self.channels
        found = len(self.samples) * 8 / self.bits
        if found != expected:
            raise ValueError(f"expected {expected} samples, got {found:.12g}")

    @property
    def layout(self) -> str:
        """`gray8`, `graya8`, `rgb8` or `rgba8`; with 16 where the samples have 16 bits."""
        return f"{_LAYOUTS[self.channels]}{self.bits}"

    def __str__(self) -> str:
        return f"{self.layout} {self.height}x{self.width}"


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the samples of two images of the same geometry differ.

    Attributes:
        max_abs: Largest absolute difference of two samples, 0 to the peak.
        mean_abs: Mean absolute difference over all samples, 0 to the peak.
        psnr_db: Peak signal-to-noise ratio over all samples, or None when they
            are equal and there is no noise.
        differing_fraction: Pixels in which any channel differs, 0 to 1.
        peak: Largest value of a sample: 255, or 65535 for samples of 16 bits.
    """

    max_abs: int
    mean_abs: float
    psnr_db: float | None
    differing_fraction: float
    peak: int

    def to_json(self) -> dict[str, JsonValue]:
        """Give the attributes under their names."""
        return {
            "max_abs": self.max_abs,
            "peak": self.peak,
            "mean_abs": self.mean_abs,
            "psnr_db": self.psnr_db,
            "differing_fraction": self.differing_fraction,
        }


def digest_pixels(pixels: Pixels) -> Digest:
    r"""Digest samples with their layout, height and width bound in.

    The algorithm is `sha256-` and the layout. The preimage is the ASCII header
    `LAYOUT HEIGHTxWIDTH` with both numbers in decimal, one line feed, and the
    samples: `rgb8 2x3\n` and 18 bytes. Without the header 2x3 and 3x2 black
    pixels would have one digest.
    """
    state = hashlib.sha256(f"{pixels}\n".encode("ascii"))
    state.update(pixels.samples)
    return Digest(f"sha256-{pixels.layout}", state.hexdigest())


def decode_pixels(data: bytes) -> Pixels:
    """Decode the one frame of a PNG, JPEG or WebP file to its stored samples.

    A palette is looked up, 1 to 4 bits are widened to 8, and a transparent
    colour or palette entry gives an alpha channel. 16 bits stay 16. Colour profiles and EXIF
    orientation are not applied: this is about the samples that were stored, and
    a viewer's rotation would let two different files pass for the same pixels.

    Raises:
        LimitError: The file has more than `limits.IMAGE_FILE_BYTES` bytes or its
            image more than `limits.IMAGE_PIXELS` pixels.
        ContainerError: The file is damaged, truncated, of another kind, animated,
            or holds samples other than gray or RGB.
    """
    if len(data) > limits.IMAGE_FILE_BYTES:
        raise LimitError(
            f"expected an image file of at most {limits.IMAGE_FILE_BYTES} bytes, got {len(data)}"
        )
    try:
        with _strict_pillow(), Image.open(BytesIO(data), formats=_FORMATS) as image:
            return _decode(data, image)
    except _DECODER_ERRORS as error:
        raise ContainerError(f"expected a whole PNG, JPEG or WebP image: {error}") from error


def encode_png(pixels: Pixels, compress_level: int = 4) -> bytes:
    """Encode samples as a PNG file without any text.

    Args:
        pixels: The samples.
        compress_level: 0 (none) to 9; 4 is what ComfyUI's Save Image uses.

    Raises:
        ValueError: The level is none.
    """
    if not 0 <= compress_level <= 9:
        raise ValueError(f"expected a level of 0 to 9, got {compress_level}")
    if pixels.bits == 8:
        return _save(pixels, "PNG", compress_level=compress_level)
    shape = (pixels.width, pixels.height, 16, _PNG_COLOURS[pixels.channels], 0, 0, 0)
    pieces = [b"\x89PNG\r\n\x1a\n", _to_chunk(b"IHDR", struct.pack(">IIBBBBB", *shape))]
    coded = b"".join(_deflate_rows(pixels, compress_level))
    for at in range(0, len(coded), _BLOCK):
        pieces.append(_to_chunk(b"IDAT", coded[at : at + _BLOCK]))
    return b"".join([*pieces, _to_chunk(b"IEND", b"")])


def encode_webp(pixels: Pixels, *, lossless: bool, quality: int) -> bytes:
    """Encode samples as a WebP file without any metadata.

    Args:
        pixels: RGB, with or without alpha, of 8 bits: WebP holds nothing else.
        lossless: Whether decoding gives the same samples, also where alpha is 0.
        quality: 1 to 100; when lossless, how hard to look for a smaller file.

    Raises:
        ValueError: The layout is another, or the quality is none.
        ContainerError: The image is wider or higher than the format allows.
    """
    _refuse_unless(pixels, ("rgb8", "rgba8"), quality, "WebP")
    file = _save(pixels, "WEBP", lossless=lossless, exact=lossless, quality=quality)
    if lossless and pixels.channels == 4:
        # RFC 9649 3.4: bit 28 after the signature byte hints at alpha. libwebp leaves it
        # out where every alpha is 255, and decodes such a file to RGB: another layout.
        at = file.index(b"VP8L") + 12
        file = file[:at] + bytes([file[at] | 0x10]) + file[at + 1 :]
    return file


def encode_jpeg(pixels: Pixels, *, quality: int) -> bytes:
    """Encode samples as a JPEG file without any metadata.

    Args:
        pixels: Gray or RGB of 8 bits, without alpha.
        quality: 1 to 100. From 90 on each pixel keeps its own colour (4:4:4);
            below, Pillow's default has four pixels share one.

    Raises:
        ValueError: The layout is another, or the quality is none.
        ContainerError: The image is wider or higher than libjpeg allows.
    """
    _refuse_unless(pixels, ("gray8", "rgb8"), quality, "JPEG")
    return _save(pixels, "JPEG", quality=quality, subsampling=0 if quality >= 90 else -1)


def measure_difference(first: Pixels, second: Pixels) -> Difference:
    """Measure how far two images differ.

    The sums are exact integers, so the result does not depend on the machine.

    Raises:
        ValueError: The images differ in layout, height or width.
    """
    distance = _to_distance(first, second)
    peak = 2**first.bits - 1
    # Block by block: bincount widens its input to 64 bits.
    counts = sum(
        np.bincount(distance[at : at + _BLOCK], minlength=peak + 1)
        for at in range(0, distance.size, _BLOCK)
    )
    histogram = [(value, int(count)) for value, count in enumerate(np.asarray(counts)) if count]
    squares = sum(value * value * count for value, count in histogram)
    differing = np.count_nonzero(distance.reshape(-1, first.channels).any(axis=1))
    return Difference(
        max_abs=histogram[-1][0],
        mean_abs=sum(value * count for value, count in histogram) / distance.size,
        psnr_db=10 * math.log10(peak * peak * distance.size / squares) if squares else None,
        differing_fraction=int(differing) / (first.height * first.width),
        peak=peak,
    )


def difference_image(first: Pixels, second: Pixels) -> Pixels:
    """Give the absolute difference of each pair of samples, alpha like any other.

    Raises:
        ValueError: The images differ in layout, height or width.
    """
    distance = _to_distance(first, second)
    samples = distance.astype(_SAMPLE_TYPES[first.bits]).tobytes()
    return Pixels(samples, first.height, first.width, first.channels, first.bits)


@contextmanager
def _strict_pillow() -> Generator[None]:
    """Switch Pillow's process-wide settings to ours, and put them back.

    Other packs of a ComfyUI set `LOAD_TRUNCATED_IMAGES`, with which half a file
    decodes to an image with a gray half. Pillow's own limit on pixels only warns up to
    twice its number; ours is checked before decoding instead.
    """
    # No `catch_warnings`: it is process-wide, and another thread may be sampling in one.
    with _pillow_lock:
        loads_truncated, max_pixels = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = loads_truncated
            Image.MAX_IMAGE_PIXELS = max_pixels


def _decode(data: bytes, image: ImageFile.ImageFile) -> Pixels:
    pixel_count = image.width * image.height
    if pixel_count > limits.IMAGE_PIXELS:
        raise LimitError(f"expected at most {limits.IMAGE_PIXELS} pixels, got {pixel_count}")
    if image.format == "PNG" and pixel_count > _PNG_PIXELS_OF_A_BYTE * len(data):
        raise ContainerError(f"expected {pixel_count} pixels, got a file that cannot hold them")
    frames: int = getattr(image, "n_frames", 1)
    if frames != 1:
        raise ContainerError(f"expected an image of one frame, got {frames}")
    raw_mode = str(image.tile[0][3]) if image.tile else ""
    return _decode_16(data, image, raw_mode) if "16" in raw_mode else _decode_8(image)


def _decode_8(image: Image.Image) -> Pixels:
    channels = _CHANNELS.get(image.mode)
    if channels is None or (image.mode == "P" and image.palette is None):
        raise ContainerError(f"expected gray or RGB samples, got {image.mode}")
    if channels in (1, 3) and image.has_transparency_data:
        channels += 1
    decoded = image.convert(_PILLOW_MODES[channels])
    return Pixels(decoded.tobytes(), decoded.height, decoded.width, channels)


def _decode_16(data: bytes, image: Image.Image, raw_mode: str) -> Pixels:
    if raw_mode == "I;16B":
        samples = np.asarray(image).astype(">u2")
    elif raw_mode in _PASSES_16:
        passes = [_decode_raw(data, mode) for mode in _PASSES_16[raw_mode]]
        samples = np.stack(passes, axis=-1).reshape(-1).view(">u2")
    else:
        raise ContainerError(f"expected gray or RGB samples of 16 bits, got {raw_mode}")
    samples = samples.reshape(image.height, image.width, -1)
    if (transparent := image.info.get("transparency")) is not None:
        is_opaque = (samples != np.asarray(transparent)).any(axis=2, keepdims=True)
        alpha = np.where(is_opaque, np.uint16(0xFFFF), np.uint16(0))
        samples = np.concatenate([samples, alpha], axis=2)
    height, width, channels = samples.shape
    # Again: joined arrays have the machine's own order of bytes.
    return Pixels(samples.astype(">u2").tobytes(), height, width, channels, bits=16)


def _decode_raw(data: bytes, raw_mode: str) -> NDArray[np.uint8]:
    """Decode a PNG as though its samples were laid out in this way, in one row."""
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        tiles = cast("list[tuple[object, ...]]", image.tile)
        tiles[:] = [(*tile[:3], raw_mode) for tile in tiles]
        return np.frombuffer(image.tobytes(), np.uint8)


def _save(pixels: Pixels, kind: str, **options: object) -> bytes:
    size = (pixels.width, pixels.height)
    image = Image.frombytes(_PILLOW_MODES[pixels.channels], size, pixels.samples)
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _refuse_unless(pixels: Pixels, layouts: tuple[str, ...], quality: int, kind: str) -> None:
    if pixels.layout not in layouts:
        raise ValueError(f"expected {' or '.join(layouts)} for {kind}, got {pixels.layout}")
    if not 1 <= quality <= 100:
        raise ValueError(f"expected a quality of 1 to 100, got {quality}")
    if max(pixels.height, pixels.width) > _SIDE_PX[kind]:
        raise ContainerError(
            f"expected at most {_SIDE_PX[kind]} pixels a side in {kind}, got {pixels}: try PNG"
        )


def _deflate_rows(pixels: Pixels, compress_level: int) -> Generator[bytes]:
    """Filter and compress the rows of a PNG, in pieces.

    Every row has filter 2, its difference from the row above. On photographs that is
    within 4 % of choosing the best of all five for each row.
    """
    deflater = zlib.compressobj(compress_level)
    rows = np.frombuffer(pixels.samples, np.uint8).reshape(pixels.height, -1)
    above = np.zeros_like(rows[:1])
    band_rows = max(1, _BLOCK // rows.shape[1])
    for at in range(0, pixels.height, band_rows):
        band = rows[at : at + band_rows]
        filtered = np.empty((len(band), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = 2
        filtered[:, 1:] = band - np.concatenate([above, band[:-1]])
        yield deflater.compress(filtered.data)
        above = band[-1:]
    yield deflater.flush()


def _to_chunk(kind: bytes, body: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
    return struct.pack(">I4s", len(body), kind) + body + crc


def _to_distance(first: Pixels, second: Pixels) -> NDArray[np.unsignedinteger]:
    """Give the absolute difference of each pair of samples, in one row."""
    if str(first) != str(second):
        raise ValueError(f"expected images of one geometry, got {first} and {second}")
    left, right = (
        np.frombuffer(image.samples, _SAMPLE_TYPES[image.bits]) for image in (first, second)
    )
    # Unsigned subtraction wraps around; larger minus smaller does not.
    distance: NDArray[np.unsignedinteger] = np.maximum(left, right) - np.minimum(left, right)
    return distance
