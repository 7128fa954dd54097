"""What nodes gave: digests of their images and latents, plain values, and the files of models.

It is read from core's cache when a node has run (`prompt_watcher`), and kept by what was
computed, as runs are, so that it is there when ComfyUI takes a node from its cache. With
`--cache-none` nothing is told; with `--cache-classic` and `--cache-lru` nothing of nodes that are
never the same and of nodes inside an expansion: what those gave stays unknown.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final
from weakref import ReferenceType, ref

import nodes as comfy_nodes
import torch

from ..src.comfyui_provenance.numerics.tensors import digest_images
from ..src.comfyui_provenance.record import JsonValue

_log = logging.getLogger(__name__)

_CAPACITY: Final = 4096
"""Nodes to remember: a few hundred bytes each, or a prompt's text."""

_DIGESTED_BYTES: Final = 1 << 28
"""Of one output: 256 MB take a tenth of a second. Long videos have no digests."""

_DIGESTED_IMAGES: Final = 64
"""Of one output: a record tells each image's digest."""

_TEXT_CHARS: Final = 1 << 16
"""Of a text that a node computed."""

_EXACT: Final = 2.0**53

_IMAGES: Final = ("IMAGE", "MASK")


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a node that ran.

    Attributes:
        slot: Which one.
        type: ComfyUI's type, as its class declares it.
        digests: Of each image of its batch, where it is a batch of images or latents.
        value: A plain value: text, number or truth; `None` for anything else.
        files: The files from which core's loaders made a model.
        images: The images themselves, while ComfyUI keeps them.
    """

    slot: int
    type: str
    digests: tuple[str, ...] = ()
    value: JsonValue = None
    files: tuple[Path, ...] = ()
    images: ReferenceType[torch.Tensor] | None = None


_outputs: OrderedDict[str, list[tuple[Output, ...]]] = OrderedDict()
_lock = Lock()


def keep_outputs(run_digest: str, class_type: str, given: Sequence[Any]) -> tuple[Output, ...]:
    """Keep what a node gave.

    Args:
        run_digest: What it computed, from `LivePrompt.digest_run`.
        class_type: Its class.
        given: By slot, a list with one element for each time that it ran.

    Returns:
        What it gave when it ran first.
    """
    node_class: Any = comfy_nodes.NODE_CLASS_MAPPINGS.get(class_type)
    types = [str(kind) for kind in getattr(node_class, "RETURN_TYPES", ())]
    count = max((len(values) for values in given if isinstance(values, list)), default=0)
    kept = [
        tuple(
            _look(slot, types[slot] if slot < len(types) else "", values[min(at, len(values) - 1)])
            for slot, values in enumerate(given)
            if isinstance(values, list) and values
        )
        for at in range(count)
    ]
    with _lock:
        _outputs[run_digest] = kept
        _outputs.move_to_end(run_digest)
        while len(_outputs) > _CAPACITY:
            _outputs.popitem(last=False)
    return kept[0] if kept else ()


def recall_outputs(run_digest: str, list_index: int | None) -> tuple[Output, ...]:
    """Give what a node gave; nothing where core did not tell it.

    Args:
        run_digest: From `LivePrompt.digest_run`.
        list_index: Which of a list of inputs the node ran on, from 0; `None` where that is not
            known. A node that ran only once stands for every element of a list.
    """
    with _lock:
        kept = _outputs.get(run_digest, [])
        if kept:
            _outputs.move_to_end(run_digest)
        if len(kept) == 1:
            return kept[0]
        return kept[list_index] if list_index is not None and list_index < len(kept) else ()


def is_told_for_a_list(run_digest: str) -> bool:
    """Tell whether a node ran on several elements of a list."""
    with _lock:
        return len(_outputs.get(run_digest, ())) > 1


def _look(slot: int, kind: str, value: Any) -> Output:
    try:
        images = ref(value) if kind == "IMAGE" and isinstance(value, torch.Tensor) else None
        files = tuple(_files(value))
        return Output(slot, kind, _digests(kind, value), _plain(value), files, images)
    except Exception:  # noqa: BLE001 - an object of a kind never seen before
        _log.debug("could not look at an output of type %s", kind, exc_info=True)
        return Output(slot, kind)


def _digests(kind: str, value: Any) -> tuple[str, ...]:
    images = value if kind in _IMAGES else None
    if kind == "LATENT" and isinstance(value, dict):
        images = value.get("samples")
    if not isinstance(images, torch.Tensor) or images.is_nested or images.ndim < 2:
        return ()
    if images.nbytes > _DIGESTED_BYTES or not 0 < len(images) <= _DIGESTED_IMAGES:
        return ()
    return tuple(str(digest) for digest in digest_images(images))


def _plain(value: Any) -> JsonValue:
    if isinstance(value, str) and len(value) <= _TEXT_CHARS:
        return value
    if isinstance(value, bool | int):
        return value
    # A whole float from 2^53 on has no canonical form.
    is_exact = isinstance(value, float) and math.isfinite(value) and abs(value) < _EXACT
    return value if is_exact else None


def _files(value: Any) -> Iterator[Path]:
    """Give the files that core's loader read a model from, where core keeps them."""
    patcher = getattr(value, "patcher", value)
    init = getattr(patcher, "cached_patcher_init", None)
    if isinstance(init, tuple) and len(init) > 1 and init[1]:
        first = init[1][0]
        for path in first if isinstance(first, list | tuple) else [first]:
            if isinstance(path, str):
                yield Path(path)
