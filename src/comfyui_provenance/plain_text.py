"""Strangers' text on one line: names and values that must neither steer a terminal nor fill it."""

from __future__ import annotations

from typing import Final

SHOWN_CHARS: Final = 200
"""Of one name or value; longer than any digest."""


def to_plain(text: str, limit: int | None = SHOWN_CHARS) -> str:
    """Cut a text short unless the limit is `None`, and escape what does not print.

    That is line ends, controls and bidirectional overrides.
    """
    shown = text if limit is None or len(text) <= limit else f"{text[:limit]}..."
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown)
