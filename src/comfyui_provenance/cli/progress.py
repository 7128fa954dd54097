"""A line on a terminal that tells how far a long command has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, TextIO

_BAR_CHARS: Final = 24
_EVERY_S: Final = 0.1
_UNITS: Final = (("GB", 10**9), ("MB", 10**6), ("KB", 10**3))


class Progress:
    """A bar that is drawn over itself, and taken away at the end; nothing where no one looks."""

    def __init__(
        self, stream: TextIO, unit: str, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with nothing drawn.

        Args:
            stream: Standard error; drawn on only where it is a terminal.
            unit: What is counted: `files`, `bytes`.
            now_s: Gives the time, in seconds from any moment.
        """
        self._stream = stream
        self._unit = unit
        self._now_s = now_s
        self._is_shown = stream.isatty()
        self._began_s = now_s()
        self._drawn_s = float("-inf")
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._draw("")

    def __call__(self, done: int, total: int) -> None:
        """Tell how much is done; drawn ten times a second at most."""
        now_s = self._now_s()
        if not self._is_shown or now_s - self._drawn_s < _EVERY_S:
            return
        self._drawn_s = now_s
        part = done / total if total else 1.0
        filled = round(part * _BAR_CHARS)
        bar = "#" * filled + "." * (_BAR_CHARS - filled)
        left_s = (now_s - self._began_s) * (1 - part) / part if part else None
        left = f", {_clock(left_s)} left" if left_s is not None else ""
        self._draw(f"[{bar}] {self._count(done)} of {self._count(total)} {self._words}{left}")

    @property
    def _words(self) -> str:
        return "" if self._unit == "bytes" else self._unit

    def _count(self, number: int) -> str:
        if self._unit != "bytes":
            return str(number)
        name, size = next((unit for unit in _UNITS if number >= unit[1]), ("bytes", 1))
        return f"{number / size:.1f} {name}" if size > 1 else f"{number} {name}"

    def _draw(self, text: str) -> None:
        if self._is_shown and (text or self._width):
            self._stream.write(f"\r{text.ljust(self._width)}{'' if text else chr(13)}")
            self._stream.flush()
            self._width = len(text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
