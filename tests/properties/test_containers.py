"""Laws of every kind of file: texts go in and come out, pixels stay, removing undoes embedding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.containers import embed, extract, remove, strip
from comfyui_provenance.containers.exif import dump_exif, read_exif
from comfyui_provenance.containers.jpeg import fits
from comfyui_provenance.errors import ContainerError
from comfyui_provenance.pixels import (
    Pixels,
    decode_pixels,
    encode_jpeg,
    encode_png,
    encode_webp,
)

from support.strategies import exif_texts

sides = st.integers(1, 9)


@st.composite
def images(draw: st.DrawFn) -> Pixels:
    """Draw small RGB images."""
    height, width = draw(sides), draw(sides)
    size = height * width * 3
    return Pixels(draw(st.binary(min_size=size, max_size=size)), height, width, 3)


ENCODERS = [
    pytest.param(encode_png, id="PNG"),
    pytest.param(lambda image: encode_webp(image, lossless=True, quality=20), id="lossless WebP"),
    pytest.param(lambda image: encode_webp(image, lossless=False, quality=80), id="lossy WebP"),
    pytest.param(lambda image: encode_jpeg(image, quality=80), id="JPEG"),
]
Encoder = Callable[[Pixels], bytes]


@pytest.mark.parametrize("encode", ENCODERS)
@given(image=images(), texts=exif_texts())
def test_embedding_and_removing(encode: Encoder, image: Pixels, texts: dict[str, str]) -> None:
    file = encode(image)

    carrying = embed(file, texts)

    assert extract(carrying) == texts
    assert decode_pixels(carrying) == decode_pixels(file)
    assert embed(carrying, texts) == carrying
    assert remove(carrying, texts) == file
    assert strip(carrying) == strip(file) == file


@given(images())
def test_lossless_webp_gives_the_image_back(image: Pixels) -> None:
    assert decode_pixels(encode_webp(image, lossless=True, quality=20)) == image


@given(exif_texts())
def test_exif_gives_the_texts_back(texts: dict[str, str]) -> None:
    data = dump_exif(texts)

    assert (read_exif(data) if texts else {}) == texts
    assert fits(texts)


@given(exif_texts(), exif_texts())
def test_embedding_again_replaces(first: dict[str, str], second: dict[str, str]) -> None:
    file = embed(encode_webp(Pixels(bytes(3), 1, 1, 3), lossless=True, quality=1), first)
    both = {**first, **second}
    further = both.keys() - {"prompt", "workflow", "provenance", "parameters"}

    if len(further) <= 2:
        assert extract(embed(file, second)) == both
        assert extract(remove(embed(file, second), second)) == {
            keyword: text for keyword, text in first.items() if keyword not in second
        }
    else:
        with pytest.raises(ContainerError, match="free EXIF tag"):
            embed(file, second)


@given(st.integers(0, 70_000), exif_texts())
def test_a_jpeg_holds_what_fits(size: int, texts: dict[str, str]) -> None:
    file = encode_jpeg(Pixels(bytes(3), 1, 1, 3), quality=80)
    texts = {**texts, "prompt": "x" * size}

    if fits(texts):
        assert extract(embed(file, texts)) == texts
    else:
        assert len(dump_exif(texts)) > 65533
