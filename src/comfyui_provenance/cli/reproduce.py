"""`reproduce`: let a ComfyUI server run the graph of an image again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final, TextIO

from .. import client
from ..client import Progress
from ..files import read_file
from ..plain_text import to_plain
from ..verdict import parse_report
from .command import Command, print_report

_LINE_CHARS: Final = 76
"""A terminal has 80: a longer line could not be written over by the next one."""

_INTERRUPTED: Final = 130
"""As a shell has it for a program that the user stopped."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path)
    parser.add_argument("--server", default="http://127.0.0.1:8188", help="default: %(default)s")


def _run(options: argparse.Namespace, out: TextIO) -> int:
    file = read_file(options.image)
    sidecar = file.sidecar.data if file.sidecar is not None else None
    line = _Line(sys.stderr)
    try:
        answer = client.reproduce(
            file.data, file.name, options.server, line.show if line.is_shown else None, sidecar
        )
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the server was asked to drop the run\n")
        return _INTERRUPTED
    finally:
        line.clear()
    return print_report(parse_report(answer), options, out)


class _Line:
    """One line of a terminal that tells how far a run is.

    Attributes:
        is_shown: Whether there is a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_shown = stream.isatty()

    def show(self, progress: Progress) -> None:
        """Write over what was there."""
        text = to_plain(progress.text or progress.state, _LINE_CHARS)
        self._stream.write(f"\r{text:<{_LINE_CHARS}}")
        self._stream.flush()

    def clear(self) -> None:
        """Leave the line empty."""
        if self.is_shown:
            self._stream.write(f"\r{'':<{_LINE_CHARS}}\r")
            self._stream.flush()


COMMAND: Final = Command(
    "reproduce", "let a ComfyUI server run the graph again", _add_arguments, _run
)
