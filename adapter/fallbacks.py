"""Fallbacks of core outside Deterministic Mode, which it tells in its log and nowhere else."""

from __future__ import annotations

import logging
from typing import Final

from ..src.comfyui_provenance.verdict import CauseKind
from .log_warnings import is_heard
from .mode import Demotion
from .runs import Run, remember

OPERATION: Final = "fallback"
"""Of a run that tells nothing but what fell back."""

_TOLD: Final = {
    "retrying with tiled VAE": Demotion(
        CauseKind.TILED_VAE, "its VAE ran out of memory and worked in tiles"
    ),
}
"""By a part of core's message, what it says (0.30.0: comfy/sd.py)."""


class _Ears(logging.Handler):
    """Notes a fallback for the node that is executing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what a message tells, unless Deterministic Mode tells it itself."""
        if is_heard() or not isinstance(record.msg, str):
            return
        for part, demotion in _TOLD.items():
            if part in record.msg:
                remember(Run(OPERATION, {}, (demotion,)))


def watch_fallbacks() -> None:
    """Listen from now on; once in a process."""
    root = logging.getLogger()
    if not any(isinstance(handler, _Ears) for handler in root.handlers):
        root.addHandler(_Ears(logging.WARNING))
