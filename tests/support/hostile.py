"""Hostile image files, each made from a real saved image, with what must become of it.

`hostile_files` holds the files whose bytes attack a reader; `hostile_graphs`, `hostile_numbers` and
`hostile_work` those whose graph asks a server for what it must not do. Nothing is built before it
is asked for: some are large.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from comfyui_provenance.containers import extract
from comfyui_provenance.containers.png import embed_text, remove_text
from comfyui_provenance.digest import digest_text
from comfyui_provenance.record import KEYWORD, seal

from .tampering import Edit, edit_graph

Outcome = Literal["refused", "unrunnable", "doubted", "judged", "right"]
"""`refused`: an error with a reason; `unrunnable`: a report of what is missing here. The others
ran and have a report: `doubted` one that is not bitwise, `judged` one of any level, `right` a
bitwise one, since only what is harmless was added."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One hostile file.

    Attributes:
        name: The attack, in a phrase.
        build: Makes the file from a PNG that was saved by this pack.
        outcome: What must become of it when it is reproduced.
        message: What a refusal must say, as a regular expression.
        file_name: What it is called when it is uploaded.
    """

    name: str
    build: Callable[[bytes], bytes]
    outcome: Outcome
    message: str = ""
    file_name: str = "hostile.png"


def graph(name: str, edit: Edit, message: str) -> Hostile:
    """Give a file whose graph is refused; all its digests fit, as a forger would make them."""
    return Hostile(name, resealed(edit), "refused", message)


def judged_graph(name: str, edit: Edit, outcome: Outcome = "judged") -> Hostile:
    """Give a file whose graph may run."""
    return Hostile(name, resealed(edit), outcome)


def resealed(edit: Edit) -> Callable[[bytes], bytes]:
    """Give what changes the graph of a file and makes its digests fit."""
    return lambda data: edit_graph(data, edit, resealed=True)


def with_graph_text(make: Callable[[str], str]) -> Callable[[bytes], bytes]:
    """Give what replaces the graph's text, which need not be JSON, and makes the digests fit."""

    def build(data: bytes) -> bytes:
        record = json.loads(extract(data)[KEYWORD])
        record["graph"] = make(record["graph"])
        record["graph_sha256"] = digest_text(record["graph"]).hex
        return embed_text(data, {KEYWORD: seal(record).dump()})

    return build


def with_record(edit: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    """Give what changes the record and makes its digest fit."""

    def build(data: bytes) -> bytes:
        record = json.loads(extract(data)[KEYWORD])
        edit(record)
        return embed_text(data, {KEYWORD: seal(record).dump()})

    return build


def with_record_text(make: Callable[[str], str]) -> Callable[[bytes], bytes]:
    """Give what replaces the record's text."""
    return lambda data: embed_text(data, {KEYWORD: make(extract(data)[KEYWORD])})


def with_prompt_alone(make: Callable[[str], str]) -> Callable[[bytes], bytes]:
    """Give what takes the record away and replaces ComfyUI's own prompt."""

    def build(data: bytes) -> bytes:
        return embed_text(remove_text(data, [KEYWORD]), {"prompt": make(extract(data)["prompt"])})

    return build
