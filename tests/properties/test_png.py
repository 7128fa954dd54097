"""Laws of PNG text, with Pillow as the judge of what a file holds."""

from __future__ import annotations

from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from comfyui_provenance.containers.png import embed_text, read_text, remove_text
from comfyui_provenance.pixels import Pixels, decode_pixels, digest_pixels, encode_png

from support.strategies import deep_pixels, keywords, pixels, png_texts, unicode_texts

texts = st.dictionaries(keywords, png_texts | unicode_texts, max_size=4)


@given(pixels(), texts)
def test_what_was_embedded_is_read(image: Pixels, written: dict[str, str]) -> None:
    file = embed_text(encode_png(image), written)

    assert read_text(file) == written


@given(texts)
def test_pillow_reads_what_was_embedded(written: dict[str, str]) -> None:
    file = embed_text(encode_png(Pixels(b"\0", 1, 1, 1)), written)

    with Image.open(BytesIO(file)) as image:
        image.load()
        assert image.info == written


@given(texts, texts)
def test_embedding_again_replaces(first: dict[str, str], second: dict[str, str]) -> None:
    file = encode_png(Pixels(b"\0", 1, 1, 1))

    twice = embed_text(embed_text(file, first), second)

    assert read_text(twice) == {**first, **second}
    assert embed_text(twice, second) == twice


@given(texts)
def test_removing_undoes_embedding(written: dict[str, str]) -> None:
    file = encode_png(Pixels(b"\0", 1, 1, 1))

    assert remove_text(embed_text(file, written), written) == file


@given(pixels() | deep_pixels(), texts)
def test_embedding_does_not_touch_the_pixels(image: Pixels, written: dict[str, str]) -> None:
    file = embed_text(encode_png(image), written)

    assert digest_pixels(decode_pixels(file)) == digest_pixels(image)
