"""Saved images read, and changed as a user, an editor or a forger would, for tests and demo."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from comfyui_provenance.containers import extract
from comfyui_provenance.containers.png import embed_text
from comfyui_provenance.digest import digest_text
from comfyui_provenance.pixels import Pixels, decode_pixels, encode_png
from comfyui_provenance.record import KEYWORD, seal

Graph = dict[str, Any]
Edit = Callable[[Graph], None]

SCHEMA: Final = Path(__file__).resolve().parents[2] / "docs" / "record.schema.json"
_SHOWN_CHARS: Final = 200
_SHOWN_COUNT: Final = 10


def record_of(data: bytes) -> dict[str, Any]:
    """Give the record of an image file as plain JSON.

    Raises:
        AssertionError: It is not what `docs/record.schema.json` says.
    """
    document = _document_of(data)
    problems = schema_problems(document)
    assert not problems, "expected what docs/record.schema.json says, got\n" + "\n".join(problems)
    return document


def schema_problems(document: object) -> list[str]:
    """List where a document is not what `docs/record.schema.json` says.

    Returns:
        A line for each place, at most ten; none where the tests' tools are not installed, as
        where the demo runs on somebody's own ComfyUI.
    """
    validator = _validator()
    if validator is None:
        return []
    found = sorted(validator.iter_errors(document), key=lambda error: error.json_path)
    lines = [f"{error.json_path}: {error.message}" for error in found[:_SHOWN_COUNT]]
    return [line[:_SHOWN_CHARS] for line in lines]


@cache
def _validator() -> Any:
    try:
        from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # has no types
    except ModuleNotFoundError:
        return None
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _document_of(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(extract(data)[KEYWORD])
    return document


def edit_graph(data: bytes, edit: Edit, *, resealed: bool = False) -> bytes:
    """Change the graph wherever an image file holds it.

    Args:
        data: A PNG of this pack.
        edit: Changes the graph, a dict of nodes by id, in place.
        resealed: Whether to make the record's own digests fit again, as a forger would.
    """
    texts = extract(data)
    record = json.loads(texts[KEYWORD])
    prompt, graph = json.loads(texts["prompt"]), json.loads(record["graph"])
    edit(prompt)
    edit(graph)
    record["graph"] = json.dumps(graph, separators=(",", ":"))
    text = json.dumps(record)
    if resealed:
        record["graph_sha256"] = digest_text(record["graph"]).hex
        text = seal(record).dump()
    return embed_text(data, {"prompt": json.dumps(prompt), KEYWORD: text})


def edit_prompt(data: bytes, edit: Edit) -> bytes:
    """Change the graph that ComfyUI's page reads, and leave the record alone."""
    prompt = json.loads(extract(data)["prompt"])
    edit(prompt)
    return embed_text(data, {"prompt": json.dumps(prompt)})


def edit_record(data: bytes, edit: Edit) -> bytes:
    """Change the record and leave its digest as it was."""
    record = _document_of(data)
    edit(record)
    return embed_text(data, {KEYWORD: json.dumps(record)})


def set_input(node_id: str, name: str, value: object) -> Edit:
    """Give an edit that sets one input of one node."""

    def edit(graph: Graph) -> None:
        graph[node_id]["inputs"][name] = value

    return edit


def alter_pixel(data: bytes, change: int = 1) -> bytes:
    """Change one sample of the middle pixel, and keep all the file's texts."""
    pixels = decode_pixels(data)
    samples = bytearray(pixels.samples)
    middle = len(samples) // 2
    samples[middle] = (samples[middle] + change) % 256
    altered = Pixels(bytes(samples), pixels.height, pixels.width, pixels.channels)
    return embed_text(encode_png(altered), extract(data))
