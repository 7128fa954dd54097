"""Records in images that core's own nodes save, through the metadata that ComfyUI passes along.

Core's Save Image writes every entry of `extra_pnginfo` into the file. So the record is put
there right before such a node runs, and taken out right after it. All images of its batch get
the same text: the record names the pixels of each.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections import OrderedDict
from typing import Any, Final

from comfy.cli_args import args

from ..src.comfyui_provenance.canonical import parse_json
from ..src.comfyui_provenance.digest import digest_text
from ..src.comfyui_provenance.errors import GraphError
from ..src.comfyui_provenance.graph.prompt import Link
from ..src.comfyui_provenance.pixels import digest_pixels
from ..src.comfyui_provenance.record import KEYWORD, JsonObject, JsonValue, failed_record, seal
from .describing import describe
from .digests import Patience
from .images import to_pixels
from .live_prompt import LivePrompt
from .outputs import Output, is_told_for_a_list, recall_outputs
from .saving import reason_for
from .settings import RECORD_IN_STOCK_SAVES, is_on

_log = logging.getLogger(__name__)

_CLASSES: Final = frozenset({"PreviewImage", "SaveImage"})
"""Core's nodes that write each image of a batch as PNG, quantised as `to_pixels` does."""

_CAPACITY: Final = 1024
"""Queued prompts whose metadata is kept; those that were taken off the queue stay for a while."""

_kept: OrderedDict[str, Any] = OrderedDict()


def keep_metadata(json_data: dict[str, Any]) -> dict[str, Any]:
    """Keep hold of the metadata that a queued prompt brings, until it has run.

    ComfyUI gives the very object to the nodes that save, and copies of it to everybody else. API
    clients often bring none: an empty one writes nothing.
    """
    extra_data = json_data.setdefault("extra_data", {})
    if is_on(RECORD_IN_STOCK_SAVES) and isinstance(extra_data, dict):
        prompt_id = str(json_data.setdefault("prompt_id", str(uuid.uuid4())))
        _kept[prompt_id] = extra_data.setdefault("extra_pnginfo", {})
        while len(_kept) > _CAPACITY:
            _kept.popitem(last=False)
    return json_data


def metadata_of(prompt_id: str) -> Any:
    """Give the metadata that a running prompt's nodes will write; `None` without the setting."""
    return _kept.get(prompt_id)


def forget_metadata(prompt_id: str) -> None:
    """Let go of a prompt's metadata when it has ended."""
    _kept.pop(prompt_id, None)


def is_stock_save(class_type: str) -> bool:
    """Tell whether a class is one of core's that save images with metadata."""
    return class_type in _CLASSES


def offer_record(live: LivePrompt, node_id: str, extra_pnginfo: Any) -> None:
    """Put the record of its images into what a node of core's is about to write.

    Nothing is put there while the images are not made yet, nor without the owner's setting.
    """
    if args.disable_metadata or not isinstance(extra_pnginfo, dict):
        return
    if not is_on(RECORD_IN_STOCK_SAVES):
        return
    extra_pnginfo.pop(KEYWORD, None)
    try:
        source = live.node(node_id).inputs.get("images")
        if not isinstance(source, Link):
            raise GraphError("images: expected a link to another node's image")
        made = live.digest_run(source.node_id)
        if is_told_for_a_list(made):
            raise GraphError("images: core saves all elements of a list with one text")
        given = recall_outputs(made, 0)
        output = next((item for item in given if item.slot == source.slot), None)
        if output is not None:
            extra_pnginfo[KEYWORD] = _record(live, node_id, source, output, extra_pnginfo)
    # Whatever goes wrong here must not cost the user the image.
    except Exception as error:  # noqa: BLE001
        _log.warning("could not make a provenance record", exc_info=True)
        extra_pnginfo[KEYWORD] = parse_json(failed_record(reason_for(error)))


def withdraw_record(extra_pnginfo: Any) -> None:
    """Take the record out again: the next node saves other images."""
    if isinstance(extra_pnginfo, dict):
        extra_pnginfo.pop(KEYWORD, None)


def _record(
    live: LivePrompt, node_id: str, source: Link, output: Output, extra_pnginfo: dict[str, Any]
) -> JsonObject:
    images = output.images() if output.images is not None else None
    if images is None:
        raise GraphError("the images are not at hand any more")
    document = describe(live, source, Patience(node_id)).document
    if "workflow" in extra_pnginfo:
        # As core writes it: what it writes itself is not redacted.
        document["workflow_sha256"] = digest_text(json.dumps(extra_pnginfo["workflow"])).hex
    frames = to_pixels(images)
    digests: list[JsonValue] = [str(digest_pixels(frame)) for frame in frames]
    subject: JsonObject = {
        "width": frames[0].width,
        "height": frames[0].height,
        "channels": frames[0].channels,
        "batch_size": len(frames),
        "list_index": 0,
        # One text is written into the files of all images: each is found by its pixels.
        **({"digest": digests[0], "batch_index": 0} if len(frames) == 1 else {"digests": digests}),
    }
    return dict(seal({**document, "subject": subject}).document)
