"""The prompt that is running, also inside a node's expansion."""

from __future__ import annotations

import math
from typing import Any

import nodes as comfy_nodes

from ..src.comfyui_provenance.graph.prompt import NodeId, Prompt, to_prompt
from ..src.comfyui_provenance.graph.trace import digest_nodes
from .node_classes import is_unique


def live_nodes(dynprompt: Any) -> dict[str, Any]:
    """Give the nodes that can run, expansions included, as ComfyUI holds them.

    Args:
        dynprompt: ComfyUI's `DynamicPrompt`, from `Hidden.dynprompt`.
    """
    # `all_node_ids` is a set: its order, and so a record's text, would change by process.
    written = list(dynprompt.get_original_prompt())
    expanded = sorted(dynprompt.all_node_ids().difference(written))
    return {node_id: dynprompt.get_node(node_id) for node_id in (*written, *expanded)}


def prompt_upstream(nodes: dict[str, Any], node_id: str) -> Prompt:
    """Parse a running node and what it depends on.

    Raises:
        GraphError: The prompt has a dangling link or a cycle.
    """
    return to_prompt(nodes, needed=[NodeId(node_id)])


def _state(node: dict[str, Any], node_id: str) -> str:
    """Tell what else decides what a node computes: for one that is never the same, its id."""
    changed = node.get("is_changed")
    values = changed if isinstance(changed, list) else [changed]
    is_new = any(isinstance(value, float) and math.isnan(value) for value in values)
    node_class = comfy_nodes.NODE_CLASS_MAPPINGS.get(node.get("class_type"))
    return f"{changed!r} {node_id}" if is_new or is_unique(node_class) else repr(changed)


def digest_runs(nodes: dict[str, Any], node_id: str) -> dict[str, str]:
    """Name what a node and each node upstream of it computes, whatever ids they have.

    Two nodes of one name have the same inputs all the way up and read the same files, as
    far as their `IS_CHANGED` tells: it is what ComfyUI's own cache goes by.

    Raises:
        GraphError: The prompt has a dangling link or a cycle.
    """
    prompt = prompt_upstream(nodes, node_id)
    changes = {found: _state(nodes[found], found) for found in prompt.nodes}
    return {**digest_nodes(prompt, NodeId(node_id), changes)}
