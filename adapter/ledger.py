"""Which graphs this server has run, and which packs its owner allows to reproduce.

Both live in ComfyUI's private user folder, which no HTTP route reaches. The ledger holds
digests alone: nothing of a prompt can be read from it.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from threading import Lock
from typing import Any, Final

import folder_paths
from comfy_api.latest import Caching
from server import PromptServer

from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.graph.prompt import Link, NodeId, Prompt
from ..src.comfyui_provenance.graph.trace import digest_graph
from .live_prompt import prompt_upstream

_log = logging.getLogger(__name__)

_FOLDER: Final = "provenance"
_LEDGER_NAME: Final = "graphs.txt"
_POLICY_NAME: Final = "policy.json"
_ALLOWED: Final = "allowed_packs"

_lock = Lock()
_known: set[str] = set()
_read_from: Path | None = None


def remember_graph(prompt: Prompt, output: Link) -> None:
    """Note that this server has run a graph.

    A ledger that cannot be written costs a question later, not an image now.
    """
    _remember({str(digest_graph(prompt, output))})


def has_run(prompt: Prompt, output: Link) -> bool:
    """Tell whether this server has run exactly this graph before."""
    digest = str(digest_graph(prompt, output))
    with _lock:
        return digest in _load()


def allowed_packs() -> set[str]:
    """Give the custom node packs, by folder name, that may run from a stranger's image.

    Raises:
        ProvenanceError: The policy file is damaged; nothing is allowed by guessing.
    """
    path = policy_path()
    try:
        policy = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return set()
    except (OSError, ValueError) as error:
        raise ProvenanceError(f"{_POLICY_NAME}: cannot be read: {error}") from error
    packs = policy.get(_ALLOWED) if isinstance(policy, dict) else None
    if not isinstance(packs, list) or not all(isinstance(pack, str) for pack in packs):
        raise ProvenanceError(f"{_POLICY_NAME}: expected a list of pack names as {_ALLOWED!r}")
    return set(packs)


def policy_path() -> Path:
    """Give the file in which the server's owner allows packs."""
    return Path(folder_paths.get_system_user_directory(_FOLDER)) / _POLICY_NAME


class GraphWatcher(Caching.CacheProvider):
    """Notes the graphs of every prompt that runs, whatever node saves its images.

    ComfyUI calls it as a cache provider, of which it uses only the start of a prompt; it
    never offers or takes a cached value.
    """

    def on_prompt_start(self, prompt_id: str) -> None:
        """Note the graph of each value that an output node of this prompt takes."""
        running = PromptServer.instance.prompt_queue.get_current_queue_volatile()[0]
        for item in running:
            if item[1] == prompt_id:
                _remember(_output_digests(item[2], item[4]))

    def on_prompt_end(self, prompt_id: str) -> None:
        """Do nothing: what counts is that it ran."""

    def should_cache(self, context: Any, value: Any = None) -> bool:
        """Refuse every value."""
        return False

    async def on_lookup(self, context: Any) -> None:
        """Offer nothing."""

    async def on_store(self, context: Any, value: Any) -> None:
        """Take nothing."""


def _output_digests(nodes: dict[str, Any], output_ids: list[str]) -> set[str]:
    digests: set[str] = set()
    for output_id in output_ids:
        try:
            prompt = prompt_upstream(nodes, output_id)
            for value in prompt.nodes[NodeId(output_id)].inputs.values():
                if isinstance(value, Link):
                    digests.add(str(digest_graph(prompt, value)))
        except ProvenanceError:
            _log.debug("a prompt that provenance cannot read is running", exc_info=True)
    return digests


def _remember(digests: set[str]) -> None:
    with _lock:
        new = digests - _load()
        if not new:
            return
        _known.update(new)
        path = _ledger_path()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="ascii") as file:
                file.write("".join(f"{digest}\n" for digest in sorted(new)))
        except OSError:
            _log.warning("could not note the running graph in the ledger", exc_info=True)


def _load() -> set[str]:
    """Give the ledger, read once for each user folder."""
    global _read_from
    path = _ledger_path()
    if _read_from != path:
        _known.clear()
        if path.exists():
            _known.update(path.read_text(encoding="ascii").split())
        _read_from = path
    return _known


def _ledger_path() -> Path:
    return policy_path().with_name(_LEDGER_NAME)
