"""Image files of this server, read as their pixels, their record and their prompt."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ..src.comfyui_provenance import limits
from ..src.comfyui_provenance.compare import judge
from ..src.comfyui_provenance.errors import LimitError, ProvenanceError
from ..src.comfyui_provenance.files import RecordedFile, parse_file, read_file
from ..src.comfyui_provenance.pixels import Pixels, decode_pixels
from ..src.comfyui_provenance.record import JsonObject, summarise


def list_images() -> list[str]:
    """List the image files of the input folder, as core's Load Image does."""
    folder = Path(folder_paths.get_input_directory())
    names = [path.name for path in folder.iterdir() if path.is_file()]
    return sorted(folder_paths.filter_files_content_types(names, ["image"]))


def has_image(name: str) -> bool:
    """Tell whether a name, annotated or not, leads to a file of this server's folders."""
    return bool(folder_paths.exists_annotated_filepath(name))


def read_image(name: str) -> RecordedFile:
    """Read an image file of the input folder, or of the one its annotation names.

    Args:
        name: As ComfyUI names uploads: `a.png`, `sub/a.png`, `a.png [output]`.

    Raises:
        ContainerError: It is not an image file that can be read.
        RecordError: It is a sidecar that cannot be read.
        LimitError: It is larger than we agree to read.
        OSError: It cannot be read.
        ValueError: The name leads out of its folder.
    """
    return read_file(Path(folder_paths.get_annotated_filepath(name)))


def read_pixels(name: str) -> Pixels:
    """Decode an image file of any kind that can be decoded; see `read_image`."""
    path = Path(folder_paths.get_annotated_filepath(name))
    size_bytes = path.stat().st_size
    if size_bytes > limits.IMAGE_FILE_BYTES:
        raise LimitError(
            f"expected a file of at most {limits.IMAGE_FILE_BYTES} bytes, got {size_bytes}"
        )
    return decode_pixels(path.read_bytes())


def describe_image(name: str) -> tuple[str, str]:
    """Give an image's record as JSON text, and a summary for humans.

    Raises:
        ProvenanceError: The file cannot be read or carries no record.
        OSError: The file cannot be read.
    """
    record = read_image(name).required()
    return record.dump(), summarise(record)


def inspect_image(data: bytes) -> JsonObject:
    """Say what an image file carries, as JSON; never raises for a file's content.

    Returns:
        `record`, `report` and `summary`; or `error` alone for a file that cannot be read.
    """
    try:
        image = parse_file("the file", data)
    except (ProvenanceError, RecursionError) as error:
        return {"error": str(error)}
    if image.record is None:
        problem = str(image.problem) if image.problem is not None else None
        return {"record": None, "report": None, "summary": problem}
    integrity = image.integrity()
    return {
        "record": dict(image.record.document),
        "report": judge(integrity.checks, integrity.causes, None).to_json(),
        "summary": summarise(image.record),
    }
