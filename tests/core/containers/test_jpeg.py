"""Text goes in and comes out of a JPEG; every other segment and the scan stay as they were."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from comfyui_provenance import limits
from comfyui_provenance.containers.exif import dump_exif
from comfyui_provenance.containers.jpeg import (
    EXIF_BYTES,
    embed_text,
    fits,
    read_text,
    remove_text,
    strip,
)
from comfyui_provenance.errors import ContainerError, LimitError

from support.builders import entry_of, gradient, image_file, segment_of, tiff_of

TEXTS = {"prompt": "{}", "workflow": "[]", "provenance": "1", "parameters": "café\nSteps: 1"}
PLAIN = image_file("JPEG")
JFIF = PLAIN[2:20]
"""The segment that Pillow begins with."""

REST = PLAIN[20:]
XMP = segment_of(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
PROFILE = segment_of(0xE2, b"ICC_PROFILE\0\1\1profile")
COMMENT = segment_of(0xFE, b"a comment")


def exif_of(data: bytes) -> bytes:
    return segment_of(0xE1, b"Exif\0\0" + data)


def test_what_was_embedded_is_read() -> None:
    assert read_text(embed_text(PLAIN, TEXTS)) == TEXTS


def test_a_file_without_exif_has_no_texts() -> None:
    assert read_text(PLAIN) == {}
    assert read_text(b"\xff\xd8" + XMP + REST) == {}


def test_what_pillow_writes_is_read() -> None:
    exif = Image.Exif()
    exif[0x0110] = "prompt:{}"

    assert read_text(image_file("JPEG", exif=exif.tobytes())) == {"prompt": "{}"}


def test_exif_stands_right_after_the_start_and_jfif() -> None:
    thumbnail = segment_of(0xE0, b"JFXX\0\x13")
    exif = segment_of(0xE1, dump_exif(TEXTS))

    assert embed_text(PLAIN, TEXTS) == b"\xff\xd8" + JFIF + exif + REST
    assert embed_text(b"\xff\xd8" + JFIF + thumbnail + REST, TEXTS) == (
        b"\xff\xd8" + JFIF + thumbnail + exif + REST
    )
    assert embed_text(b"\xff\xd8" + XMP + REST, TEXTS) == b"\xff\xd8" + exif + XMP + REST


def test_pillow_sees_the_same_image_and_the_texts() -> None:
    with (
        Image.open(BytesIO(PLAIN)) as plain,
        Image.open(BytesIO(embed_text(PLAIN, TEXTS))) as carrying,
    ):
        assert carrying.tobytes() == plain.tobytes()
        assert carrying.getexif()[0x0110] == "prompt:{}"


def test_everything_else_keeps_its_bytes_and_place() -> None:
    others = XMP + b"\xff\xff\xff" + PROFILE[1:] + segment_of(0xEF) + COMMENT
    file = b"\xff\xd8" + others + REST + b"tail"

    carrying = embed_text(file, {"prompt": "{}"})

    exif = segment_of(0xE1, dump_exif({"prompt": "{}"}))
    assert carrying == b"\xff\xd8" + exif + others + REST + b"tail"


def test_exif_is_written_anew_in_one_segment() -> None:
    camera = tiff_of(entry_of(0x0131, b"software\0"), entry_of(0x0110, b"prompt:old\0"))
    file = b"\xff\xd8" + JFIF + XMP + exif_of(camera) + exif_of(b"more") + REST

    carrying = embed_text(file, {"prompt": "new"})

    with Image.open(BytesIO(carrying)) as image:
        assert dict(image.getexif()) == {0x0131: "software", 0x0110: "prompt:new"}
    assert carrying.count(b"Exif\0\0") == 1
    assert carrying.index(b"Exif\0\0") < carrying.index(XMP)


def test_embedding_the_same_again_changes_nothing() -> None:
    carrying = embed_text(PLAIN, TEXTS)

    assert embed_text(carrying, TEXTS) is carrying


def test_removing_undoes_embedding() -> None:
    assert remove_text(embed_text(PLAIN, TEXTS), TEXTS) == PLAIN


def test_removing_what_is_not_there_changes_nothing() -> None:
    file = embed_text(PLAIN, TEXTS)

    assert remove_text(file, ["absent"]) is file
    assert remove_text(PLAIN, ["prompt"]) is PLAIN


def test_a_segment_is_filled_to_its_last_byte() -> None:
    overhead = len(dump_exif({"prompt": ""}))
    largest = {"prompt": "x" * (EXIF_BYTES - overhead)}
    too_large = {"prompt": "x" * (EXIF_BYTES - overhead + 1)}

    assert fits(largest)
    assert read_text(embed_text(PLAIN, largest)) == largest
    assert not fits(too_large)
    with pytest.raises(LimitError, match="at most 65533 bytes in a JPEG file, got 65534"):
        embed_text(PLAIN, too_large)


def test_texts_past_every_limit_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT_TOTAL_BYTES", 10)

    assert not fits(TEXTS)


def test_whether_impossible_texts_fit_is_no_question() -> None:
    with pytest.raises(ContainerError, match="ASCII"):
        fits({"prompt": "é"})


@pytest.mark.parametrize(
    ("file", "message"),
    [
        pytest.param(b"\x89PNG\r\n\x1a\n", "without its signature", id="a PNG"),
        pytest.param(b"\xff\xd8\xff", "marker at offset 2, got other bytes", id="no segment"),
        pytest.param(b"\xff\xd8" + JFIF, "offset 20, got a file cut off", id="cut after one"),
        pytest.param(b"\xff\xd8" + JFIF[:9], "expected 16 bytes in segment 0xe0", id="cut within"),
        pytest.param(b"\xff\xd8\xff\xe0\0", "segment 0xe0 .* cut off", id="cut in the length"),
        pytest.param(b"\xff\xd8\xff\xe0\0\1", "expected 1 bytes in segment", id="a short length"),
        pytest.param(b"\xff\xd8" + JFIF + b"xx" + REST, "got other bytes", id="stray bytes"),
        pytest.param(b"\xff\xd8\xff\xd8" + REST, "got marker 0xd8", id="a second start"),
        pytest.param(b"\xff\xd8\xff\x01" + REST, "got marker 0x01", id="a marker of no use"),
        pytest.param(b"\xff\xd8\xff\xd0" + REST, "got marker 0xd0", id="a restart"),
        pytest.param(b"\xff\xd8" + JFIF + b"\xff\xd9", "a scan before the end", id="no scan"),
        pytest.param(b"\xff\xd8" + exif_of(b"xy") + REST, "TIFF header in EXIF", id="bad EXIF"),
        pytest.param(b"\xff\xd8" + exif_of(b"") + REST, "TIFF header in EXIF", id="empty EXIF"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(file: bytes, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        read_text(file)
    with pytest.raises(ContainerError, match=message):
        embed_text(file, TEXTS)


def test_stripping_leaves_what_decides_the_pixels() -> None:
    photoshop, adobe = segment_of(0xED, b"Photoshop 3.0\0"), segment_of(0xEE, b"Adobe\0\x64" * 2)
    pictures = segment_of(0xE2, b"MPF\0")
    header = JFIF + exif_of(tiff_of()) + XMP + PROFILE + pictures + photoshop + adobe + COMMENT

    assert strip(b"\xff\xd8" + header + REST + b"tail") == (
        b"\xff\xd8" + JFIF + PROFILE + adobe + REST
    )


def test_stripping_finds_comments_between_the_scans() -> None:
    plain = image_file("JPEG", progressive=True)
    second_scan = plain.index(b"\xff\xda", plain.index(b"\xff\xda") + 2)
    file = plain[:second_scan] + COMMENT + plain[second_scan:]

    assert strip(file) == plain


def test_stripping_keeps_restart_markers_of_the_scan() -> None:
    plain = image_file("JPEG", gradient(32, 32), restart_marker_blocks=1)

    assert b"\xff\xd0" in plain
    assert strip(plain) == plain


def test_stripping_keeps_an_orientation_alone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0131] = "software"
    file = image_file("JPEG", exif=exif.tobytes())

    with Image.open(BytesIO(strip(file))) as image:
        assert dict(image.getexif()) == {0x0112: 6}


def test_stripping_drops_exif_that_cannot_be_read() -> None:
    assert strip(b"\xff\xd8" + JFIF + exif_of(b"xy") + REST) == PLAIN


def test_a_scan_without_end_is_not_stripped() -> None:
    with pytest.raises(ContainerError, match="an end after the scan"):
        strip(PLAIN[:-2])


def test_endless_segments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHUNK_COUNT", 10)

    with pytest.raises(LimitError, match="at most 10 segments"):
        read_text(b"\xff\xd8" + 10 * COMMENT + REST)


def test_a_file_past_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMAGE_FILE_BYTES", 50)

    with pytest.raises(LimitError, match="a JPEG file of at most 50 bytes"):
        read_text(PLAIN)
