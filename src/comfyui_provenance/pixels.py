"""Decoded images: 8-bit samples, their digest, and how far two of them differ."""

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
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from . import limits
from .canonical import JsonValue
from .digest import Digest
from .errors import ContainerError, LimitError

_LAYOUTS: Final = {1: "gray8", 2: "graya8", 3: "rgb8", 4: "rgba8"}
_PILLOW_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_CHANNELS: Final = {"1": 1, "L": 1, "LA": 2, "P": 3, "PA": 4, "RGB": 3, "RGBA": 4}
"""Channels that each of Pillow's modes is decoded to, before transparency beside the samples."""

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
"""The kinds that carry records; each further decoder would be one more thing to attack."""

_DECODER_ERRORS: Final = (
    OSError,
    EOFError,
    ArithmeticError,
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

_BLOCK_SAMPLES: Final = 2**22
_pillow_lock: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Pixels:
    """An image's 8-bit samples.

    Attributes:
        samples: Row by row from the top, pixel by pixel from the left, channel
            by channel; no padding.
        height: In pixels, at least 1.
        width: In pixels, at least 1.
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; alpha is not
            premultiplied.

    Raises:
        ValueError: The number of samples is not that of the geometry, or the
            geometry is none.
    """

    samples: bytes
    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        if self.channels not in _LAYOUTS:
            raise ValueError(f"expected 1 to 4 channels, got {self.channels}")
        if self.height < 1 or self.width < 1:
            raise ValueError(f"expected at least one pixel, got {self.height}x{self.width}")
        expected = self.height * self.width * self.channels
        if len(self.samples) != expected:
            raise ValueError(f"expected {expected} samples, got {len(self.samples)}")

    @property
    def layout(self) -> str:
        """`gray8`, `graya8`, `rgb8` or `rgba8`."""
        return _LAYOUTS[self.channels]

    def __str__(self) -> str:
        return f"{self.layout} {self.height}x{self.width}"


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the samples of two images of the same geometry differ.

    Attributes:
        max_abs: Largest absolute difference of two samples, 0 to 255.
        mean_abs: Mean absolute difference over all samples, 0 to 255.
        psnr_db: Peak signal-to-noise ratio over all samples with peak 255, or
            None when they are equal and there is no noise.
        differing_fraction: Pixels in which any channel differs, 0 to 1.
    """

    max_abs: int
    mean_abs: float
    psnr_db: float | None
    differing_fraction: float

    def to_json(self) -> dict[str, JsonValue]:
        """Give the attributes under their names."""
        return {
            "max_abs": self.max_abs,
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
    colour or palette entry gives an alpha channel. Colour profiles and EXIF
    orientation are not applied: this is about the samples that were stored, and
    a viewer's rotation would let two different files pass for the same pixels.

    Raises:
        LimitError: The file has more than `limits.IMAGE_FILE_BYTES` bytes or its
            image more than `limits.IMAGE_PIXELS` pixels.
        ContainerError: The file is damaged, truncated, of another kind, animated,
            or holds samples other than gray or RGB of at most 8 bits.
    """
    if len(data) > limits.IMAGE_FILE_BYTES:
        raise LimitError(
            f"expected an image file of at most {limits.IMAGE_FILE_BYTES} bytes, got {len(data)}"
        )
    try:
        with _strict_pillow(), Image.open(BytesIO(data), formats=_FORMATS) as image:
            return _to_pixels(image)
    except _DECODER_ERRORS as error:
        raise ContainerError(f"expected a whole PNG, JPEG or WebP image: {error}") from error


def encode_png(pixels: Pixels, compress_level: int = 4) -> bytes:
    """Encode samples as a PNG file without any text.

    Args:
        pixels: The samples.
        compress_level: 0 (none) to 9; 4 is what ComfyUI's Save Image uses.
    """
    size = (pixels.width, pixels.height)
    image = Image.frombytes(_PILLOW_MODES[pixels.channels], size, pixels.samples)
    file = BytesIO()
    image.save(file, "PNG", compress_level=compress_level)
    return file.getvalue()


def measure_difference(first: Pixels, second: Pixels) -> Difference:
    """Measure how far two images differ.

    The sums are exact integers, so the result does not depend on the machine.

    Raises:
        ValueError: The images differ in layout, height or width.
    """
    distance = _to_distance(first, second)
    # Block by block: bincount widens its input to 64 bits.
    counts = sum(
        np.bincount(distance[at : at + _BLOCK_SAMPLES], minlength=256)
        for at in range(0, distance.size, _BLOCK_SAMPLES)
    )
    histogram = [int(count) for count in np.asarray(counts)]
    squares = sum(value * value * count for value, count in enumerate(histogram))
    differing = np.count_nonzero(distance.reshape(-1, first.channels).any(axis=1))
    return Difference(
        max_abs=max(value for value, count in enumerate(histogram) if count),
        mean_abs=sum(value * count for value, count in enumerate(histogram)) / distance.size,
        psnr_db=10 * math.log10(255 * 255 * distance.size / squares) if squares else None,
        differing_fraction=int(differing) / (first.height * first.width),
    )


def difference_image(first: Pixels, second: Pixels) -> Pixels:
    """Give the absolute difference of each pair of samples, alpha like any other.

    Raises:
        ValueError: The images differ in layout, height or width.
    """
    distance = _to_distance(first, second)
    return Pixels(distance.tobytes(), first.height, first.width, first.channels)


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


def _to_pixels(image: ImageFile.ImageFile) -> Pixels:
    pixel_count = image.width * image.height
    if pixel_count > limits.IMAGE_PIXELS:
        raise LimitError(f"expected at most {limits.IMAGE_PIXELS} pixels, got {pixel_count}")
    frames: int = getattr(image, "n_frames", 1)
    if frames != 1:
        raise ContainerError(f"expected an image of one frame, got {frames}")
    # Pillow shows a 16-bit RGB file as mode RGB and cuts the lower bytes off; only
    # the raw mode of its tiles tells.
    if image.mode.startswith("I") or any("16" in str(tile[3]) for tile in image.tile):
        raise ContainerError("expected 8-bit samples, got 16-bit, which is not supported yet")
    channels = _CHANNELS.get(image.mode)
    if channels is None:
        raise ContainerError(f"expected gray or RGB samples, got {image.mode}")
    if channels in (1, 3) and image.has_transparency_data:
        channels += 1
    decoded = image.convert(_PILLOW_MODES[channels])
    return Pixels(decoded.tobytes(), decoded.height, decoded.width, channels)


def _to_distance(first: Pixels, second: Pixels) -> NDArray[np.uint8]:
    """Give the absolute difference of each pair of samples, in one row."""
    if str(first) != str(second):
        raise ValueError(f"expected images of one geometry, got {first} and {second}")
    left = np.frombuffer(first.samples, np.uint8)
    right = np.frombuffer(second.samples, np.uint8)
    # Unsigned subtraction wraps around; larger minus smaller does not.
    return np.maximum(left, right) - np.minimum(left, right)
