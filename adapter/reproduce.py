"""Rebuild an image's graph and have ComfyUI run it anew.

The graph that runs is the recorded text. It is pruned to the image, refused or allowed
(`policy`), validated by core's own `validate_prompt`, and only then handed to ComfyUI
as an expansion of the Reproduce node, under ids that shadow nothing. A nonce on every
node that is not a loader changes its cache signature, so that nothing is compared with
its own cached result.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from threading import Lock
from typing import Any, Final

import execution
import nodes as comfy_nodes
import torch
from comfy_execution.graph import get_input_info

from ..src.comfyui_provenance.digest import Digest
from ..src.comfyui_provenance.errors import (
    GraphError,
    NoRecordError,
    PolicyError,
    ProvenanceError,
    RecordError,
)
from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt, parse_prompt
from ..src.comfyui_provenance.graph.rebuild import rename, set_input, with_values
from ..src.comfyui_provenance.graph.trace import upstream
from ..src.comfyui_provenance.pixels import digest_pixels
from ..src.comfyui_provenance.record import Material
from ..src.comfyui_provenance.verdict import Report
from .digests import Patience, list_materials
from .images import to_image, to_pixels_like, to_rgb
from .judging import Rerun, expected_digest, judge_images
from .ledger import has_run
from .live_prompt import LivePrompt, live_prompt
from .loaded_files import is_as_loaded
from .node_classes import is_unique
from .policy import refuse_unsafe, without_outputs
from .probes import capture_environment, capture_fingerprint
from .reading import ImageFile, read_image, read_pixels
from .traces import locate_difference

RESULT_CLASS: Final = "ProvenanceReproduceResult"
"""The node that ends every rebuilt graph."""

_RESULT: Final = "result"
_NONCE: Final = "provenance_nonce"
_LOADED: Final = frozenset(
    {
        "MODEL",
        "CLIP",
        "VAE",
        "CLIP_VISION",
        "CONTROL_NET",
        "STYLE_MODEL",
        "GLIGEN",
        "UPSCALE_MODEL",
    }
)
"""Outputs of nodes that only load or patch a model: not run anew, their files are compared."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the Reproduce node hands to ComfyUI.

    Attributes:
        expansion: The graph to run.
        result_id: The node whose outputs are the Reproduce node's.
    """

    expansion: dict[str, Any]
    result_id: str


_jobs: dict[str, tuple[ImageFile, Rerun]] = {}
"""Reproductions of the running prompt whose result is still awaited."""

_lock = Lock()


async def plan_reproduction(name: str, node_id: str) -> Plan:
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
    recorded, recorded_output = _recorded_graph(image)
    prompt, output = without_outputs(recorded, recorded_output)
    ran_here = has_run(recorded, recorded_output) or has_run(prompt, output)
    refuse_unsafe(prompt, has_run_here=ran_here)
    values = image.record.computed if image.record is not None else {}
    materials = list_materials(with_values(prompt, values), Patience(node_id))
    prefix = f"{node_id}.{secrets.token_hex(8)}."
    anew = _nodes_to_run_anew(prompt)
    renamed = rename(_marked(prompt, anew, materials), prefix)
    result_id = f"{prefix}{_RESULT}"
    link = [prefix + output.node_id, output.slot]
    expansion = await _validated(renamed, link, f"{prefix}preview")
    key = secrets.token_hex(16)
    expansion[result_id] = {
        "class_type": RESULT_CLASS,
        "inputs": {"images": link, "job": key},
    }
    with _lock:
        _jobs[key] = image, _rerun(image, prompt, materials, anew)
    return Plan(expansion, result_id)


def finish_reproduction(
    key: str, batches: Sequence[torch.Tensor], node_id: str, dynprompt: Any
) -> tuple[torch.Tensor, torch.Tensor, Report]:
    """Compare what a rebuilt graph gave with the image it came from.

    Args:
        key: The job's, as planned.
        batches: IMAGE tensors, one for each element of a list.
        node_id: The node that ends the rebuilt graph.
        dynprompt: The running prompt, from `Hidden.dynprompt`.

    Returns:
        The reproduced image and the original, both of shape (1, height, width, 3), and the
        report.

    Raises:
        RecordError: There is no such reproduction.
    """
    with _lock:
        job = _jobs.pop(key, None)
    if job is None:
        raise RecordError("expected a reproduction that was queued on this server; run it again")
    image, rerun = job
    located: list[str] = []
    if image.record is not None:
        prefix = node_id.removesuffix(_RESULT)
        located = locate_difference(image.record, live_prompt(dynprompt), prefix)
    expected = expected_digest(image)
    frames = [to_pixels_like(batch, expected) for batch in batches]
    report, found = judge_images(image, frames, rerun, located)
    return to_image(found), to_image(image.pixels), report


def forget_jobs() -> None:
    """Drop the reproductions that a prompt left unfinished, when it has ended."""
    with _lock:
        _jobs.clear()


def _rerun(
    image: ImageFile, prompt: Prompt, materials: Sequence[Material], anew: set[NodeId]
) -> Rerun:
    return Rerun(
        materials=materials,
        environment=capture_environment({node.class_type for node in prompt.nodes.values()}),
        fingerprint=capture_fingerprint(),
        anew=len(anew),
        loaders=sum(_only_loads(node) for node in prompt.nodes.values()),
        doubt=_doubt(image, prompt, materials, anew),
    )


def _doubt(
    image: ImageFile, prompt: Prompt, materials: Sequence[Material], anew: set[NodeId]
) -> str | None:
    """Say why running a graph would not show that it makes the image, if it would not."""
    if not anew:
        return "no node of this graph can be made to run again, so nothing was shown"
    files = {material.node_id for material in materials}
    for node_id, node in prompt.nodes.items():
        if not anew.isdisjoint(upstream(prompt, node_id)) or is_unique(_class_of(node)):
            continue
        # What is left may come from the cache. That is no harm to a loader alone, unless it
        # cannot be marked with the digests of its files.
        sources = any(isinstance(value, Link) for value in node.inputs.values())
        unmarked = not _ignores(_class_of(node), _NONCE) and (node_id in files or not sources)
        if unmarked or not _only_loads(node):
            return f"node {node_id} ({node.class_type}) cannot be made to run again"
    expected = expected_digest(image)
    for material in materials:
        if material.kind == "input" and _holds(material, image.sha256, expected):
            return f"the graph loads the image itself ({material.name}), so nothing was shown"
    return None


def _holds(material: Material, sha256: str, expected: Digest) -> bool:
    """Tell whether an input file is an image, or has its pixels."""
    if material.sha256 == sha256:
        return True
    try:
        return digest_pixels(to_rgb(read_pixels(material.name))) == expected
    except (ProvenanceError, OSError, ValueError):
        return False


def _recorded_graph(image: ImageFile) -> tuple[Prompt, Link]:
    """Give the graph that made an image, and where in it the image comes out."""
    if image.record is not None:
        return image.record.prompt(), image.record.output
    if image.prompt is None:
        raise NoRecordError(
            f"{image.name}: {image.record_problem}"
            if image.record_problem
            else f"{image.name}: this file carries neither a record nor ComfyUI's prompt; an image "
            "that was edited or re-saved elsewhere usually loses them"
        )
    prompt = parse_prompt(image.prompt)
    return prompt, _stock_output(prompt, image.name)


def _stock_output(prompt: Prompt, file_name: str) -> Link:
    """Find which of a stock prompt's images a file is.

    Raises:
        GraphError: None, or it cannot be told.
    """
    saved: dict[Link, int] = {}
    for node in prompt.nodes.values():
        node_class = comfy_nodes.NODE_CLASS_MAPPINGS.get(node.class_type)
        source = node.inputs.get("images", node.inputs.get("image"))
        if isinstance(source, Link) and getattr(node_class, "OUTPUT_NODE", False):
            saved[source] = max(saved.get(source, 0), _name_fit(node, file_name))
    if not saved:
        raise GraphError(f"{file_name}: its prompt saves no image")
    best = max(saved.values())
    candidates = list(saved) if len(saved) == 1 else [s for s in saved if saved[s] == best > 0]
    if len(candidates) != 1:
        raise GraphError(
            f"{file_name}: its prompt saves {len(saved)} different images, and the file's name "
            "does not tell which one this is; give it back the name that it was saved under"
        )
    return candidates[0]


def _name_fit(node: Node, file_name: str) -> int:
    """Tell how well a file's name fits a saving node: 0 not at all, else by its prefix."""
    prefix = node.inputs.get("filename_prefix")
    if node.class_type == "PreviewImage":
        prefix = "ComfyUI_temp_?????"
    if not isinstance(prefix, str):
        return 0
    stem = re.sub(r"%[^%]*%", "*", PurePath(prefix.replace("\\", "/")).name)
    # Core's own form, and the number that a browser adds to a second download.
    pattern = re.escape(stem).replace(r"\*", ".+?").replace(r"\?", "[a-z]")
    fits = re.fullmatch(rf"{pattern}_\d{{5,}}_( ?\(\d+\))?\.\w+", file_name)
    is_preview = re.match(r"ComfyUI_temp_[a-z]{5}_\d", file_name) is not None
    return len(stem) if fits and is_preview == (node.class_type == "PreviewImage") else 0


def _nodes_to_run_anew(prompt: Prompt) -> set[NodeId]:
    """Find the nodes that do more than load or patch a model, and can carry a nonce."""
    anew: set[NodeId] = set()
    for node_id, node in prompt.nodes.items():
        if not _only_loads(node) and _ignores(_class_of(node), _NONCE):
            anew.add(node_id)
    return anew


def _class_of(node: Node) -> Any:
    return comfy_nodes.NODE_CLASS_MAPPINGS[node.class_type]


def _only_loads(node: Node) -> bool:
    """Tell whether a node gives nothing but models."""
    return set(map(str, _class_of(node).RETURN_TYPES)) <= _LOADED


def _marked(prompt: Prompt, anew: set[NodeId], materials: Sequence[Material]) -> Prompt:
    """Put a nonce on the nodes to run anew, and the digests of its files on each loader.

    A loader may come from the cache only while its files are the ones it loaded.
    """
    nonce = secrets.token_hex(16)
    marks = dict.fromkeys(anew, nonce)
    nodes = prompt.to_json()
    live = LivePrompt(lambda: nodes, nodes)
    for material in materials:
        # A model that is loaded from the very file need not be loaded twice.
        if material.node_id not in anew and not is_as_loaded(live, material):
            digest = material.sha256 or nonce
            marks[material.node_id] = f"{marks.get(material.node_id, '')}{material.input}:{digest};"
    for node_id, mark in marks.items():
        if _ignores(_class_of(prompt.nodes[node_id]), _NONCE):
            prompt = set_input(prompt, node_id, _NONCE, mark)
    return prompt


def _ignores(node_class: Any, name: str) -> bool:
    """Tell whether a class drops an input that it does not declare."""
    accepts_all = getattr(node_class, "ACCEPT_ALL_INPUTS", False)
    return not accepts_all and get_input_info(node_class, name)[1] is None


async def _validated(prompt: Prompt, link: list[Any], preview_id: str) -> dict[str, Any]:
    """Let core validate the rebuilt graph, since it validates no expansion.

    Returns:
        The graph with its literals as core coerced them.

    Raises:
        PolicyError: Core refuses it; the message carries core's reasons.
    """
    graph: dict[str, Any] = {**prompt.to_json()}
    graph[preview_id] = {"class_type": "PreviewImage", "inputs": {"images": link}}
    valid, error, _, node_errors = await execution.validate_prompt(preview_id, graph, [preview_id])
    if not valid or node_errors:
        reasons = _reasons(error, node_errors, preview_id.removesuffix("preview"))
        raise PolicyError(f"this graph cannot run here: {reasons}")
    del graph[preview_id]
    return graph


def _reasons(error: Any, node_errors: dict[str, Any], prefix: str) -> str:
    reasons = [
        f"node {node_id.removeprefix(prefix)} ({found['class_type']}): {reason['message']}: "
        f"{reason['details']}"
        for node_id, found in node_errors.items()
        for reason in found["errors"]
    ]
    return "; ".join(reasons) or str((error or {}).get("details") or error)
