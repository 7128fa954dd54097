"""The graph of a picture from words, built of core's simplest nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Final

from ..embedding_words import is_word
from ..errors import GraphError, LimitError
from ..graph.prompt import Input, Link, Node, NodeId, Prompt
from ..infotext import Infotext
from ..infotext.names import COMFYUI
from ..plain_text import to_plain
from ..prompt_text import TEXT_CHARS
from .files import Found, KnownFiles, Wanted, find_file
from .leftovers import leftover_notes
from .words import LoraTag, grammar_notes, name_embeddings, take_tags

_FILE_COUNT: Final = 64
"""LoRAs, embeddings, and other tags, that one text may name. Real ones measure under 20."""

_SIDE_PX: Final = (16, 8192)
_RANGES: Final = {
    "Steps": (1, 1000),
    "CFG scale": (0, 100),
    "width": _SIDE_PX,
    "height": _SIDE_PX,
}
"""What KSampler and EmptyLatentImage take, and this pack runs of a stranger's graph."""

_LATENT_PX: Final = 8
_CLIP_SKIP: Final = re.compile(r"[1-9]|1[0-9]|2[0-4]")
"""The layers that CLIPSetLastLayer counts from the end."""

_NO_VAE: Final = ("", "none", "automatic")


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A graph that makes a picture such as an infotext tells.

    Attributes:
        prompt: The graph; it saves nothing.
        output: The picture.
        notes: Each assumption, and each thing that the text says and the graph does not do, as one
            printable line.
    """

    prompt: Prompt
    output: Link
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Settings:
    """The numbers and names of the sampling, all within what its nodes take."""

    steps: int
    cfg: float
    seed: int
    sampler: str
    scheduler: str
    width: int
    height: int


@dataclass(slots=True)
class _Building:
    """A graph and its notes, as far as they have come."""

    infotext: Infotext
    hashes: Mapping[str, str]
    files: KnownFiles
    nodes: dict[NodeId, Node] = field(default_factory=dict[NodeId, Node])
    notes: list[str] = field(default_factory=list[str])

    @property
    def is_from_comfyui(self) -> bool:
        return self.infotext.details.get("Version") == COMFYUI

    def add(self, node_id: str, class_type: str, **inputs: Input) -> NodeId:
        self.nodes[NodeId(node_id)] = Node(class_type, inputs)
        return NodeId(node_id)

    def find(self, wanted: Wanted) -> Found | None:
        found = find_file(self.files, wanted)
        if found is not None and found.note is not None:
            self.notes.append(found.note)
        return found


def reconstruct(infotext: Infotext, files: KnownFiles) -> Reconstruction:
    """Build the graph of a picture from words that an infotext tells.

    Args:
        infotext: Of any program; the words of ComfyUI's own are taken as they stand.
        files: The model files of this machine.

    Raises:
        GraphError: The text lacks a setting, gives one that ComfyUI does not have or take, or its
            checkpoint is not here.
        LimitError: It has more words, or names more LoRAs or embeddings, than is sensible.
    """
    building = _Building(infotext, infotext.hashes, files)
    settings = _read_settings(building)
    words, loras = _read_words(building)
    model, clip, vae = _add_loaders(building, loras)
    positive, negative = (
        building.add(name, "CLIPTextEncode", text=text, clip=clip)
        for name, text in zip(("positive", "negative"), words, strict=True)
    )
    latent = building.add(
        "latent",
        "EmptyLatentImage",
        width=settings.width,
        height=settings.height,
        batch_size=1,
    )
    sampler = building.add(
        "sampler",
        "KSampler",
        model=model,
        seed=settings.seed,
        steps=settings.steps,
        cfg=settings.cfg,
        sampler_name=settings.sampler,
        scheduler=settings.scheduler,
        positive=Link(positive, 0),
        negative=Link(negative, 0),
        latent_image=Link(latent, 0),
        denoise=1.0,
    )
    decode = building.add("decode", "VAEDecode", samples=Link(sampler, 0), vae=vae)
    building.notes.extend(leftover_notes(infotext))
    return Reconstruction(Prompt(building.nodes), Link(decode, 0), tuple(building.notes))


def _read_settings(building: _Building) -> _Settings:
    infotext = building.infotext
    values: dict[str, float | None] = {
        "Steps": infotext.steps,
        "CFG scale": infotext.cfg,
        "Seed": infotext.seed,
        "width": infotext.width,
        "height": infotext.height,
    }
    known = {name: value for name, value in values.items() if value is not None}
    lacking = [name for name in values if name not in known]
    if not infotext.details.get("Sampler"):
        lacking.append("Sampler")
    if lacking:
        raise GraphError(f"expected settings that can be read, got no {', '.join(lacking)}")
    for name, (least, largest) in _RANGES.items():
        if not least <= known[name] <= largest:
            raise GraphError(f"expected {name} from {least} to {largest}, got {known[name]:g}")
    steps, seed, width, height = (int(known[name]) for name in ("Steps", "Seed", "width", "height"))
    if width % _LATENT_PX or height % _LATENT_PX:
        building.notes.append(
            f"{width}x{height} is cut to multiples of {_LATENT_PX}, as latents have them"
        )
    sampler, scheduler = _read_sampling(building)
    return _Settings(steps, known["CFG scale"], seed, sampler, scheduler, width, height)


def _read_sampling(building: _Building) -> tuple[str, str]:
    """Give ComfyUI's names of the sampler and the scheduler.

    A scheduler that the text leaves open is the one that the sampler itself had in A1111 before
    1.9, which named no others apart.
    """
    infotext, details = building.infotext, building.infotext.details
    if infotext.sampler is None:
        told = to_plain(details.get("Sampler", ""), 80)
        raise GraphError(f"expected a sampler that ComfyUI has, got '{told}'")
    if infotext.scheduler is not None:
        return infotext.sampler, infotext.scheduler
    stated = details.get("Schedule type", "")
    if stated.casefold() not in ("", "automatic"):
        raise GraphError(f"expected a scheduler that ComfyUI has, got '{to_plain(stated, 80)}'")
    assumed = "ddim_uniform" if infotext.sampler == "ddim" else "normal"
    building.notes.append(f"the text names no scheduler: '{assumed}' is assumed")
    return infotext.sampler, assumed


def _read_words(building: _Building) -> tuple[tuple[str, str], list[LoraTag]]:
    """Give both texts for ComfyUI's encoder, and the LoRAs that were in them."""
    infotext = building.infotext
    positive, negative = infotext.prompt, infotext.negative_prompt
    if max(len(positive), len(negative)) > TEXT_CHARS:
        raise LimitError(f"expected at most {TEXT_CHARS} characters of words, got more")
    told = _told_files(building.hashes, "lora")
    # To ComfyUI's encoder a tag is words; a node before it took it out, if it was used at all.
    positive, loras, notes = take_tags(
        positive, lambda name: not building.is_from_comfyui or name in told
    )
    _refuse_count(loras)
    _refuse_count(notes)
    building.notes.extend(notes)
    tagged = {lora.name for lora in loras}
    building.notes.extend(
        f"the {Wanted('loras', name, digest)} is left out: the text does not tell its strength"
        for name, digest in told.items()
        if name not in tagged
    )
    embeddings = dict(_find_embeddings(building))
    if not building.is_from_comfyui:
        building.notes.extend(grammar_notes(positive, negative))
        positive, negative = (name_embeddings(text, embeddings) for text in (positive, negative))
    return (positive, negative), loras


def _find_embeddings(building: _Building) -> Iterator[tuple[str, str]]:
    """Yield the names in the text of the embeddings that are here, and their words for ComfyUI."""
    for name, digest in _told_files(building.hashes, "embed").items():
        wanted = Wanted("embeddings", name, digest)
        found = building.find(wanted)
        local = found.name.replace("\\", "/") if found is not None else ""
        if is_word(local):
            yield name, local
        else:
            lack = "is not here" if found is None else "has a name here that words cannot give"
            building.notes.append(f"the {wanted} {lack}; its name is left in the words")


def _told_files(hashes: Mapping[str, str], kind: str) -> dict[str, str]:
    """Give the digests by name of the files of one kind, as the text has them."""
    told = {
        name.removeprefix(f"{kind}:"): digest
        for name, digest in hashes.items()
        if name.startswith(f"{kind}:") and name != f"{kind}:"
    }
    _refuse_count(told)
    return told


def _refuse_count(named: Sized) -> None:
    if len(named) > _FILE_COUNT:
        raise LimitError(f"expected at most {_FILE_COUNT} names of one kind, got {len(named)}")


def _add_loaders(building: _Building, loras: list[LoraTag]) -> tuple[Link, Link, Link]:
    """Add what loads files, and give MODEL, CLIP and VAE."""
    infotext = building.infotext
    wanted = Wanted("checkpoints", infotext.model, building.hashes.get("model"))
    if wanted.name is None and wanted.digest is None:
        raise GraphError("expected a checkpoint in the text, got neither its name nor its hash")
    found = building.find(wanted)
    if found is None:
        raise GraphError(f"expected the {wanted} among this machine's files, found none")
    checkpoint = building.add("checkpoint", "CheckpointLoaderSimple", ckpt_name=found.name)
    model, clip = _add_loras(building, loras, Link(checkpoint, 0), Link(checkpoint, 1))
    clip = _add_clip_skip(building, clip)
    return model, clip, _add_vae(building) or Link(checkpoint, 2)


def _add_loras(
    building: _Building, loras: list[LoraTag], model: Link, clip: Link
) -> tuple[Link, Link]:
    for number, lora in enumerate(loras, start=1):
        wanted = Wanted("loras", lora.name, building.hashes.get(f"lora:{lora.name}"))
        found = building.find(wanted)
        if found is None:
            building.notes.append(f"the {wanted} is left out: it is not here")
            continue
        loader = building.add(
            f"lora_{number}",
            "LoraLoader",
            lora_name=found.name,
            strength_model=lora.model,
            strength_clip=lora.clip,
            model=model,
            clip=clip,
        )
        model, clip = Link(loader, 0), Link(loader, 1)
    return model, clip


def _add_clip_skip(building: _Building, clip: Link) -> Link:
    told = building.infotext.details.get("Clip skip", "1")
    if not _CLIP_SKIP.fullmatch(told):
        building.notes.append(f"a clip skip of '{to_plain(told, 80)}' is left out")
        return clip
    if told == "1":
        return clip
    layer = building.add("clip_skip", "CLIPSetLastLayer", clip=clip, stop_at_clip_layer=-int(told))
    return Link(layer, 0)


def _add_vae(building: _Building) -> Link | None:
    """Load the VAE that the text names; `None` leaves the checkpoint's own."""
    infotext = building.infotext
    wanted = Wanted("vae", infotext.vae, building.hashes.get("vae"))
    if (wanted.name or "").casefold() in _NO_VAE and wanted.digest is None:
        building.notes.append("the text names no VAE: the checkpoint's own is assumed")
        return None
    found = building.find(wanted)
    if found is None:
        building.notes.append(f"the {wanted} is not here: the checkpoint's own is taken")
        return None
    return Link(building.add("vae", "VAELoader", vae_name=found.name), 0)
