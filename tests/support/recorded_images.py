"""Image files with records in which everything agrees, and the command line run on them."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from comfyui_provenance.cli import main
from comfyui_provenance.containers import embed
from comfyui_provenance.digest import digest_text, digest_value
from comfyui_provenance.pixels import Pixels, encode_png
from comfyui_provenance.record import KEYWORD, Record, seal

from .builders import gradient
from .records import IMAGE, Document, document_of

MODEL: Final = b"weights" * 100
LORA: Final = b"adapter" * 90
MODEL_NAME: Final = "provenance_tiny.safetensors"
LORA_NAME: Final = "provenance_tiny_lora.safetensors"
LONG_AGO_S: Final = 1_600_000_000


def run(*arguments: str | Path) -> tuple[int, str]:
    """Run a command, and give its exit status and what it printed."""
    out = io.StringIO()
    status = main([str(argument) for argument in arguments], out)
    return status, out.getvalue()


def sha256(data: bytes) -> str:
    """Digest bytes."""
    return hashlib.sha256(data).hexdigest()


def document_with_files(pixels: Pixels = IMAGE) -> Document:
    """Build the document of a record whose two files are `MODEL` and `LORA`."""
    document = document_of(pixels)
    for material, data in zip(document["materials"], (MODEL, LORA), strict=True):
        material.update(sha256=sha256(data), size_bytes=len(data))
    document["tuple"]["model_version"] = sha256(MODEL)
    document["tuple"]["adapters"][0]["sha256"] = sha256(LORA)
    document["recipe"] = str(digest_value(document["tuple"]))
    return document


def png_of_record(record: Record, pixels: Pixels = IMAGE, **texts: str) -> bytes:
    """Build a PNG that carries a record and, as ComfyUI writes it, the prompt."""
    prompt = {} if record.lacks_graph else {"prompt": record.graph}
    return embed(encode_png(pixels), {**prompt, **texts, KEYWORD: record.dump()})


def write_image(path: Path, pixels: Pixels = IMAGE, document: Document | None = None) -> Path:
    """Write a PNG with a record that holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record = seal(document or document_with_files(pixels))
    path.write_bytes(png_of_record(record, pixels))
    return path


def other_pixels(number: int) -> Pixels:
    """Build pixels that are not those of another number."""
    image = gradient(8, 8)
    samples = bytes((sample + number) % 256 for sample in image.samples)
    return Pixels(samples, image.height, image.width, image.channels)


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder, by their paths in it, as though they were old."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return folder


def write_models(folder: Path) -> Path:
    """Write a folder of models in which both files of the record are where they belong."""
    return write_files(folder, {f"checkpoints/{MODEL_NAME}": MODEL, f"loras/{LORA_NAME}": LORA})


def without_graph(document: Document) -> Document:
    """Take the graph out of a document, as where a file could not hold it."""
    left: Document = {name: value for name, value in document.items() if name != "graph"}
    return {**left, "left_out": ["graph"]}


def with_material(name: str, data: bytes, kind: str = "checkpoints") -> Document:
    """Build a document whose checkpoint has any name, in its graph, too."""
    document = document_with_files()
    graph = json.loads(document["graph"])
    graph["loader"]["inputs"]["ckpt_name"] = name
    document["graph"] = json.dumps(graph, separators=(",", ":"))
    document["graph_sha256"] = digest_text(document["graph"]).hex
    document["materials"][0].update(kind=kind, name=name, sha256=sha256(data), size_bytes=len(data))
    document["tuple"]["model_version"] = sha256(data)
    document["recipe"] = str(digest_value(document["tuple"]))
    return document
