"""What ran, as seen from inside, until the image is saved.

ComfyUI caches a node's output, so the prompt that saves an image is often not the one
that sampled it. Reports are therefore kept by what was computed (`LivePrompt.digest_run`), not by
prompt, and a saved record says when its sampling came from an earlier prompt.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import Final

from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.record import JsonObject
from .live_prompt import live_prompt
from .mode import Demotion

_log = logging.getLogger(__name__)

_CAPACITY: Final = 2048
"""Nodes to remember: a few KB each."""


@dataclass(frozen=True, slots=True)
class Run:
    """One sampling, encoding or decoding that ran in this process.

    Attributes:
        operation: `sample`, `text_encode`, `text_generate`, `vae_encode` or `vae_decode`.
        entry: What it reported, as fields of a record.
        demotions: What of it was not pinned.
        trace: The latent after each step, as fields of a record's `trace` entry; `None` where
            it could not be followed.
        prompt_id: The prompt that ran it.
        node_id: The node that ran it.
    """

    operation: str
    entry: JsonObject
    demotions: tuple[Demotion, ...] = ()
    trace: JsonObject | None = None
    prompt_id: str = ""
    node_id: str = ""


_runs: OrderedDict[str, dict[int, list[Run]]] = OrderedDict()
_lock = Lock()
_collected: ContextVar[list[Run] | None] = ContextVar("collected", default=None)


@contextmanager
def collect_runs() -> Generator[list[Run]]:
    """Gather what runs inside, in order, instead of remembering it.

    Yields:
        A list that grows while things run.
    """
    runs: list[Run] = []
    token = _collected.set(runs)
    try:
        yield runs
    finally:
        _collected.reset(token)


def remember(run: Run) -> None:
    """Keep a report of the node that is executing, unless it is being collected.

    A new execution takes the place of an older one of the same computation; a node that
    samples several times in one execution keeps them all, in order.
    """
    collected = _collected.get()
    if collected is not None:
        collected.append(run)
        return
    context = get_executing_context()
    progress = get_progress_state()
    if context is None or progress.prompt_id != context.prompt_id:
        return
    try:
        digest = live_prompt(progress.dynprompt).digest_run(context.node_id)
    except (ProvenanceError, KeyError):
        # A prompt that we cannot read costs its report, and no sampling.
        _log.warning("could not remember what node %s ran", context.node_id, exc_info=True)
        return
    placed = Run(
        run.operation, run.entry, run.demotions, run.trace, context.prompt_id, context.node_id
    )
    _keep(digest, context.list_index or 0, placed)


def recall(run_digest: str, list_index: int | None) -> tuple[Run, ...]:
    """Give the reports of a computation, in order; none if this process did not run it.

    Args:
        run_digest: From `LivePrompt.digest_run`.
        list_index: Which of a list of inputs the node ran on, from 0; `None` where that is not
            known. A node that ran only once stands for every image of a list.
    """
    with _lock:
        runs = _runs.get(run_digest, {})
        if runs:
            _runs.move_to_end(run_digest)  # what is still in use is not forgotten
        place = 0 if len(runs) == 1 else list_index
        return tuple(runs.get(place, ())) if place is not None else ()


def recall_all(run_digest: str) -> tuple[Run, ...]:
    """Give the reports of a computation on every element of a list, in order; see `recall`."""
    with _lock:
        runs = _runs.get(run_digest, {})
        return tuple(run for place in sorted(runs) for run in runs[place])


def _keep(digest: str, list_index: int, run: Run) -> None:
    with _lock:
        kept = _runs.setdefault(digest, {})
        last = next((runs[-1] for runs in kept.values()), run)
        if (last.prompt_id, last.node_id) != (run.prompt_id, run.node_id):
            kept.clear()  # a new execution: what an older one left is stale
        kept.setdefault(list_index, []).append(run)
        _runs.move_to_end(digest)
        while len(_runs) > _CAPACITY:
            _runs.popitem(last=False)
