"""A whole record and its image, made as a save makes them, and ways to change it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from comfyui_provenance.digest import digest_text, digest_value
from comfyui_provenance.graph.prompt import Link, NodeId, dump_prompt, to_prompt
from comfyui_provenance.graph.samplings import read_samplings
from comfyui_provenance.pixels import Pixels, digest_pixels
from comfyui_provenance.recipe import to_sampling_entry, to_tuple
from comfyui_provenance.record import Material, Record, Subject, parse_record, seal

from .builders import gradient
from .prompts import lora

Document = dict[str, Any]
Edit = Callable[[Document], None]

IMAGE: Final = gradient(8, 8)
OUTPUT: Final = Link(NodeId("decode"), 0)
MODEL_SHA256: Final = "a" * 64
LORA_SHA256: Final = "b" * 64

ENVIRONMENT: Final[Document] = {
    "comfyui": "0.30.0",
    "device": {"type": "cpu"},
    "cpu": {"capability": "AVX512", "threads": 2},
    "attention": "attention_pytorch",
    "packages": {"torch": "2.14.1"},
    "node_packs": {"a_pack": "1"},
}


def graph_of(**options: Any) -> Document:
    """Build the graph of the record: a text-to-image with a LoRA, as JSON, without its save."""
    graph: Document = lora(seed=2**60, positive="a fox's den", **options)
    del graph["save"]
    return graph


def materials_of(graph: Document) -> list[Material]:
    """List the graph's two files, as hashed."""
    named = [("checkpoints", "loader", "ckpt_name"), ("loras", "lora", "lora_name")]
    digests = {"loader": MODEL_SHA256, "lora": LORA_SHA256}
    return [
        Material(kind, graph[at]["inputs"][name], NodeId(at), name, "hashed", 9, digests[at])
        for kind, at, name in named
    ]


def document_of(pixels: Pixels = IMAGE) -> Document:
    """Build the document of a record, not yet sealed."""
    graph = graph_of()
    prompt = to_prompt(graph)
    text = dump_prompt(prompt)
    sampling = read_samplings(prompt, OUTPUT.node_id)[-1]
    entry = to_sampling_entry(sampling)
    parameters = to_tuple(entry, prompt, sampling.model, materials_of(graph))
    subject = Subject(digest_pixels(pixels), pixels.width, pixels.height, pixels.channels)
    return {
        "version": 1,
        "generator": {"name": "comfyui-provenance", "version": "0.1.0"},
        "created": "2026-01-01T00:00:00+00:00",
        "graph": text,
        "graph_sha256": digest_text(text).hex,
        "output": {"node_id": "decode", "slot": 0},
        "tuple": parameters,
        "recipe": str(digest_value(parameters)),
        "samplings": [entry],
        "materials": [material.to_json() for material in materials_of(graph)],
        "environment": copy.deepcopy(ENVIRONMENT),
        "subject": subject.to_json(),
        "warnings": [],
    }


def record() -> Record:
    """Build a record of `IMAGE` in which everything agrees."""
    return seal(document_of())


def edited(edit: Edit, *, resealed: bool = False) -> Record:
    """Change the document of `record`.

    Args:
        edit: Changes it in place.
        resealed: Whether to make all its digests fit again, as a forger would.
    """
    document: Document = json.loads(record().dump())
    edit(document)
    if resealed:
        document["recipe"] = str(digest_value(document["tuple"]))
        document["graph_sha256"] = digest_text(document["graph"]).hex
        return seal(document)
    return parse_record(json.dumps(document))


def in_graph(node_id: str, name: str, value: object) -> Edit:
    """Give an edit that sets one input in the record's graph."""

    def edit(document: Document) -> None:
        graph = json.loads(document["graph"])
        graph[node_id]["inputs"][name] = value
        document["graph"] = json.dumps(graph, separators=(",", ":"))

    return edit


def at(*path: str | int, value: object) -> Edit:
    """Give an edit that sets one value of the document."""

    def edit(document: Document) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return edit


def replaced(material: Material, sha256: str | None) -> Material:
    """Give a material as it is when another file, or none, is in its place."""
    return replace(material, sha256=sha256, status="hashed" if sha256 else "missing")
