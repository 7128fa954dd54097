"""Sampling through ComfyUI's own sampler, pinned and watched from inside.

Everything happens in wrappers on a clone of the model: one around the whole sampling
(flags, what came in and went out), one around each batch of conditionings (so that
free memory does not choose how many run together).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import comfy.ldm.modules.attention
import comfy.patcher_extension
import comfy.samplers
import nodes as comfy_nodes
import torch
from comfy_execution.utils import get_executing_context

from ..src.comfyui_provenance.errors import ProvenanceError, SeedError
from ..src.comfyui_provenance.numerics.determinism import deterministic, read_flags
from ..src.comfyui_provenance.numerics.step_trace import StepTracer
from ..src.comfyui_provenance.numerics.tensors import digest_tensor
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.seeds import MAX_SEED, parse_seed, seed_warnings
from .live_prompt import digest_run, live_nodes
from .runs import Run, remember

_log = logging.getLogger(__name__)

_KEY: Final = "provenance"
"""The key of this pack's wrappers on a model."""


def sampler_names() -> list[str]:
    """List core's samplers, in core's order."""
    return list(comfy.samplers.KSampler.SAMPLERS)


def scheduler_names() -> list[str]:
    """List core's schedulers, in core's order."""
    return list(comfy.samplers.KSampler.SCHEDULERS)


@dataclass(slots=True)
class _Observation:
    """What a sampling shows while it runs."""

    fields: JsonObject = field(default_factory=dict)
    batches: Counter[int] = field(default_factory=Counter)
    demotions: list[str] = field(default_factory=list)
    trace: JsonObject | None = None

    def look(self, probe: Callable[[], JsonObject]) -> None:
        """Add what a probe sees; one that fails costs its fields, never the sampling."""
        try:
            self.fields.update(probe())
        except Exception:  # noqa: BLE001 - a model or guider of a kind never seen before
            _log.warning("could not observe a part of this sampling", exc_info=True)


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


def sample(
    model: Any,
    positive: Any,
    negative: Any,
    latent: dict[str, Any],
    settings: Settings,
    *,
    seed_input: str,
    deterministic_mode: bool,
    node_id: str,
    dynprompt: Any,
) -> tuple[dict[str, Any], list[str]]:
    """Sample as core's KSampler does, and remember what ran.

    Args:
        model: ComfyUI's ModelPatcher; it is cloned, never changed.
        positive: CONDITIONING.
        negative: CONDITIONING.
        latent: LATENT: `samples` of shape (batch, channels, height, width), in latent
            pixels.
        settings: The sampler's settings.
        seed_input: Name of the seed's input, for messages.
        deterministic_mode: Whether to pin what can be pinned.
        node_id: Of the sampler node.
        dynprompt: The running prompt, from `Hidden.dynprompt`.

    Returns:
        The LATENT that core gives, and warnings for the user.

    Raises:
        SeedError: The seed is not one, or this sampler cannot take so large a one.
    """
    seed = parse_seed(settings.seed, name=seed_input)
    warnings = seed_warnings(seed)
    observation = _Observation()
    watched = _watch(model, observation, pinned=deterministic_mode)
    with _overflow_explained(seed, settings.sampler_name):
        (result,) = comfy_nodes.common_ksampler(
            watched,
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
    observation.look(lambda: _pixel_size(model, result["samples"]))
    entry = _to_entry(seed, settings, observation, warnings, deterministic_mode=deterministic_mode)
    _remember(entry, observation.trace, node_id, dynprompt)
    return result, warnings


def _remember(entry: JsonObject, trace: JsonObject | None, node_id: str, dynprompt: Any) -> None:
    """Keep the report for when the image is saved; a prompt we cannot read costs no sampling."""
    context = get_executing_context()
    prompt_id = context.prompt_id if context is not None else ""
    list_index = (context.list_index if context is not None else None) or 0
    try:
        remember(
            digest_run(live_nodes(dynprompt), node_id), list_index, Run(prompt_id, entry, trace)
        )
    except ProvenanceError:
        _log.warning("could not remember what node %s sampled", node_id, exc_info=True)


def _to_entry(
    seed: int,
    settings: Settings,
    observation: _Observation,
    warnings: list[str],
    *,
    deterministic_mode: bool,
) -> JsonObject:
    return {
        "source": "sampling",
        "seed": str(seed),
        "sampler": settings.sampler_name,
        "scheduler": settings.scheduler,
        "steps": settings.steps,
        "cfg": settings.cfg,
        "denoise": settings.denoise,
        "add_noise": settings.add_noise,
        "deterministic_mode": deterministic_mode,
        "conditionings_per_forward": {
            str(size): count for size, count in sorted(observation.batches.items())
        },
        "demotions": [*observation.demotions],
        "warnings": [*warnings],
        **observation.fields,
    }


def _pixel_size(model: Any, samples: torch.Tensor) -> JsonObject:
    """Give the size in pixels of an image latent, where the model's format tells it."""
    ratio = getattr(model.get_model_object("latent_format"), "spacial_downscale_ratio", None)
    if not isinstance(ratio, int) or samples.ndim < 4:
        return {}
    return {"width": samples.shape[-1] * ratio, "height": samples.shape[-2] * ratio}


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


def _watch(model: Any, observation: _Observation, *, pinned: bool) -> Any:
    """Clone a model so that its next sampling is observed, and pinned if asked."""
    watched = model.clone()
    wrappers = comfy.patcher_extension.WrappersMP
    watched.add_wrapper_with_key(
        wrappers.OUTER_SAMPLE, _KEY, _around_sampling(observation, pinned=pinned)
    )
    watched.add_wrapper_with_key(wrappers.SAMPLER_SAMPLE, _KEY, _around_steps(observation))
    watched.add_wrapper_with_key(wrappers.APPLY_MODEL, _KEY, _around_forward(observation))
    if pinned:
        watched.add_wrapper_with_key(wrappers.CALC_COND_BATCH, _KEY, _one_conditioning_at_a_time)
        _pin_attention(watched, observation)
    return watched


def _around_sampling(observation: _Observation, *, pinned: bool) -> Callable[..., Any]:
    """Wrap `CFGGuider.outer_sample` (0.30.0: comfy/samplers.py)."""

    def wrapper(
        executor: Any,
        noise: Any,
        latent_image: Any,
        sampler: Any,
        sigmas: Any,
        *args: Any,
        **kw: Any,
    ) -> Any:
        observation.look(lambda: _describe_start(executor.class_obj, sampler, sigmas))
        observation.look(
            lambda: {
                "noise": str(digest_tensor(noise)),
                "latent_in": str(digest_tensor(latent_image)),
                "latent_shape": list(latent_image.shape),
            }
        )
        with deterministic() if pinned else nullcontext([]) as indeterminate:
            observation.fields["flags"] = read_flags()
            output = executor(noise, latent_image, sampler, sigmas, *args, **kw)
        observation.demotions.extend(indeterminate)
        observation.look(lambda: {"latent_out": str(digest_tensor(output))})
        return output

    return wrapper


def _describe_start(guider: Any, sampler: Any, sigmas: torch.Tensor) -> JsonObject:
    return {
        "sigmas": str(digest_tensor(sigmas)),
        "sigma_count": int(sigmas.shape[-1]),
        "sampler_function": _name(getattr(sampler, "sampler_function", sampler)),
        "guider": type(guider).__name__,
        "model_dtype": str(guider.model_patcher.model_dtype()).removeprefix("torch."),
    }


def _around_steps(observation: _Observation) -> Callable[..., Any]:
    """Wrap `KSAMPLER.sample`, to follow the latent from step to step.

    Its callback gets the latent before each step, and it returns the last one; here both are
    on the sampler's own scale (0.30.0: comfy/samplers.py).
    """

    def wrapper(
        executor: Any,
        guider: Any,
        sigmas: Any,
        extra_args: Any,
        callback: Any,
        noise: Any,
        *args: Any,
        **kw: Any,
    ) -> Any:
        tracer = StepTracer()
        levels = sigmas.tolist() if _steps_follow_sigmas(executor.class_obj) else []
        followed = True

        def follow(step: int, latent: Any) -> None:
            nonlocal followed
            try:
                tracer.add(levels[step] if levels else None, latent)
            except Exception:  # noqa: BLE001 - a latent of a kind never seen before
                # One missing step would shift all that follow: no trace, and no harm.
                followed = False
                _log.warning("could not follow this sampling step by step", exc_info=True)

        def traced(step: int, denoised: Any, latent: Any, total: int) -> None:
            if followed:
                follow(min(step, len(levels) - 1), latent)
            if callback is not None:
                callback(step, denoised, latent, total)

        output = executor(guider, sigmas, extra_args, traced, noise, *args, **kw)
        if followed:
            follow(-1, output)
        observation.trace = tracer.to_json() if followed else None
        return output

    return wrapper


def _steps_follow_sigmas(sampler: Any) -> bool:
    """Tell whether a sampler's steps are those of its sigmas; adaptive ones choose their own."""
    name = _name(getattr(sampler, "sampler_function", sampler))
    return not any(part in name for part in ("dpm_fast", "dpm_adaptive", "ar_video"))


def _around_forward(observation: _Observation) -> Callable[..., Any]:
    """Wrap `BaseModel.apply_model`, to count the conditionings that share a forward."""

    def wrapper(
        executor: Any,
        x: Any,
        t: Any,
        c_concat: Any,
        c_crossattn: Any,
        control: Any,
        transformer_options: dict[str, Any],
        **kw: Any,
    ) -> Any:
        observation.batches[len(transformer_options.get("cond_or_uncond", [0]))] += 1
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kw)

    return wrapper


def _one_conditioning_at_a_time(executor: Any, model: Any, *args: Any, **kw: Any) -> Any:
    """Wrap `_calc_cond_batch`, which batches as many conditionings as fit free memory.

    With no memory free it always runs one, which every machine can (0.30.0:
    comfy/samplers.py, `get_free_memory` in `_calc_cond_batch`). The attribute is set on
    this sampling's own patcher, a clone of ours, and taken away again.
    """
    patcher = model.current_patcher
    before = patcher.__dict__.get("get_free_memory")
    patcher.get_free_memory = lambda device: 0
    try:
        return executor(model, *args, **kw)
    finally:
        if before is None:
            del patcher.get_free_memory
        else:
            patcher.get_free_memory = before


def _pin_attention(model: Any, observation: _Observation) -> None:
    """Use torch's own attention, whose work is not divided by free memory.

    Core's default on a CPU splits queries by available RAM, and its optional kernels fall
    back to another one without a word. An override that is already there stays: it was
    asked for.
    """
    options = model.model_options.setdefault("transformer_options", {})
    if "optimized_attention_override" in options:
        observation.demotions.append("another node chose the attention kernel")
        return
    attention = comfy.ldm.modules.attention.attention_pytorch

    def override(func: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        del func
        return attention(*args, **kw)

    options["optimized_attention_override"] = override
    observation.fields["attention"] = "pytorch"


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
