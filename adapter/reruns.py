"""Records of runs that are not saved: a reproduction, or the images that Verify is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..src.comfyui_provenance.differences import Differences, compare_records
from ..src.comfyui_provenance.digest import digest_text
from ..src.comfyui_provenance.graph.prompt import Link, NodeId, Prompt, dump_prompt
from ..src.comfyui_provenance.record import JsonObject, JsonValue, Material, Record
from .describing import describe
from .digests import Patience
from .live_prompt import LivePrompt


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs held against each other.

    Attributes:
        recorded: The one that a file tells of.
        now: The other.
        differences: What tells them apart.
    """

    recorded: Record
    now: Record
    differences: Differences

    @classmethod
    def of(cls, recorded: Record, now: Record) -> Comparison:
        """Compare two runs."""
        return cls(recorded, now, compare_records(recorded, now))


def describe_rerun(
    live: LivePrompt,
    prompt: Prompt,
    output: Link,
    materials: Sequence[Material],
    prefix: str,
    element: int,
) -> Record:
    """Tell how a rebuilt graph ran, under the ids that its nodes have in the file.

    Args:
        live: The running prompt, with the rebuilt graph.
        prompt: The graph as it was rebuilt, under the ids of the file and without nonces.
        output: Where in it the images come out.
        materials: Its files, as they were when it was queued.
        prefix: What the ids of the rebuilt graph begin with in the running prompt.
        element: Which element of a list the images are.

    Raises:
        ProvenanceError: The graph cannot be read.
    """
    document = describe(
        live,
        Link(NodeId(prefix + output.node_id), output.slot),
        Patience(),
        known=[replace(item, node_id=NodeId(prefix + item.node_id)) for item in materials],
        element=element,
    ).document
    graph = dump_prompt(prompt)
    renamed = _without_prefix(document, prefix)
    return Record(
        {
            **(renamed if isinstance(renamed, dict) else {}),
            "graph": graph,
            "graph_sha256": digest_text(graph).hex,
            "output": {"node_id": output.node_id, "slot": output.slot},
        }
    )


def describe_input(live: LivePrompt, node_id: str, name: str) -> Record | None:
    """Tell how the images at an input of a node were made.

    Returns:
        `None` where nothing in the running prompt sampled them: they were loaded, or are the
        result of a node that ran them elsewhere.

    Raises:
        ProvenanceError: The graph cannot be read.
    """
    source = live.node(node_id).inputs.get(name)
    if not isinstance(source, Link):
        return None
    document: JsonObject = describe(live, source, Patience(NodeId(node_id))).document
    return Record(document) if document["samplings"] else None


def _without_prefix(value: Any, prefix: str) -> JsonValue:
    """Take a prefix off every node id of a document."""
    if isinstance(value, dict):
        return {
            name: item.removeprefix(prefix)
            if name == "node_id" and isinstance(item, str)
            else _without_prefix(item, prefix)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_without_prefix(item, prefix) for item in value]
    return value
