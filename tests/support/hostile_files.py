"""Files whose bytes attack a reader: bombs, lies about sizes, two files in one, odd records."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, Final

from PIL import Image

from comfyui_provenance.containers import extract
from comfyui_provenance.containers.png import SIGNATURE, embed_text, remove_text
from comfyui_provenance.pixels import encode_png
from comfyui_provenance.record import KEYWORD

from .builders import (
    chunk_of,
    entry_of,
    gradient,
    header_of,
    image_file,
    png_of,
    riff_chunk_of,
    segment_of,
    stored,
    tiff_of,
    webp_of,
)
from .hostile import (
    Hostile,
    with_graph_text,
    with_prompt_alone,
    with_record,
    with_record_text,
)
from .tampering import alter_pixel, edit_prompt, set_input

_HEAD_BYTES: Final = len(SIGNATURE) + 25
"""A PNG up to the end of its IHDR."""

_BOMB_BYTES: Final = 64 * 1024**2
_DEEP: Final = 100_000
_DIGITS: Final = 1_000_000
_SCRIPT: Final = "<img src=x onerror=alert(1)><script>alert(1)</script>"


def _with_chunk(chunk: bytes) -> Callable[[bytes], bytes]:
    """Give what puts a chunk right behind the head."""
    return lambda data: data[:_HEAD_BYTES] + chunk + data[_HEAD_BYTES:]


def _bomb(kind: bytes, before: bytes) -> Callable[[bytes], bytes]:
    def build(data: bytes) -> bytes:
        bomb = zlib.compress(bytes(_BOMB_BYTES), 1)
        return _with_chunk(chunk_of(kind, before + bomb))(remove_text(data, [KEYWORD, "prompt"]))

    return build


def _headed(width: int, height: int, depth: int = 8, colour: int = 2) -> Callable[[bytes], bytes]:
    """Give what lies about the image in its head."""
    head = SIGNATURE + header_of(width, height, depth, colour)
    return lambda data: head + data[_HEAD_BYTES:]


def _compressed_record(data: bytes) -> bytes:
    packed = zlib.compress(extract(data)[KEYWORD].encode())
    return _with_chunk(chunk_of(b"zTXt", KEYWORD.encode() + b"\0\0" + packed))(
        remove_text(data, [KEYWORD])
    )


def _second_record(data: bytes) -> bytes:
    record = json.loads(extract(data)[KEYWORD])
    record["tuple"]["seed"] = "999"
    second = chunk_of(b"tEXt", KEYWORD.encode() + b"\0" + json.dumps(record).encode())
    end = data.rindex(b"IEND") - 4
    return data[:end] + second + data[end:]


def _with_zip(data: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../evil.py", "raise SystemExit")
    return data + archive.getvalue()


def _with_page(data: bytes) -> bytes:
    page = f"<html><body>{_SCRIPT}</body></html>".encode()
    return _with_chunk(chunk_of(b"tEXt", b"Comment\0" + page))(data) + page


def _jpeg_script(data: bytes) -> bytes:
    jpeg = image_file("JPEG")
    return jpeg[:2] + segment_of(0xFE, b"*/=alert(1);/*") + jpeg[2:]


def _animated(kind: str) -> Callable[[bytes], bytes]:
    def build(data: bytes) -> bytes:
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "navy")]
        file = io.BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        content = file.getvalue()
        return embed_text(content, extract(data)) if kind == "PNG" else content

    return build


def _other_pixels(data: bytes) -> bytes:
    return embed_text(encode_png(gradient(64, 64)), extract(data))


def _many_chunks(data: bytes) -> bytes:
    return _with_chunk(chunk_of(b"tIME") * 70_000)(data)


def _damaged_checksum(data: bytes) -> bytes:
    return data[: _HEAD_BYTES - 1] + bytes([data[_HEAD_BYTES - 1] ^ 1]) + data[_HEAD_BYTES:]


def _looping_exif(data: bytes) -> bytes:
    exif = tiff_of(entry_of(0x8769, struct.pack(">L", 8), kind=4))
    return segment_of(0xD8)[:2] + segment_of(0xE1, b"Exif\0\0" + exif) + image_file("JPEG")[2:]


def _set(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def edit(record: dict[str, Any]) -> None:
        place: Any = record
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return edit


def _material(**fields: object) -> Callable[[dict[str, Any]], None]:
    def edit(record: dict[str, Any]) -> None:
        record["materials"][0].update(fields)

    return edit


CONTAINERS: Final = [
    Hostile("a bomb in zTXt", _bomb(b"zTXt", b"prompt\0\0"), "refused", "at most .* bytes"),
    Hostile("a bomb in iTXt", _bomb(b"iTXt", b"prompt\0\1\0\0\0"), "refused", "at most .* bytes"),
    Hostile(
        "a workflow of 33 MB",
        lambda data: _with_chunk(chunk_of(b"tEXt", b"workflow\0" + b" " * 33 * 1024**2))(data),
        "refused",
        "at most .* bytes",
    ),
    Hostile("seventy thousand chunks", _many_chunks, "refused", "at most 65536 chunks"),
    Hostile(
        "a chunk that claims two gigabytes",
        _with_chunk(struct.pack(">I4s", 2**31 - 1, b"tEXt") + b"prompt\0{}"),
        "refused",
        "cut off",
    ),
    Hostile("text without a keyword", _with_chunk(chunk_of(b"tEXt", b"x" * 99)), "refused", "NUL"),
    Hostile("half a file", lambda data: data[: len(data) // 2], "refused", "cut off"),
    Hostile("a file cut in its last chunk", lambda data: data[:-6], "refused", "cut off"),
    Hostile("a damaged checksum", _damaged_checksum, "refused", "damaged"),
    Hostile("an empty file", lambda data: b"", "refused", "empty"),
    Hostile("a page instead of an image", lambda data: _SCRIPT.encode(), "refused", "another kind"),
    Hostile("the head of a GIF before a PNG", lambda data: b"GIF89a" + data, "refused", "another"),
    Hostile("an animated GIF", _animated("GIF"), "refused", "another kind", "hostile.gif"),
    Hostile("an animated PNG", _animated("PNG"), "refused", "one frame"),
    Hostile("an animated WebP", _animated("WEBP"), "refused", "one frame", "hostile.webp"),
    Hostile("a head of 60000 x 60000", _headed(60_000, 60_000), "refused", "pixels"),
    Hostile("a head of 4096 x 4096", _headed(4096, 4096, 8, 6), "refused", "whole"),
    Hostile("a head of no pixels", _headed(0, 0), "refused", "whole"),
    Hostile("a palette of 16 bits", _headed(64, 64, 16, 3), "refused", "whole"),
    Hostile("a palette that is missing", _headed(64, 64, 8, 3), "refused", "got"),
    Hostile("an archive behind the image and names that lead out of it", _with_zip, "right"),
    Hostile("a page in and behind the image", _with_page, "right"),
    Hostile("a PNG that is called a page", lambda data: data, "right", "", "hostile.html"),
    Hostile("a PNG that is called a JPEG", lambda data: data, "right", "", "hostile.jpg"),
    Hostile("a compressed record", _compressed_record, "right"),
    Hostile("a script in a JPEG", _jpeg_script, "refused", "neither a record", "hostile.jpg"),
    Hostile("EXIF that leads into itself", _looping_exif, "refused", "", "hostile.jpg"),
    Hostile(
        "a WebP of chunks that claim more than the file",
        lambda data: webp_of(riff_chunk_of(b"VP8X", b"\xff" * 10), b"EXIF\xff\xff\xff\x7f"),
        "refused",
        "",
        "hostile.webp",
    ),
    Hostile(
        "one black pixel with a prompt of nothing",
        lambda data: png_of(chunk_of(b"tEXt", b"prompt\0{}")),
        "refused",
        "saves no image",
    ),
    Hostile(
        "pixels of 16 bits under a record of 8",
        lambda data: embed_text(
            SIGNATURE
            + header_of(1, 1, 16, 2)
            + chunk_of(b"IDAT", stored(bytes(7)))
            + chunk_of(b"IEND"),
            extract(data),
        ),
        "doubted",
    ),
]

RECORDS: Final = [
    Hostile(
        "JSON nested a hundred thousand deep",
        with_prompt_alone(lambda _: "[" * _DEEP),
        "refused",
        "nesting",
    ),
    Hostile(
        "objects nested a hundred thousand deep",
        with_prompt_alone(lambda _: '{"a":' * _DEEP),
        "refused",
        "nesting",
    ),
    Hostile(
        "a record nested a hundred thousand deep",
        with_record_text(lambda _: "[" * _DEEP),
        "doubted",
    ),
    Hostile(
        "an integer of a million digits",
        with_prompt_alone(lambda text: text.replace('"seed": ', f'"seed": {"9" * _DIGITS}')),
        "refused",
        "digits",
    ),
    Hostile(
        "a record with an integer of a million digits",
        with_record_text(lambda text: text.replace('"version":1', f'"version":{"9" * _DIGITS}')),
        "doubted",
    ),
    Hostile(
        "a node twice",
        with_graph_text(
            lambda text: text.replace("{", '{"latent":{"class_type":"A","inputs":{}},', 1)
        ),
        "refused",
        "each key once",
    ),
    Hostile(
        "a key of the record twice",
        with_record_text(lambda text: text.replace("{", '{"version":1,', 1)),
        "doubted",
    ),
    Hostile(
        "a record of version 1000000000",
        with_record_text(lambda text: text.replace('"version":1', '"version":1000000000')),
        "doubted",
    ),
    Hostile(
        "a record of version true",
        with_record_text(lambda text: text.replace('"version":1', '"version":true')),
        "doubted",
    ),
    Hostile("a second record", _second_record, "doubted"),
    Hostile("a record of another image", _other_pixels, "doubted"),
    Hostile("one altered sample", alter_pixel, "doubted"),
    Hostile(
        "a prompt that differs from the record",
        lambda data: edit_prompt(data, set_input("sampler", "cfg", 7.5)),
        "doubted",
    ),
    Hostile("a record that is a list", with_record_text(lambda text: f"[{text}]"), "doubted"),
    Hostile("a record that is cut off", with_record_text(lambda text: text[:-9]), "doubted"),
    Hostile(
        "a lone surrogate in the record",
        with_record_text(lambda text: text.replace('"version"', '"x":"\\ud800","version"')),
        "doubted",
    ),
    Hostile("a graph that is no JSON", with_graph_text(lambda _: _SCRIPT), "refused", "JSON"),
    Hostile("a graph that is a list", with_graph_text(lambda _: "[]"), "refused", "object"),
    Hostile("a graph of nothing", with_graph_text(lambda _: "{}"), "refused", "decode"),
    Hostile(
        "a place that cannot be a key",
        with_record(
            lambda record: record.update(
                computed=[
                    {"node_id": ["latent"], "slot": 0, "value": 1, "type": "INT"},
                    {"node_id": "latent", "slot": {}, "value": 1, "type": "INT"},
                    {"node_id": "latent", "slot": 10**9, "value": 1, "type": "INT"},
                ]
            )
        ),
        "judged",
    ),
    Hostile(
        "values that nobody computed",
        with_record(
            lambda record: record.update(
                computed=[
                    {"node_id": "latent", "slot": 0, "value": 64, "type": "INT"},
                    {"node_id": "sampler", "slot": 0, "value": "../../x", "type": "STRING"},
                ]
            )
        ),
        "judged",
    ),
    Hostile(
        "samplings of the wrong types",
        with_record(
            lambda record: record.update(
                samplings=[
                    {"node_id": [1], "positive": {"a": [[]]}, "seed": {}, "steps": "x" * 999}
                ]
            )
        ),
        "doubted",
    ),
    Hostile(
        "a trace of the wrong types",
        with_record(
            lambda record: record.update(
                trace=[
                    {"node_id": {}, "index": "a", "steps": {"b": 1}},
                    {"node_id": "sampler", "steps": [[], 1, None]},
                ]
            )
        ),
        "judged",
    ),
    Hostile(
        "stages and operations of the wrong types",
        with_record(
            lambda record: record.update(stages=[1, {"node_id": []}], operations={"a": []})
        ),
        "judged",
    ),
    Hostile(
        "an environment of the wrong types",
        with_record(
            lambda record: record.update(
                environment={"packages": [1], "cpu": "x", "device": 1e9},
                determinism=[[]],
                fingerprint=7,
            )
        ),
        "judged",
    ),
    Hostile(
        "a material that leads out of its folder",
        with_record(_material(name="../../../../etc/passwd", status="hashed")),
        "doubted",
    ),
    Hostile(
        "a material of a folder that is none",
        with_record(_material(kind="../../..", name="/etc/passwd")),
        "doubted",
    ),
    Hostile(
        "a place in a batch that was never there",
        with_record(_set("subject", "batch_index", to=10**9)),
        "judged",
    ),
    Hostile(
        "a place in a list that was never there",
        with_record(_set("subject", "list_index", to=10**9)),
        "judged",
    ),
    Hostile(
        "markup, escapes and turned text in the tuple",
        with_record(
            _set("tuple", "sampler", to=f"{_SCRIPT}\x1b[2J\x1b]0;x\x07\u202e\u2066gnp.exe")
        ),
        "doubted",
    ),
    Hostile("a date of a megabyte", with_record(_set("created", to="9" * 1024**2)), "judged"),
    Hostile(
        "an output that is no node",
        with_record(_set("output", "node_id", to="../../x")),
        "refused",
        "found none",
    ),
    Hostile(
        "an output at a slot that is none", with_record(_set("output", "slot", to=77)), "refused"
    ),
]

FILES: Final = [*CONTAINERS, *RECORDS]
