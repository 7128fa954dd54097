"""`diff`: tell what makes two images differ."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, TextIO

from ..comparison import compare_images
from ..files import RecordedFile, read_file
from ..record import Record
from ..stock_record import record_from_prompt
from .command import Command, print_report


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path, help="an image or a sidecar; its values are `recorded`")
    parser.add_argument("second", type=Path, help="the other one; its values are `now`")


def _run(options: argparse.Namespace, out: TextIO) -> int:
    files = read_file(options.first), read_file(options.second)
    records = _record_of(files[0]), _record_of(files[1])
    report = compare_images(*records, (files[0].pixels, files[1].pixels))
    return print_report(report, options, out)


def _record_of(file: RecordedFile) -> Record:
    """Give a file's record, or what ComfyUI's own prompt tells in its place."""
    prompt = file.texts.get("prompt")
    if file.record is None and file.problem is None and prompt is not None and file.pixels:
        return record_from_prompt(prompt, file.pixels)
    return file.required()


COMMAND: Final = Command(
    "diff", "tell what makes two images differ, the most consequential first", _add_arguments, _run
)
