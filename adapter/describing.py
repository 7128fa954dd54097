"""The record of what made images: put together from what ran, what was seen, and the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import nodes as comfy_nodes
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ..src.comfyui_provenance import __version__
from ..src.comfyui_provenance.digest import digest_text, digest_value
from ..src.comfyui_provenance.graph.prompt import Link, NodeId, Prompt, dump_prompt, to_prompt
from ..src.comfyui_provenance.graph.rebuild import with_values
from ..src.comfyui_provenance.graph.samplings import Sampling, is_sampling, read_sampling, resolve
from ..src.comfyui_provenance.graph.trace import upstream
from ..src.comfyui_provenance.recipe import FROM_WIDGETS, to_sampling_entry, to_tuple
from ..src.comfyui_provenance.record import (
    UNRESOLVED,
    VERSION,
    JsonObject,
    JsonValue,
    Material,
)
from ..src.comfyui_provenance.redaction import MARK, is_secret_name
from ..src.comfyui_provenance.verdict import CauseKind
from .demotions import is_pinned_at, list_demotions
from .digests import Patience
from .fallbacks import OPERATION as FALLBACK
from .ledger import remember_graph
from .live_prompt import LivePrompt
from .loaded_files import to_material
from .materials import find_files
from .outputs import Output, recall_outputs
from .pinning import OPERATION as PIN_OPERATION
from .probes import capture_environment, capture_fingerprint
from .runs import Run, recall

_FOREIGN: Final = ("samplings", "operations", "determinism", "warnings")
"""Fields with words of other packs and of ComfyUI."""

_UNREDACTED: Final = (
    "redaction is switched off on this server: keys and passwords of the graph, if it has any, are "
    "in this file"
)

_VALUE_TYPES: Final = {bool: "BOOLEAN", float: "FLOAT", int: "INT", str: "STRING"}

Runs = Mapping[NodeId, tuple[Run, ...]]
Outputs = Mapping[NodeId, tuple[Output, ...]]


@dataclass(frozen=True, slots=True)
class Description:
    """What the records of a batch share.

    Attributes:
        document: The record, but for its subject.
        warnings: Sentences for the user.
    """

    document: JsonObject
    warnings: tuple[str, ...]


def describe(
    live: LivePrompt,
    output: Link,
    patience: Patience,
    *,
    known: list[Material] | None = None,
    element: int | None = None,
) -> Description:
    """Tell everything that made the images at a link.

    Args:
        live: The running prompt.
        output: Where the images come out.
        patience: How long to wait for the digests of files.
        known: The graph's files, of a run that is not to be saved or noted in the ledger.
        element: Which of a list of inputs the images were made of, from 0; the one on which the
            executing node runs if not given.

    Raises:
        ProvenanceError: The graph cannot be read or has no canonical form.
    """
    original = live.upstream(output.node_id)
    redacted = live.redacted()
    if redacted.secrets:
        prompt = to_prompt(redacted.nodes, needed=[output.node_id])
        places = tuple(place for place in redacted.places if place[0] in prompt.nodes)
    else:
        prompt, places = original, ()
    digests = {node_id: live.digest_run(node_id) for node_id in prompt.nodes}
    element = list_index() if element is None else element
    places_in_lists = _list_indices(original, output.node_id, element)
    runs = _recall_runs(digests, places_in_lists)
    outputs = _recall_outputs(digests, places_in_lists)
    values = _computed_values(original, outputs)
    secrets = redacted.secrets
    if live.is_redacting:
        secrets |= _computed_secrets(original, values)
    as_run = with_values(
        prompt,
        {
            link: MARK if value in secrets else live.without_secrets(value, secrets)
            for link, value in values.items()
        },
    )
    seen = {
        node_id: [file for item in given for file in item.files]
        for node_id, given in outputs.items()
    }
    materials = (
        known
        if known is not None
        else [
            to_material(live, reference, patience)
            for reference in find_files(with_values(original, values), seen)
        ]
    )
    samplings, entries, traces = _samplings(prompt, as_run, output.node_id, runs)
    warnings = [*_material_warnings(materials), *_redaction_warnings(places)]
    if not live.is_redacting:
        warnings.append(_UNREDACTED)
    for entry in entries:
        warnings.extend(str(text) for text in _list(entry, "warnings"))
    graph = dump_prompt(prompt)
    parameters = _parameters(entries, samplings, as_run, materials)
    if known is None and (redacted.secrets or live.is_expanded(output.node_id)):
        # Other graphs are noted when they begin.
        remember_graph(prompt, output)
    document: JsonObject = {
        "version": VERSION,
        "generator": {"name": "comfyui-provenance", "version": __version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "graph": graph,
        "graph_sha256": digest_text(graph).hex,
        "output": {
            "node_id": output.node_id,
            "slot": output.slot,
            # Then the file's own prompt, as it was queued, does not hold that node.
            **({"expanded": True} if live.is_expanded(output.node_id) else {}),
        },
        "tuple": parameters,
        "recipe": str(digest_value(parameters)),
        "samplings": [*entries],
        "trace": [*traces],
        "operations": [*_operations(prompt, output.node_id, runs, entries)],
        "computed": [*_computed(as_run, prompt)],
        "stages": [*_stages(prompt, output, outputs)],
        "materials": [material.to_json() for material in materials],
        "environment": capture_environment({node.class_type for node in prompt.nodes.values()}),
        "fingerprint": capture_fingerprint(),
        "determinism": _determinism(prompt, entries, runs),
        "redactions": [{"node_id": node_id, "input": name} for node_id, name in places],
        "warnings": [*dict.fromkeys(warnings)],
    }
    # What nodes and packs logged or set may repeat a secret.
    foreign: JsonObject = {name: document[name] for name in _FOREIGN}
    shown = live.without_secrets(foreign, secrets)
    document.update(shown if isinstance(shown, dict) else {})
    return Description(document, tuple(dict.fromkeys(warnings)))


def list_index() -> int:
    """Tell which of a list of inputs the executing node runs on, from 0."""
    context = get_executing_context()
    return (context.list_index if context is not None else None) or 0


def _list_indices(prompt: Prompt, node_id: NodeId, element: int) -> dict[NodeId, int | None]:
    """Tell which of a list of inputs each node ran on for these images.

    Args:
        prompt: Their graph.
        node_id: The node that gives them.
        element: The element on which it ran.

    Returns:
        From 0; `None` where a node between took a list apart or together, and it is not known.
    """
    indices: dict[NodeId, int | None] = {node_id: element}
    for found in reversed(upstream(prompt, node_id)):
        node_class: Any = comfy_nodes.NODE_CLASS_MAPPINGS.get(prompt.nodes[found].class_type)
        takes = getattr(node_class, "INPUT_IS_LIST", False)
        gives = getattr(node_class, "OUTPUT_IS_LIST", None) or ()
        if takes or any(gives):
            indices[found] = None
        for value in prompt.nodes[found].inputs.values():
            if isinstance(value, Link):
                index = indices[found]
                known = indices.setdefault(value.node_id, index)
                indices[value.node_id] = index if known == index else None
    return indices


def _recall_runs(digests: Mapping[NodeId, str], indices: Mapping[NodeId, int | None]) -> Runs:
    """Give what the nodes of a graph reported from inside, where they did."""
    found = {node_id: recall(digest, indices[node_id]) for node_id, digest in digests.items()}
    return {node_id: runs for node_id, runs in found.items() if runs}


def _recall_outputs(digests: Mapping[NodeId, str], indices: Mapping[NodeId, int | None]) -> Outputs:
    """Give what the nodes of a graph gave, where it was seen."""
    found = {
        node_id: recall_outputs(digest, indices[node_id]) for node_id, digest in digests.items()
    }
    return {node_id: outputs for node_id, outputs in found.items() if outputs}


def _computed_secrets(prompt: Prompt, values: Mapping[Link, JsonValue]) -> frozenset[str]:
    """Give the texts that nodes computed for inputs of a secret's name."""
    return frozenset(
        value
        for node in prompt.nodes.values()
        for name, link in node.inputs.items()
        if isinstance(link, Link) and is_secret_name(name)
        if isinstance(value := values.get(link), str) and value
    )


def _links(prompt: Prompt) -> dict[Link, None]:
    """Give the outputs that a graph uses, each once, in its order."""
    return dict.fromkeys(
        value
        for node in prompt.nodes.values()
        for value in node.inputs.values()
        if isinstance(value, Link)
    )


def _output_at(link: Link, outputs: Outputs) -> Output | None:
    return next((item for item in outputs.get(link.node_id, ()) if item.slot == link.slot), None)


def _computed_values(prompt: Prompt, outputs: Outputs) -> dict[Link, JsonValue]:
    """Give the plain values that nodes computed and others used.

    A node that only holds a value is left out: the graph itself tells it.
    """
    values: dict[Link, JsonValue] = {}
    for link in _links(prompt):
        output = _output_at(link, outputs)
        if output is not None and output.value is not None and resolve(prompt, link) is None:
            values[link] = output.value
    return values


def _computed(as_run: Prompt, prompt: Prompt) -> Iterator[JsonObject]:
    """Tell the plain values that nodes computed, as the rest of the record reads them."""
    told: set[Link] = set()
    for node_id, node in prompt.nodes.items():
        for name, link in node.inputs.items():
            value = as_run.nodes[node_id].inputs[name]
            if not isinstance(link, Link) or isinstance(value, Link) or link in told:
                continue
            told.add(link)
            # By the value: a class may declare one type and give another.
            kind = _VALUE_TYPES.get(type(value), "")
            yield {
                "node_id": link.node_id,
                "slot": link.slot,
                "type": kind,
                # A seed may not fit a JSON number.
                "value": str(value) if kind == "INT" else value,
            }


def _stages(prompt: Prompt, last: Link, outputs: Outputs) -> Iterator[JsonObject]:
    """Tell the images and latents between the nodes, and the last ones, in order of execution."""
    used = {**_links(prompt), last: None}
    for node_id in upstream(prompt, last.node_id):
        for output in outputs.get(node_id, ()):
            if output.digests and Link(node_id, output.slot) in used:
                yield {
                    "node_id": node_id,
                    "class_type": prompt.nodes[node_id].class_type,
                    "slot": output.slot,
                    "type": output.type,
                    "digests": [*output.digests],
                }


def _material_warnings(materials: list[Material]) -> Iterator[str]:
    for material in materials:
        what = f"{material.kind} file {material.name!r}"
        if material.status == "unresolved":
            yield (
                f"{what} is not established: it was not hashed to its end, it changes, or it is "
                "not the one that was loaded"
            )
        if material.status == "missing":
            yield f"{what} is not there"
        if material.on_disk is not None:
            yield (
                f"{what} was {material.on_disk.replace('missing', 'removed')} after it was loaded: "
                "the record names the one that made this image"
            )


def _redaction_warnings(places: tuple[tuple[NodeId, str], ...]) -> Iterator[str]:
    for node_id, name in places:
        yield f"input {name!r} of node {node_id} looks like a secret and was left out of the file"


def _samplings(
    prompt: Prompt, as_run: Prompt, node_id: NodeId, runs: Runs
) -> tuple[list[Sampling], list[JsonObject], list[JsonObject]]:
    """Tell every sampling upstream of an image, in order of execution.

    Returns:
        Side by side what the graph says of each and its entry; and the traces of those that
        were followed.
    """
    samplings: list[Sampling] = []
    entries: list[JsonObject] = []
    traces: list[JsonObject] = []
    for found in upstream(prompt, node_id):
        ran = [run for run in runs.get(found, ()) if run.operation == "sample"]
        if not ran and not is_sampling(prompt.nodes[found]):
            continue
        sampling = read_sampling(as_run, found)
        for index, run in enumerate(ran or [None]):
            samplings.append(sampling)
            entries.append(_sampling_entry(sampling, run))
            if run is not None and run.trace is not None:
                place: JsonObject = {"index": index} if len(ran) > 1 else {}
                traces.append({"node_id": found, **place, **run.trace})
    return samplings, entries, traces


def _sampling_entry(sampling: Sampling, run: Run | None) -> JsonObject:
    """Give what a sampler reported from inside, or what the graph says of it."""
    entry = to_sampling_entry(sampling)
    if run is None:
        return entry
    from_graph: list[JsonValue] = [name for name in FROM_WIDGETS if name not in run.entry]
    return {**entry, **run.entry, "from_graph": from_graph, "cached": _is_cached(run)}


def _operations(
    prompt: Prompt, node_id: NodeId, runs: Runs, samplings: list[JsonObject]
) -> Iterator[JsonObject]:
    """Tell what text encoders and VAEs did inside Deterministic Mode, in order of execution.

    Their flags are told where they are not those of the last sampling, which stand in
    `determinism.in_force`.
    """
    in_force = samplings[-1].get("flags") if samplings else None
    for found in upstream(prompt, node_id):
        for run in runs.get(found, ()):
            if run.operation not in ("sample", PIN_OPERATION, FALLBACK):
                told = {k: v for k, v in run.entry.items() if (k, v) != ("flags", in_force)}
                yield {
                    "node_id": found,
                    "class_type": prompt.nodes[found].class_type,
                    "operation": run.operation,
                    "cached": _is_cached(run),
                    **told,
                }


def _is_cached(run: Run) -> bool:
    """Tell whether an earlier prompt ran it."""
    return run.prompt_id != get_progress_state().prompt_id


def _parameters(
    entries: list[JsonObject], samplings: list[Sampling], prompt: Prompt, materials: list[Material]
) -> JsonObject:
    """Give the tuple: that of the last sampling; empty for a graph that samples nothing."""
    if not entries:
        return {}
    return to_tuple(entries[-1], prompt, samplings[-1].model, materials)


def _determinism(prompt: Prompt, entries: list[JsonObject], runs: Runs) -> JsonObject:
    """Say what was asked for, what was in force, and what it did not reach."""
    outside: list[JsonValue] = [
        {
            "node_id": entry["node_id"],
            "class_type": entry["class_type"],
            "kind": CauseKind.NUMERICS.value,
            "message": "a sampler outside Deterministic Mode"
            + (", read from the graph" if entry["source"] == "graph" else ""),
        }
        for entry in entries
        if entry.get("deterministic_mode") is not True and not _samples_nothing(prompt, entry, runs)
    ]
    pinned = [entry for entry in entries if entry.get("deterministic_mode") is True]
    modes = [entry["mode"] for entry in pinned] or [
        run.entry["mode"]
        for found in runs.values()
        for run in found
        if run.operation == PIN_OPERATION
    ]
    return {
        "requested": bool(modes),
        "batch_invariant": bool(entries)
        and all(entry.get("batch_invariant") is True for entry in entries),
        "mode": modes[-1] if modes else UNRESOLVED,
        "in_force": entries[-1].get("flags", UNRESOLVED) if entries else UNRESOLVED,
        "demotions": [*outside, *list_demotions(prompt, runs)],
    }


def _samples_nothing(prompt: Prompt, entry: JsonObject, runs: Runs) -> bool:
    """Tell whether a sampler of a pinned model was told to leave its latent as it is."""
    model = prompt.nodes[NodeId(str(entry["node_id"]))].inputs.get("model")
    return (
        entry["source"] == "graph"
        and entry.get("denoise") == 0
        and is_pinned_at(prompt, model, runs)
    )


def _list(entry: JsonObject, name: str) -> list[Any]:
    value = entry.get(name)
    return value if isinstance(value, list) else []
