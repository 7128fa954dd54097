"""Image files of this server, read as their pixels, their record and their prompt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeAlias

import folder_paths

from ..src.comfyui_provenance import limits
from ..src.comfyui_provenance.compare import judge
from ..src.comfyui_provenance.errors import ContainerError, LimitError, ProvenanceError
from ..src.comfyui_provenance.files import (
    RecordedFile,
    Sidecar,
    parse_file,
    read_file,
    with_sidecar,
)
from ..src.comfyui_provenance.pixels import Pixels, decode_pixels
from ..src.comfyui_provenance.plain_text import to_plain
from ..src.comfyui_provenance.record import SIDECAR, JsonObject, summarise

Reader: TypeAlias = Callable[[], RecordedFile]
"""Reads an image file that a client sent or named; raises what `read_file` raises."""


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


def named_reader(name: str) -> Reader:
    """Give what reads a file of this server by the name that a client gave.

    Args:
        name: As ComfyUI names uploads; refused where it leads out of its folder or to no file.
    """

    def read() -> RecordedFile:
        if not _is_name(name) or not has_image(name):
            # One answer for both: nobody learns what else is on this machine.
            raise ContainerError(f"expected an image of this server, got '{to_plain(name)}'")
        return read_image(name)

    return read


def sent_reader(
    name: str, read_data: Callable[[], bytes], read_beside: Callable[[], bytes] | None = None
) -> Reader:
    """Give what reads a file that a client sent.

    Args:
        name: Its file name, from the client; it opens nothing.
        read_data: Gives its bytes, which may lie on the disk.
        read_beside: Gives those of the sidecar that lay beside it, if the client sent that, too.
    """

    def read() -> RecordedFile:
        file = parse_file(name[: limits.NAME_CHARS], read_data())
        if read_beside is None:
            return file
        return with_sidecar(file, Sidecar(f"{PurePosixPath(name).stem}{SIDECAR}", read_beside()))

    return read


def or_error(ask: Callable[[], JsonObject]) -> JsonObject:
    """Answer a client's question about a file; `error` alone where it cannot be read."""
    try:
        return ask()
    except (ProvenanceError, RecursionError) as error:
        return {"error": str(error)}
    except OSError as error:
        # Without the path, which is this server's.
        return {"error": f"a file of this server cannot be read: {error.strerror}"}


def inspect_image(read: Reader) -> JsonObject:
    """Say what an image file carries, as JSON; never raises for a file's content.

    Returns:
        `record`, `report` and `summary`; or `error` alone for a file that cannot be read.
    """
    return or_error(lambda: _inspect(read()))


def _inspect(image: RecordedFile) -> JsonObject:
    if image.record is None:
        problem = str(image.problem) if image.problem is not None else None
        return {"record": None, "report": None, "summary": problem}
    integrity = image.integrity()
    return {
        "record": dict(image.record.document),
        "report": judge(integrity.checks, integrity.causes, None).to_json(),
        "summary": summarise(image.record),
    }


def _is_name(name: str) -> bool:
    """Tell whether a client's text can be a name below a folder: short, and never absolute."""
    is_absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
    return 0 < len(name) <= limits.NAME_CHARS and not is_absolute
