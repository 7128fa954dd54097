"""What samplings reported from inside, until the image is saved.

ComfyUI caches a sampler's output, so the prompt that saves an image is often not the
one that sampled it. Reports are therefore kept by what was computed (`digest_run`), not
by prompt, and a saved record says when its sampling came from an earlier prompt.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Final

from ..src.comfyui_provenance.record import JsonObject

_CAPACITY: Final = 1024
"""Samplings to remember: about 2 KB each."""


@dataclass(frozen=True, slots=True)
class Run:
    """One sampling that ran in this process.

    Attributes:
        prompt_id: The prompt that ran it.
        entry: What it reported, as fields of a record's `samplings` entry.
        trace: The latent after each step, as fields of a record's `trace` entry; `None` where
            it could not be followed.
    """

    prompt_id: str
    entry: JsonObject
    trace: JsonObject | None


_runs: OrderedDict[str, dict[int, Run]] = OrderedDict()
_lock = Lock()


def remember(run_digest: str, list_index: int, run: Run) -> None:
    """Keep a report, in place of an older one of the same computation.

    Args:
        run_digest: From `digest_run`.
        list_index: Which of a list of inputs the node ran on, from 0.
        run: The report.
    """
    with _lock:
        if list_index == 0:
            _runs.pop(run_digest, None)  # a new execution: what an older one left is stale
        _runs.setdefault(run_digest, {})[list_index] = run
        _runs.move_to_end(run_digest)
        while len(_runs) > _CAPACITY:
            _runs.popitem(last=False)


def recall(run_digest: str, list_index: int) -> Run | None:
    """Give the report of a computation, if this process ran it.

    A node that ran only once stands for every image of a list.
    """
    with _lock:
        runs = _runs.get(run_digest, {})
        return runs.get(0 if len(runs) == 1 else list_index)
