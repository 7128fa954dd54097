"""The command line: `python -m comfyui_provenance show|strip|verify|reproduce`.

Exit status: 0 the verdict holds, 1 it is a mismatch, 2 a file cannot be read or the usage is
wrong, 3 nothing could be established.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

from . import __version__, client
from .compare import compare_pixels, is_explained, judge
from .containers import embed, extract, strip
from .digest import digest_file
from .errors import ContainerError, NoRecordError, ProvenanceError
from .integrity import compare_integrity
from .pixels import Pixels, decode_pixels, digest_pixels
from .record import KEYWORD, Record, parse_record, seal, summarise
from .redaction import redact_record
from .verdict import Level, Report, parse_report

_UNREADABLE: Final = 2
_STATUS: Final = {
    Level.BITWISE: 0,
    Level.WITHIN_TOLERANCE: 0,
    Level.MISMATCH: 1,
    Level.UNKNOWN: 3,
}


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    """Run a command and give its exit status.

    Args:
        arguments: Without the program's name; `sys.argv` if not given.
        out: Where to print; standard output if not given.
    """
    options = _parser().parse_args(arguments)
    stream = out or sys.stdout
    try:
        status: int = options.run(options, stream)
    except (ProvenanceError, OSError, RecursionError) as error:
        sys.stderr.write(f"error: {error}\n")
        return _UNREADABLE
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="comfyui-provenance",
        description="Show, verify and reproduce images that carry a provenance record.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    show = commands.add_parser("show", help="print the record of an image")
    show.add_argument("image", type=Path)
    show.add_argument(
        "--redact",
        action="store_true",
        help="leave out prompts, names of input files and secrets; digests and parameters stay",
    )
    show.set_defaults(run=_show)

    strip = commands.add_parser(
        "strip", help="make a copy without metadata, its coded pixels byte for byte the same"
    )
    strip.add_argument("image", type=Path)
    strip.add_argument("copy", type=Path, help="where to write it; never over another file")
    strip.add_argument(
        "--redact", action="store_true", help="keep the record, as `show --redact` gives it"
    )
    strip.set_defaults(run=_strip)

    verify = commands.add_parser(
        "verify", help="compare an image with its record, or another image with it"
    )
    verify.add_argument("image", type=Path, help="the image that carries the record")
    verify.add_argument("--against", type=Path, help="pixels to compare with that record")
    verify.set_defaults(run=_verify)

    reproduce = commands.add_parser("reproduce", help="let a ComfyUI server run the graph again")
    reproduce.add_argument("image", type=Path)
    reproduce.add_argument("--server", default="http://127.0.0.1:8188", help="default: %(default)s")
    reproduce.set_defaults(run=_reproduce)

    for command in (show, strip, verify, reproduce):
        command.add_argument("--json", action="store_true", help="print JSON for machines")
    return parser


def _show(options: argparse.Namespace, out: TextIO) -> int:
    record, _, _ = _read(options.image)
    if options.redact:
        record = _redacted(record)
    out.write(f"{record.dump() if options.json else summarise(record)}\n")
    return 0


def _strip(options: argparse.Namespace, out: TextIO) -> int:
    data = options.image.read_bytes()
    copy = strip(data)
    if options.redact:
        record, _, _ = _read(options.image)
        copy = embed(copy, {KEYWORD: _redacted(record).dump()})
    digest = str(digest_pixels(decode_pixels(copy)))
    _write_new(options.copy, copy)
    answer = {"file": options.copy.name, "bytes": len(copy), "pixels": digest}
    text = json.dumps(answer) if options.json else f"{options.copy.name}: {digest}"
    out.write(f"{text}\n")
    return 0


def _write_new(path: Path, data: bytes) -> None:
    """Write a whole file under a new name, or none."""
    try:
        file = path.open("xb")
    except FileExistsError as error:
        raise ContainerError(f"{path.name}: expected a new name, got one that is taken") from error
    try:
        with file:
            file.write(data)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _redacted(record: Record) -> Record:
    return seal(redact_record(record.document))


def _verify(options: argparse.Namespace, out: TextIO) -> int:
    record, pixels, texts = _read(options.image)
    integrity = compare_integrity(record, pixels, texts.get("prompt"), texts.get("workflow"))
    checks, difference = list(integrity.checks), None
    if options.against is not None:
        found = decode_pixels(options.against.read_bytes())
        check, difference = compare_pixels(
            "pixels",
            record.subject.digest,
            found,
            pixels,
            explained=is_explained(integrity.causes),
            is_lossy=record.subject.stored is not None,
        )
        checks.insert(0, check)
    return _print_report(judge(checks, integrity.causes, difference), options, out)


def _reproduce(options: argparse.Namespace, out: TextIO) -> int:
    answer = client.reproduce(options.image.read_bytes(), options.image.name, options.server)
    return _print_report(parse_report(answer), options, out)


def _read(path: Path) -> tuple[Record, Pixels, dict[str, str]]:
    data = path.read_bytes()
    texts = extract(data)
    if KEYWORD not in texts:
        raise NoRecordError(f"{path.name}: this image carries no record ({digest_file(path)})")
    pixels = decode_pixels(data)
    return parse_record(texts[KEYWORD]).read_for(digest_pixels(pixels)), pixels, texts


def _print_report(report: Report, options: argparse.Namespace, out: TextIO) -> int:
    text = json.dumps(report.to_json(), indent=2) if options.json else report.summary()
    out.write(f"{text}\n")
    return _STATUS[report.level]
