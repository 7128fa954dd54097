"""Saving images with their record; an image is never lost because a record failed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import torch
from comfy.cli_args import args

from ..src.comfyui_provenance.carriage import Carried, plan_texts
from ..src.comfyui_provenance.containers import embed
from ..src.comfyui_provenance.digest import digest_text
from ..src.comfyui_provenance.errors import GraphError, ProvenanceError
from ..src.comfyui_provenance.graph.prompt import Link, NodeId
from ..src.comfyui_provenance.pixels import (
    Pixels,
    decode_pixels,
    digest_pixels,
    encode_jpeg,
    encode_png,
    encode_webp,
)
from ..src.comfyui_provenance.record import SIDECAR, JsonObject, Subject
from .describing import describe, list_index
from .digests import Patience
from .images import to_pixels, without_alpha
from .live_prompt import LivePrompt, live_prompt
from .output_files import Draft, OutputName, plan_output, publish, remove_stale, write_draft
from .settings import SIDECAR as SIDECAR_SETTING
from .settings import is_on

_log = logging.getLogger(__name__)

_SUFFIXES: Final = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}

FORMATS: Final = tuple(_SUFFIXES)
"""What images can be saved as."""


@dataclass(frozen=True, slots=True)
class Format:
    """How images are encoded.

    Attributes:
        kind: One of `FORMATS`.
        bits: Of a sample, 8 or 16; only PNG has 16.
        lossless: Whether WebP keeps every pixel.
        quality: 1 to 100, of JPEG and of WebP that is not lossless.
    """

    kind: str = "png"
    bits: int = 8
    lossless: bool = True
    quality: int = 90

    def __post_init__(self) -> None:
        if self.bits == 16 and self.kind != "png":
            raise ValueError(f"bit_depth: {self.kind} has 8 bits; choose png for 16")

    @property
    def keeps_pixels(self) -> bool:
        """Whether the file decodes to the very pixels that went in."""
        return self.kind == "png" or (self.kind == "webp" and self.lossless)

    def encode(self, pixels: Pixels) -> bytes:
        """Encode one image, without any text."""
        if self.kind == "webp":
            return encode_webp(pixels, lossless=self.lossless, quality=self.quality)
        if self.kind == "jpeg":
            return encode_jpeg(pixels, quality=self.quality)
        return encode_png(pixels)

    def to_json(self) -> JsonObject:
        """Give what a record's `subject` tells of the file's format."""
        entry: JsonObject = {"kind": self.kind, "bits": self.bits}
        if self.kind == "webp":
            entry["lossless"] = self.lossless
        if not self.keeps_pixels:
            entry["quality"] = self.quality
        return entry


@dataclass(slots=True)
class Saved:
    """What a save did.

    Attributes:
        images: As core's Save Image reports them to the page.
        warnings: Sentences for the user.
    """

    images: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Made:
    """What is the same for all images of a batch.

    Attributes:
        format: How they are encoded.
        hosts: The texts that core's Save Image writes.
        document: The record without its subject, or why there is none; `None` with
            `--disable-metadata`.
        size: Images of the batch.
        list_index: Position in a list of batches.
        parameters: Whether to write the text that A1111 and Civitai read.
        sidecar: Whether to write the record beside each image.
    """

    format: Format
    hosts: dict[str, str]
    document: JsonObject | str | None
    size: int
    list_index: int
    parameters: bool
    sidecar: bool


@dataclass(frozen=True, slots=True)
class _Encoded:
    """One image, ready to be written.

    Attributes:
        image: Its file, whole and without a name.
        beside: The bytes of further files, by suffix.
        warnings: Sentences for the user.
    """

    image: Draft
    beside: dict[str, bytes]
    warnings: tuple[str, ...]


def save_images(
    images: torch.Tensor,
    prefix: str,
    image_format: Format,
    *,
    sidecar: bool,
    parameters: bool,
    node_id: str,
    input_name: str,
    dynprompt: Any,
    extra_pnginfo: dict[str, Any] | None,
) -> Saved:
    """Save a batch of images, each with the record of what made it.

    Args:
        images: IMAGE of shape (batch, height, width, channels).
        prefix: As core's Save Image takes it.
        image_format: How to encode them.
        sidecar: Whether to write the record beside the image, too; the server's owner can have
            that for all images.
        parameters: Whether to write the text that A1111 and Civitai read, too.
        node_id: The saving node.
        input_name: The input of that node that the images came through.
        dynprompt: The running prompt, from `Hidden.dynprompt`.
        extra_pnginfo: What ComfyUI wants in the file besides the prompt.

    Raises:
        ValueError: The prefix leads out of the output folder.
        OSError: A file cannot be written.
    """
    name = plan_output(prefix, width=images.shape[2], height=images.shape[1])
    saved = Saved()
    hosts: dict[str, str] = {}
    document: JsonObject | str | None = None
    if not args.disable_metadata:
        live = live_prompt(dynprompt)
        prompt = dynprompt.get_original_prompt()
        hosts = _host_texts(live, prompt, extra_pnginfo, saved.warnings)
        document = _describe(live, node_id, input_name, saved.warnings)
    if isinstance(document, dict) and "workflow" in hosts:
        document["workflow_sha256"] = digest_text(hosts["workflow"]).hex
    beside = sidecar or is_on(SIDECAR_SETTING)
    made = _Made(image_format, hosts, document, len(images), list_index(), parameters, beside)
    remove_stale(name.folder)
    with closing(_encode_all(images, name, made)) as encoded:
        _publish_all(encoded, name, saved)
    return saved


def _host_texts(
    live: LivePrompt,
    prompt: dict[str, Any],
    extra_pnginfo: dict[str, Any] | None,
    warnings: list[str],
) -> dict[str, str]:
    """Give the texts that core's Save Image writes, as it writes them, without secrets."""
    extra = extra_pnginfo if isinstance(extra_pnginfo, dict) else {}
    texts: dict[str, str] = {}
    try:
        secrets = live.redacted().secrets
        # Expansions, which come last, are no part of what core writes.
        nodes = live.redacted().nodes.items()
        shown = dict(islice(nodes, len(prompt))) if secrets else prompt
    # A prompt of no form that we know: nothing of it may be written unseen.
    except Exception as error:  # noqa: BLE001
        _warn(warnings, f"saved without 'prompt' and 'workflow': {reason_for(error)}")
        return texts
    for keyword, value in {"prompt": shown, **extra}.items():
        try:
            text = value if keyword == "prompt" else live.without_secrets(value, secrets)
            texts[str(keyword)] = json.dumps(text)
        # Another pack put it there, and it must not cost the user the image.
        except Exception as error:  # noqa: BLE001
            _warn(warnings, f"saved without {keyword!r}: {reason_for(error)}")
    return texts


def reason_for(error: Exception) -> str:
    """Say why something failed, without the paths that foreign errors tell."""
    if isinstance(error, ProvenanceError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__


def _describe(
    live: LivePrompt, node_id: str, input_name: str, warnings: list[str]
) -> JsonObject | str:
    """Give what the records of a batch share, or the reason why there are none."""
    try:
        source = live.node(node_id).inputs.get(input_name)
        if not isinstance(source, Link):
            raise GraphError(f"{input_name}: expected a link to another node's image")
        description = describe(live, source, Patience(NodeId(node_id)))
    # Whatever goes wrong here, foreign code included, must not cost the user the image.
    except Exception as error:  # noqa: BLE001
        _log.warning("could not make a provenance record", exc_info=True)
        return reason_for(error)
    warnings.extend(description.warnings)
    return description.document


def _encode_all(images: torch.Tensor, name: OutputName, made: _Made) -> Generator[_Encoded]:
    """Encode the images of a batch side by side, and give them in order."""
    workers = min(len(images), os.cpu_count() or 1)
    with ThreadPoolExecutor(workers, "provenance-encode") as pool:
        jobs = [pool.submit(_encode, images, index, name, made) for index in range(len(images))]
        try:
            for job in jobs:
                yield job.result()
        finally:
            # After an error nothing of the images that come later may stay.
            for job in jobs:
                job.cancel()
            for job in jobs:
                if not job.cancelled() and job.exception() is None:
                    job.result().image.discard()


def _encode(images: torch.Tensor, index: int, name: OutputName, made: _Made) -> _Encoded:
    warnings: list[str] = []
    (pixels,) = to_pixels(images[index : index + 1], bits=made.format.bits)
    if made.format.kind == "jpeg" and pixels.channels in (2, 4):
        warnings.append("JPEG holds no transparency: saved without it")
        pixels = without_alpha(pixels)
    used = made.format
    try:
        data = used.encode(pixels)
    except ProvenanceError as error:
        # Larger than the format can be: another one keeps the image.
        warnings.append(f"{error}: saved as png instead")
        used = Format()
        data = used.encode(pixels)
    document = _with_subject(pixels, data, index, used, made)
    carried = plan_texts(used.kind, made.hosts, document, parameters=made.parameters)
    if carried.problem is not None:
        warnings.append(f"saved without a record: {carried.problem}")
    if carried.left_out:
        warnings.append(
            f"this file cannot hold {', '.join(carried.left_out)}: "
            "the whole record is in the sidecar beside it"
        )
    beside: dict[str, bytes] = {}
    if carried.whole is not None and (made.sidecar or carried.left_out):
        beside[SIDECAR] = carried.whole.encode("ascii")
    image = write_draft(name, _SUFFIXES[used.kind], _embedded(data, carried, warnings))
    return _Encoded(image, beside, tuple(warnings))


def _with_subject(
    pixels: Pixels, data: bytes, index: int, used: Format, made: _Made
) -> JsonObject | str | None:
    """Complete a record for one image, or give the reason why there is none."""
    if not isinstance(made.document, dict):
        return made.document
    try:
        stored = None if used.keeps_pixels else digest_pixels(decode_pixels(data))
    except ProvenanceError as error:
        return reason_for(error)
    subject = Subject(
        digest_pixels(pixels),
        pixels.width,
        pixels.height,
        pixels.channels,
        index,
        made.size,
        made.list_index,
        stored,
    )
    return {**made.document, "subject": {**subject.to_json(), "format": used.to_json()}}


def _embedded(data: bytes, carried: Carried, warnings: list[str]) -> bytes:
    """Put the texts into an image file, leaving out those that it cannot carry."""
    try:
        return embed(data, carried.texts)
    except ProvenanceError:
        pass
    for keyword, text in carried.texts.items():
        try:
            data = embed(data, {keyword: text})
        except ProvenanceError as error:
            warnings.append(f"saved without {keyword!r}: {error}")
    return data


def _publish_all(encoded: Generator[_Encoded], name: OutputName, saved: Saved) -> None:
    """Give images their names in order, each under the next free number."""
    counter = name.counter
    for index, made in enumerate(encoded):
        for warning in made.warnings:
            if warning not in saved.warnings:
                _warn(saved.warnings, warning)
        counter = publish(name, counter, index, made.image, made.beside, saved.warnings)
        saved.images.append(
            {
                "filename": f"{name.file_name(counter, index)}{made.image.suffix}",
                "subfolder": name.subfolder,
                "type": "output",
            }
        )
        counter += 1


def _warn(warnings: list[str], message: str) -> None:
    _log.warning(message)
    warnings.append(message)
