"""Compare two image files of this server by what they carry."""

from __future__ import annotations

from ..src.comfyui_provenance.comparison import compare_files
from ..src.comfyui_provenance.verdict import Report
from .reading import read_image


def compare_uploads(first: str, second: str) -> Report:
    """Compare two image files; nothing is run.

    Args:
        first: As ComfyUI names uploads.
        second: The same.

    Raises:
        ProvenanceError: A file cannot be read, or carries neither a record nor ComfyUI's prompt.
        OSError: A file cannot be read.
    """
    return compare_files(read_image(first), read_image(second))
