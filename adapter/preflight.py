"""What can be expected of a rerun of an image on this server, without running anything.

It answers at once: what has to be hashed first is hashed in the background, and counts as
pending until then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import nodes as comfy_nodes
from server import PromptServer

from ..src.comfyui_provenance.environment import (
    Difference,
    compare_environments,
    compare_fingerprints,
)
from ..src.comfyui_provenance.errors import PolicyError, ProvenanceError, SeedError
from ..src.comfyui_provenance.files import RecordedFile
from ..src.comfyui_provenance.graph.prompt import Prompt
from ..src.comfyui_provenance.preflight import MissingNode, PlacedMaterial, Preflight
from ..src.comfyui_provenance.record import JsonObject, Material, Record
from ..src.comfyui_provenance.verdict import Level
from .digests import Patience
from .file_graphs import graph_of
from .ledger import has_run
from .materials import find_files
from .measured_once import MeasuredOnce
from .model_search import Hurry
from .node_classes import pack_folder, pack_of
from .places import locate
from .policy import refuse_unsafe, without_outputs
from .probes import capture_environment, capture_fingerprint
from .reading import Reader, or_error
from .tolerances import has_controls

_TOLD: Final = 50
"""Entries of each list that come from a stranger's record."""

_OWN_CLASS: Final = "ProvenanceSeed"

_fingerprint: Final = MeasuredOnce(capture_fingerprint)
"""This server's. Measuring it sets torch's flags and its number of threads, which are those of a
running prompt, too."""


def preflight(read: Reader) -> JsonObject:
    """Say what can be expected of a rerun of an image, as JSON.

    Args:
        read: Gives the image. Its file name tells, of a stock graph that saves several images,
            which of them it is.

    Returns:
        What `Preflight.to_json` gives; or `error` alone for a file that cannot be read.
    """
    return or_error(lambda: _preflight_here(read()).to_json())


def preflight_of(
    image: RecordedFile,
    patience: Patience,
    fingerprint: JsonObject | None,
    *,
    placed: Sequence[PlacedMaterial] | None = None,
) -> Preflight:
    """Say what can be expected of a rerun of an image.

    Args:
        image: The file.
        patience: How long to wait for digests.
        fingerprint: This server's, or `None` where it cannot be measured now.
        placed: Where its files are, if that was looked for already.

    Raises:
        OSError: A file of this server cannot be read.
    """
    record = image.record
    try:
        written = graph_of(image, patience)
        prompt, output = without_outputs(written.prompt, written.output)
        ran_here = has_run(written.prompt, written.output) or has_run(prompt, output)
    except ProvenanceError as error:
        return Preflight(problem=str(error))
    environment = _compare_environment(record, prompt) if record is not None else []
    files = placed if placed is not None else _placed(prompt, record, patience)
    missing = [*_missing_nodes(prompt, record)]
    return Preflight(
        materials=tuple(files),
        missing_nodes=tuple(missing),
        refusal=None if missing else _refusal(prompt, ran_here),
        edited=tuple(_edits(image, record)) if record is not None else (),
        environment=tuple(environment[:_TOLD]),
        fingerprint=_compare_fingerprint(record, fingerprint),
        unpinned=tuple([*_unpinned(record)][:_TOLD]) if record is not None else (),
        unknown=tuple(_unknown(image)),
        tolerance_known=record is not None
        and has_controls(record, [item.kind for item in environment]),
    )


def _preflight_here(image: RecordedFile) -> Preflight:
    return preflight_of(image, Hurry(), _fingerprint.get(PromptServer.instance.prompt_queue))


def _placed(prompt: Prompt, record: Record | None, patience: Patience) -> list[PlacedMaterial]:
    """Tell where each file of a graph is; of one without a record, whether it is there."""
    if record is not None:
        return locate(prompt, record.materials, patience, record.computed)
    named = [
        Material(found.kind, found.name, found.node_id, found.input, "unresolved")
        for found in find_files(prompt)
    ]
    return locate(prompt, named, patience)


def _missing_nodes(prompt: Prompt, record: Record | None) -> Iterator[MissingNode]:
    packs = record.environment.get("node_packs") if record is not None else None
    names = packs if isinstance(packs, dict) else {}
    lacking = [name for name in names if pack_folder(name) is None]
    missing: dict[str, list[str]] = {}
    for node_id, node in prompt.nodes.items():
        if node.class_type not in comfy_nodes.NODE_CLASS_MAPPINGS:
            missing.setdefault(node.class_type, []).append(node_id)
    for class_type, node_ids in sorted(missing.items()):
        yield MissingNode(class_type, tuple(node_ids), tuple(lacking[:_TOLD]))


def _refusal(prompt: Prompt, ran_here: bool) -> str | None:
    try:
        refuse_unsafe(prompt, has_run_here=ran_here)
    except (PolicyError, SeedError) as error:
        return str(error)
    return None


def _edits(image: RecordedFile, record: Record) -> list[str]:
    """List what the file shows of edits since it was saved."""
    integrity = image.integrity()
    if not any(check.level is Level.MISMATCH for check in integrity.checks):
        return []
    return [f"edited since it was saved: {cause.message}" for cause in integrity.causes[:_TOLD]]


def _compare_environment(record: Record, prompt: Prompt) -> list[Difference]:
    now = capture_environment({node.class_type for node in prompt.nodes.values()})
    # This pack's own version tells more than its commit, which changes with every word of it.
    own = f"node_pack_commits.{pack_of(comfy_nodes.NODE_CLASS_MAPPINGS.get(_OWN_CLASS))}"
    differences = compare_environments(record.environment, now)
    return [difference for difference in differences if difference.name != own]


def _compare_fingerprint(record: Record | None, now: JsonObject | None) -> tuple[str, ...] | None:
    if record is None or not record.fingerprint or not now:
        return None
    return tuple(compare_fingerprints(record.fingerprint, now))[:_TOLD]


def _unpinned(record: Record) -> Iterator[str]:
    """Yield what a record says was not pinned."""
    determinism = record.document.get("determinism")
    listed = determinism.get("demotions") if isinstance(determinism, dict) else None
    entries = (
        [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    )
    for entry in entries:
        yield f"{entry.get('class_type')} (node {entry.get('node_id')}): {entry.get('message')}"
    told = {str(entry.get("node_id")) for entry in entries}
    for sampling in record.samplings:
        node_id = str(sampling.get("node_id"))
        if sampling.get("deterministic_mode") is not True and node_id not in told:
            yield f"{sampling.get('class_type')} (node {node_id}): not in Deterministic Mode"


def _unknown(image: RecordedFile) -> Iterator[str]:
    if image.record is None:
        yield str(image.problem or "this file has no record of what made it")
    elif image.record.document.get("redactions"):
        yield "secrets were taken out of the graph before it was saved"
