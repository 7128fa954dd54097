"""Watches every prompt that ComfyUI runs, whatever nodes are in it.

Two of core's extension points together tell of a prompt's start, of each node that runs, and of
what it gave. A cache provider is told when a prompt begins; but while one is registered, core
serialises the whole graph above a node three times for each node, which took 14 s for 300 of
them. So it steps back at once, and a progress handler takes over: that one is told of each node
at no cost, and reads what it gave from core's own cache, which the provider would have been
given. Where that cache cannot be reached (`--cache-classic`, `--cache-lru`), the provider stays.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import comfy.memory_management
from comfy_api.latest import Caching
from comfy_execution.cache_provider import (
    _get_cache_providers,
    register_cache_provider,
    unregister_cache_provider,
)
from comfy_execution.progress import ProgressHandler, add_progress_handler, get_progress_state
from server import PromptServer

from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId
from ..src.comfyui_provenance.graph.rebuild import with_values
from ..src.comfyui_provenance.record import JsonValue
from .fallbacks import watch_fallbacks
from .ledger import remember_digests
from .live_prompt import LivePrompt, begin_prompt, end_prompt, live_prompt
from .loaded_files import forget_queued, note_load, note_queued, now_ns
from .materials import find_files, find_files_of
from .node_states import tell_at_end
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

_NAME = "provenance"


class PromptWatcher(Caching.CacheProvider):
    """Notes which graphs run here, which files they load, and what their nodes give.

    It never offers or takes a cached value.
    """

    def __init__(self) -> None:
        self._nodes = _NodeWatcher(self)
        self._prompt_id = ""
        self._item: Any = None
        self._extra_pnginfo: Any = None
        self._files: set[str] = set()
        self._started_ns: int | None = None
        self._ending: asyncio.Task[None] | None = None
        watch_fallbacks()

    def begin(self, prompt_id: str) -> None:
        """Note the graph of each value that an output node takes, and the files behind it."""
        self._end()
        self._prompt_id = prompt_id
        self._started_ns = now_ns()
        self._extra_pnginfo = metadata_of(prompt_id)
        # ComfyUI makes a new list of handlers before it looks for cached results, and lets other
        # tasks run there.
        asyncio.get_running_loop().call_soon(self._take_over)
        for item in _running():
            if item[1] == prompt_id:
                self._item = item
                queued = begin_prompt(item[2])
                for output_id in item[4]:
                    self._note(queued, output_id)
                self._ending = tell_at_end(item)

    def come_back(self) -> None:
        """Be told of prompts again, and begin with the one that runs if that was not told."""
        if self not in _get_cache_providers():
            register_cache_provider(self)
        for item in _running():
            # The very item: a client may give two prompts one id.
            if item is not self._item:
                self.begin(item[1])

    def on_prompt_start(self, prompt_id: str) -> None:
        """Begin with a prompt."""
        self.begin(prompt_id)

    def on_prompt_end(self, prompt_id: str) -> None:
        """Forget the prompt, and the reproductions that it did not finish."""
        self._end()

    def should_cache(self, context: Any, value: Any = None) -> bool:
        """Refuse every value; look at it where no progress handler does."""
        if value is not None and _outputs_cache() is None:
            self.after(context.node_id, value)
        return False

    async def on_lookup(self, context: Any) -> None:
        """Offer nothing."""

    async def on_store(self, context: Any, value: Any) -> None:
        """Take nothing."""

    def before(self, node_id: str) -> None:
        """Look at a node that is about to run."""
        try:
            live = live_prompt(get_progress_state().dynprompt)
            if is_stock_save(live.node(node_id).class_type):
                offer_record(live, node_id, self._extra_pnginfo)
        # A prompt of a kind never seen before costs what could be told of it.
        except Exception:  # noqa: BLE001
            _log.debug("could not watch node %s", node_id, exc_info=True)

    def ended(self) -> None:
        """Clear up behind a node that has run, whatever is known of what it gave."""
        withdraw_record(self._extra_pnginfo)

    def after(self, node_id: str, entry: Any) -> None:
        """Keep what a node gave that has just run.

        Args:
            node_id: The node.
            entry: What core caches of it: `outputs`, by slot a list of values.
        """
        try:
            self._after(live_prompt(get_progress_state().dynprompt), node_id, entry)
        # A prompt or a value of a kind never seen before costs what could be told of it.
        except Exception:  # noqa: BLE001
            _log.debug("could not watch node %s", node_id, exc_info=True)

    def _take_over(self) -> None:
        """Listen for nodes, and step back as a provider where their values can be read."""
        add_progress_handler(self._nodes)
        if _outputs_cache() is not None:
            unregister_cache_provider(self)

    def _after(self, live: LivePrompt, node_id: str, entry: Any) -> None:
        node = live.node(node_id)
        given = keep_outputs(live.digest_run(node_id), node.class_type, entry.outputs)
        values = _values(live, node)
        seen = [file for output in given for file in output.files]
        if seen or values or node_id in self._files:
            prompt = with_values(live.upstream(node_id), values)
            references = find_files_of(prompt, NodeId(node_id), seen)
            note_load(live, references, started_ns=self._started_ns)

    def _end(self) -> None:
        forget_metadata(self._prompt_id)
        self._prompt_id, self._item, self._extra_pnginfo = "", None, None
        self._files, self._started_ns = set(), None
        end_prompt()
        forget_queued()
        forget_jobs()

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


class _NodeWatcher(ProgressHandler):
    """Tells the watcher of each node, from before it runs until it has run."""

    def __init__(self, watcher: PromptWatcher) -> None:
        super().__init__(_NAME)
        self._watcher = watcher
        self._started: set[str] = set()

    def start_handler(self, node_id: str, state: Any, prompt_id: str) -> None:
        """Note a node that begins to run."""
        self._started.add(node_id)
        self._watcher.before(node_id)

    def finish_handler(self, node_id: str, state: Any, prompt_id: str) -> None:
        """Note a node that has run; one that came from the cache never began."""
        if node_id not in self._started:
            return
        self._started.discard(node_id)
        self._watcher.ended()
        try:
            cache = _outputs_cache()
            entry = cache.get_local(node_id) if cache is not None else None
        except Exception:  # noqa: BLE001 - core's own cache, of a kind never seen before
            entry = None
        if entry is not None:
            self._watcher.after(node_id, entry)

    def reset(self) -> None:
        """Go on to the next prompt, of whose start the provider may not have been told."""
        self._started.clear()
        try:
            self._watcher.come_back()
        # Core has no guard here: an error would end its worker.
        except Exception:  # noqa: BLE001
            _log.warning("could not begin to watch a prompt", exc_info=True)


def _running() -> list[Any]:
    """Give the prompt that runs, in core's form: one or none."""
    return list(PromptServer.instance.prompt_queue.get_current_queue_volatile()[0])


def _outputs_cache() -> Any:
    """Give core's cache of what nodes gave; `None` where it cannot be reached.

    Core leaves its function that frees memory here while a prompt runs, bound to that cache.
    """
    release = comfy.memory_management.extra_ram_release_callback
    cache = getattr(release, "__self__", None)
    return cache if hasattr(cache, "get_local") else None


def _values(live: LivePrompt, node: Node) -> dict[Link, JsonValue]:
    """Give the plain values that other nodes computed for a node."""
    return {
        link: output.value
        for link in node.inputs.values()
        if isinstance(link, Link)
        for output in recall_outputs(live.digest_run(link.node_id), 0)
        if output.slot == link.slot and output.value is not None
    }
