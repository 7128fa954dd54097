"""A file is read as its record, its pixels and its texts, each once and within its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyui_provenance import limits
from comfyui_provenance.digest import digest_bytes
from comfyui_provenance.errors import ContainerError, LimitError, NoRecordError, RecordError
from comfyui_provenance.files import Sidecar, parse_file, read_file, with_sidecar
from comfyui_provenance.pixels import digest_pixels
from comfyui_provenance.record import KEYWORD, seal

from support.builders import image_file
from support.recorded_images import (
    document_with_files,
    other_pixels,
    png_of_record,
    without_graph,
    write_image,
)
from support.records import IMAGE, Document, edited, in_graph
from support.tampering import edit_record

WHOLE = document_with_files()


def in_folder(folder: Path, image: bytes, sidecar: bytes | str | None = None) -> Path:
    (folder / "fox.png").write_bytes(image)
    if sidecar is not None:
        data = sidecar if isinstance(sidecar, bytes) else sidecar.encode("ascii")
        (folder / "fox.provenance.json").write_bytes(data)
    return folder / "fox.png"


def test_an_image_is_read_whole(tmp_path: Path) -> None:
    path = write_image(tmp_path / "fox.png")

    file = read_file(path)

    assert (file.name, file.pixels, file.digest) == ("fox.png", IMAGE, digest_pixels(IMAGE))
    assert file.record == seal(WHOLE)
    assert file.texts.keys() == {"prompt", KEYWORD}
    assert file.sha256 == digest_bytes(path.read_bytes()).hex
    assert (file.problem, file.sidecar, file.own, file.notes) == (None, None, None, ())


def test_a_sidecar_has_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "fox.provenance.json"
    path.write_text(seal(WHOLE).dump())

    file = read_file(path)

    assert (file.pixels, file.digest, file.texts) == (None, None, {})
    assert file.record == seal(WHOLE)


def test_whoever_reads_the_file_alone_gets_its_own_record(tmp_path: Path) -> None:
    own = seal(without_graph(WHOLE))
    path = in_folder(tmp_path, png_of_record(own), seal(WHOLE).dump())

    assert read_file(path, beside=False).record == own
    assert read_file(path).record == seal(WHOLE)
    assert read_file(path).own == own


@pytest.mark.parametrize(
    ("image", "sidecar"),
    [
        pytest.param(png_of_record(seal(without_graph(WHOLE))), seal(WHOLE).dump(), id="lacking"),
        pytest.param(image_file("PNG", IMAGE), seal(WHOLE).dump(), id="bare"),
        pytest.param(png_of_record(seal(WHOLE)), seal(WHOLE).dump(), id="whole"),
        pytest.param(image_file("PNG", IMAGE), "{damaged", id="damaged sidecar"),
    ],
)
def test_a_sidecar_in_memory_is_read_like_the_one_beside_the_file(
    tmp_path: Path, image: bytes, sidecar: str
) -> None:
    path = in_folder(tmp_path, image, sidecar)
    beside = Sidecar("fox.provenance.json", sidecar.encode("ascii"))

    assert with_sidecar(parse_file("fox.png", image), beside) == read_file(path)


def test_a_whole_record_in_the_file_stands_whatever_is_beside_it(tmp_path: Path) -> None:
    other = seal({**WHOLE, "warnings": ["of the sidecar"]})
    file = read_file(in_folder(tmp_path, png_of_record(seal(WHOLE)), other.dump()))

    assert (file.record, file.sidecar, file.own) == (seal(WHOLE), None, None)


def test_a_record_of_a_batch_is_read_for_the_image_it_is_beside(tmp_path: Path) -> None:
    second = other_pixels(3)
    subject = {**WHOLE["subject"], "batch_size": 2}
    subject["digests"] = [str(digest_pixels(IMAGE)), str(digest_pixels(second))]
    path = in_folder(
        tmp_path, image_file("PNG", second), seal({**WHOLE, "subject": subject}).dump()
    )

    file = read_file(path)

    assert file.required().subject.batch_index == 1
    assert file.integrity().causes == ()


def test_a_damaged_record_is_not_mended_by_a_sidecar(tmp_path: Path) -> None:
    damaged = edit_record(png_of_record(seal(WHOLE)), lambda document: document.pop("tuple"))
    file = read_file(in_folder(tmp_path, damaged, seal(WHOLE).dump()))

    assert file.record is None
    with pytest.raises(RecordError, match="tuple: expected an object"):
        file.required()
    with pytest.raises(RecordError, match="tuple: expected an object"):
        file.integrity()


def test_a_redacted_record_is_left_as_it_was_made_to_be_shown(tmp_path: Path) -> None:
    redacted = seal({**WHOLE, "redacted": True})
    file = read_file(in_folder(tmp_path, png_of_record(redacted), seal(WHOLE).dump()))

    assert file.record == redacted
    assert file.sidecar is None


def changed(**fields: object) -> Document:
    return {**WHOLE, **fields}


@pytest.mark.parametrize(
    ("own", "whole", "level"),
    [
        pytest.param(without_graph(WHOLE), WHOLE, "bitwise", id="the same record"),
        pytest.param(
            without_graph(WHOLE), changed(warnings=["more"]), "mismatch", id="another value"
        ),
        pytest.param(
            without_graph(changed(more=1)), WHOLE, "mismatch", id="a field that the whole one lacks"
        ),
        pytest.param(
            without_graph(WHOLE), changed(more=1), "bitwise", id="a field that the file lacks"
        ),
    ],
)
def test_a_sidecar_holds_what_the_file_does(
    tmp_path: Path, own: Document, whole: Document, level: str
) -> None:
    path = in_folder(tmp_path, png_of_record(seal(own)), seal(whole).dump())

    checks = read_file(path).integrity().checks

    assert [check.level.label for check in checks if check.name == "sidecar"] == [level]


def test_an_edited_record_in_the_file_is_not_the_sidecars(tmp_path: Path) -> None:
    image = edit_record(
        png_of_record(seal(without_graph(WHOLE))), lambda document: document.update(digest="a:00")
    )
    path = in_folder(tmp_path, image, seal(WHOLE).dump())

    integrity = read_file(path).integrity()

    assert integrity.checks[-1].level.label == "mismatch"
    assert integrity.causes[-1].kind.value == "record_edited"


def test_an_edited_sidecar_is_judged_like_any_record(tmp_path: Path) -> None:
    whole = edited(in_graph("sampler", "cfg", 9.0)).dump()
    path = in_folder(tmp_path, image_file("PNG", IMAGE), whole)

    assert read_file(path).integrity().causes[0].kind.value == "cfg"


def test_a_sidecar_of_other_pixels_does_not_hold(tmp_path: Path) -> None:
    path = in_folder(tmp_path, image_file("PNG", other_pixels(3)), seal(WHOLE).dump())

    assert [cause.kind.value for cause in read_file(path).integrity().causes] == ["image_edited"]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        pytest.param(b"", ContainerError, "empty", id="nothing"),
        pytest.param(b"text", ContainerError, "another kind", id="a text"),
        pytest.param(b" {", RecordError, "expected JSON", id="half an object"),
        pytest.param(b"{}", RecordError, "version: expected an integer", id="an empty object"),
        pytest.param(image_file("PNG")[:50], ContainerError, "cut off", id="half an image"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, data: bytes, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_file(in_folder(tmp_path, data))


def test_an_image_without_a_record_has_none_to_give(tmp_path: Path) -> None:
    file = read_file(in_folder(tmp_path, image_file("PNG")))

    with pytest.raises(NoRecordError, match="carries no record"):
        file.required()


def test_a_file_past_the_limit_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_image(tmp_path / "fox.png")
    monkeypatch.setattr(limits, "IMAGE_FILE_BYTES", path.stat().st_size - 1)

    with pytest.raises(LimitError, match=r"fox\.png: expected a file of at most"):
        read_file(path)


def test_a_sidecar_past_the_limit_is_told_and_left(tmp_path: Path) -> None:
    path = in_folder(tmp_path, image_file("PNG"), b"{" + b" " * limits.TEXT_BYTES)

    file = read_file(path)

    assert file.record is None
    assert "expected a file of at most" in file.notes[0]
