"""Compare images at hand with a reference file."""

from __future__ import annotations

import torch

from ..src.comfyui_provenance.pixels import difference_image
from ..src.comfyui_provenance.verdict import Report
from .images import to_image, to_pixels_like
from .judging import expected_digest, judge_images
from .reading import read_image


def verify_images(images: torch.Tensor, reference: str) -> tuple[Report, torch.Tensor]:
    """Compare images with a reference file, its record and this machine's files.

    Args:
        images: IMAGE of shape (batch, height, width, channels).
        reference: The file, as ComfyUI names uploads.

    Returns:
        The report, and the absolute difference as an IMAGE of one frame; black where the
        geometry differs, since nothing can be subtracted.

    Raises:
        ProvenanceError: The file cannot be read, or the batch lacks the recorded image.
        OSError: The file cannot be read.
    """
    image = read_image(reference)
    report, found = judge_images(image, [to_pixels_like(images, expected_digest(image))], None)
    try:
        return report, to_image(difference_image(image.pixels, found))
    except ValueError:
        return report, torch.zeros_like(to_image(found))
