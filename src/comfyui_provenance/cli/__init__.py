"""The command line: `python -m comfyui_provenance COMMAND`.

Exit status: 0 the verdict holds, 1 it is a mismatch, 2 a file cannot be read or the usage is
wrong, 3 nothing could be established.

A command is one module with a `COMMAND`, and its line in the list below.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from .. import __version__
from ..errors import ProvenanceError
from ..plain_text import to_plain
from . import audit, diff, preflight, reproduce, show, snapshot, strip, verify
from .command import UNREADABLE, Command

_MESSAGE_CHARS: Final = 4000

_COMMANDS: Final[tuple[Command, ...]] = (
    show.COMMAND,
    strip.COMMAND,
    verify.COMMAND,
    diff.COMMAND,
    preflight.COMMAND,
    reproduce.COMMAND,
    snapshot.COMMAND,
    audit.COMMAND,
)


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    """Run a command and give its exit status.

    Args:
        arguments: Without the program's name; `sys.argv` if not given.
        out: Where to print; standard output if not given.
    """
    options = _parser().parse_args(arguments)
    stream = out or sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        # A pipe on Windows has an encoding that lacks most characters.
        stream.reconfigure(errors="backslashreplace")
    try:
        status: int = options.run(options, stream)
    except (ProvenanceError, OSError, RecursionError) as error:
        # Line by line: a server's message may have several.
        lines = [to_plain(line, _MESSAGE_CHARS) for line in str(error).split("\n")]
        sys.stderr.write("error: " + "\n".join(lines) + "\n")
        return UNREADABLE
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="comfyui-provenance",
        description="Show, verify and reproduce images that carry a provenance record.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        added = commands.add_parser(
            command.name, help=command.help, description=command.description
        )
        command.add_arguments(added)
        added.add_argument("--json", action="store_true", help="print JSON for machines")
        added.set_defaults(run=command.run)
    return parser
