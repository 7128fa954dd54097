"""A measurement that is made once, while no prompt can begin."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

_Value = TypeVar("_Value")


class MeasuredOnce(Generic[_Value]):
    """A value that is not known before it was measured.

    Args:
        measure: Measures it.
    """

    def __init__(self, measure: Callable[[], _Value]) -> None:
        self._measure = measure
        self._measured: list[_Value] = []
        self._lock = Lock()

    def get(self, queue: Any) -> _Value | None:
        """Give the value; `None` where it is not known and cannot be measured now.

        Who asks while it is being measured waits for that.

        Args:
            queue: ComfyUI's queue of prompts. Nothing is measured while one of them runs, and
                none can begin meanwhile.
        """
        if not self._measured:
            # Only one may take the queue: ComfyUI's own thread needs it, too, to answer its
            # clients, and would wait behind everybody who wants to know.
            with self._lock:
                if not self._measured:
                    self._measure_if_free(queue)
        return self._measured[0] if self._measured else None

    def _measure_if_free(self, queue: Any) -> None:
        with queue.mutex:
            if not queue.currently_running:
                self._measured.append(self._measure())
