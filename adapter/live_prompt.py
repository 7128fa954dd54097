"""The prompt that is running, also inside a node's expansion."""

from __future__ import annotations

from typing import Any

from ..src.comfyui_provenance.digest import digest_value
from ..src.comfyui_provenance.graph.prompt import Link, NodeId, Prompt, to_prompt
from ..src.comfyui_provenance.graph.trace import digest_graph, upstream


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


def digest_run(nodes: dict[str, Any], node_id: str) -> str:
    """Name what a node computes, whatever ids the nodes have.

    Two nodes of one name have the same inputs all the way up and read the same files, as
    far as their `IS_CHANGED` tells: it is what ComfyUI's own cache goes by.
    """
    prompt = prompt_upstream(nodes, node_id)
    changes = [
        repr(nodes[upstream_id].get("is_changed"))
        for upstream_id in upstream(prompt, NodeId(node_id))
    ]
    graph = digest_graph(prompt, Link(NodeId(node_id), 0))
    return str(digest_value([str(graph), *changes]))
