"""Making one image of a batch alone, where that is known to give the same bits."""

from __future__ import annotations

from typing import Final

from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt
from ..src.comfyui_provenance.graph.samplings import is_sampling
from ..src.comfyui_provenance.graph.trace import upstream
from ..src.comfyui_provenance.record import Record

_LATENT: Final = "latent_image"
_ID: Final = "provenance-one-{}"


def only_one(prompt: Prompt, record: Record | None) -> Prompt:
    """Let a graph make only the image that a record is about, of a batch.

    Deterministic Mode with batch invariance makes each image as if alone. Where everything was
    in it, the first sampling is given the one latent; otherwise the graph stays as it is and makes
    the whole batch.

    Args:
        prompt: The graph.
        record: Of the image; `None` for a file without one.
    """
    if record is None or not _is_invariant(record):
        return prompt
    subject = record.subject
    counts = _counts(record)
    nodes = dict(prompt.nodes)
    for node_id, node in prompt.nodes.items():
        latent = node.inputs.get(_LATENT)
        if not is_sampling(node) or not isinstance(latent, Link):
            continue
        if any(is_sampling(prompt.nodes[found]) for found in upstream(prompt, latent.node_id)):
            continue
        if counts.get(latent) != subject.batch_size:
            return prompt
        one = NodeId(_ID.format(node_id))
        nodes[one] = Node(
            "LatentFromBatch",
            {"samples": latent, "batch_index": subject.batch_index, "length": 1},
        )
        nodes[node_id] = Node(node.class_type, {**node.inputs, _LATENT: Link(one, 0)})
    return Prompt(nodes)


def _is_invariant(record: Record) -> bool:
    """Tell whether all that made a batch made each image as if alone."""
    determinism = record.document.get("determinism")
    return (
        isinstance(determinism, dict)
        and determinism.get("batch_invariant") is True
        and determinism.get("demotions") == []
        and record.subject.batch_size > 1
        and record.subject.list_index == 0
        and _all_in_mode(record)
    )


def _all_in_mode(record: Record) -> bool:
    """Tell whether every VAE that the record tells of worked on each image alone, too."""
    operations = record.document.get("operations")
    modes = [
        entry.get("mode")
        for entry in (operations if isinstance(operations, list) else ())
        if isinstance(entry, dict) and str(entry.get("operation")).startswith("vae")
    ]
    return bool(modes) and all(
        isinstance(mode, dict) and mode.get("batch_invariant") is True for mode in modes
    )


def _counts(record: Record) -> dict[Link, int]:
    """Give the number of images at each output that the record has digests of."""
    stages = record.document.get("stages")
    counts: dict[Link, int] = {}
    for entry in stages if isinstance(stages, list) else ():
        if not isinstance(entry, dict):
            continue
        node_id, slot, digests = entry.get("node_id"), entry.get("slot"), entry.get("digests")
        if isinstance(node_id, str) and isinstance(slot, int) and isinstance(digests, list):
            counts[Link(NodeId(node_id), slot)] = len(digests)
    return counts
