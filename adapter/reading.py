"""Image files of this server, read as their pixels, their record and their prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import folder_paths

from ..src.comfyui_provenance import limits
from ..src.comfyui_provenance.compare import judge
from ..src.comfyui_provenance.containers import extract, is_lossless
from ..src.comfyui_provenance.digest import digest_bytes
from ..src.comfyui_provenance.errors import (
    LimitError,
    NoRecordError,
    ProvenanceError,
    RecordError,
)
from ..src.comfyui_provenance.integrity import Integrity, compare_integrity
from ..src.comfyui_provenance.pixels import Pixels, decode_pixels, digest_pixels
from ..src.comfyui_provenance.record import (
    KEYWORD,
    SIDECAR,
    JsonObject,
    Record,
    parse_record,
    summarise,
)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What an image file says.

    Attributes:
        name: As given, for messages and for telling which of a graph's images it is.
        pixels: Decoded; `None` of a sidecar that is read alone.
        record: Its record, if it has one that can be read.
        record_problem: Why there is no record to read, if the file says anything about it.
        is_damaged: Whether that is because the record is damaged, not absent or too new.
        prompt: The text under `prompt`, as ComfyUI writes it.
        workflow: The text under `workflow`, which ComfyUI's page shows.
        sha256: Of the file, 64 hexadecimal digits.
        is_lossless: Whether its pixels are the ones that were written into it, by its kind.
        sidecar: The name of the sidecar that its record is from, if it is from one.
        parameters: The text under `parameters`, as A1111 writes it.
    """

    name: str
    pixels: Pixels | None
    record: Record | None
    record_problem: str | None
    is_damaged: bool
    prompt: str | None
    workflow: str | None
    sha256: str
    is_lossless: bool = True
    sidecar: str | None = None
    parameters: str | None = None

    def decoded(self) -> Pixels:
        """Give its pixels.

        Raises:
            NoRecordError: It is a sidecar, which has none.
        """
        if self.pixels is None:
            raise NoRecordError(f"{self.name}: expected an image, got a sidecar alone")
        return self.pixels

    def integrity(self, record: Record) -> Integrity:
        """Compare the file's record with itself and with the rest of the file."""
        return compare_integrity(record, self.pixels, self.prompt, self.workflow)


def list_images() -> list[str]:
    """List the image files of the input folder, as core's Load Image does."""
    folder = Path(folder_paths.get_input_directory())
    names = [path.name for path in folder.iterdir() if path.is_file()]
    return sorted(folder_paths.filter_files_content_types(names, ["image"]))


def has_image(name: str) -> bool:
    """Tell whether a name, annotated or not, leads to a file of this server's folders."""
    return bool(folder_paths.exists_annotated_filepath(name))


def read_image(name: str) -> ImageFile:
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
    path = _find_bounded(name)
    if path.name.endswith(SIDECAR):
        return _parse_sidecar(path.name, path.read_bytes())
    image = parse_image(path.name, path.read_bytes())
    lacks_record = image.record is None and not image.is_damaged
    if lacks_record or (image.record is not None and image.record.lacks_graph):
        return _with_sidecar(image, path.with_name(path.stem + SIDECAR))
    return image


def _parse_sidecar(name: str, data: bytes) -> ImageFile:
    """Read a sidecar without its image.

    Raises:
        RecordError: It is no record.
        LimitError: It is larger than we agree to read.
    """
    record = parse_record(data)
    return ImageFile(name, None, record, None, False, None, None, digest_bytes(data).hex)


def _with_sidecar(image: ImageFile, sidecar: Path) -> ImageFile:
    """Take the record of an image from the sidecar beside it, if it is about that image."""
    try:
        if sidecar.stat().st_size > limits.TEXT_BYTES:
            return image
        record = parse_record(sidecar.read_bytes())
    except (OSError, ProvenanceError):
        return image
    if image.pixels is None or record.subject.in_file != digest_pixels(image.pixels):
        return image
    return replace(image, record=record, record_problem=None, sidecar=sidecar.name)


def _find_bounded(name: str) -> Path:
    """Find a file that is not larger than we agree to read."""
    path = Path(folder_paths.get_annotated_filepath(name))
    size_bytes = path.stat().st_size
    if size_bytes > limits.IMAGE_FILE_BYTES:
        raise LimitError(
            f"expected a file of at most {limits.IMAGE_FILE_BYTES} bytes, got {size_bytes}"
        )
    return path


def read_pixels(name: str) -> Pixels:
    """Decode an image file of any kind that can be decoded; see `read_image`."""
    return decode_pixels(_find_bounded(name).read_bytes())


def parse_image(name: str, data: bytes) -> ImageFile:
    """Take an image file's bytes apart.

    Raises:
        ContainerError: It is not an image file that can be read.
        LimitError: It is larger than we agree to read.
    """
    texts = extract(data)
    pixels = decode_pixels(data)
    record, problem, is_damaged = None, None, False
    if KEYWORD in texts:
        try:
            record = parse_record(texts[KEYWORD]).read_for(digest_pixels(pixels))
        except RecordError as error:
            problem, is_damaged = str(error), not isinstance(error, NoRecordError)
    return ImageFile(
        name=name,
        pixels=pixels,
        record=record,
        record_problem=problem,
        is_damaged=is_damaged,
        prompt=texts.get("prompt"),
        workflow=texts.get("workflow"),
        sha256=digest_bytes(data).hex,
        is_lossless=is_lossless(data),
        parameters=texts.get("parameters"),
    )


def describe_image(name: str) -> tuple[str, str]:
    """Give an image's record as JSON text, and a summary for humans.

    Raises:
        ProvenanceError: The file cannot be read or carries no record.
        OSError: The file cannot be read.
    """
    image = read_image(name)
    if image.record is None:
        raise RecordError(f"{image.name}: {image.record_problem or 'it carries no record'}")
    return image.record.dump(), summarise(image.record)


def inspect_image(data: bytes) -> JsonObject:
    """Say what an image file carries, as JSON; never raises for a file's content.

    Returns:
        `record`, `report` and `summary`; or `error` alone for a file that cannot be read.
    """
    try:
        image = parse_image("the file", data)
    except (ProvenanceError, RecursionError) as error:
        return {"error": str(error)}
    if image.record is None:
        return {"record": None, "report": None, "summary": image.record_problem}
    integrity = image.integrity(image.record)
    return {
        "record": dict(image.record.document),
        "report": judge(integrity.checks, integrity.causes, None).to_json(),
        "summary": summarise(image.record),
    }
