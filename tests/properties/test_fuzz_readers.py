"""Readers of a stranger's bytes give a value or an error of ours, soon and in little memory.

Real files are damaged: single bits and bytes, sizes and offsets, parts cut, doubled and mixed;
in PNG also behind checksums made to fit again, without which nothing past the first byte is
ever reached. The choices are fixed by their numbers, so a failure names an input to repeat.
"""

from __future__ import annotations

import json
import random
import struct
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Generator

import pytest

from comfyui_provenance import limits
from comfyui_provenance.containers import embed, extract, sniff, strip
from comfyui_provenance.containers.exif import dump_exif, read_exif
from comfyui_provenance.containers.png import SIGNATURE
from comfyui_provenance.errors import ProvenanceError
from comfyui_provenance.graph.prompt import parse_prompt
from comfyui_provenance.pixels import (
    Pixels,
    decode_pixels,
    encode_jpeg,
    encode_png,
    encode_webp,
)
from comfyui_provenance.record import parse_record

from support.builders import chunk_of, gradient, image_file
from support.prompts import lora
from support.records import record

HANG_S = 2
PEAK_BYTES = 64 * 1024**2

GRAPH = json.dumps(lora(seed=2**60, positive="a fox"))
INFOTEXT = (
    "a fox, (masterpiece:1.2) <lora:den:0.8>\nNegative prompt: blurry\n"
    'Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, Hashes: {"model": "ab"}'
)
TEXTS = {
    "provenance": record().dump(),
    "prompt": GRAPH,
    "workflow": '{"nodes":[]}',
    "parameters": INFOTEXT,
}
EXIF = dump_exif(TEXTS)
IMAGE = gradient(8, 9)
DEEP = Pixels(IMAGE.samples + IMAGE.samples[::-1], 8, 9, 3, bits=16)

FILES = [
    embed(encode_png(IMAGE), TEXTS),
    embed(encode_png(DEEP), TEXTS),
    embed(image_file("PNG", gradient(8, 9, 1), transparency=1), TEXTS),
    embed(encode_webp(IMAGE, lossless=True, quality=50), TEXTS),
    embed(encode_webp(IMAGE, lossless=False, quality=50), TEXTS),
    embed(encode_jpeg(IMAGE, quality=80), TEXTS),
    embed(image_file("JPEG", IMAGE, progressive=True, icc_profile=b"x"), TEXTS),
]
WRITINGS = [TEXTS["provenance"], GRAPH, INFOTEXT]
STRANGE_NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1]
STRANGE_WRITING = ["[" * 70, "9" * 700, "\\ud800", "\0", "NaN", "1e999", '"', "{}", ": ", "\u2028"]


def read_files(data: bytes) -> None:
    for read in (extract, strip, decode_pixels):
        attempt(read, data)


def read_exif_and_texts(data: bytes) -> None:
    attempt(read_exif, data)
    attempt(parse_record, data.decode("utf-8", errors="surrogateescape"))
    attempt(parse_prompt, data)


def attempt(read: Callable[..., object], data: bytes | str) -> None:
    try:
        read(data)
    except ProvenanceError as error:
        outcomes[type(error).__name__] += 1
    else:
        outcomes[read.__name__] += 1


outcomes: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def small_images(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    # A header changed to 16384 x 16384 is a legal one, and Pillow would make room for it.
    monkeypatch.setattr(limits, "IMAGE_PIXELS", 2**16)
    outcomes.clear()
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


def damage(chance: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Damage bytes in one to four places."""
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(damaged) + 1)
        end = min(len(damaged), at + chance.choice([1, 2, 4, 8, 64, 1024]))
        match chance.randrange(7):
            case 0 if damaged:
                damaged[at % len(damaged)] ^= 1 << chance.randrange(8)
            case 1 if damaged:
                damaged[at % len(damaged)] = chance.randrange(256)
            case 2:
                number = chance.choice(STRANGE_NUMBERS)
                form = chance.choice([">L", "<L", ">H", "<H", "B"])
                mask = 256 ** struct.calcsize(form) - 1
                damaged[at : at + struct.calcsize(form)] = struct.pack(form, number & mask)
            case 3:
                del damaged[at:end]
            case 4:
                damaged[at:at] = damaged[at:end]
            case 5:
                other = chance.choice(others)
                start = chance.randrange(len(other))
                damaged[at:end] = other[start : start + (end - at)]
            case _:
                damaged[at:at] = chance.choice(STRANGE_WRITING).encode()
    return bytes(damaged)


def damage_within_png(chance: random.Random, data: bytes) -> bytes:
    """Damage the body of one chunk, and make its length and checksum fit."""
    chunks, at = [], len(SIGNATURE)
    while at < len(data):
        (size,) = struct.unpack_from(">L", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    which = chance.randrange(len(chunks))
    kind, body = chunks[which]
    if kind == b"IDAT" and chance.random() < 0.5:
        body = zlib.compress(damage(chance, zlib.decompress(body), [body]))
    else:
        body = damage(chance, body, [EXIF, body or b"x"])
    kinds = [kind, b"tEXt", b"zTXt", b"iTXt", b"tRNS", b"PLTE", b"eXIf", b"acTL"]
    chunks[which] = (kind if chance.random() < 0.7 else chance.choice(kinds), body)
    return SIGNATURE + b"".join(chunk_of(*chunk) for chunk in chunks)


def damaged_file(chance: random.Random) -> bytes:
    file = chance.choice(FILES)
    if sniff(file) == "png" and chance.random() < 0.8:
        return damage_within_png(chance, file)
    if chance.random() < 0.3:
        # As long as before, so that the sizes around it still hold.
        at = file.index(b"MM\0*") if b"MM\0*" in file else 0
        exif = damage(chance, file[at : at + 300], [EXIF])
        return file[:at] + exif[:300].ljust(min(300, len(file) - at), b"\0") + file[at + 300 :]
    return damage(chance, file, FILES)


def damaged_writing(chance: random.Random) -> bytes:
    writings = [text.encode() for text in WRITINGS]
    kinds = [EXIF, EXIF[6:], *writings]
    return damage(chance, chance.choice(kinds), kinds)


COUNTS = [4000, pytest.param(200_000, marks=pytest.mark.full)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    ("make", "read", "expected"),
    [
        pytest.param(
            damaged_file,
            read_files,
            ["extract", "strip", "decode_pixels", "ContainerError"],
            id="files",
        ),
        pytest.param(
            damaged_writing,
            read_exif_and_texts,
            ["read_exif", "parse_record", "parse_prompt", "ContainerError", "GraphError"],
            id="texts",
        ),
    ],
)
def test_damaged_bytes_give_a_value_or_an_error_of_ours(
    make: Callable[[random.Random], bytes],
    read: Callable[[bytes], None],
    expected: list[str],
    count: int,
) -> None:
    for number in range(count // 2):
        data = make(random.Random(number))  # noqa: S311 - a fixed choice, not a secret
        started = time.perf_counter()
        before_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        try:
            read(data)
        except Exception as error:
            raise AssertionError(f"input {number}: {error!r}") from error

        _, peak_bytes = tracemalloc.get_traced_memory()
        assert time.perf_counter() - started < HANG_S, f"input {number} took too long"
        assert peak_bytes - before_bytes < PEAK_BYTES, f"input {number} took too much memory"

    # Damage that is always noticed, or never, would have shown nothing.
    assert min(outcomes[name] for name in expected) > count // 500, outcomes
