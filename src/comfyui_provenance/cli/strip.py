"""`strip`: make a copy of an image without metadata."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final, TextIO

from ..containers import embed, strip
from ..files import read_file
from ..new_files import write_new
from ..pixels import decode_pixels, digest_pixels
from ..plain_text import to_plain
from ..record import KEYWORD, seal
from ..redaction import redact_record
from .command import HOLDS, Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path)
    parser.add_argument("copy", type=Path, help="where to write it; never over another file")
    parser.add_argument(
        "--redact", action="store_true", help="keep the record, as `show --redact` gives it"
    )


def _run(options: argparse.Namespace, out: TextIO) -> int:
    copy = strip(options.image.read_bytes())
    if options.redact:
        record = read_file(options.image, beside=False).required()
        copy = embed(copy, {KEYWORD: seal(redact_record(record.document)).dump()})
    digest = str(digest_pixels(decode_pixels(copy)))
    write_new(options.copy, copy)
    answer = {"file": options.copy.name, "bytes": len(copy), "pixels": digest}
    text = json.dumps(answer) if options.json else f"{to_plain(options.copy.name)}: {digest}"
    out.write(f"{text}\n")
    return HOLDS


COMMAND: Final = Command(
    "strip",
    "make a copy without metadata, its coded pixels byte for byte the same",
    _add_arguments,
    _run,
)
