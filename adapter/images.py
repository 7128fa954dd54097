"""IMAGE tensors and the pixels that a file holds."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..src.comfyui_provenance.pixels import Pixels


def to_pixels(image: torch.Tensor) -> list[Pixels]:
    """Quantise an IMAGE to 8 bits the way ComfyUI's Save Image does.

    Save Image cuts the fraction off instead of rounding; doing otherwise here would give
    digests that no saved file could match.

    Args:
        image: Float in [0, 1], shape (batch, height, width, channels), any device. Values
            outside the range are clipped.

    Returns:
        One entry per image of the batch, in order.
    """
    frames = image.float().mul(255.0).clamp(0, 255).to(torch.uint8).cpu().contiguous()
    _, height, width, channels = frames.shape
    return [Pixels(frame.numpy().tobytes(), height, width, channels) for frame in frames]


def to_image(pixels: Pixels) -> torch.Tensor:
    """Give an IMAGE of one frame: float32 in [0, 1], shape (1, height, width, 3)."""
    return torch.from_numpy(_colours(pixels).astype(np.float32) / 255.0).unsqueeze(0)


def to_rgb(pixels: Pixels) -> Pixels:
    """Give what an IMAGE keeps of a file: grey over three channels, and no alpha."""
    return Pixels(_colours(pixels).tobytes(), pixels.height, pixels.width, 3)


def _colours(pixels: Pixels) -> NDArray[np.uint8]:
    shape = (pixels.height, pixels.width, pixels.channels)
    samples = np.frombuffer(pixels.samples, dtype=np.uint8).reshape(shape)
    return samples[..., :1].repeat(3, axis=2) if pixels.channels < 3 else samples[..., :3]
