"""`preflight`: ask a ComfyUI server what a rerun of an image would meet, without running it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final, TextIO

from .. import client
from ..plain_text import to_plain
from .command import HOLDS, UNKNOWN, Command

_WAIT_S: Final = 600.0
"""For the server to hash what it has not hashed yet."""

_LINE_CHARS: Final = 400
_CANNOT_RUN: Final = "cannot_run"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path)
    parser.add_argument("--server", default="http://127.0.0.1:8188", help="default: %(default)s")


def _run(options: argparse.Namespace, out: TextIO) -> int:
    data = options.image.read_bytes()
    answer = client.preflight(data, options.image.name, options.server, wait_s=_WAIT_S)
    if options.json:
        out.write(f"{json.dumps(answer, indent=2)}\n")
    else:
        lines = str(answer.get("summary", answer.get("line", ""))).split("\n")
        out.write("".join(f"{to_plain(line, _LINE_CHARS)}\n" for line in lines))
    return UNKNOWN if answer.get("expect") == _CANNOT_RUN else HOLDS


COMMAND: Final = Command(
    "preflight",
    "say whether an image can be made on a server, before running it",
    _add_arguments,
    _run,
)
