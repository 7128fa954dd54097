"""Text goes in and comes out of a WebP; every other chunk stays as it was, also in animations."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from PIL import Image

from comfyui_provenance import limits
from comfyui_provenance.containers.exif import dump_exif
from comfyui_provenance.containers.webp import embed_text, read_text, remove_text, strip
from comfyui_provenance.errors import ContainerError, LimitError

from support.builders import (
    entry_of,
    gradient,
    image_file,
    riff_chunk_of,
    tiff_of,
    webp_of,
)

TEXTS = {"prompt": "{}", "workflow": "[]", "provenance": "1", "parameters": "café\nSteps: 1"}
LOSSY = image_file("WEBP")
LOSSLESS = image_file("WEBP", lossless=True)
ALPHA = image_file("WEBP", gradient(channels=4), lossless=True, exact=True)
LOSSY_ALPHA = image_file("WEBP", gradient(channels=4))
PROFILED = image_file("WEBP", icc_profile=b"profile")
XMP = riff_chunk_of(b"XMP ", b"<x/>")
UNKNOWN = riff_chunk_of(b"junk", b"odd")


def animation() -> bytes:
    file = BytesIO()
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "green", "blue")]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=40)
    return file.getvalue()


FILES = [
    pytest.param(LOSSY, id="lossy"),
    pytest.param(LOSSLESS, id="lossless"),
    pytest.param(ALPHA, id="lossless with alpha"),
    pytest.param(LOSSY_ALPHA, id="lossy with alpha"),
    pytest.param(PROFILED, id="with a profile"),
    pytest.param(animation(), id="an animation"),
    pytest.param(webp_of(LOSSY[12:], UNKNOWN), id="with a chunk of no known kind"),
    pytest.param(LOSSY + b"tail", id="with bytes behind it"),
]


def chunks_of(file: bytes) -> dict[bytes, bytes]:
    """Split a WebP file by kind, with a walk of its own."""
    chunks, start = {}, 12
    while start < 8 + struct.unpack_from("<L", file, 4)[0]:
        kind, size = struct.unpack_from("<4sL", file, start)
        chunks[kind] = file[start + 8 : start + 8 + size]
        start += 8 + size + size % 2
    return chunks


@pytest.mark.parametrize("file", FILES)
def test_what_was_embedded_is_read_and_removed_again(file: bytes) -> None:
    carrying = embed_text(file, TEXTS)

    assert read_text(carrying) == TEXTS
    assert embed_text(carrying, TEXTS) == carrying
    assert remove_text(carrying, TEXTS) == file


@pytest.mark.parametrize("file", FILES)
def test_pillow_sees_the_same_image_and_the_texts(file: bytes) -> None:
    with (
        Image.open(BytesIO(file)) as plain,
        Image.open(BytesIO(embed_text(file, TEXTS))) as carrying,
    ):
        assert (carrying.mode, carrying.size) == (plain.mode, plain.size)
        assert carrying.info["icc_profile" if "icc_profile" in plain.info else "exif"]
        for frame in range(getattr(plain, "n_frames", 1)):
            plain.seek(frame)
            carrying.seek(frame)
            assert carrying.tobytes() == plain.tobytes()
        assert carrying.getexif()[0x0110] == "prompt:{}"


@pytest.mark.parametrize("file", FILES)
def test_the_header_says_what_pillow_makes_it_say(file: bytes) -> None:
    with Image.open(BytesIO(file)) as image:
        oracle = BytesIO()
        image.save(
            oracle,
            "WEBP",
            exif=dump_exif(TEXTS),
            save_all=True,
            lossless=b"VP8L" in file,
            icc_profile=image.info.get("icc_profile", b""),
        )

    found = chunks_of(embed_text(file, TEXTS))

    expected = chunks_of(oracle.getvalue())
    assert found[b"VP8X"] == expected[b"VP8X"]
    # Pillow leaves the prefix of JPEG in front of an animation's.
    assert found[b"EXIF"] == expected[b"EXIF"].removeprefix(b"Exif\0\0")


def test_exif_stands_between_the_image_and_xmp() -> None:
    header = riff_chunk_of(b"VP8X", b"\4" + bytes(3) + b"\6\0\0\4\0\0")
    file = webp_of(header, LOSSY[12:], UNKNOWN, XMP)

    carrying = embed_text(file, {"prompt": "{}"})

    exif = riff_chunk_of(b"EXIF", dump_exif({"prompt": "{}"})[6:])
    flagged = riff_chunk_of(b"VP8X", b"\x0c" + bytes(3) + b"\6\0\0\4\0\0")
    assert carrying == webp_of(flagged, LOSSY[12:], exif, UNKNOWN, XMP)
    assert remove_text(carrying, ["prompt"]) == file


def test_exif_with_a_prefix_and_without_a_flag_is_read() -> None:
    exif = riff_chunk_of(b"EXIF", dump_exif({"prompt": "{}"}))

    assert read_text(webp_of(LOSSY[12:], exif)) == {"prompt": "{}"}


def test_only_the_first_exif_counts_and_is_left() -> None:
    first = tiff_of(entry_of(0x0131, b"software\0"), entry_of(0x0110, b"prompt:old\0"))
    file = webp_of(LOSSY[12:], riff_chunk_of(b"EXIF", first), riff_chunk_of(b"EXIF", b"more"))

    carrying = embed_text(file, {"prompt": "new"})

    assert read_text(file) == {"prompt": "old"}
    assert carrying.count(b"EXIF") == 1
    with Image.open(BytesIO(carrying)) as image:
        assert dict(image.getexif()) == {0x0131: "software", 0x0110: "prompt:new"}


def test_texts_larger_than_a_jpeg_holds_go_in() -> None:
    texts = {"workflow": "x" * 200_001}

    assert read_text(embed_text(LOSSY, texts)) == texts


def test_removing_what_is_not_there_changes_nothing() -> None:
    file = embed_text(LOSSY, TEXTS)

    assert remove_text(file, ["absent"]) is file
    assert remove_text(LOSSY, ["prompt"]) is LOSSY


def test_an_odd_chunk_is_padded() -> None:
    odd = next(
        file
        for side in range(1, 20)
        if len(chunks_of(file := image_file("WEBP", gradient(side), lossless=True))[b"VP8L"]) % 2
    )

    assert read_text(embed_text(odd, TEXTS)) == TEXTS
    assert len(embed_text(odd, {"prompt": "x"})) % 2 == 0


@pytest.mark.parametrize(
    ("file", "message"),
    [
        pytest.param(b"RIFF\0\0\0\0WAVE", "without its signature", id="a WAV"),
        pytest.param(LOSSY[:-1], "in a WebP file, got .* cut off", id="cut off"),
        pytest.param(webp_of(), "VP8, VP8L or VP8X first", id="no chunks"),
        pytest.param(webp_of(XMP, LOSSY[12:]), "VP8, VP8L or VP8X first", id="another first"),
        pytest.param(webp_of(LOSSY[12:], b"EXIF\1\0"), "got one cut off", id="half a header"),
        pytest.param(webp_of(LOSSY[12:], b"EXIF\1\0\0\0"), "got one cut off", id="no body"),
        pytest.param(webp_of(LOSSY[12:], b"EXIF\1\0\0\0x"), "got one cut off", id="no padding"),
        pytest.param(
            webp_of(LOSSY[12:], riff_chunk_of(b"EXIF", b"xy")), "TIFF header", id="bad EXIF"
        ),
    ],
)
def test_a_damaged_file_is_refused(file: bytes, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        read_text(file)
    with pytest.raises(ContainerError, match=message):
        embed_text(file, TEXTS)


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        pytest.param(riff_chunk_of(b"VP8L", b"\x2e" + bytes(9)), "key frame", id="no signature"),
        pytest.param(riff_chunk_of(b"VP8L", b"\x2f\0\0\0"), "key frame", id="a short VP8L"),
        pytest.param(riff_chunk_of(b"VP8 ", bytes(10)), "key frame", id="no key frame"),
        pytest.param(riff_chunk_of(b"VP8 ", b"\0\0\0\x9d\x01\x2a\1\0\1"), "key", id="a short VP8"),
        pytest.param(
            riff_chunk_of(b"VP8 ", b"\0\0\0\x9d\x01\x2a\1\0\0\0"), "got 0x1", id="no height"
        ),
        pytest.param(riff_chunk_of(b"VP8X", bytes(9)), "10 bytes in VP8X, got 9", id="VP8X"),
    ],
)
def test_an_image_without_a_size_gets_no_text(chunk: bytes, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        embed_text(webp_of(chunk), TEXTS)


def test_stripping_leaves_image_and_profile() -> None:
    file = image_file("WEBP", icc_profile=b"profile", exif=dump_exif(TEXTS), xmp=b"<x/>")

    assert strip(file + b"tail") == PROFILED


@pytest.mark.parametrize("file", FILES[:6])
def test_stripping_undoes_embedding(file: bytes) -> None:
    assert strip(embed_text(file, TEXTS)) == strip(file) == file


def test_stripping_keeps_an_orientation_alone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0131] = "software"
    file = image_file("WEBP", exif=exif.tobytes(), xmp=b"<x/>")

    stripped = strip(file)

    with Image.open(BytesIO(stripped)) as image:
        assert dict(image.getexif()) == {0x0112: 6}
    assert chunks_of(stripped)[b"VP8X"][0] == 8


def test_endless_chunks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHUNK_COUNT", 10)

    with pytest.raises(LimitError, match="at most 10 chunks"):
        read_text(webp_of(LOSSY[12:], *[UNKNOWN] * 10))


def test_a_file_past_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMAGE_FILE_BYTES", 50)

    with pytest.raises(LimitError, match="a WebP file of at most 50 bytes"):
        read_text(LOSSY)
