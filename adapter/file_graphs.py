"""The graph that an image file carries, and where in it the image comes out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

import nodes as comfy_nodes

from ..src.comfyui_provenance.errors import GraphError, NoRecordError
from ..src.comfyui_provenance.files import RecordedFile
from ..src.comfyui_provenance.graph.prompt import Link, Node, Prompt, parse_prompt
from .digests import Patience
from .reconstructing import reconstruct_here


@dataclass(frozen=True, slots=True)
class FileGraph:
    """What a file tells of how it was made.

    Attributes:
        prompt: The graph.
        output: Where in it the image comes out.
        notes: Of a graph that was built from an A1111 text, what that text leaves open.
        is_reconstruction: Whether it was, so that no bits are promised.
    """

    prompt: Prompt
    output: Link
    notes: tuple[str, ...] = ()
    is_reconstruction: bool = False


def graph_of(image: RecordedFile, patience: Patience) -> FileGraph:
    """Give the graph that made an image.

    Args:
        image: The file.
        patience: How long to wait for digests, where files are known by them alone.

    Raises:
        NoRecordError: The file tells nothing.
        GraphError: What it tells is no graph, or not the graph of one image.
        LimitError: It is larger than we agree to read.
    """
    if image.record is not None:
        return FileGraph(image.record.prompt(), image.record.output)
    parameters = image.texts.get("parameters")
    if image.prompt is None and parameters is not None and image.problem is None:
        built = reconstruct_here(parameters, patience)
        return FileGraph(built.prompt, built.output, built.notes, is_reconstruction=True)
    if image.prompt is None:
        raise NoRecordError(
            f"{image.name}: {image.problem}"
            if image.problem is not None
            else f"{image.name}: this file carries neither a record nor ComfyUI's prompt; an image "
            "that was edited or re-saved elsewhere usually loses them"
        )
    prompt = parse_prompt(image.prompt)
    return FileGraph(prompt, _stock_output(prompt, image.name))


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
