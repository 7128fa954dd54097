"""A file's kind is told from its first bytes, and what cannot be read is named."""

from __future__ import annotations

import pytest

from comfyui_provenance.containers import extract, sniff
from comfyui_provenance.errors import ContainerError

from support.builders import chunk_of, png_of


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


def test_the_texts_of_a_png_are_extracted() -> None:
    assert extract(png_of(chunk_of(b"tEXt", b"prompt\0{}"))) == {"prompt": "{}"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"\xff\xd8\xff\xe0", "expected a PNG file, got JPEG", id="JPEG"),
        pytest.param(b"RIFF\0\0\0\0WEBP", "expected a PNG file, got WebP", id="WebP"),
        pytest.param(b"GIF89a", "expected a PNG file, got a file of another kind", id="GIF"),
        pytest.param(b"", "expected a PNG file, got an empty file", id="nothing"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        extract(data)
