"""`verify`: compare an image with its record, another image with it, and the files it names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from ..compare import compare_pixels, is_explained, judge
from ..files import RecordedFile, read_file
from ..model_files import PlacedFile, count_states
from ..pixels import decode_pixels
from ..record import JsonObject
from ..verdict import Check, Level
from .command import Command, print_report
from .models import add_models, find_models


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image", type=Path, help="the image that carries the record, or a sidecar alone"
    )
    parser.add_argument("--against", type=Path, help="pixels to compare with that record")
    add_models(parser)


def _run(options: argparse.Namespace, out: TextIO) -> int:
    file = read_file(options.image)
    record = file.required()
    integrity = file.integrity()
    checks, difference = list(integrity.checks), None
    if options.against is not None:
        found = decode_pixels(options.against.read_bytes())
        check, difference = compare_pixels(
            "pixels",
            record.subject.digest,
            found,
            file.pixels,
            explained=is_explained(integrity.causes),
            is_lossy=record.subject.stored is not None,
        )
        checks.insert(0, check)
    elif file.pixels is None:
        expected, message = str(record.subject.in_file), "no pixels were checked"
        checks.append(Check("image", Level.UNKNOWN, expected, None, message))
    placed = find_models(record.materials, options.models)
    causes = [*integrity.causes, *(cause for item in placed if (cause := item.cause()))]
    details: JsonObject = {"materials": [item.to_json() for item in placed]}
    report = judge(
        checks,
        causes,
        difference,
        [*_notes(file, options, placed)],
        details=details if options.models else {},
    )
    status = print_report(report, options, out)
    if not options.json:
        out.writelines(f"- {item.message}\n" for item in placed)
    return status


def _notes(
    file: RecordedFile, options: argparse.Namespace, placed: list[PlacedFile]
) -> Iterator[str]:
    yield from file.notes
    if file.pixels is None:
        yield "a sidecar has no pixels: give the image itself to verify those"
    if options.models:
        yield f"model files: {count_states(placed)}"


COMMAND: Final = Command(
    "verify",
    "compare an image with its record, or another image with it",
    _add_arguments,
    _run,
    "Compare an image with its record, which may also be in the sidecar beside it. The exit "
    "status is that of the pixels and the record; files that --models does not find are told, "
    "and decide nothing.",
)
