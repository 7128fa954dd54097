"""Compare two image files of this server by what they carry."""

from __future__ import annotations

from ..src.comfyui_provenance.comparison import compare_images
from ..src.comfyui_provenance.errors import NoRecordError
from ..src.comfyui_provenance.record import Record
from ..src.comfyui_provenance.stock_record import record_from_prompt
from ..src.comfyui_provenance.verdict import Report
from .reading import ImageFile, read_image


def compare_files(first: str, second: str) -> Report:
    """Compare two image files; nothing is run.

    Args:
        first: As ComfyUI names uploads.
        second: The same.

    Raises:
        ProvenanceError: A file cannot be read, or carries neither a record nor ComfyUI's prompt.
        OSError: A file cannot be read.
    """
    images = read_image(first), read_image(second)
    records = _record_of(images[0]), _record_of(images[1])
    return compare_images(*records, (images[0].pixels, images[1].pixels))


def _record_of(image: ImageFile) -> Record:
    if image.record is not None:
        return image.record
    if image.prompt is None or image.is_damaged:
        raise NoRecordError(
            f"{image.name}: {image.record_problem or 'it carries neither record nor prompt'}"
        )
    return record_from_prompt(image.prompt, image.decoded())
