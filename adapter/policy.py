"""What a graph from a stranger's image may do on this server.

An image is a program. A graph that this server has run before may run again; any other
only if each of its classes is one of core's image-making nodes, one of this pack's, or
from a pack that the server's owner allowed. API nodes and output nodes never run: they
spend money, or write files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import nodes as comfy_nodes
from comfy_execution.graph_utils import is_link

from ..src.comfyui_provenance.errors import PolicyError, SeedError
from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt
from ..src.comfyui_provenance.graph.rebuild import bypass
from ..src.comfyui_provenance.graph.trace import prune
from ..src.comfyui_provenance.seeds import parse_seed
from .core_classes import IMAGE_CLASSES
from .ledger import allowed, policy_path
from .node_classes import declared_inputs, pack_of
from .node_inputs import NodeInputs, unwrapped
from .work_limits import refuse_work

_OWN_CLASSES: Final = frozenset(
    {
        "ProvenanceDeterministicMode",
        "ProvenanceKSampler",
        "ProvenanceKSamplerAdvanced",
        "ProvenanceSeed",
    }
)

_PASS_THROUGH: Final = {"SaveImage": "images", "PreviewImage": "images"}
"""Core's output nodes that hand on their input, by the name of that input."""

_SEED_INPUTS: Final = ("seed", "noise_seed")

_NODE_COUNT: Final = 1000
"""Nodes of a graph that never ran here. Published workflows for one image have under 200."""


def without_outputs(prompt: Prompt, output: Link) -> tuple[Prompt, Link]:
    """Keep what an image depends on, and take core's saving nodes out of its path.

    Raises:
        GraphError: The graph has a cycle or no such output.
    """
    prompt = prune(prompt, [output.node_id])
    while (found := _pass_through(prompt)) is not None:
        node_id, source = found
        prompt = bypass(prompt, node_id, source)
        output = source if output.node_id == node_id else output
        prompt = prune(prompt, [output.node_id])
    return prompt, output


def _pass_through(prompt: Prompt) -> tuple[NodeId, Link] | None:
    """Find a node that only hands on its input, and where that comes from."""
    for node_id, node in prompt.nodes.items():
        source = node.inputs.get(_PASS_THROUGH.get(node.class_type, ""))
        if isinstance(source, Link):
            return node_id, source
    return None


def refuse_unsafe(prompt: Prompt, *, has_run_here: bool) -> None:
    """Refuse a graph that may not run here.

    Args:
        prompt: Pruned, without core's saving nodes.
        has_run_here: Whether this server has run it before.

    Raises:
        PolicyError: A node is missing, of a class that may not run, or asks for too much.
        SeedError: A seed is not an integer from 0 to 2^64-1.
    """
    _refuse_missing(prompt)
    for node_id, node in prompt.nodes.items():
        node_class = comfy_nodes.NODE_CLASS_MAPPINGS[node.class_type]
        place = f"node {node_id} ({node.class_type})"
        if getattr(node_class, "API_NODE", False):
            raise PolicyError(f"{place}: API nodes are never run from an image")
        if getattr(node_class, "OUTPUT_NODE", False):
            raise PolicyError(f"{place}: output nodes are never run from an image")
        if node.class_type.startswith("Provenance") and node.class_type not in _OWN_CLASSES:
            raise PolicyError(f"{place}: this node is not run from an image")
    _refuse_seeds(prompt)
    _refuse_hidden_links(prompt)
    if not has_run_here:
        _refuse_classes(prompt)
        _refuse_many(prompt)
        inputs = {node_id: NodeInputs(prompt, node_id) for node_id in prompt.nodes}
        _refuse_unknown_links(inputs)
        refuse_work(prompt, inputs)


def _refuse_missing(prompt: Prompt) -> None:
    missing = sorted(
        {node.class_type for node in prompt.nodes.values()} - comfy_nodes.NODE_CLASS_MAPPINGS.keys()
    )
    if missing:
        raise PolicyError(
            f"this graph needs nodes that are not installed here: {', '.join(missing)}"
        )


def _refuse_hidden_links(prompt: Prompt) -> None:
    """Refuse a literal that is a link once core has taken off its wrapper.

    Its node would not be renamed: it could be any of the prompt that reproduces, which is the
    user's, and core would have compared no types.
    """
    for node_id, node in prompt.nodes.items():
        for name, value in node.inputs.items():
            if not isinstance(value, Link) and is_link(unwrapped(value)):
                raise PolicyError(
                    f"node {node_id}: expected a link or a value as {name[:80]!a}, got a list that "
                    "ComfyUI takes for a link to another graph"
                )


def _refuse_many(prompt: Prompt) -> None:
    if len(prompt.nodes) > _NODE_COUNT:
        raise PolicyError(
            f"expected at most {_NODE_COUNT} nodes in a graph that this server has not run before, "
            f"got {len(prompt.nodes)}; queue it once yourself"
        )


def _refuse_unknown_links(inputs: Mapping[NodeId, NodeInputs]) -> None:
    """Refuse links that core follows when it runs a graph and not when it validates one."""
    for found in inputs.values():
        if found.unknown_links:
            raise PolicyError(
                f"{found.place}: expected inputs that its class declares, got a link as "
                f"{found.unknown_links[0][:80]!a}"
            )


def _refuse_classes(prompt: Prompt) -> None:
    packs: set[str] = set()
    classes: set[str] = set()
    for class_type in {node.class_type for node in prompt.nodes.values()} - _OWN_CLASSES:
        pack = pack_of(comfy_nodes.NODE_CLASS_MAPPINGS[class_type])
        if pack is not None:
            packs.add(pack)
        elif class_type not in IMAGE_CLASSES:
            classes.add(class_type)
    packs -= allowed("packs")
    classes -= allowed("classes")
    if packs:
        raise PolicyError(
            "this graph runs code of custom node packs that this server has not run it with: "
            f"{_how_to_allow('packs', packs)}"
        )
    if classes:
        raise PolicyError(
            "this graph uses classes that are not on the list of core's image-making nodes, and "
            f"this server has not run it before: {_how_to_allow('classes', classes)}"
        )


def _how_to_allow(what: str, names: set[str]) -> str:
    listed = ", ".join(f'"{name}"' for name in sorted(names))
    path = f"{policy_path().parent.name}/{policy_path().name}"
    return (
        f"{listed}; to allow them once and for all, the server's owner writes "
        f'{{"allowed_{what}": [{listed}]}} into {path} in ComfyUI\'s user folder'
    )


def _refuse_seeds(prompt: Prompt) -> None:
    for node_id, name, value in _seeds(prompt):
        # Other packs have seeds of their own ranges, -1 among them; core validates those.
        pack = pack_of(comfy_nodes.NODE_CLASS_MAPPINGS[prompt.nodes[node_id].class_type])
        is_ours = prompt.nodes[node_id].class_type in _OWN_CLASSES
        if type(value) is int and pack is not None and not is_ours:
            continue
        try:
            parse_seed(value, name=name)
        except SeedError as error:
            raise SeedError(f"node {node_id}: {error}") from error


def _seeds(prompt: Prompt) -> Iterator[tuple[NodeId, str, Any]]:
    """Yield the literal seeds of a graph: inputs of that name that their class calls INT."""
    for node_id, node in prompt.nodes.items():
        for name in _SEED_INPUTS:
            value = node.inputs.get(name)
            if name in node.inputs and not isinstance(value, Link) and _is_integer(node, name):
                yield node_id, name, unwrapped(value)


def _is_integer(node: Node, name: str) -> bool:
    declared = declared_inputs(node.class_type)
    return name in declared and declared[name].type == "INT"
