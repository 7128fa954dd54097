"""Saving images with their record; an image is never lost because a record failed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch
from comfy.cli_args import args
from comfy_execution.utils import get_executing_context

from ..src.comfyui_provenance import __version__
from ..src.comfyui_provenance.containers.png import embed_text
from ..src.comfyui_provenance.digest import digest_text, digest_value
from ..src.comfyui_provenance.errors import GraphError, ProvenanceError
from ..src.comfyui_provenance.graph.prompt import Link, NodeId, Prompt, dump_prompt
from ..src.comfyui_provenance.graph.samplings import Sampling, is_sampling, read_sampling
from ..src.comfyui_provenance.graph.trace import upstream
from ..src.comfyui_provenance.pixels import Pixels, digest_pixels, encode_png
from ..src.comfyui_provenance.recipe import FROM_WIDGETS, to_sampling_entry, to_tuple
from ..src.comfyui_provenance.record import (
    KEYWORD,
    UNRESOLVED,
    VERSION,
    JsonObject,
    JsonValue,
    Subject,
    failed_record,
    seal,
)
from ..src.comfyui_provenance.verdict import CauseKind
from .demotions import is_pinned_at, list_demotions
from .images import to_pixels
from .ledger import remember_graph
from .live_prompt import digest_runs, live_nodes, prompt_upstream
from .loaded_files import as_loaded
from .materials import list_materials
from .output_files import plan_output, write_new
from .pinning import OPERATION as PIN_OPERATION
from .probes import capture_environment, capture_fingerprint
from .runs import Run, recall

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Saved:
    """What a save did.

    Attributes:
        images: As core's Save Image reports them to the page.
        warnings: Sentences for the user.
    """

    images: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def save_images(
    images: torch.Tensor,
    prefix: str,
    *,
    sidecar: bool,
    node_id: str,
    input_name: str,
    dynprompt: Any,
    extra_pnginfo: dict[str, Any] | None,
) -> Saved:
    """Save a batch as PNG files, each with the record of what made it.

    Args:
        images: IMAGE of shape (batch, height, width, channels).
        prefix: As core's Save Image takes it.
        sidecar: Whether to write the record beside the image, too.
        node_id: The saving node.
        input_name: The input of that node that the images came through.
        dynprompt: The running prompt, from `Hidden.dynprompt`.
        extra_pnginfo: What ComfyUI wants in the file besides the prompt.

    Raises:
        ValueError: The prefix leads out of the output folder.
        OSError: A file cannot be written.
    """
    frames = to_pixels(images)
    name = plan_output(prefix, width=frames[0].width, height=frames[0].height)
    saved = Saved()
    texts: dict[str, str] = {}
    document = None
    if not args.disable_metadata:
        texts = _host_texts(dynprompt, extra_pnginfo, saved.warnings)
        document = _describe(dynprompt, node_id, input_name, saved.warnings)
    if isinstance(document, dict) and "workflow" in texts:
        document["workflow_sha256"] = digest_text(texts["workflow"]).hex
    counter = name.counter
    for batch_index, pixels in enumerate(frames):
        record = _close(document, pixels, batch_index, len(frames), saved.warnings)
        contents = {".png": _encode(pixels, {**texts, **record}, saved.warnings)}
        if sidecar and KEYWORD in record:
            contents[".provenance.json"] = record[KEYWORD].encode("ascii")
        counter = write_new(name, counter, batch_index, contents, saved.warnings)
        saved.images.append(
            {
                "filename": f"{name.file_name(counter, batch_index)}.png",
                "subfolder": name.subfolder,
                "type": "output",
            }
        )
        counter += 1
    return saved


def _encode(pixels: Pixels, texts: dict[str, str], warnings: list[str]) -> bytes:
    """Encode one image with its texts, leaving out those that no PNG can carry."""
    data = encode_png(pixels)
    # Each goes right after the header, so the last one written stands first.
    for keyword, text in reversed(texts.items()):
        try:
            data = embed_text(data, {keyword: text})
        except ProvenanceError as error:
            _warn(warnings, f"saved without {keyword!r}: {error}")
    return data


def _host_texts(
    dynprompt: Any, extra_pnginfo: dict[str, Any] | None, warnings: list[str]
) -> dict[str, str]:
    """Give the texts that core's Save Image writes, as it writes them."""
    extra = extra_pnginfo if isinstance(extra_pnginfo, dict) else {}
    values = {"prompt": dynprompt.get_original_prompt(), **extra}
    texts: dict[str, str] = {}
    for keyword, value in values.items():
        try:
            texts[str(keyword)] = json.dumps(value)
        # Another pack put it there, and it must not cost the user the image.
        except (TypeError, ValueError, RecursionError) as error:
            _warn(warnings, f"saved without {keyword!r}: {error}")
    return texts


def _describe(
    dynprompt: Any, node_id: str, input_name: str, warnings: list[str]
) -> JsonObject | str:
    """Give what the records of a batch share, or the reason why there are none."""
    try:
        return _shared_document(dynprompt, node_id, input_name, warnings)
    # Whatever goes wrong here, foreign code included, must not cost the user the image.
    except Exception as error:  # noqa: BLE001
        _log.warning("could not make a provenance record", exc_info=True)
        return _reason(error)


def _close(
    document: JsonObject | str | None,
    pixels: Pixels,
    index: int,
    size: int,
    warnings: list[str],
) -> dict[str, str]:
    """Give the record's text for one image, by keyword."""
    if document is None:
        return {}
    reason = document
    if not isinstance(document, str):
        subject = Subject(
            digest_pixels(pixels),
            pixels.width,
            pixels.height,
            pixels.channels,
            index,
            size,
            _list_index(),
        )
        try:
            record = seal({**document, "subject": subject.to_json()})
            return {KEYWORD: record.dump()}
        except ProvenanceError as error:
            reason = _reason(error)
    _warn(warnings, f"saved without a record: {reason}")
    return {KEYWORD: failed_record(str(reason))}


def _reason(error: Exception) -> str:
    """Say why there is no record, without the paths that foreign errors tell."""
    if isinstance(error, ProvenanceError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__


def _shared_document(
    dynprompt: Any, node_id: str, input_name: str, warnings: list[str]
) -> JsonObject:
    nodes = live_nodes(dynprompt)
    source = nodes[node_id]["inputs"].get(input_name)
    if not isinstance(source, list):
        raise GraphError(f"{input_name}: expected a link to another node's image")
    output = Link(NodeId(source[0]), source[1])
    prompt = prompt_upstream(nodes, output.node_id)
    materials = as_loaded(nodes, list_materials(prompt))
    warnings.extend(
        f"{material.kind} file {material.name!r} is not established: it is not the one that "
        "was loaded, or it is changing"
        for material in materials
        if material.status == "unresolved"
    )
    runs = _recall_runs(nodes, prompt, output.node_id)
    samplings, entries, traces = _samplings(prompt, output.node_id, runs)
    graph = dump_prompt(prompt)
    parameters = _parameters(entries, samplings, prompt, materials)
    for entry in entries:
        warnings.extend(str(text) for text in _list(entry, "warnings"))
    remember_graph(prompt, output)
    return {
        "version": VERSION,
        "generator": {"name": "comfyui-provenance", "version": __version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "graph": graph,
        "graph_sha256": digest_text(graph).hex,
        "output": {"node_id": output.node_id, "slot": output.slot},
        "tuple": parameters,
        "recipe": str(digest_value(parameters)),
        "samplings": [*entries],
        "trace": [*traces],
        "operations": [*_operations(prompt, output.node_id, runs, entries)],
        "materials": [material.to_json() for material in materials],
        "environment": capture_environment({node.class_type for node in prompt.nodes.values()}),
        "fingerprint": capture_fingerprint(),
        "determinism": _determinism(prompt, entries, runs),
        "warnings": [*dict.fromkeys(warnings)],
    }


def _recall_runs(
    nodes: dict[str, Any], prompt: Prompt, node_id: NodeId
) -> dict[NodeId, tuple[Run, ...]]:
    """Give what the nodes of a graph reported from inside, where they did."""
    digests = digest_runs(nodes, node_id)
    found = {name: recall(digests[name], _list_index()) for name in prompt.nodes}
    return {name: runs for name, runs in found.items() if runs}


def _samplings(
    prompt: Prompt, node_id: NodeId, runs: dict[NodeId, tuple[Run, ...]]
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
        sampling = read_sampling(prompt, found)
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
    prompt: Prompt,
    node_id: NodeId,
    runs: dict[NodeId, tuple[Run, ...]],
    samplings: list[JsonObject],
) -> Iterator[JsonObject]:
    """Tell what text encoders and VAEs did inside Deterministic Mode, in order of execution.

    Their flags are told where they are not those of the last sampling, which stand in
    `determinism.in_force`.
    """
    in_force = samplings[-1].get("flags") if samplings else None
    for found in upstream(prompt, node_id):
        for run in runs.get(found, ()):
            if run.operation not in ("sample", PIN_OPERATION):
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
    context = get_executing_context()
    return context is not None and run.prompt_id != context.prompt_id


def _parameters(
    entries: list[JsonObject], samplings: list[Sampling], prompt: Prompt, materials: list[Any]
) -> JsonObject:
    """Give the tuple: that of the last sampling; empty for a graph that samples nothing."""
    if not entries:
        return {}
    return to_tuple(entries[-1], prompt, samplings[-1].model, materials)


def _determinism(
    prompt: Prompt, entries: list[JsonObject], runs: dict[NodeId, tuple[Run, ...]]
) -> JsonObject:
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


def _samples_nothing(
    prompt: Prompt, entry: JsonObject, runs: dict[NodeId, tuple[Run, ...]]
) -> bool:
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


def _list_index() -> int:
    context = get_executing_context()
    return (context.list_index if context is not None else None) or 0


def _warn(warnings: list[str], message: str) -> None:
    _log.warning(message)
    warnings.append(message)
