"""A file's kind is told from its first bytes; what cannot be read is named, the rest is edited."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from comfyui_provenance.containers import embed, extract, remove, sniff, strip
from comfyui_provenance.errors import ContainerError

from support.builders import chunk_of, image_file, png_of, riff_chunk_of, webp_of

TEXTS = {"prompt": "{}", "provenance": "[]", "parameters": "café"}
TEN_MB = 10 * 1024**2
KINDS = ["PNG", "JPEG", "WEBP"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        pytest.param(png_of(), "png", id="PNG"),
        pytest.param(b"\xff\xd8\xff\xe0", "jpeg", id="JPEG"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8L", "webp", id="WebP"),
        pytest.param(b"RIFF\0\0\0\0WAVE", None, id="WAV"),
        pytest.param(b"\x89PNG", None, id="half a signature"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_a_kind_is_told_from_the_first_bytes(data: bytes, kind: str | None) -> None:
    assert sniff(data) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_embedded_extracted_and_removed(kind: str) -> None:
    plain = image_file(kind)

    carrying = embed(plain, TEXTS)

    assert extract(carrying) == TEXTS
    assert extract(remove(carrying, ["prompt"])) == {"provenance": "[]", "parameters": "café"}
    assert remove(carrying, TEXTS) == plain


@pytest.mark.parametrize(
    "large",
    [
        pytest.param(png_of(chunk_of(b"prVt", bytes(TEN_MB))), id="PNG"),
        pytest.param(image_file("JPEG") + bytes(TEN_MB), id="JPEG"),
        pytest.param(
            webp_of(image_file("WEBP")[12:], riff_chunk_of(b"junk", bytes(TEN_MB))), id="WebP"
        ),
    ],
)
def test_a_large_file_is_copied_once_for_all_its_texts(large: bytes) -> None:
    tracemalloc.start()

    try:
        embed(large, TEXTS)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 1.01 * len(large)


@pytest.mark.parametrize("kind", KINDS)
def test_stripping_takes_all_texts(kind: str) -> None:
    plain = image_file(kind)

    assert strip(embed(plain, TEXTS)) == strip(plain) == plain


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(extract, id="extract"),
        pytest.param(lambda data: embed(data, TEXTS), id="embed"),
        pytest.param(lambda data: remove(data, TEXTS), id="remove"),
        pytest.param(strip, id="strip"),
    ],
)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"GIF89a", "a PNG, JPEG or WebP file, got a file of another", id="GIF"),
        pytest.param(b"", "a PNG, JPEG or WebP file, got an empty file", id="nothing"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    act: Callable[[bytes], object], data: bytes, message: str
) -> None:
    with pytest.raises(ContainerError, match=message):
        act(data)
