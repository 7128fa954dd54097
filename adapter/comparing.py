"""Compare two image files of this server by what they carry."""

from __future__ import annotations

from ..src.comfyui_provenance.comparison import compare_files
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.verdict import Report
from .reading import named_reader, or_error, read_image


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


def compare_named(first: str, second: str) -> JsonObject:
    """Compare two image files that a client named; see `compare_uploads`.

    Returns:
        `report`; or `error` alone where a file cannot be read.
    """
    readers = named_reader(first), named_reader(second)
    return or_error(lambda: {"report": compare_files(*(read() for read in readers)).to_json()})
