"""`diff`: tell what makes two images differ."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, TextIO

from ..comparison import compare_files
from ..files import read_file
from .command import Command, print_report


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path, help="an image or a sidecar; its values are `recorded`")
    parser.add_argument("second", type=Path, help="the other one; its values are `now`")


def _run(options: argparse.Namespace, out: TextIO) -> int:
    report = compare_files(read_file(options.first), read_file(options.second))
    return print_report(report, options, out)


COMMAND: Final = Command(
    "diff", "tell what makes two images differ, the most consequential first", _add_arguments, _run
)
