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
from comfyui_provenance.containers import embed, extract, remove, strip
from comfyui_provenance.containers.exif import dump_exif, edit_exif, keep_orientation, read_exif
from comfyui_provenance.containers.png import embed_text, read_text
from comfyui_provenance.digest import parse_digest
from comfyui_provenance.errors import ProvenanceError
from comfyui_provenance.graph.prompt import parse_prompt
from comfyui_provenance.pixels import decode_pixels, encode_png

from support.builders import chunk_of, gradient, png_of, riff_chunk_of, segment_of, stored, webp_of
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
CARRYING = [embed(file, {"prompt": "{}", "parameters": "café"}) for file in SEEDS]
EXIF = dump_exif({"prompt": "{}", "workflow": "[]", "parameters": "café"})

json_texts = nested(prompt_scalars).map(json.dumps)


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Draw a real file with bytes cut out, put in or changed."""
    data = draw(st.sampled_from(seeds))
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 16)))
    return data[:start] + draw(st.binary(max_size=16)) + data[end:]


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    """Draw a PNG whose checksums hold and whose text chunks are anything."""
    kinds = st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"PLTE", b"tRNS", b"acTL", b"eXIf"])
    chunks = draw(st.lists(st.builds(chunk_of, kinds, st.binary(max_size=24)), max_size=4))
    return png_of(*chunks)


@st.composite
def extended(draw: st.DrawFn) -> bytes:
    """Draw a WebP or JPEG whose sizes hold and whose chunks or segments are anything."""
    bodies = st.binary(max_size=24) | damaged([EXIF]) | st.just(EXIF)
    if draw(st.booleans()):
        kinds = st.sampled_from([b"VP8X", b"VP8 ", b"VP8L", b"EXIF", b"XMP ", b"ANMF", b"junk"])
        chunks = draw(st.lists(st.builds(riff_chunk_of, kinds, bodies), max_size=5))
        return webp_of(*draw(st.permutations([SEEDS[3][12:], *chunks])))
    markers = st.sampled_from([0xC0, 0xDA, 0xDB, 0xE0, 0xE1, 0xE2, 0xED, 0xFE])
    segments = draw(st.lists(st.builds(segment_of, markers, bodies), max_size=4))
    return b"\xff\xd8" + b"".join(segments) + SEEDS[2][2:]


files = st.binary(max_size=64) | damaged(SEEDS + CARRYING) | chunked() | extended()
exif_bytes = st.binary(max_size=64) | damaged([EXIF, EXIF[6:]])


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
def test_editing_of_any_kind_of_image(data: bytes) -> None:
    with suppress(ProvenanceError):
        assert extract(embed(data, {"prompt": "new"}))["prompt"] == "new"
    with suppress(ProvenanceError):
        assert "prompt" not in extract(remove(data, ["prompt"]))
    with suppress(ProvenanceError):
        stripped = strip(data)
        assert extract(stripped) == {}
        assert strip(stripped) == stripped


@given(exif_bytes)
def test_exif(data: bytes) -> None:
    with suppress(ProvenanceError):
        read_exif(data)
    with suppress(ProvenanceError):
        edited = edit_exif(data, ["prompt", "parameters"], {"prompt": "new"})
        assert read_exif(edited)["prompt"] == "new"
        assert "parameters" not in read_exif(edited)
    keep_orientation(data)


@given(files)
def test_pixels_of_images(data: bytes) -> None:
    with suppress(ProvenanceError):
        decode_pixels(data)


@pytest.mark.parametrize("file", SEEDS, ids=["texts", "png", "jpeg", "webp"])
def test_the_undamaged_files_are_decoded(file: bytes) -> None:
    decode_pixels(file)
