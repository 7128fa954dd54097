"""Texts go into EXIF as ComfyUI and A1111 write them, and come out as anyone writes them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import piexif  # type: ignore[import-untyped]  # it has no types
import piexif.helper  # type: ignore[import-untyped]  # it has no types
import pytest
from PIL import Image

from comfyui_provenance import limits
from comfyui_provenance.containers import extract
from comfyui_provenance.containers.exif import (
    dump_exif,
    edit_exif,
    keep_orientation,
    read_exif,
)
from comfyui_provenance.errors import ContainerError, LimitError

from support.builders import entry_of, tiff_of

TEXTS = {"prompt": '{"1":{}}', "workflow": "{}", "provenance": '{"version":1}'}
CAMERA: dict[str, dict[int, Any]] = {
    "0th": {305: b"software", 274: 6, 282: (72, 1), 283: (72, 1), 296: 2},
    "Exif": {33434: (1, 60), 36867: b"2020:01:01 00:00:00", 37500: b"\0\1\2", 37380: (-1, 3)},
    "GPS": {0: (2, 3, 0, 0), 1: b"N", 2: ((1, 1), (2, 1), (3, 1))},
    "Interop": {1: b"R98"},
}


def stock_exif(count: int) -> bytes:
    """Write EXIF as ComfyUI 0.30 does: prompt under Model, then further keys downwards."""
    image = Image.new("RGB", (1, 1))
    exif = image.getexif()
    exif[0x0110] = 'prompt:{"1": {"a": ":"}}'
    for at, keyword in enumerate(["workflow", "extra", "third", "fourth", "fifth"][:count]):
        exif[0x010F - at] = f'{keyword}:{{"at": {at}}}'
    return exif.tobytes()


def comment_of(comment: bytes, order: str = ">") -> bytes:
    """Build EXIF of a UserComment alone."""
    directory = tiff_of(entry_of(0x9286, comment, kind=7), order=order)
    number = (8 + 2 + 12 + 4).to_bytes(4, "big" if order == ">" else "little")
    outer = tiff_of(entry_of(0x8769, number, kind=4), order=order)
    # The second directory follows the first, and its value is that much further on.
    inner = bytearray(directory[8:])
    value_at = 8 + len(outer) - 8 + 2 + 12 + 4
    if len(comment) > 4:
        inner[10:14] = value_at.to_bytes(4, "big" if order == ">" else "little")
    return outer + bytes(inner)


def test_the_tags_are_those_of_comfyui() -> None:
    written = piexif.load(dump_exif({**TEXTS, "extra": "x", "last": "y"}))["0th"]

    assert written == {
        0x0110: b'prompt:{"1":{}}',
        0x010F: b"workflow:{}",
        0x010E: b'provenance:{"version":1}',
        0x010D: b"extra:x",
        0x000B: b"last:y",
    }


def test_parameters_are_as_a1111_writes_them() -> None:
    text = "a café, 日本\nSteps: 20"

    comment = piexif.load(dump_exif({"parameters": text}))["Exif"][0x9286]

    assert comment == piexif.helper.UserComment.dump(text, "unicode")
    assert piexif.helper.UserComment.load(comment) == text


def test_pillow_reads_what_was_written() -> None:
    exif = Image.Exif()

    exif.load(dump_exif(TEXTS))

    assert {tag: exif[tag] for tag in (0x0110, 0x010F)} == {
        0x0110: 'prompt:{"1":{}}',
        0x010F: "workflow:{}",
    }


def test_what_stock_comfyui_writes_is_read() -> None:
    assert read_exif(stock_exif(5)) == {
        "prompt": '{"1": {"a": ":"}}',
        "workflow": '{"at": 0}',
        "extra": '{"at": 1}',
        "third": '{"at": 2}',
        "fourth": '{"at": 3}',
        "fifth": '{"at": 4}',
    }


def test_what_stock_comfyui_saves_as_an_animation_is_read() -> None:
    file = BytesIO()
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    frames[0].save(
        file, "WEBP", save_all=True, append_images=frames[1:], lossless=True, exif=stock_exif(1)
    )

    assert extract(file.getvalue()) == {"prompt": '{"1": {"a": ":"}}', "workflow": '{"at": 0}'}


def test_what_a1111_writes_is_read() -> None:
    comment = piexif.helper.UserComment.dump("ein Fuchs\nSteps: 1", "unicode")

    assert read_exif(piexif.dump({"Exif": {0x9286: comment}})) == {
        "parameters": "ein Fuchs\nSteps: 1"
    }


def test_capitals_are_taken_as_comfyuis_page_takes_them() -> None:
    data = tiff_of(entry_of(0x010E, b"Workflow:{}\0"), entry_of(0x010F, b"Prompt:[]\0"))

    assert read_exif(data) == {"workflow": "{}", "prompt": "[]"}


def test_of_two_texts_with_one_keyword_that_of_the_higher_tag_wins() -> None:
    data = tiff_of(entry_of(0x0110, b"prompt:high\0"), entry_of(0x010F, b"prompt:low\0"))

    assert read_exif(data) == {"prompt": "high"}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"Canon EOS\0", id="a camera"),
        pytest.param(b"2020:01:01 00:00:00\0", id="a date"),
        pytest.param(b":text\0", id="no keyword"),
        pytest.param(b"a note: text\0", id="words before the colon"),
        pytest.param(b"x" * 80 + b":text\0", id="a keyword too long"),
        pytest.param(b"caf\xe9:text\0", id="a keyword past ASCII"),
        pytest.param(b"\0prompt:text\0", id="a text behind NUL"),
    ],
)
def test_a_text_without_a_plausible_keyword_is_no_text(value: bytes) -> None:
    assert read_exif(tiff_of(entry_of(0x0110, value))) == {}


def test_a_text_of_another_type_is_no_text() -> None:
    assert read_exif(tiff_of(entry_of(0x0110, b"prompt:text", kind=7))) == {}


def test_texts_past_ascii_are_utf_8_where_they_can_be() -> None:
    data = tiff_of(entry_of(1, b"a:caf\xc3\xa9\0"), entry_of(2, b"b:caf\xe9\0"), order="<")

    assert read_exif(data) == {"a": "café", "b": "café"}


@pytest.mark.parametrize(
    ("comment", "text"),
    [
        pytest.param(b"UNICODE\0" + "fox é".encode("utf-16-be"), "fox é", id="big-endian"),
        pytest.param(b"UNICODE\0" + "fox é".encode("utf-16-le"), "fox é", id="little-endian"),
        pytest.param(b"Unicode\0" + "fox".encode("utf-16-be"), "fox", id="another case"),
        pytest.param(b"UNICODE\0\xfe\xff" + "日本".encode("utf-16-be"), "日本", id="mark, big"),
        pytest.param(b"UNICODE\0\xff\xfe" + "日本".encode("utf-16-le"), "日本", id="mark, little"),
        pytest.param(b"UNICODE\0" + "fox\0\0".encode("utf-16-be"), "fox", id="padded"),
        pytest.param(b"UNICODE\0", "", id="empty"),
        pytest.param(b"UNICODE\0\0", "\ufffd", id="half a character"),
        pytest.param(b"UNICODE\0\xd8\0\0a\0b", "\ufffdab", id="half a pair"),
        pytest.param(b"ASCII\0\0\0fox\0\0", "fox", id="ASCII"),
        pytest.param(b"ASCII\0\0\0caf\xc3\xa9", "café", id="ASCII that is UTF-8"),
        pytest.param(b"ASCII\0\0\0caf\xe9", "café", id="ASCII that is Latin-1"),
        pytest.param(b"JIS\0\0\0\0\0" + "狐".encode("iso2022_jp"), "狐", id="JIS"),
        pytest.param(b"JIS\0\0\0\0\0" + "狐".encode("shift_jis"), "狐", id="Shift-JIS"),
        pytest.param(bytes(8) + b"fox", "fox", id="undefined"),
        pytest.param(bytes(8) + "fox".encode("utf-16-le"), "fox", id="undefined UTF-16"),
        pytest.param(b"a fox without a code", "a fox without a code", id="no code"),
        pytest.param("a fox".encode("utf-16-be"), "a fox", id="no code, UTF-16"),
        pytest.param(b"fox", "fox", id="shorter than a code"),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_comment_is_read_whatever_its_code(comment: bytes, text: str, order: str) -> None:
    assert read_exif(comment_of(comment, order)) == {"parameters": text}


def test_a_comment_that_looks_like_neither_order_has_the_order_of_the_file() -> None:
    body = "日本".encode("utf-16-le")

    assert read_exif(comment_of(b"UNICODE\0" + body, "<")) == {"parameters": "日本"}


def test_a_blank_comment_is_no_text() -> None:
    assert read_exif(comment_of(bytes(64))) == {}


@pytest.mark.parametrize("text", ["Ā", "℀℀", "\ufeffx", "\ufeff", "\ufffe", "!", "", "\ud7ff"])
def test_parameters_that_invite_a_wrong_guess_come_out_unchanged(text: str) -> None:
    assert read_exif(dump_exif({"parameters": text})) == {"parameters": text}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        pytest.param({"prompt": "café"}, "ASCII without NUL under 'prompt'", id="past ASCII"),
        pytest.param({"prompt": "a\0b"}, "ASCII without NUL under 'prompt'", id="NUL"),
        pytest.param({"parameters": "a\0b"}, "without NUL under 'parameters'", id="NUL in any"),
        pytest.param({"parameters": "\ud800"}, "Unicode under 'parameters'", id="a surrogate"),
        pytest.param({"": "x"}, "a keyword of ASCII letters", id="no keyword"),
        pytest.param({"a:b": "x"}, "a keyword of ASCII letters", id="a colon in the keyword"),
        pytest.param({"a b": "x"}, "got 'a b'", id="a space in the keyword"),
        pytest.param({"1": "x"}, "a keyword of ASCII letters", id="a digit first"),
        pytest.param({"Prompt": "x"}, "got 'Prompt'", id="a keyword that is read as another"),
        pytest.param({"a": "", "b": "", "c": ""}, "free EXIF tag for 'c'", id="one too many"),
    ],
)
def test_what_exif_cannot_hold_is_refused(texts: dict[str, str], message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        dump_exif(texts)


def test_texts_that_could_not_be_read_back_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT_TOTAL_BYTES", 100)

    with pytest.raises(LimitError, match="at most 100 bytes, got 1"):
        dump_exif({"prompt": "x" * 90})


def test_no_texts_are_no_exif() -> None:
    assert dump_exif({}) == b""


def test_what_a_camera_wrote_is_carried_along() -> None:
    before = piexif.load(piexif.dump(CAMERA))

    after = piexif.load(edit_exif(piexif.dump(CAMERA), TEXTS, TEXTS))

    texts = {272: b'prompt:{"1":{}}', 271: b"workflow:{}", 270: b'provenance:{"version":1}'}
    pointers = {tag: after["0th"][tag] for tag in (34665, 34853)}
    assert after["0th"] == {**before["0th"], **texts, **pointers}
    assert after["GPS"] == before["GPS"]
    assert after["Interop"] == before["Interop"]
    assert after["Exif"] == {**before["Exif"], 40965: after["Exif"][40965]}


def test_what_a_camera_wrote_the_other_way_round_is_carried_along() -> None:
    exif = Image.Exif()
    exif.endian = "<"
    exif[0x0112] = 3
    exif[0x0131] = "software"
    exif[0x011A] = 72.5
    exif.get_ifd(0x8769)[0xA002] = 300
    little = exif.tobytes()
    assert little[6:8] == b"II"

    after = piexif.load(edit_exif(little, TEXTS, TEXTS))

    assert after["0th"][0x0112] == 3
    assert after["0th"][0x0131] == b"software"
    assert after["0th"][0x011A] == (145, 2)
    assert after["Exif"] == {0xA002: 300}


def test_a_size_is_carried_along_as_either_integer() -> None:
    data = tiff_of(entry_of(0x0100, b"\x01\x2c", kind=3), entry_of(0x0112, b"\0\0\0\6", kind=4))

    after = piexif.load(edit_exif(data, TEXTS, TEXTS))["0th"]

    assert (after[0x0100], after[0x0112]) == (300, 6)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry_of(0xFDE8, b"unknown\0"), id="a tag that piexif does not know"),
        pytest.param(entry_of(0x0131, b"\0\1\0\2", kind=3), id="a type that it does not expect"),
        pytest.param(entry_of(0x0112, b"\0\1\0\0", kind=4), id="an integer too large for it"),
        pytest.param(entry_of(0x0112, b"", kind=3), id="no number"),
        pytest.param(entry_of(0x0111, b"\0\0\0\7", kind=4), id="an offset"),
        pytest.param(entry_of(0x0131, b"x", kind=99), id="a type that there is not"),
        pytest.param(entry_of(0x02BC, bytes(65537), kind=1), id="very many numbers"),
    ],
)
def test_what_piexif_cannot_write_is_left_out(entry: tuple[int, int, int, bytes]) -> None:
    edited = edit_exif(tiff_of(entry), TEXTS, TEXTS)

    assert edited == dump_exif(TEXTS)


def test_a_camera_gives_its_tag_to_the_text_that_needs_it() -> None:
    data = tiff_of(entry_of(0x010F, b"Canon\0"), entry_of(0x0110, b"EOS\0"))

    after = piexif.load(edit_exif(data, ["prompt"], {"prompt": "{}"}))["0th"]

    assert after == {0x010F: b"Canon", 0x0110: b"prompt:{}"}


def test_texts_of_other_packs_move_to_a_free_tag() -> None:
    data = stock_exif(5)

    edited = edit_exif(data, ["provenance", "third", "fourth"], {"provenance": "{}"})

    assert piexif.load(edited)["0th"] == {
        0x0110: b'prompt:{"1": {"a": ":"}}',
        0x010F: b'workflow:{"at": 0}',
        0x010E: b"provenance:{}",
        0x010D: b'fifth:{"at": 4}',
        0x000B: b'extra:{"at": 1}',
    }


def test_a_text_of_another_pack_moves_to_its_own_tag_where_that_is_free() -> None:
    data = tiff_of(entry_of(0x010E, b"Workflow:{}\0"))

    edited = edit_exif(data, ["provenance"], {"provenance": "x"})

    assert piexif.load(edited)["0th"] == {0x010F: b"workflow:{}", 0x010E: b"provenance:x"}


def test_a_text_of_another_pack_is_never_lost_for_want_of_a_tag() -> None:
    with pytest.raises(ContainerError, match="free EXIF tag for 'fourth'"):
        edit_exif(stock_exif(5), ["provenance"], {"provenance": "{}"})


def test_removing_takes_the_keywords_wherever_they_are() -> None:
    data = tiff_of(
        entry_of(0x010E, b"workflow:1\0"),
        entry_of(0x010F, b"Workflow:2\0"),
        entry_of(0x0110, b"prompt:{}\0"),
    )

    assert read_exif(edit_exif(data, ["workflow"], {})) == {"prompt": "{}"}


def test_removing_everything_leaves_no_exif() -> None:
    written = {**TEXTS, "parameters": "fox"}

    assert edit_exif(dump_exif(written), written, {}) == b""


def test_removing_what_is_not_there_changes_nothing() -> None:
    data = stock_exif(1)

    assert edit_exif(data, ["absent", "parameters"], {}) is data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_an_orientation_is_kept_where_it_turns_the_image(orientation: int, order: str) -> None:
    number = orientation.to_bytes(2, "big" if order == ">" else "little")
    data = tiff_of(entry_of(0x0110, b"prompt:{}\0"), entry_of(0x0112, number, kind=3), order=order)

    kept = keep_orientation(data)

    expected = {0x0112: orientation} if 2 <= orientation <= 8 else None
    assert (piexif.load(kept)["0th"] if kept else None) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"Exif\0\0MM\0*", id="cut off"),
        pytest.param(tiff_of(), id="none"),
        pytest.param(tiff_of(entry_of(0x0112, b"\0\0\0\6", kind=4)), id="of another type"),
        pytest.param(tiff_of(entry_of(0x0112, b"\0\6\0\6", kind=3)), id="two"),
    ],
)
def test_an_orientation_that_cannot_be_read_is_none(data: bytes) -> None:
    assert keep_orientation(data) == b""
