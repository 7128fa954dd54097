"""Which noise a sampling uses: core's, or one that depends on the image alone.

Core draws the initial noise of a batch from one stream, and what a sampler adds at each
step from another, for the whole batch and on its own device. So the second image of a
batch is not that image made alone, and a stochastic sampler gives other images on another
device. Here each image can have streams of its own, keyed by the seed and by the image:
by what is drawn first for it, since a sampling is not told an image's place in its batch.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import comfy.samplers
import torch

from ..src.comfyui_provenance.numerics.noise import (
    PortableBrownian,
    PortableNoise,
    portable_normal,
)
from ..src.comfyui_provenance.numerics.tensors import digest_tensor
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.verdict import CauseKind
from .mode import Demotion, Mode

_BLOCK: Final = 16
"""Torch draws normal numbers on a CPU in blocks of 16 and starts the last one anew, so a batch
whose images are no multiple of it is not a row of images drawn one by one."""

_DRAWN_LIMIT: Final = 1 << 26
"""Values to draw in search of an image's place in the seed's stream: half a second."""

_HEAD: Final = 64
"""Values of an image to compare before all of them."""

_SAME_NOISE: Final = 0.05
"""How far two draws of one stream can be apart, rounded to bfloat16 at worst."""

_UNPLACED: Final = 1 << 63
"""Set in the key of an image that has no place in the seed's stream."""

_BROWNIAN: Final = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde")
"""Samplers of core whose noise is the increments of one Brownian motion, by part of the name."""

_FUNCTION_NAMES: Final[Mapping[str, str]] = {
    "dpm_fast_function": "dpm_fast",
    "dpm_adaptive_function": "dpm_adaptive",
    "sample_unipc": "uni_pc",
    "sample_unipc_bh2": "uni_pc_bh2",
}
"""Samplers whose function has another name than `sample_` and theirs (0.30.0)."""

_OWN_NOISE_OPTIONS: Final = ("s_churn",)
"""Options above 0 that make a sampler draw from torch's global generator."""


@dataclass(slots=True)
class NoisePlan:
    """The noise of one sampling.

    Attributes:
        initial: What the sampling starts from, shape (batch, ...), float32.
        step_seeds: For each image the seed of its own noise at each step; empty where the
            sampler uses the sampling's seed.
        image_keys: For each image the key of its portable noise; empty for core's noise.
        description: As fields of a record.
        demotions: What could not be done as asked.
    """

    initial: torch.Tensor
    step_seeds: tuple[int, ...] = ()
    image_keys: tuple[int, ...] = ()
    description: JsonObject = field(default_factory=dict)
    demotions: list[Demotion] = field(default_factory=list)


def plan_noise(mode: Mode, seed: int, noise: torch.Tensor, latent: torch.Tensor) -> NoisePlan:
    """Choose the noise of a sampling.

    Args:
        mode: What was asked for.
        seed: Of the sampling, 0 to 2^64-1.
        noise: What the sampler node drew, shape (batch, ...); zeros where it adds none.
        latent: What it is added to, of the same shape.
    """
    if mode.noise == "portable":
        return _plan_portable(seed, noise, latent)
    if not mode.batch_invariant:
        return NoisePlan(noise, description={"mode": "comfy", "steps": "of the batch"})
    initial = _drawn_one_by_one(seed, noise)
    digests = [_digest_source(initial, latent, image) for image in range(len(initial))]
    return NoisePlan(
        initial,
        step_seeds=tuple(_to_step_seed(seed, digest) for digest in digests),
        description={"mode": "comfy", "steps": "of each image"},
    )


def with_portable_noise(
    sampler: Any, seed: int, plan: NoisePlan, images: slice, sigmas: torch.Tensor
) -> Any:
    """Give a copy of a sampler that takes the plan's noise at each step.

    Args:
        sampler: Core's `KSAMPLER`, or what takes its place; it is not changed.
        seed: Of the sampling.
        plan: Of the whole batch.
        images: Those that the sampler is going to see.
        sigmas: Of the sampling.

    Returns:
        The copy; the sampler itself where it takes no noise from outside.
    """
    # With no noise level above 0 a sampler hands on what it gets.
    if not plan.image_keys or not _takes_noise(sampler) or not bool((sigmas > 0).any()):
        return sampler
    keys = plan.image_keys[images]
    shape = tuple(plan.initial[images].shape)
    name = function_name(sampler)
    if any(part in name for part in _BROWNIAN):
        least, most = float(sigmas[sigmas > 0].min()), float(sigmas.max())
        source: Any = PortableBrownian(seed, keys, shape, least, most)
    else:
        source = PortableNoise(seed, keys, shape)
    changed = copy.copy(sampler)
    changed.extra_options = {**sampler.extra_options, "noise_sampler": source}
    return changed


def find_noise_demotions(mode: Mode, sampler: Any, *, masked: bool) -> list[Demotion]:
    """Say where portable noise does not reach a sampler.

    Args:
        mode: What was asked for.
        sampler: As it came.
        masked: Whether a part of the latent is kept.
    """
    if mode.noise != "portable":
        return []
    name = function_name(sampler)
    options = getattr(sampler, "extra_options", {})
    messages: list[str] = []
    if "noise_sampler" in options:
        messages.append(f"sampler {name} brings noise of its own, which is not portable")
    elif not _takes_noise(sampler):
        if sampler_name(sampler) is None:
            messages.append(f"sampler {name} takes no noise from outside, and may draw its own")
        elif any(float(options.get(option) or 0) > 0 for option in _OWN_NOISE_OPTIONS):
            messages.append(f"sampler {name} draws noise on its device, seeded but not portable")
    if masked and (getattr(sampler, "inpaint_options", None) or {}).get("random"):
        messages.append("the noise under the mask is core's, seeded but not portable")
    return [Demotion(CauseKind.NOISE_SOURCE, message) for message in messages]


def sampler_name(sampler: Any) -> str | None:
    """Give core's name of a sampler, as its widgets show it; `None` for another one."""
    function = function_name(sampler)
    name = _FUNCTION_NAMES.get(function, function.removeprefix("sample_"))
    inpaint = getattr(sampler, "inpaint_options", None) or {}
    if name == "euler" and inpaint.get("random"):
        name = "ddim"
    known = _is_cores(sampler) and name in comfy.samplers.KSampler.SAMPLERS
    return name if known else None


def function_name(sampler: Any) -> str:
    """Name the function behind a sampler."""
    function = getattr(sampler, "sampler_function", sampler)
    return str(getattr(function, "__name__", type(function).__name__))


def _plan_portable(seed: int, noise: torch.Tensor, latent: torch.Tensor) -> NoisePlan:
    """Choose noise that no instruction set, device or GPU changes."""
    places = _find_places(seed, noise) if _is_drawn(noise) else None
    keys = places or [
        _to_key(_digest_source(noise, latent, image)) | _UNPLACED for image in range(len(noise))
    ]
    plan = NoisePlan(
        noise,
        step_seeds=tuple(_to_step_seed(seed, f"portable {key}") for key in keys),
        image_keys=tuple(keys),
        description={"mode": "portable", "steps": "of each image"},
    )
    if places is not None:
        drawn = [portable_normal(seed, place, 0, noise.shape[1:]) for place in places]
        plan.initial = torch.stack(drawn).to(noise.device, noise.dtype)
        plan.description["images"] = [*places]
    elif _is_drawn(noise):
        message = "the initial noise is not the one that core draws for this seed; it was kept"
        plan.demotions.append(Demotion(CauseKind.NOISE_SOURCE, message))
    return plan


def _is_drawn(noise: torch.Tensor) -> bool:
    return bool(torch.count_nonzero(noise) > 0)


def _digest_source(noise: torch.Tensor, latent: torch.Tensor, image: int) -> str:
    """Digest what an image starts from: its noise, or its latent where it gets none."""
    source = noise[image] if _is_drawn(noise[image]) else latent[image]
    return str(digest_tensor(source))


def _to_key(digest: str) -> int:
    return int.from_bytes(hashlib.sha256(digest.encode("ascii")).digest()[:8], "big")


def _to_step_seed(seed: int, digest: str) -> int:
    """Give a seed below 2^63, since core adds 1 to it on a CPU."""
    return _to_key(f"step noise\n{seed}\n{digest}") >> 1


def _drawn_one_by_one(seed: int, noise: torch.Tensor) -> torch.Tensor:
    """Give core's noise of a batch as core draws it for one image after the other.

    For most sizes that is the same. Noise that is not core's is kept.
    """
    if len(noise) == 1 or noise[0].numel() % _BLOCK == 0:
        return noise
    if not torch.equal(noise, _draw(_generator(seed), noise.shape).to(noise.dtype)):
        return noise
    generator = _generator(seed)
    images = [_draw(generator, (1, *noise.shape[1:])) for _ in range(len(noise))]
    return torch.cat(images).to(noise.dtype)


def _find_places(seed: int, noise: torch.Tensor) -> list[int] | None:
    """Find for each image which one of the seed's stream it is, from 0.

    Returns:
        `None` unless every image has a place.
    """
    size = noise[0].numel()
    generator = _generator(seed)
    if _is_same(noise, _draw(generator, noise.shape)):
        return list(range(len(noise)))
    places: dict[int, int] = {}
    heads = noise.reshape(len(noise), -1)[:, :_HEAD].to("cpu", torch.float32)
    generator = _generator(seed)
    for place in range(min(4096, max(1, _DRAWN_LIMIT // size))):
        drawn = _draw(generator, (1, *noise.shape[1:]))[0]
        alike = (heads - drawn.reshape(-1)[:_HEAD]).abs().amax(dim=1) < _SAME_NOISE
        for image in alike.nonzero().flatten().tolist():
            if _is_same(noise[image], drawn):
                places[image] = place
        if len(places) == len(noise):
            return [places[image] for image in range(len(noise))]
    return None


def _is_same(noise: torch.Tensor, drawn: torch.Tensor) -> bool:
    return bool((noise.to("cpu", torch.float32) - drawn).abs().max() < _SAME_NOISE)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def _draw(generator: torch.Generator, shape: Sequence[int]) -> torch.Tensor:
    """Draw as core's `prepare_noise` does (0.30.0: comfy/sample.py)."""
    return torch.randn(tuple(shape), dtype=torch.float32, generator=generator, device="cpu")


def _takes_noise(sampler: Any) -> bool:
    """Tell whether a sampler accepts noise from outside and brings none of its own."""
    if not isinstance(sampler, comfy.samplers.KSAMPLER) or "noise_sampler" in sampler.extra_options:
        return False
    try:
        parameters = inspect.signature(sampler.sampler_function).parameters
    except (TypeError, ValueError):
        return False
    return "noise_sampler" in parameters


def _is_cores(sampler: Any) -> bool:
    module = str(getattr(getattr(sampler, "sampler_function", None), "__module__", ""))
    return module.partition(".")[0] in ("comfy", "comfy_extras")
