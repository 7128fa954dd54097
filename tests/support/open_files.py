"""A ComfyUI under strace: which files it really opened.

Nothing inside the process can tell that. Python's audit hook does not see what safetensors opens
from Rust, and a list kept by the pack under test would agree with the pack. strace asks the
kernel, and writes an opening down before the process goes on.

The pack hashes files, so it opens them too. To tell ComfyUI's openings from ours, watch a ComfyUI
without the pack: there are none of ours.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .prompts import Prompt
from .server import ComfyServer, History, ServerError

# Successful openings of all threads; `-y` gives each file's path as the kernel resolved it, `-D`
# leaves ComfyUI our own child and makes strace its companion. With `--seccomp-bpf` no other call
# than the named ones stops the process.
STRACE = (
    *("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-y", "-z"),
    *("-e", "trace=open,openat,openat2", "-e", "signal=none", "-s", "4096"),
)

# strace escapes `>` in a path, so the first one ends it.
OPENED = re.compile(
    r'^\d+ +open\w*\(.*?"(?:[^"\\]|\\.)*"(?:\.\.\.)?, (?:\{flags=)?(?P<flags>O_[A-Z_|]+)'
    r".*= \d+<(?P<path>[^>]*)>"
)
UNREAD = {"O_WRONLY", "O_PATH", "O_DIRECTORY"}


class WatchedServer(ComfyServer):
    """A ComfyUI that runs under strace."""

    def start(self) -> None:
        """Start ComfyUI under strace and wait until it answers.

        Raises:
            ServerError: strace cannot be used here, or as for any other server.
        """
        require_strace()
        super().start()

    def command(self) -> list[str]:
        """Give the command line."""
        return [*STRACE, "-o", str(self._calls), *super().command()]

    def watch(self, prompt: Prompt, **extra: Any) -> tuple[History, frozenset[Path]]:
        """Run a prompt, and tell which files were opened for reading meanwhile.

        Args:
            prompt: in API format.
            **extra: further fields of the request.

        Returns:
            How it ended, and the resolved paths of all files, those of Python's modules included.

        Raises:
            As `run`.
        """
        start = self._calls.stat().st_size
        history = self.run(prompt, **extra)
        with self._calls.open("rb") as calls:
            calls.seek(start)
            lines = calls.read().decode("ascii").splitlines()
        return history, frozenset(opened_for_reading(lines))

    @property
    def _calls(self) -> Path:
        return self.base / "strace.txt"


def require_strace() -> None:
    """See that strace is there and may be used.

    Raises:
        ServerError: it is not or it may not; with what to do.
    """
    if shutil.which("strace") is None:
        raise ServerError("expected strace on PATH: on Debian, apt-get install strace")
    with tempfile.NamedTemporaryFile() as calls:
        # strace lets the program run, and run to a good end, where it may not watch it.
        tried = subprocess.run(
            [*STRACE, "-o", calls.name, "true"], capture_output=True, text=True, timeout=30
        )
        if calls.read():
            return
    raise ServerError(
        "expected strace to be allowed: a container needs the capability SYS_PTRACE "
        "(docker run --cap-add=SYS_PTRACE), and kernel.yama.ptrace_scope must be at most 1. "
        f"strace said: {tried.stderr.strip() or f'nothing, exit code {tried.returncode}'}"
    )


def opened_for_reading(lines: Iterable[str]) -> set[Path]:
    """Read the paths of what was opened for reading from the lines that strace wrote."""
    paths: set[Path] = set()
    for line in lines:
        call = OPENED.match(line)
        if call and UNREAD.isdisjoint(call["flags"].split("|")):
            paths.add(Path(unescaped(call["path"])))
    return paths


def unescaped(text: str) -> str:
    """Give the path behind C's escapes, by which strace writes all that is not plain ASCII."""
    return os.fsdecode(text.encode("ascii").decode("unicode_escape").encode("latin-1"))


def files_below(folders: Sequence[Path]) -> dict[Path, Path]:
    """List the regular files in folders and their sub-folders, through links.

    Returns:
        The path by which each file is found there, by its resolved path.

    Raises:
        ValueError: two paths lead to one file, so that it has no one name.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        for parent, _, names in os.walk(folder, followlinks=True):
            for path in (Path(parent, name) for name in names):
                other = found.setdefault(path.resolve(), path)
                if other != path:
                    raise ValueError(f"expected one name of a file, got {other} and {path}")
    return found
