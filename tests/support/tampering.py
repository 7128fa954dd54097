"""Changing saved images as a user, an editor or a forger would, for the tests and the demo."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from comfyui_provenance.containers import extract
from comfyui_provenance.containers.png import embed_text
from comfyui_provenance.digest import digest_text
from comfyui_provenance.pixels import Pixels, decode_pixels, encode_png
from comfyui_provenance.record import KEYWORD, seal

Graph = dict[str, Any]
Edit = Callable[[Graph], None]


def record_of(data: bytes) -> dict[str, Any]:
    """Give the record of an image file as plain JSON."""
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
    record = record_of(data)
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
