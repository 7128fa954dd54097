"""Compare images at hand with a reference file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch

from ..src.comfyui_provenance.errors import NoRecordError, ProvenanceError
from ..src.comfyui_provenance.files import RecordedFile
from ..src.comfyui_provenance.pixels import difference_image
from ..src.comfyui_provenance.verdict import Report
from .images import to_image, to_pixels_like
from .judging import expected_digest, judge_images
from .live_prompt import live_prompt
from .reading import read_image
from .reruns import Comparison, describe_input
from .temp_images import show_pictures

_IMAGES: Final = "images"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a comparison came to.

    Attributes:
        report: The verdict.
        difference: The absolute difference as an IMAGE of one frame; black where the geometry
            differs, since nothing can be subtracted.
        pictures: Where the page finds what was compared.
    """

    report: Report
    difference: torch.Tensor
    pictures: list[dict[str, str]]


def verify_images(images: torch.Tensor, reference: str, dynprompt: Any, node_id: str) -> Verified:
    """Compare images with a reference file, its record and this machine's files.

    Args:
        images: IMAGE of shape (batch, height, width, channels).
        reference: The file, as ComfyUI names uploads.
        dynprompt: The running prompt, from `Hidden.dynprompt`, which made the images.
        node_id: The node that compares them, at its input `images`.

    Raises:
        ProvenanceError: The file cannot be read, or the batch lacks the recorded image.
        OSError: The file cannot be read.
    """
    image = read_image(reference)
    frames = to_pixels_like(images, expected_digest(image))
    comparison = _compare(image, dynprompt, node_id)
    report, found = judge_images(image, [frames], None, comparison)
    try:
        difference = to_image(difference_image(image.decoded(), found))
    except (ValueError, NoRecordError):
        difference = torch.zeros_like(to_image(found))
    return Verified(report, difference, show_pictures(found, image.pixels))


def _compare(image: RecordedFile, dynprompt: Any, node_id: str) -> Comparison | None:
    """Compare the run that made the images with the recorded one, where both are known."""
    if image.record is None:
        return None
    try:
        now = describe_input(live_prompt(dynprompt), node_id, _IMAGES)
    except ProvenanceError:
        return None
    return Comparison.of(image.record, now) if now is not None else None
