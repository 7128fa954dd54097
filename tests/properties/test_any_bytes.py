"""Whatever the bytes, a parser gives a value or an error of ours."""

from __future__ import annotations

import json
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from comfyui_provenance.canonical import parse_json
from comfyui_provenance.containers import extract
from comfyui_provenance.containers.png import embed_text, read_text
from comfyui_provenance.digest import parse_digest
from comfyui_provenance.errors import ProvenanceError
from comfyui_provenance.graph.prompt import parse_prompt
from comfyui_provenance.pixels import decode_pixels, encode_png

from support.builders import chunk_of, gradient, png_of, stored
from support.strategies import nested, prompt_scalars


def saved(kind: str) -> bytes:
    file = BytesIO()
    Image.effect_noise((9, 7), 40).convert("RGB").save(file, kind)
    return file.getvalue()


TEXTS = (
    chunk_of(b"tEXt", b"a\0b"),
    chunk_of(b"zTXt", b"c\0\0" + stored(b"d")),
    chunk_of(b"iTXt", b"e\0\1\0\0\0" + stored(b"f")),
)
SEEDS = [png_of(*TEXTS), encode_png(gradient()), saved("JPEG"), saved("WEBP")]

json_texts = nested(prompt_scalars).map(json.dumps)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a real file with bytes cut out, put in or changed."""
    data = draw(st.sampled_from(SEEDS))
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 16)))
    return data[:start] + draw(st.binary(max_size=16)) + data[end:]


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    """Draw a PNG whose checksums hold and whose text chunks are anything."""
    kinds = st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"PLTE", b"tRNS", b"acTL", b"eXIf"])
    chunks = draw(st.lists(st.builds(chunk_of, kinds, st.binary(max_size=24)), max_size=4))
    return png_of(*chunks)


files = st.binary(max_size=64) | damaged() | chunked()


@given(st.binary() | st.text() | json_texts, st.booleans())
def test_json(text: str | bytes, allow_nan: bool) -> None:
    with suppress(ProvenanceError):
        parse_json(text, allow_nan=allow_nan)


@given(st.binary() | st.text() | json_texts)
def test_prompts(text: str | bytes) -> None:
    with suppress(ProvenanceError):
        parse_prompt(text)


@given(
    st.dictionaries(
        st.sampled_from(["1", "2", ""]),
        st.fixed_dictionaries({"class_type": st.just("A"), "inputs": nested(prompt_scalars)}),
    )
)
def test_what_is_nearly_a_prompt(value: object) -> None:
    with suppress(ProvenanceError):
        parse_prompt(json.dumps(value))


@given(st.text() | st.from_regex(r"sha256(-rgb8)?:[0-9a-f]{60,66}"))
def test_digests(text: str) -> None:
    with suppress(ProvenanceError):
        assert str(parse_digest(text)) == text


@given(files)
def test_text_of_images(data: bytes) -> None:
    with suppress(ProvenanceError):
        extract(data)
    with suppress(ProvenanceError):
        read_text(data)


@given(files)
def test_editing_of_images(data: bytes) -> None:
    with suppress(ProvenanceError):
        assert read_text(embed_text(data, {"a": "new"}))["a"] == "new"


@given(files)
def test_pixels_of_images(data: bytes) -> None:
    with suppress(ProvenanceError):
        decode_pixels(data)


@pytest.mark.parametrize("file", SEEDS, ids=["texts", "png", "jpeg", "webp"])
def test_the_undamaged_files_are_decoded(file: bytes) -> None:
    decode_pixels(file)
