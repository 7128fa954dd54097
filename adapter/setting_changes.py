"""Changes of settings that a client asks for, each confirmed by whoever sees the server's console.

ComfyUI has no login: whoever reaches its page may queue what they like, and these settings say what
strangers' images may do and what is written into files. So a change is made only with a code that
is written to the process's own standard error. ComfyUI serves its log to the page
(`/internal/logs`, and over its WebSocket), and what it serves it takes from the objects that it put
in the place of `sys.stdout` and `sys.stderr`; nothing written past them is in it, nor in the log
files that `logging` fills.
"""

from __future__ import annotations

import hmac
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final, Generic, TypeVar

CODE_LIFE_S: Final = 300
"""How long a code is good for."""

_WRONG_CODES: Final = 5
_LOCKED_S: Final = 3600
"""So many wrong codes within an hour end all changes until it is over: whoever guesses finds a code
of a million within a day with a chance of 0.012 %."""

_ASKED: Final = 30
"""Changes to ask for within an hour: each writes a line to the console."""

_Value = TypeVar("_Value")


class Refused(Exception):  # noqa: N818 - reads as what happened
    """A change is not made; the message says why."""


@dataclass(frozen=True, slots=True)
class _Pending(Generic[_Value]):
    """A change that waits for its code.

    Attributes:
        value: What the setting is to become.
        code: Six digits. Never logged, never sent.
        until_s: When it is forgotten, by the clock.
    """

    value: _Value
    code: str
    until_s: float


class Changes(Generic[_Value]):
    """The changes that wait: at most one of each setting.

    Args:
        tell: Shows a code to whoever runs the server.
        clock: Gives seconds that never go back.
    """

    def __init__(
        self, tell: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._pending: dict[str, _Pending[_Value]] = {}
        self._wrong: list[float] = []
        self._asked: list[float] = []
        self._lock = Lock()

    def ask(self, name: str, value: _Value, description: str) -> None:
        """Ask for a change: it is to be confirmed with a code, which is told now.

        Args:
            name: Of a known setting. A change of it that waits already is dropped.
            value: What it is to become.
            description: What the change does, for whoever sees the console.

        Raises:
            Refused: Too much was asked for, or guessed.
        """
        with self._lock:
            now = self._clock()
            self._refuse_guessing(now)
            self._asked = _recent(self._asked, now)
            if len(self._asked) >= _ASKED:
                raise Refused("too many changes were asked for; try again in an hour")
            self._asked.append(now)
            code = f"{secrets.randbelow(1_000_000):06}"
            self._pending[name] = _Pending(value, code, now + CODE_LIFE_S)
        self._tell(code, description)

    def confirm(self, name: str, value: _Value, code: str) -> None:
        """Take a code for a change; it is good for once.

        Raises:
            Refused: It is not the code of this change, or there is none any more.
        """
        with self._lock:
            now = self._clock()
            self._refuse_guessing(now)
            pending = self._pending.get(name)
            if pending is None or now > pending.until_s:
                self._pending.pop(name, None)
                raise Refused(f"no change of {name} waits for a code; ask for it again")
            if pending.value != value:
                raise Refused(f"the code was given for another value of {name}; ask for it again")
            if not hmac.compare_digest(code.encode(), pending.code.encode()):
                self._wrong.append(now)
                self._refuse_guessing(now)
                raise Refused("this is not the code that the server's console shows")
            del self._pending[name]

    def _refuse_guessing(self, now: float) -> None:
        self._wrong = _recent(self._wrong, now)
        if len(self._wrong) >= _WRONG_CODES:
            raise Refused(
                f"{_WRONG_CODES} wrong codes were sent: no setting is changed here for an hour; "
                "the server's owner can edit the files, or restart ComfyUI"
            )


def has_console() -> bool:
    """Tell whether the process has a standard error to write to."""
    return sys.__stderr__ is not None


def tell_console(code: str, description: str) -> None:
    """Show a code to whoever runs the server, past everything that keeps a log.

    Args:
        code: The code.
        description: What it confirms.
    """
    console = sys.__stderr__
    if console is not None:
        console.write(
            f"\nComfyUI Provenance: somebody asks to change a setting: {description}.\n"
            f"To let that happen give the code {code} on the page within {CODE_LIFE_S // 60} "
            "minutes. If it was not you, do nothing.\n\n"
        )
        console.flush()


def _recent(times: list[float], now: float) -> list[float]:
    return [at for at in times if now - at < _LOCKED_S]
