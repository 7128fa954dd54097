"""Sampling through ComfyUI's own sampler, for this pack's sampler nodes.

What is pinned and watched is told in `pinned_model`; here stand the settings that those
nodes have as widgets, and their strict seeds.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import comfy.samplers
import nodes as comfy_nodes

from ..src.comfyui_provenance.errors import SeedError
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.seeds import MAX_SEED, parse_seed, seed_warnings
from .mode import Mode
from .pinned_model import pin_model
from .runs import Run, collect_runs, remember


def sampler_names() -> list[str]:
    """List core's samplers, in core's order."""
    return list(comfy.samplers.KSampler.SAMPLERS)


def scheduler_names() -> list[str]:
    """List core's schedulers, in core's order."""
    return list(comfy.samplers.KSampler.SCHEDULERS)


@dataclass(frozen=True, slots=True)
class Settings:
    """What core's `common_ksampler` takes besides tensors and conditionings.

    Attributes:
        seed: As it arrived; anything but an integer from 0 to 2^64-1 is refused.
        steps: Number of steps.
        cfg: Classifier-free guidance scale.
        sampler_name: One of `sampler_names`.
        scheduler: One of `scheduler_names`.
        denoise: 0 to 1.
        add_noise: Whether the latent gets the seed's noise.
        start_step: First step to run; `None` for the first.
        last_step: Step to stop before; `None` for the last.
        force_full_denoise: Whether the last step goes down to no noise at all.
    """

    seed: object
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    denoise: float = 1.0
    add_noise: bool = True
    start_step: int | None = None
    last_step: int | None = None
    force_full_denoise: bool = False

    def to_entry(self, seed: int) -> JsonObject:
        """Give what a record's `samplings` entry tells of them."""
        return {
            "seed": str(seed),
            "sampler": self.sampler_name,
            "scheduler": self.scheduler,
            "steps": self.steps,
            "cfg": self.cfg,
            "denoise": self.denoise,
            "add_noise": self.add_noise,
        }


def sample(
    model: Any,
    positive: Any,
    negative: Any,
    latent: dict[str, Any],
    settings: Settings,
    mode: Mode,
    *,
    seed_input: str,
) -> tuple[dict[str, Any], list[str], list[Run]]:
    """Sample as core's KSampler does, and remember what ran.

    Args:
        model: ComfyUI's ModelPatcher; it is cloned, never changed.
        positive: CONDITIONING.
        negative: CONDITIONING.
        latent: LATENT: `samples` of shape (batch, channels, height, width), in latent
            pixels.
        settings: The sampler's settings.
        mode: What to pin.
        seed_input: Name of the seed's input, for messages.

    Returns:
        The LATENT that core gives, warnings for the user, and what ran.

    Raises:
        SeedError: The seed is not one, or this sampler cannot take so large a one.
        DeterminismError: It cannot run as the mode asks.
    """
    seed = parse_seed(settings.seed, name=seed_input)
    warnings = seed_warnings(seed)
    with collect_runs() as collected, _overflow_explained(seed, settings.sampler_name):
        (result,) = comfy_nodes.common_ksampler(
            pin_model(model, mode),
            seed,
            settings.steps,
            settings.cfg,
            settings.sampler_name,
            settings.scheduler,
            positive,
            negative,
            latent,
            denoise=settings.denoise,
            disable_noise=not settings.add_noise,
            start_step=settings.start_step,
            last_step=settings.last_step,
            force_full_denoise=settings.force_full_denoise,
        )
    told = {**settings.to_entry(seed), "warnings": [*warnings]}
    runs = [
        replace(run, entry={**run.entry, **told}) if run.operation == "sample" else run
        for run in collected
    ]
    for run in runs:
        remember(run)
    return result, warnings, runs


@contextmanager
def _overflow_explained(seed: int, sampler_name: str) -> Generator[None]:
    """Turn torch's overflow at the last seed into words.

    Some samplers seed their own noise with `seed + 1` (ancestral ones on a CPU, ddim with
    a mask), which does not fit 64 bits for 2^64-1 alone.
    """
    try:
        yield
    except (RuntimeError, ValueError, OverflowError) as error:
        if seed != MAX_SEED or "verflow" not in str(error):
            raise
        raise SeedError(
            f"seed: sampler {sampler_name!r} uses seed + 1 here, and 18446744073709551615 + 1 does "
            "not fit 64 bits; use 18446744073709551614 or less"
        ) from error
