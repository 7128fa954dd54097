"""What an infotext says that a plain graph of a picture from words does not do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ..infotext import Infotext
from ..infotext.names import COMFYUI
from ..plain_text import to_plain

_NOTE_COUNT: Final = 32
"""Notes of single fields; the rest are counted."""

_DENOISE: Final = "Denoising strength"

_CARRIED: Final = frozenset(
    {
        *("Steps", "Sampler", "UniPC variant", "Schedule type", "Scheduler", "Sampler sigma"),
        *("CFG scale", "Seed", "Size", "width", "height", "Clip skip", _DENOISE, "RNG"),
        *("Model", "Model hash", "VAE", "VAE hash", "Lora hashes", "TI hashes", "Hashes"),
        # These say nothing of how the picture was made.
        *("Version", "App", "Created Date", "Civitai metadata"),
    }
)
"""Fields that are in the graph, or told of in other notes."""

_GROUPS: Final = {
    "Hires": "the hires fix",
    "First pass size": "the hires fix",
    "ADetailer": "ADetailer",
    "ControlNet": "ControlNet",
}
"""Fields that belong together, by how they begin."""


def leftover_notes(infotext: Infotext) -> Iterator[str]:
    """Tell what the fields of a text say and the graph does not do."""
    details = infotext.details
    if details.get("Version") != COMFYUI:
        yield from _noise_notes(details.get("RNG"))
    left = {key: value for key, value in details.items() if key not in _CARRIED}
    groups: dict[str, list[str]] = {}
    single: list[str] = []
    for key, value in left.items():
        group = next((name for start, name in _GROUPS.items() if key.startswith(start)), None)
        (single if group is None else groups.setdefault(group, [])).append(_show(key, value))
    yield from _denoise_notes(details, has_hires="the hires fix" in groups)
    for group, fields in groups.items():
        yield f"{group} is left out: {to_plain(', '.join(fields))}"
    for told in single[:_NOTE_COUNT]:
        yield f"left out: {told}"
    if len(single) > _NOTE_COUNT:
        yield f"left out: {len(single) - _NOTE_COUNT} more fields"


def _noise_notes(generator: str | None) -> Iterator[str]:
    if generator is None:
        yield "ComfyUI draws noise on the CPU; A1111 does so on the GPU unless told otherwise"
    elif generator.casefold() != "cpu":
        yield f"ComfyUI draws noise on the CPU; the text says {_show('RNG', generator)}"


def _denoise_notes(details: Mapping[str, str], *, has_hires: bool) -> Iterator[str]:
    told = details.get(_DENOISE)
    if told is not None and told not in ("1", "1.0"):
        cause = "it is the hires fix's" if has_hires else "this graph begins with no picture"
        yield f"{_show(_DENOISE, told)} is left out: {cause}"


def _show(key: str, value: str) -> str:
    return f"{to_plain(key, 80)}: {to_plain(value, 80)}"
