"""How far a prompt of this server is, for clients without a WebSocket."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from comfy_execution.progress import NodeState, get_progress_state
from server import PromptServer

from ..src.comfyui_provenance.record import JsonObject

_EXPANSION: Final = re.compile(r".*\.[0-9a-f]{16}\.", re.DOTALL)
"""What stands before the ids of a rebuilt graph."""

_GB: Final = 10**9


def progress_of(prompt_id: str) -> JsonObject:
    """Say how far a prompt is.

    Returns:
        `state`: `queued`, `running`, `done` or `unknown`; and of a running one how many of its
        nodes have ended (`nodes_done`) of how many (`nodes_total`, which grows with graphs that
        nodes expand into), the node at work (`node_id` as in the graph that it comes from,
        `class_type`), how far that is (`value` of `max`), and all of it as a `text`.
    """
    state = _state(prompt_id)
    answer: JsonObject = {
        "state": state,
        "nodes_done": 0,
        "nodes_total": 0,
        "node_id": None,
        "class_type": None,
        "value": None,
        "max": None,
        "text": state,
    }
    registry = get_progress_state()
    if state == "running" and registry.prompt_id == prompt_id:
        answer.update(_describe(registry))
    return answer


def _state(prompt_id: str) -> str:
    queue: Any = PromptServer.instance.prompt_queue
    with queue.mutex:
        if any(item[1] == prompt_id for item in queue.currently_running.values()):
            return "running"
        if any(item[1] == prompt_id for item in queue.queue):
            return "queued"
        return "done" if prompt_id in queue.history else "unknown"


def _describe(registry: Any) -> JsonObject:
    """Describe the running prompt, which goes on meanwhile."""
    states: dict[str, Mapping[str, Any]] = dict(registry.nodes)
    ended = sum(state["state"] is NodeState.Finished for state in states.values())
    total = max(len(registry.dynprompt.all_node_ids()), len(states))
    working = [node_id for node_id, state in states.items() if state["state"] is NodeState.Running]
    found: JsonObject = {"nodes_done": ended, "nodes_total": total}
    if not working:
        return {**found, "text": f"{ended} of {total} nodes"}
    # The last one to begin: a node that expanded waits for those of its graph.
    node_id = working[-1]
    class_type = str(registry.dynprompt.get_node(node_id)["class_type"])
    value, end = float(states[node_id]["value"]), float(states[node_id]["max"])
    return {
        **found,
        "node_id": _EXPANSION.sub("", node_id),
        "class_type": class_type,
        "value": value,
        "max": end,
        "text": f"{class_type}{_steps(value, end)}, {ended} of {total} nodes",
    }


def _steps(value: float, end: float) -> str:
    if end <= 1:
        return ""
    if end >= _GB // 100:  # bytes of files that are hashed
        return f" {value / _GB:.1f} of {end / _GB:.1f} GB"
    return f" {value:g} of {end:g}"
