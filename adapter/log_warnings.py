"""What ComfyUI and its packs warn of in their log while something runs.

Much of what silently goes another way is told there and nowhere else: an attention kernel
that failed, a textual inversion that was not found, a retry for lack of memory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from .probes import hide_private

HEARD_LIMIT: Final = 20
"""Messages to keep of one run."""

_SHOWN_CHARS: Final = 200

_is_heard: ContextVar[bool] = ContextVar("is_heard", default=False)


class _Ears(logging.Handler):
    """Collects the warnings of one thread."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message once, without what could tell whose machine this is."""
        if record.thread != self._thread or len(self._messages) >= HEARD_LIMIT:
            return
        try:
            text = " ".join(record.getMessage().split())
        except Exception:  # noqa: BLE001 - another pack's message that cannot be formatted
            return
        text = hide_private(text)[:_SHOWN_CHARS]
        if text not in self._messages:
            self._messages.append(text)


@contextmanager
def heard_warnings() -> Generator[list[str]]:
    """Collect what is logged inside as a warning or worse.

    Yields:
        A list that grows while things run: each message once, on one line, cut short, without
        paths and without the names of machine and user.
    """
    messages: list[str] = []
    token = _is_heard.set(True)
    ears = _Ears(messages)
    root = logging.getLogger()
    root.addHandler(ears)
    try:
        yield messages
    finally:
        root.removeHandler(ears)
        _is_heard.reset(token)


def is_heard() -> bool:
    """Tell whether somebody collects what is logged now."""
    return _is_heard.get()
