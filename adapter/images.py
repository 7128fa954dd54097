"""IMAGE tensors and the pixels that a file holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..src.comfyui_provenance.digest import Digest
from ..src.comfyui_provenance.pixels import Pixels


def to_pixels(image: torch.Tensor, bits: int = 8) -> list[Pixels]:
    """Quantise an IMAGE the way ComfyUI's Save Image does.

    Save Image cuts the fraction off instead of rounding; doing otherwise here would give
    digests that no saved file could match.

    Args:
        image: Float in [0, 1], shape (batch, height, width, channels), any device. Values
            outside the range are clipped.
        bits: Of a sample, 8 or 16.

    Returns:
        One entry per image of the batch, in order.
    """
    largest = 2**bits - 1
    # In the image's own type, as core: float16 rounds other values up to a level. It has no
    # numbers for 16 bits, and numpy no bfloat16.
    is_own = image.dtype is torch.float16 and bits == 8
    values = (image if is_own else image.float()).cpu().numpy()
    frames = np.clip(float(largest) * values, 0, largest)
    _, height, width, channels = frames.shape
    kind = np.dtype(np.uint8) if bits == 8 else np.dtype(">u2")
    return [Pixels(frame.astype(kind).tobytes(), height, width, channels, bits) for frame in frames]


def to_pixels_like(image: torch.Tensor, expected: Digest) -> list[Pixels]:
    """Quantise an IMAGE as the image was whose pixel digest is given; see `to_pixels`."""
    layout = expected.algorithm.partition("-")[2]
    frames = to_pixels(image, bits=16 if layout.endswith("16") else 8)
    has_alpha = layout.startswith(("rgba", "graya"))
    return [
        frame if has_alpha or frame.channels in (1, 3) else without_alpha(frame) for frame in frames
    ]


def without_alpha(pixels: Pixels) -> Pixels:
    """Drop the alpha channel, which not every format holds."""
    channels = pixels.channels - 1
    samples = _samples(pixels)[..., :channels]
    return Pixels(samples.tobytes(), pixels.height, pixels.width, channels, pixels.bits)


def to_image(pixels: Pixels) -> torch.Tensor:
    """Give an IMAGE of one frame: float32 in [0, 1], shape (1, height, width, 3)."""
    largest = float(2**pixels.bits - 1)
    return torch.from_numpy(_colours(pixels).astype(np.float32) / largest).unsqueeze(0)


def to_rgb(pixels: Pixels) -> Pixels:
    """Give what an IMAGE keeps of a file: grey over three channels, and no alpha."""
    colours = np.ascontiguousarray(_colours(pixels))
    return Pixels(colours.tobytes(), pixels.height, pixels.width, 3, pixels.bits)


def _colours(pixels: Pixels) -> NDArray[Any]:
    samples = _samples(pixels)
    return samples[..., :1].repeat(3, axis=2) if pixels.channels < 3 else samples[..., :3]


def _samples(pixels: Pixels) -> NDArray[Any]:
    kind = np.dtype(np.uint8) if pixels.bits == 8 else np.dtype(">u2")
    shape = (pixels.height, pixels.width, pixels.channels)
    return np.frombuffer(pixels.samples, dtype=kind).reshape(shape)
