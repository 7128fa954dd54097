"""What became of this pack's nodes in a prompt, told to the page that queued it.

Of every sampler and Deterministic Mode node it says whether the mode was in force, and what it did
not reach. A node that ComfyUI took from its cache has the state of the run that made it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from comfy_execution.progress import get_progress_state

from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt
from ..src.comfyui_provenance.graph.samplings import is_sampling
from ..src.comfyui_provenance.plain_text import to_plain
from ..src.comfyui_provenance.record import JsonObject
from .demotions import is_pinned_at, list_demotions
from .host import has_socket, send_event
from .live_prompt import LivePrompt, live_prompt
from .outputs import recall_outputs
from .pinning import OPERATION as PIN_OPERATION
from .runs import Run, recall_all

_log = logging.getLogger(__name__)

_EVENT: Final = "provenance.states"

_SAMPLERS: Final = frozenset({"ProvenanceKSampler", "ProvenanceKSamplerAdvanced"})
_MODE: Final = "ProvenanceDeterministicMode"

_SWITCHES: Final = {_MODE: "enabled"} | dict.fromkeys(_SAMPLERS, "deterministic_mode")
"""By class, the input that switches the mode on."""

_TOLD: Final = 20
"""Messages of one node."""

_MESSAGE_CHARS: Final = 500
_ID_CHARS: Final = 100

Runs = Mapping[NodeId, tuple[Run, ...]]


def tell_at_end(item: Any) -> asyncio.Task[None] | None:
    """Tell the states of a prompt's nodes to its client when it has ended, if there are any.

    ComfyUI runs each prompt in an event loop of its own, and cancels what is left in it when the
    prompt has ended, however that was.

    Args:
        item: The prompt as it stands in core's queue, about to run.

    Returns:
        The task that waits, which the caller must hold.
    """
    client_id = item[3].get("client_id")
    classes = {node.get("class_type") for node in item[2].values()}
    if not isinstance(client_id, str) or not classes & _SWITCHES.keys():
        return None
    event: JsonObject = {"prompt_id": item[1], "workflow_id": _workflow_id(item[3])}
    return asyncio.get_running_loop().create_task(_wait(event, client_id, [*item[4]]))


def _workflow_id(extra_data: Mapping[str, Any]) -> str | None:
    """Give the id of the workflow that the page queued; a tab shows one of several."""
    place: Any = extra_data
    for key in ("extra_pnginfo", "workflow", "id"):
        place = place.get(key) if isinstance(place, dict) else None
    return place[:_ID_CHARS] if isinstance(place, str) else None


async def _wait(event: JsonObject, client_id: str, output_ids: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        try:
            _tell(event, client_id, output_ids)
        # What the page shows of a prompt must never touch it, nor the one after it.
        except Exception:  # noqa: BLE001
            _log.debug("could not tell the states of nodes", exc_info=True)


def _tell(event: JsonObject, client_id: str, output_ids: list[str]) -> None:
    progress = get_progress_state()
    if progress.prompt_id != event["prompt_id"] or not has_socket(client_id):
        return
    states = node_states(live_prompt(progress.dynprompt), output_ids)
    if states:
        send_event(_EVENT, {**event, "nodes": states}, client_id)


def node_states(live: LivePrompt, output_ids: list[str]) -> JsonObject:
    """Give the state of each of this pack's samplers and Deterministic Mode nodes that ran.

    Args:
        live: A prompt that has run.
        output_ids: The nodes that were to be executed.

    Returns:
        By the id of a node of the prompt as it was queued: `class_type`, `state` and `messages`.
        `pinned` is the mode in force with nothing that it did not reach, `demoted` in force with
        such, `off` switched off, and `watched` anything else that ran.
    """
    nodes: dict[NodeId, Node] = {}
    for output_id in output_ids:
        try:
            nodes.update(live.upstream(output_id).nodes)
        except ProvenanceError:
            continue  # core refused or never reached it
    prompt = Prompt(nodes)
    runs = {node_id: recall_all(live.digest_run(node_id)) for node_id in nodes}
    runs = {node_id: found for node_id, found in runs.items() if found}
    demotions = [*list_demotions(prompt, runs), *_samplers_outside(live, prompt, runs)]
    states: JsonObject = {}
    for node_id, node in nodes.items():
        state = _state(node, runs.get(node_id, ()))
        if state is None:
            continue
        messages: list[str] = []
        if state == "pinned":
            reached = _downstream(prompt, node_id) if node.class_type == _MODE else {node_id}
            messages = [*_messages(demotions, reached, node_id)][:_TOLD]
        shown = live.without_secrets([*messages], live.redacted().secrets)
        states[node_id] = {
            "class_type": node.class_type,
            "state": "demoted" if messages else state,
            "messages": shown,
        }
    return states


def _state(node: Node, runs: tuple[Run, ...]) -> str | None:
    """Give the state of a node by what it reported; `None` where nothing is known."""
    if node.class_type not in _SWITCHES:
        return None
    if node.class_type == _MODE:
        in_force = [run.operation == PIN_OPERATION for run in runs]
    else:
        sampled = [run for run in runs if run.operation == "sample"]
        in_force = [run.entry.get("deterministic_mode") is True for run in sampled]
    if in_force and all(in_force):
        return "pinned"
    if node.inputs.get(_SWITCHES[node.class_type]) is False:
        return "off"
    return "watched" if in_force else None


def _samplers_outside(live: LivePrompt, prompt: Prompt, runs: Runs) -> Iterator[JsonObject]:
    """Tell the samplers that ran and of which the mode knows nothing."""
    for node_id, node in prompt.nodes.items():
        in_mode = any(run.entry.get("deterministic_mode") is True for run in runs.get(node_id, ()))
        if in_mode or not is_sampling(node) or is_pinned_at(prompt, node.inputs.get("model"), runs):
            continue
        if recall_outputs(live.digest_run(node_id), 0):
            message = "a sampler outside Deterministic Mode"
            yield {"node_id": node_id, "class_type": node.class_type, "message": message}


def _messages(demotions: list[JsonObject], reached: set[NodeId], own: NodeId) -> Iterator[str]:
    """Yield what was not pinned at the given nodes; what is another node's with its name."""
    for entry in demotions:
        if entry["node_id"] in reached:
            message = str(entry["message"])
            if entry["node_id"] != own:
                message = f"{entry['class_type']} (node {entry['node_id']}): {message}"
            yield to_plain(message, _MESSAGE_CHARS)


def _downstream(prompt: Prompt, node_id: NodeId) -> set[NodeId]:
    """Give a node and all nodes that depend on it."""
    users: dict[NodeId, list[NodeId]] = {}
    for user, node in prompt.nodes.items():
        for value in node.inputs.values():
            if isinstance(value, Link):
                users.setdefault(value.node_id, []).append(user)
    found: set[NodeId] = set()
    waiting = [node_id]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += users.get(name, ())
    return found
