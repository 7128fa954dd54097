"""`snapshot`: list what to keep for a rerun in years, copy it, and check what was kept."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final, TextIO

from ..files import read_file
from ..model_files import PlacedFile, State, count_states
from ..new_files import refuse_taken, write_new
from ..plain_text import to_plain
from ..record import JsonObject
from ..snapshot import (
    Copied,
    Finding,
    check_snapshot,
    copy_snapshot,
    dump_snapshot,
    tell_snapshot,
    to_snapshot,
)
from ..verdict import Level
from .command import HOLDS, MISMATCH, UNKNOWN, UNREADABLE, Command, print_json
from .models import add_models, find_models
from .progress import Progress


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, nargs="?", help="an image, or a sidecar")
    add_models(parser)
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the list there; never over another file"
    )
    parser.add_argument(
        "--copy-to",
        type=Path,
        metavar="DIR",
        help="copy there what --models finds, with the image and the list",
    )
    parser.add_argument(
        "--check", type=Path, metavar="FILE_OR_DIR", help="hash a snapshot's files anew"
    )


def _run(options: argparse.Namespace, out: TextIO) -> int:
    makes = options.models or options.output or options.copy_to
    if (options.image is None) == (options.check is None) or (options.check and makes):
        sys.stderr.write("error: expected an image, or --check FILE_OR_DIR alone\n")
        return UNREADABLE
    if options.copy_to is not None and not options.models:
        sys.stderr.write("error: expected --models DIR with --copy-to\n")
        return UNREADABLE
    if options.check is not None:
        return _check(options, out)
    return _make(options, out)


def _make(options: argparse.Namespace, out: TextIO) -> int:
    if options.output is not None:
        refuse_taken(options.output)
    file = read_file(options.image)
    document = to_snapshot(file)
    notes = [*file.notes]
    if any(check.level is Level.MISMATCH for check in file.integrity().checks):
        notes.append("the record does not agree with itself or its file: verify it")
    placed = find_models(file.required().materials, options.models)
    copied: list[Copied] = []
    if options.copy_to is not None:
        with Progress(sys.stderr, "bytes") as progress:
            copied = [*copy_snapshot(options.copy_to, file, placed, progress)]
    if options.output is not None:
        write_new(options.output, dump_snapshot(document))
    if options.json:
        print_json(_answer(document, notes, placed, copied), out)
    else:
        lines = [*tell_snapshot(document), *(f"Note: {to_plain(note)}" for note in notes)]
        if options.models:
            lines.append(f"Files: {count_states(placed)}")
            lines += [f"- {item.message}" for item in placed]
        lines += [f"- {item.message}" for item in copied]
        out.write("".join(f"{line}\n" for line in lines))
    return _status(placed, copied)


def _answer(
    document: JsonObject, notes: list[str], placed: list[PlacedFile], copied: list[Copied]
) -> JsonObject:
    return {
        **document,
        "notes": [*notes],
        "found": [item.to_json() for item in placed],
        "copied": [item.to_json() for item in copied],
    }


def _status(placed: list[PlacedFile], copied: list[Copied]) -> int:
    """Give the exit status: whether every file that was looked for is there."""
    lacking = {item.state for item in placed if not item.is_found}
    if lacking - {State.NOT_RECORDED} or not all(item.done for item in copied):
        return MISMATCH
    return UNKNOWN if lacking else HOLDS


def _check(options: argparse.Namespace, out: TextIO) -> int:
    with Progress(sys.stderr, "bytes") as progress:
        found = [*check_snapshot(options.check, progress)]
    if options.json:
        print_json({"files": [item.to_json() for item in found]}, out)
    else:
        for item in found:
            out.write(f"- {item.finding.value}: {to_plain(item.place)}\n")
        whole = sum(item.finding is Finding.WHOLE for item in found)
        out.write(f"{whole} of {len(found)} files are whole\n")
    findings = {item.finding for item in found}
    if findings & {Finding.OTHER, Finding.MISSING}:
        return MISMATCH
    return HOLDS if findings == {Finding.WHOLE} else UNKNOWN


COMMAND: Final = Command(
    "snapshot",
    "list, copy or check the files to keep for a rerun in years",
    _add_arguments,
    _run,
    "List what made an image: every file with its digest, ComfyUI, node packs, packages and the "
    "machine. With --copy-to the files go into one folder, verified while they are copied; "
    "--check hashes such a folder anew. Exit status: 0 all that was asked for is there, 1 "
    "something is missing or another file, 2 cannot be read or written, 3 the record does not "
    "tell the digest of a file.",
)
