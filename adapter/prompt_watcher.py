"""Watches every prompt that ComfyUI runs, whatever nodes are in it.

ComfyUI calls it as a cache provider. It never offers or takes a cached value: it is told
when a prompt starts, before a node runs, and when it has run.
"""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import Caching
from comfy_execution.progress import get_progress_state
from server import PromptServer

from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId
from ..src.comfyui_provenance.graph.rebuild import with_values
from ..src.comfyui_provenance.record import JsonValue
from .ledger import remember_digests
from .live_prompt import LivePrompt, begin_prompt, end_prompt, live_prompt
from .loaded_files import forget_queued, note_load, note_queued, now_ns
from .materials import find_files, find_files_of
from .outputs import keep_outputs, recall_outputs
from .reproduce import forget_jobs
from .stock_saves import (
    forget_metadata,
    is_stock_save,
    metadata_of,
    offer_record,
    withdraw_record,
)

_log = logging.getLogger(__name__)


class PromptWatcher(Caching.CacheProvider):
    """Notes which graphs run here, which files they load, and what their nodes give."""

    def __init__(self) -> None:
        self._extra_pnginfo: Any = None
        self._files: set[str] = set()
        self._started_ns: int | None = None

    def on_prompt_start(self, prompt_id: str) -> None:
        """Note the graph of each value that an output node takes, and the files behind it."""
        self._forget()
        self._started_ns = now_ns()
        self._extra_pnginfo = metadata_of(prompt_id)
        running = PromptServer.instance.prompt_queue.get_current_queue_volatile()[0]
        for item in running:
            if item[1] == prompt_id:
                queued = begin_prompt(item[2])
                for output_id in item[4]:
                    self._note(queued, output_id)

    def on_prompt_end(self, prompt_id: str) -> None:
        """Forget the prompt, and the reproductions that it did not finish."""
        self._forget()
        forget_metadata(prompt_id)
        forget_jobs()

    def should_cache(self, context: Any, value: Any = None) -> bool:
        """Refuse every value; one at hand means that its node has just run."""
        try:
            live = live_prompt(get_progress_state().dynprompt)
            if value is None:
                self._before(live, context)
            else:
                self._after(live, context, value)
        # A prompt or a value of a kind never seen before costs what could be told of it.
        except Exception:  # noqa: BLE001
            _log.debug("could not watch node %s", context.node_id, exc_info=True)
        return False

    async def on_lookup(self, context: Any) -> None:
        """Offer nothing."""

    async def on_store(self, context: Any, value: Any) -> None:
        """Take nothing."""

    def _before(self, live: LivePrompt, context: Any) -> None:
        if is_stock_save(context.class_type):
            offer_record(live, context.node_id, self._extra_pnginfo)

    def _after(self, live: LivePrompt, context: Any, value: Any) -> None:
        node_id = context.node_id
        if is_stock_save(context.class_type):
            withdraw_record(self._extra_pnginfo)
            return
        given = keep_outputs(live.digest_run(node_id), context.class_type, value.outputs)
        node = live.node(node_id)
        values = _values(live, node)
        seen = [file for output in given for file in output.files]
        if seen or values or node_id in self._files:
            prompt = with_values(live.upstream(node_id), values)
            references = find_files_of(prompt, NodeId(node_id), seen)
            note_load(live, references, started_ns=self._started_ns)

    def _forget(self) -> None:
        self._extra_pnginfo, self._files, self._started_ns = None, set(), None
        end_prompt()
        forget_queued()

    def _note(self, queued: LivePrompt, output_id: str) -> None:
        try:
            prompt = queued.upstream(output_id)
            references = find_files(prompt)
            self._files.update(reference.node_id for reference in references)
            note_queued(queued, references)
            inputs = prompt.nodes[NodeId(output_id)].inputs.values()
            links = [value for value in inputs if isinstance(value, Link)]
            remember_digests({queued.digest_computation(link) for link in links})
        # ComfyUI would log it and go on, but without the other output nodes of the prompt.
        except Exception:  # noqa: BLE001
            _log.warning("could not note what a prompt runs and loads", exc_info=True)


def _values(live: LivePrompt, node: Node) -> dict[Link, JsonValue]:
    """Give the plain values that other nodes computed for a node."""
    return {
        link: output.value
        for link in node.inputs.values()
        if isinstance(link, Link)
        for output in recall_outputs(live.digest_run(link.node_id), 0)
        if output.slot == link.slot and output.value is not None
    }
