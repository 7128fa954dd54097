"""Rebuild an image's graph and have ComfyUI run it anew.

The graph that runs is the recorded text. It is pruned to the image, refused or allowed
(`policy`), validated by core's own `validate_prompt`, and only then handed to ComfyUI
as an expansion of the Reproduce node, under ids that shadow nothing, with every node that is no
loader made to run again (`anew`).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from threading import Lock
from typing import Any, Final

import execution
import nodes as comfy_nodes
import torch
from comfy_execution.graph import ExecutionBlocker

from ..src.comfyui_provenance.digest import digest_text
from ..src.comfyui_provenance.errors import PolicyError, ProvenanceError, RecordError
from ..src.comfyui_provenance.files import RecordedFile
from ..src.comfyui_provenance.graph.prompt import Link, Prompt, dump_prompt
from ..src.comfyui_provenance.graph.rebuild import rename, with_values
from ..src.comfyui_provenance.integrity import MATERIAL_KINDS
from ..src.comfyui_provenance.record import JsonValue, Material, Record
from ..src.comfyui_provenance.verdict import Cause, CauseKind, Report
from .anew import doubt_of, mark, nodes_to_run_anew, only_loads
from .digests import Patience, list_materials
from .file_graphs import graph_of
from .images import to_image, to_pixels_like
from .judging import Rerun, expected_digest, judge_images, judge_unrunnable
from .ledger import has_run
from .live_prompt import LivePrompt, live_prompt
from .one_of_batch import only_one
from .policy import refuse_unsafe, without_outputs
from .preflight import preflight_of
from .probes import capture_fingerprint
from .reading import read_image
from .reruns import Comparison, describe_rerun
from .substitution import Substituted, substitute
from .temp_images import show_pictures
from .verdicts import note_verdict

_log = logging.getLogger(__name__)

RESULT_CLASS: Final = "ProvenanceReproduceResult"
"""The node that ends every rebuilt graph."""

_RESULT: Final = ""
"""What follows the prefix in the id of that node: no id of a prompt is empty."""

_TOLD: Final = 20
"""Nodes or files that are missing here, of those that a stranger's graph names."""

_NAME_CHARS: Final = 80
"""Of a class that is missing: a stranger chose it."""

_REASON_CHARS: Final = 500
"""Of one of core's reasons, which may hold a whole list of choices."""

_PROBE: Final = "probe:"
"""What comes before the prefix in the ids of nodes that are validated and never run."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the Reproduce node hands to ComfyUI.

    Attributes:
        expansion: The graph to run.
        result_id: The node whose outputs are the Reproduce node's.
    """

    expansion: dict[str, Any]
    result_id: str


@dataclass(frozen=True, slots=True)
class Unrunnable:
    """A graph that cannot run here, told before anything ran.

    Attributes:
        reproduced: What blocks the nodes that wait for an image.
        original: The file's pixels as an IMAGE, or what blocks the nodes that wait for them.
        report: What keeps it from running, and what the file says of itself.
    """

    reproduced: Any
    original: Any
    report: Report


@dataclass(frozen=True, slots=True)
class Finished:
    """What a reproduction came to.

    Attributes:
        reproduced: IMAGE of shape (1, height, width, 3).
        original: The same of the file; of a sidecar, which has none, what blocks the nodes that
            wait for it.
        report: The verdict.
        pictures: Where the page finds what was compared.
    """

    reproduced: torch.Tensor
    original: Any
    report: Report
    pictures: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Job:
    """A reproduction whose result is awaited.

    Attributes:
        image: The file.
        recorded: Its graph, without saving nodes, as its record tells it, with the names that its
            files have here: a name is no change of what ran.
        prompt: The graph that runs, under the file's own ids and without nonces.
        output: Where in it the image comes out.
        materials: Its files, as they were when it was queued.
        rerun: How it is run again.
    """

    image: RecordedFile
    recorded: Prompt
    prompt: Prompt
    output: Link
    materials: Sequence[Material]
    rerun: Rerun

    def compare(self, live: LivePrompt, prefix: str) -> Comparison | None:
        """Compare what ran with the record; `None` for a file without one."""
        record = self.image.record
        if record is None:
            return None
        element = record.subject.list_index
        try:
            now = describe_rerun(live, self.prompt, self.output, self.materials, prefix, element)
        except ProvenanceError:
            _log.warning("could not describe what ran; the report names no causes", exc_info=True)
            return None
        return Comparison.of(_with_graph(record, self.recorded, self.output), now)


_jobs: dict[str, _Job] = {}
"""Reproductions of the running prompt whose result is still awaited."""

_lock = Lock()


async def plan_reproduction(name: str, node_id: str) -> Plan | Unrunnable:
    """Prepare the graph of an image for running.

    Args:
        name: The image, as ComfyUI names uploads.
        node_id: The Reproduce node.

    Raises:
        ProvenanceError: The file cannot be read, carries no graph, or its graph may not or
            cannot run here. The message says what to do.
        OSError: The file cannot be read.
    """
    image = read_image(name)
    patience = Patience(node_id)
    written = graph_of(image, patience)
    prompt, output = without_outputs(written.prompt, written.output)
    missing = [*islice(_missing_nodes(prompt), _TOLD)]
    if missing:
        return _unrunnable(image, missing, {})
    ran_here = has_run(written.prompt, written.output) or has_run(prompt, output)
    refuse_unsafe(prompt, has_run_here=ran_here)
    values = image.record.computed if image.record is not None else {}
    recorded = image.record.materials if image.record is not None else []
    here = substitute(prompt, recorded, patience, values)
    if here.prompt is not prompt:
        # Other names, words and input images than those that were looked at before.
        refuse_unsafe(here.prompt, has_run_here=ran_here)
    materials = list_materials(with_values(here.prompt, values), patience)
    details = _details(image, here, patience)
    missing = [*islice(_missing_files(materials, recorded, here), _TOLD)]
    if missing:
        return _unrunnable(image, missing, details)
    single = only_one(here.prompt, image.record)
    anew = nodes_to_run_anew(single)
    rerun = replace(
        _rerun(image, single, materials),
        notes=(*written.notes, *_tell(here), *here.notes),
        details=details,
        is_alone=single is not here.prompt,
        is_reconstruction=written.is_reconstruction,
    )
    job = _Job(image, here.prompt, here.prompt, output, materials, rerun)
    prefix = f"{node_id}.{secrets.token_hex(8)}."
    link = [prefix + output.node_id, output.slot]
    renamed = rename(mark(single, anew, materials), prefix)
    expansion = await _validated(renamed, link, prefix, has_run_here=ran_here)
    key = secrets.token_hex(16)
    result_id = f"{prefix}{_RESULT}"
    expansion[result_id] = {"class_type": RESULT_CLASS, "inputs": {"images": link, "job": key}}
    with _lock:
        _jobs[key] = job
    return Plan(expansion, result_id)


def finish_reproduction(
    key: str, batches: Sequence[torch.Tensor], node_id: str, dynprompt: Any
) -> Finished:
    """Compare what a rebuilt graph gave with the image it came from.

    Args:
        key: The job's, as planned.
        batches: IMAGE tensors, one for each element of a list.
        node_id: The node that ends the rebuilt graph.
        dynprompt: The running prompt, from `Hidden.dynprompt`.

    Raises:
        RecordError: There is no such reproduction.
    """
    with _lock:
        job = _jobs.pop(key, None)
    if job is None:
        raise RecordError("expected a reproduction that was queued on this server; run it again")
    expected = expected_digest(job.image)
    frames = [to_pixels_like(batch, expected) for batch in batches]
    comparison = job.compare(live_prompt(dynprompt), node_id.removesuffix(_RESULT))
    report, found = judge_images(job.image, frames, job.rerun, comparison)
    note_verdict(job.image, report.level)
    pictures = show_pictures(found, job.image.pixels)
    return Finished(to_image(found), _original_of(job.image), report, pictures)


def _unrunnable(
    image: RecordedFile, missing: Sequence[Cause], details: dict[str, JsonValue]
) -> Unrunnable:
    """Tell what keeps a graph from running, and give nothing in the place of its image."""
    report = judge_unrunnable(image, missing, details)
    note_verdict(image, report.level)
    return Unrunnable(ExecutionBlocker(None), _original_of(image), report)


def _original_of(image: RecordedFile) -> Any:
    """Give the pixels of a file as an IMAGE, or what blocks the nodes that wait for them."""
    if image.pixels is None:
        return ExecutionBlocker("a sidecar has no pixels: give the image itself")
    return to_image(image.pixels)


def forget_jobs() -> None:
    """Drop the reproductions that a prompt left unfinished, when it has ended."""
    with _lock:
        _jobs.clear()


def _missing_nodes(prompt: Prompt) -> Iterator[Cause]:
    """Name the classes of a graph that are not installed here."""
    for node_id, node in prompt.nodes.items():
        if node.class_type not in comfy_nodes.NODE_CLASS_MAPPINGS:
            name = node.class_type[:_NAME_CHARS]
            message = f"node {node_id[:_NAME_CHARS]}: {name!r} is not installed here"
            yield Cause(CauseKind.NODE_MISSING, message, name, None, node_id)


def _missing_files(
    materials: Sequence[Material], recorded: Sequence[Material], here: Substituted
) -> Iterator[Cause]:
    """Name the files of a graph that are not on this server under any name.

    Core runs without a textual inversion that is not there; then the words differ.
    """
    lost = {(item.node_id, item.input, item.name): item for item in here.missing if item.input}
    known = {(item.node_id, item.input, item.name): item.sha256 for item in recorded}
    for material in materials:
        place = (material.node_id, material.input, material.name)
        if material.status == "missing":
            lost.setdefault(place, replace(material, sha256=known.get(place)))
    for material in lost.values():
        if material.kind != "embeddings":
            kind = MATERIAL_KINDS.get(material.kind, CauseKind.MODEL_FILE)
            message = f"{material.kind} file {material.name!r} is not on this server"
            yield Cause(kind, message, material.sha256, "missing", material.node_id)


def _details(image: RecordedFile, here: Substituted, patience: Patience) -> dict[str, JsonValue]:
    """Give what was found out before anything ran."""
    return {
        "substitutions": [item.to_json() for item in here.substitutions],
        "preflight": preflight_of(
            image, patience, capture_fingerprint(), placed=here.placed or None
        ).to_json(),
    }


def _tell(here: Substituted) -> Iterator[str]:
    """Say which files are used under other names."""
    for item in here.substitutions:
        yield (
            f"{item.kind} file {item.recorded_name!r} is used under the name {item.name!r} that it "
            "has here"
        )


def _rerun(image: RecordedFile, prompt: Prompt, materials: Sequence[Material]) -> Rerun:
    anew = nodes_to_run_anew(prompt)
    return Rerun(
        anew=len(anew),
        loaders=sum(only_loads(node) for node in prompt.nodes.values()),
        doubt=doubt_of(image, expected_digest(image), prompt, materials, anew),
    )


def _with_graph(record: Record, prompt: Prompt, output: Link) -> Record:
    """Give a record with its graph as it runs here: without nodes that only save on the way."""
    graph = dump_prompt(prompt)
    document = {
        **record.document,
        "graph": graph,
        "graph_sha256": digest_text(graph).hex,
        "output": {"node_id": output.node_id, "slot": output.slot},
    }
    return replace(record, document=document)


async def _validated(
    prompt: Prompt, link: list[Any], prefix: str, *, has_run_here: bool
) -> dict[str, Any]:
    """Let core validate the rebuilt graph, since it validates no expansion.

    It validates what declared inputs lead to, and runs what others lead to, as well:
    in a graph that never ran here, every node is looked at by itself.

    Returns:
        The graph with its literals as core coerced them.

    Raises:
        PolicyError: Core refuses it; the message carries core's reasons.
    """
    graph: dict[str, Any] = {**prompt.to_json()}
    image = f"{_PROBE}{prefix}"
    probes: dict[str, Any] = {image: {"class_type": "PreviewImage", "inputs": {"images": link}}}
    if not has_run_here:
        for node_id in prompt.nodes:
            shown = {"class_type": "PreviewAny", "inputs": {"source": [node_id, 0]}}
            probes[f"{_PROBE}{node_id}"] = shown
    graph |= probes
    valid, error, _, node_errors = await execution.validate_prompt(image, graph, [*probes])
    if not valid or node_errors:
        reasons = _reasons(error, node_errors, prefix)
        raise PolicyError(f"this graph cannot run here: {reasons}")
    return {node_id: node for node_id, node in graph.items() if node_id not in probes}


def _reasons(error: Any, node_errors: dict[str, Any], prefix: str) -> str:
    reasons = [
        f"node {node_id.removeprefix(prefix)} ({found['class_type']}): {reason['message']}: "
        f"{reason['details']}"[:_REASON_CHARS]
        for node_id, found in node_errors.items()
        for reason in found["errors"]
    ]
    return "; ".join(reasons) or str((error or {}).get("details") or error)
