"""Text goes in and comes out of a PNG; every other byte stays where it was."""

from __future__ import annotations

import zlib
from io import BytesIO

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfyui_provenance import limits
from comfyui_provenance.containers.png import SIGNATURE, embed_text, read_text, remove_text, strip
from comfyui_provenance.errors import ContainerError, LimitError

from support.builders import chunk_of, entry_of, png_of, stored, tiff_of

COMPRESSED_XMP = chunk_of(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x/>"))


def test_all_three_kinds_of_text_are_read() -> None:
    file = png_of(
        chunk_of(b"tEXt", b"a\0one"),
        chunk_of(b"zTXt", b"b\0\0" + zlib.compress(b"two")),
        chunk_of(b"iTXt", b"c\0\0\0de\0Titel\0drei\0\xc3\xa9"),
        chunk_of(b"iTXt", b"d\0\1\0\0\0" + zlib.compress(b"vier")),
        after=chunk_of(b"tEXt", b"e\0"),
    )

    assert read_text(file) == {"a": "one", "b": "two", "c": "drei\0é", "d": "vier", "e": ""}


def test_what_pillow_writes_is_read() -> None:
    texts = PngInfo()
    texts.add_text("latin", "café")
    texts.add_text("other", "日本")
    texts.add_text("packed", "x" * 100, zip=True)
    file = BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG", pnginfo=texts)

    assert read_text(file.getvalue()) == {"latin": "café", "other": "日本", "packed": "x" * 100}


def test_plain_text_is_utf_8_where_it_can_be() -> None:
    file = png_of(chunk_of(b"tEXt", b"a\0caf\xc3\xa9"), chunk_of(b"tEXt", b"b\0caf\xe9"))

    assert read_text(file) == {"a": "café", "b": "café"}


def test_of_two_texts_with_one_keyword_the_last_wins() -> None:
    file = png_of(chunk_of(b"tEXt", b"a\0first"), after=chunk_of(b"iTXt", b"a\0\0\0\0\0last"))

    assert read_text(file) == {"a": "last"}


def test_bytes_after_the_end_are_ignored() -> None:
    assert read_text(png_of(chunk_of(b"tEXt", b"a\0b")) + b"tail") == {"a": "b"}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        pytest.param(b"\xff\xd8\xff", "without its signature", id="a JPEG"),
        pytest.param(SIGNATURE, "chunk at offset 8, got 0 bytes: cut off", id="no chunks"),
        pytest.param(png_of()[:-5], "cut off", id="cut within the last chunk"),
        pytest.param(png_of()[:-12], "got 0 bytes: cut off", id="cut before the last chunk"),
        pytest.param(png_of()[:40], "IDAT chunk at offset 33|offset 33, got 7", id="cut early"),
        pytest.param(
            SIGNATURE + chunk_of(b"IDAT") + png_of()[8:], "IHDR of 13 bytes first", id="no header"
        ),
        pytest.param(
            SIGNATURE + chunk_of(b"IHDR", bytes(12)), "IHDR of 13 bytes first", id="short header"
        ),
        pytest.param(png_of(chunk_of(b"a1b\xff")), "chunk's name at offset 37", id="a bad name"),
        pytest.param(
            png_of(chunk_of(b"tEXt", b"a\0b")).replace(b"a\0b", b"a\0c"),
            "CRC [0-9a-f]{8} in tEXt chunk at offset 33, got [0-9a-f]{8}: damaged",
            id="a flipped bit",
        ),
        pytest.param(png_of(chunk_of(b"tEXt", b"abc")), "keyword and NUL in tEXt", id="no NUL"),
        pytest.param(
            png_of(chunk_of(b"tEXt", b"a" * 80 + b"\0")), "keyword and NUL", id="a long keyword"
        ),
        pytest.param(png_of(chunk_of(b"zTXt", b"a\0")), "method 0 in zTXt", id="zTXt cut"),
        pytest.param(
            png_of(chunk_of(b"zTXt", b"a\0\1" + zlib.compress(b"x"))), "method 0", id="a method"
        ),
        pytest.param(png_of(chunk_of(b"zTXt", b"a\0\0xyz")), "zlib data in zTXt", id="no zlib"),
        pytest.param(
            png_of(chunk_of(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 99)[:-5])),
            "whole zlib data in zTXt",
            id="half a zlib stream",
        ),
        pytest.param(png_of(chunk_of(b"iTXt", b"a\0\0\0\0")), "flags, language", id="iTXt cut"),
        pytest.param(png_of(chunk_of(b"iTXt", b"a\0")), "flags, language", id="iTXt empty"),
        pytest.param(png_of(chunk_of(b"iTXt", b"a\0\2\0\0\0")), "flags", id="an unknown flag"),
        pytest.param(png_of(chunk_of(b"iTXt", b"a\0\0\0\0\0\xe9")), "UTF-8 in iTXt", id="Latin-1"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(file: bytes, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        read_text(file)


def test_text_is_embedded_right_after_the_header() -> None:
    plain = png_of()

    carrying = embed_text(plain, {"provenance": "{}", "prompt": "[]"})

    inserted = chunk_of(b"tEXt", b"provenance\0{}") + chunk_of(b"tEXt", b"prompt\0[]")
    assert carrying == plain[:33] + inserted + plain[33:]


def test_text_past_ascii_is_embedded_as_uncompressed_utf_8() -> None:
    file = embed_text(png_of(), {"parameters": "café\nSteps: 1"})

    assert file == png_of(chunk_of(b"iTXt", b"parameters\0\0\0\0\0caf\xc3\xa9\nSteps: 1"))
    with Image.open(BytesIO(file)) as image:
        assert image.info == {"parameters": "café\nSteps: 1"}


def test_embedding_replaces_the_keyword_in_all_kinds_of_text() -> None:
    file = png_of(
        chunk_of(b"tEXt", b"a\0one"),
        chunk_of(b"zTXt", b"a\0\0" + stored(b"two")),
        chunk_of(b"iTXt", b"a\0\0\0\0\0three"),
        after=chunk_of(b"tEXt", b"a\0four"),
    )

    assert embed_text(file, {"a": "new"}) == png_of(chunk_of(b"tEXt", b"a\0new"))


def test_everything_else_keeps_its_bytes_and_place() -> None:
    others = (COMPRESSED_XMP, chunk_of(b"prVt", b"\0\1"), chunk_of(b"tEXt", b"other\0x"))
    file = png_of(*others, after=chunk_of(b"tEXt", b"malformed")) + b"tail"

    carrying = embed_text(file, {"a": "new"})

    assert carrying == file[:33] + chunk_of(b"tEXt", b"a\0new") + file[33:]


def test_removing_takes_the_keywords_and_nothing_else() -> None:
    file = png_of(COMPRESSED_XMP, chunk_of(b"tEXt", b"a\0one"), chunk_of(b"tEXt", b"b\0two"))

    assert remove_text(file, ["a", "absent"]) == png_of(
        COMPRESSED_XMP, chunk_of(b"tEXt", b"b\0two")
    )


@pytest.mark.parametrize(
    ("keyword", "text", "message"),
    [
        pytest.param("a", "x\0y", "text without NUL under 'a'", id="NUL in the text"),
        pytest.param("a", "\ud800", "Unicode under 'a': surrogates", id="a lone surrogate"),
        pytest.param("", "x", "keyword of 1 to 79", id="no keyword"),
        pytest.param("a" * 80, "x", "keyword of 1 to 79", id="a long keyword"),
        pytest.param(" a", "x", "keyword of 1 to 79", id="a leading space"),
        pytest.param("a ", "x", "keyword of 1 to 79", id="a trailing space"),
        pytest.param("a  b", "x", "keyword of 1 to 79", id="a double space"),
        pytest.param("a\nb", "x", "keyword of 1 to 79", id="a line end"),
        pytest.param("a\0b", "x", "keyword of 1 to 79", id="NUL in the keyword"),
        pytest.param("a\x7f", "x", "keyword of 1 to 79", id="a control character"),
        pytest.param("a\xa0b", "x", "keyword of 1 to 79", id="a space that does not break"),
        pytest.param("日本", "x", "keyword of 1 to 79", id="a keyword past Latin-1"),
    ],
)
def test_what_a_text_chunk_cannot_hold_is_refused(keyword: str, text: str, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        embed_text(png_of(), {keyword: text})


def test_text_that_could_not_be_read_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT_BYTES", 4)

    with pytest.raises(LimitError, match="at most 4 bytes under 'a', got 5"):
        embed_text(png_of(), {"a": "12345"})


def test_texts_that_are_too_large_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT_TOTAL_BYTES", 40)

    with pytest.raises(LimitError, match="at most 40 bytes of text"):
        embed_text(png_of(), {"a": "x" * 10, "b": "x" * 10})


def test_a_damaged_file_is_not_edited() -> None:
    damaged = png_of().replace(b"IDAT", b"IDAX")

    with pytest.raises(ContainerError, match="damaged"):
        embed_text(damaged, {"a": "b"})


def test_stripping_leaves_what_decides_the_pixels() -> None:
    kept = [chunk_of(kind, b"x") for kind in (b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"tRNS", b"prVt")]
    dropped = [
        chunk_of(b"tEXt", b"a\0b"),
        chunk_of(b"zTXt", b"malformed"),
        COMPRESSED_XMP,
        chunk_of(b"tIME", bytes(7)),
        chunk_of(b"eXIf", tiff_of(entry_of(0x0131, b"software\0"))),
    ]

    file = png_of(*kept, *dropped, after=chunk_of(b"comf", b"prompt\0{}")) + b"tail"

    assert strip(file) == png_of(*kept)


def test_stripping_keeps_an_orientation_alone() -> None:
    turned = entry_of(0x0112, b"\0\6", kind=3)
    file = png_of(chunk_of(b"eXIf", tiff_of(turned, entry_of(0x0131, b"software\0"))))

    assert strip(file) == png_of(chunk_of(b"eXIf", tiff_of(turned)))
