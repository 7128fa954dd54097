"""IMAGE tensors and the pixels that a file holds."""

from __future__ import annotations

import numpy as np
import torch

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
    """Give an IMAGE of one frame: float32 in [0, 1], shape (1, height, width, 3).

    Grey is repeated over the three channels; alpha is left out, as an IMAGE has none.
    """
    shape = (pixels.height, pixels.width, pixels.channels)
    samples = np.frombuffer(pixels.samples, dtype=np.uint8).reshape(shape)
    colours = samples[..., :1].repeat(3, axis=2) if pixels.channels < 3 else samples[..., :3]
    return torch.from_numpy(colours.astype(np.float32) / 255.0).unsqueeze(0)
