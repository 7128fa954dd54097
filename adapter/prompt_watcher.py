"""Watches every prompt that ComfyUI runs, whatever nodes are in it.

ComfyUI calls it as a cache provider. It never offers or takes a cached value: it is told
when a prompt starts, and when a node has run.
"""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import Caching
from server import PromptServer

from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.graph.prompt import Link, NodeId
from ..src.comfyui_provenance.graph.trace import digest_graph
from .ledger import remember_digests
from .live_prompt import prompt_upstream
from .loaded_files import note_files, note_load
from .reproduce import forget_jobs

_log = logging.getLogger(__name__)


class PromptWatcher(Caching.CacheProvider):
    """Notes which graphs run here, and which files they load."""

    def __init__(self) -> None:
        self._nodes: dict[str, Any] = {}
        self._loaders: set[str] = set()

    def on_prompt_start(self, prompt_id: str) -> None:
        """Note the graph of each value that an output node takes, and the files behind it."""
        self._nodes, self._loaders = {}, set()
        running = PromptServer.instance.prompt_queue.get_current_queue_volatile()[0]
        for item in running:
            if item[1] == prompt_id:
                self._nodes = item[2]
                for output_id in item[4]:
                    self._note(output_id)

    def on_prompt_end(self, prompt_id: str) -> None:
        """Forget the prompt, and the reproductions that it did not finish."""
        self._nodes, self._loaders = {}, set()
        forget_jobs()

    def should_cache(self, context: Any, value: Any = None) -> bool:
        """Refuse every value; one at hand means that its node has just run."""
        if value is not None and context.node_id in self._loaders:
            try:
                note_load(self._nodes, context.node_id)
            except ProvenanceError:
                _log.debug("could not note what a node loaded", exc_info=True)
        return False

    async def on_lookup(self, context: Any) -> None:
        """Offer nothing."""

    async def on_store(self, context: Any, value: Any) -> None:
        """Take nothing."""

    def _note(self, output_id: str) -> None:
        try:
            self._loaders |= note_files(self._nodes, output_id)
            prompt = prompt_upstream(self._nodes, output_id)
            inputs = prompt.nodes[NodeId(output_id)].inputs.values()
            links = [value for value in inputs if isinstance(value, Link)]
            remember_digests({str(digest_graph(prompt, link)) for link in links})
        # ComfyUI would log it and go on, but without the other output nodes of the prompt.
        except Exception:  # noqa: BLE001
            _log.warning("could not note what a prompt runs and loads", exc_info=True)
