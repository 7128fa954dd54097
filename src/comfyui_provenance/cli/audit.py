"""`audit`: judge all images of some folders by themselves."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from ..audit import Audited, Spool, State, Tally, audit_files, find_images, write_page
from ..folders import Passed
from ..new_files import open_new, refuse_taken
from ..plain_text import to_plain
from ..record import JsonObject
from .command import HOLDS, MISMATCH, UNKNOWN, UNREADABLE, Command
from .progress import Progress

_SHOWN_GROUPS: Final = 20
_MODEL_CHARS: Final = 32
_PATH_CHARS: Final = 1000
_COLUMNS: Final = "{:<16}  {:<16}  {:>20}  {:<35}  {}\n"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="with all below it")
    parser.add_argument("--all", action="store_true", help="list bitwise images, too")
    parser.add_argument(
        "--jsonl", type=Path, metavar="FILE", help="write a line of JSON for each image there"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write one page with small pictures there"
    )


def _run(options: argparse.Namespace, out: TextIO) -> int:
    for path in (options.jsonl, options.html):
        if path is not None:
            refuse_taken(path)
    passed = Passed()
    paths, others = find_images(options.folders, passed)
    notes = [*_notes(passed, others)]
    tally = Tally()
    with ExitStack() as stack:
        spool = stack.enter_context(Spool())
        lines = stack.enter_context(open_new(options.jsonl)) if options.jsonl else None
        for found in _judge_all(paths, thumbnails=options.html is not None):
            tally.add(found)
            spool.add(found)
            _write_line(found.to_json(), options, lines, out)
        _write_line({"summary": {**tally.to_json(), "notes": [*notes]}}, options, lines, out)
        if not options.json:
            _print(tally, notes, spool, options, out)
        if options.html is not None:
            with open_new(options.html) as page:
                write_page(page, tally, spool, notes)
    return _status(tally)


def _judge_all(paths: Sequence[str], *, thumbnails: bool) -> Iterator[Audited]:
    # Closed at once, not when it is collected: after an interruption nothing is to run on.
    with (
        Progress(sys.stderr, "files") as progress,
        closing(audit_files(paths, thumbnails=thumbnails)) as answers,
    ):
        for done, found in enumerate(answers, 1):
            progress(done, len(paths))
            yield found


def _write_line(
    value: JsonObject, options: argparse.Namespace, lines: BinaryIO | None, out: TextIO
) -> None:
    line = json.dumps(value) + "\n"
    if lines is not None:
        lines.write(line.encode("ascii"))
    if options.json:
        out.write(line)


def _notes(passed: Passed, others: int) -> Iterator[str]:
    counts = (
        (others, "file of another kind", "files of other kinds"),
        (passed.others, "link or device that is no file", "links or devices that are no files"),
        (passed.folders, "folder that cannot be read", "folders that cannot be read"),
        (passed.links, "further name of a folder", "further names of folders"),
    )
    told = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    if told:
        yield f"passed over: {', '.join(told)}"


def _print(
    tally: Tally,
    notes: Sequence[str],
    found: Iterable[Audited],
    options: argparse.Namespace,
    out: TextIO,
) -> None:
    counts = (f"{tally.states[state]} {_told(state)}" for state in State if tally.states[state])
    out.write(f"{tally.count} images: {', '.join(counts) or 'none'}\n")
    if tally.causes:
        causes = (f"{to_plain(kind)} {count}" for kind, count in tally.causes.most_common())
        out.write(f"First causes: {', '.join(causes)}\n")
    out.writelines(f"Note: {to_plain(note)}\n" for note in notes)
    _print_rows(found, options, out)
    _print_groups(
        "The same pixels with different records:",
        [", ".join(map(to_plain, group)) for group in tally.duplicates],
        out,
    )
    _print_groups(
        "Records of other files:",
        [f"{to_plain(file)} carries that of {to_plain(other)}" for file, other in tally.foreign],
        out,
    )


def _print_rows(found: Iterable[Audited], options: argparse.Namespace, out: TextIO) -> None:
    is_begun = False
    for item in found:
        if item.state is State.BITWISE and not options.all:
            continue
        if not is_begun:
            out.write("\n" + _COLUMNS.format("LEVEL", "FIRST CAUSE", "SEED", "MODEL", "FILE"))
            is_begun = True
        model = to_plain(item.model or "-", _MODEL_CHARS)
        cells = (_told(item.state), item.cause or "-", item.seed or "-", model)
        out.write(_COLUMNS.format(*cells, to_plain(item.file, _PATH_CHARS)))
        # Of a mismatch the cause says it; why there is none to judge, nothing else does.
        if item.message and item.cause is None:
            out.write(f"    {to_plain(item.message)}\n")


def _print_groups(title: str, items: Sequence[str], out: TextIO) -> None:
    if not items:
        return
    out.write(f"\n{title}\n")
    out.writelines(f"- {item}\n" for item in items[:_SHOWN_GROUPS])
    if len(items) > _SHOWN_GROUPS:
        out.write(f"and {len(items) - _SHOWN_GROUPS} more\n")


def _told(state: State) -> str:
    return state.value.replace("_", " ")


def _status(tally: Tally) -> int:
    states = tally.states
    if states[State.MISMATCH]:
        return MISMATCH
    if tally.count == states[State.UNREADABLE]:
        return UNREADABLE
    return HOLDS if states[State.BITWISE] or states[State.WITHIN_TOLERANCE] else UNKNOWN


COMMAND: Final = Command(
    "audit",
    "judge all images of some folders",
    _add_arguments,
    _run,
    "Judge every PNG, JPEG and WebP file below some folders by its own record, over all cores. "
    "With --json a line for each image, and a last one with the summary. Exit status: 0 nothing "
    "is a mismatch, 1 something is, 2 nothing could be read, 3 nothing could be established.",
)
