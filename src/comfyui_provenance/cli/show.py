"""`show`: print the record of an image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, TextIO

from ..files import read_file
from ..record import seal, summarise
from ..redaction import redact_record
from .command import HOLDS, Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="an image, or a sidecar")
    parser.add_argument(
        "--redact",
        action="store_true",
        help="leave out prompts, names of input files and secrets; digests and parameters stay",
    )


def _run(options: argparse.Namespace, out: TextIO) -> int:
    record = read_file(options.image).required()
    if options.redact:
        record = seal(redact_record(record.document))
    out.write(f"{record.dump() if options.json else summarise(record)}\n")
    return HOLDS


COMMAND: Final = Command("show", "print the record of an image", _add_arguments, _run)
