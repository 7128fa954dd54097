"""What commands have in common: their form, their exit status, and how a report is printed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TextIO

from ..canonical import JsonValue
from ..verdict import Level, Report

HOLDS: Final = 0
MISMATCH: Final = 1
UNREADABLE: Final = 2
UNKNOWN: Final = 3

STATUS: Final = {
    Level.BITWISE: HOLDS,
    Level.WITHIN_TOLERANCE: HOLDS,
    Level.MISMATCH: MISMATCH,
    Level.UNKNOWN: UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: As typed.
        help: One line for the list of commands.
        add_arguments: Adds its arguments to its parser, all but `--json`.
        run: Runs it and gives the exit status.
        description: What `COMMAND --help` says above the arguments.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, TextIO], int]
    description: str | None = None


def print_report(report: Report, options: argparse.Namespace, out: TextIO) -> int:
    """Print a report as it was asked for, and give its exit status."""
    if options.json:
        print_json(report.to_json(), out)
    else:
        out.write(f"{report.summary()}\n")
    return STATUS[report.level]


def print_json(value: JsonValue, out: TextIO) -> None:
    """Print a value as JSON, laid out for reading."""
    out.write(f"{json.dumps(value, indent=2)}\n")
