"""What Deterministic Mode puts around the parts of a sampling (0.30.0: comfy/patcher_extension.py).

Each function is a wrapper of ComfyUI's: it gets the rest of the work as its first argument.
Outside a sampling that is observed it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.ldm.modules.attention
import comfy.sampler_helpers
import torch

from ..src.comfyui_provenance.errors import DeterminismError
from ..src.comfyui_provenance.numerics.tensors import digest_sample
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.verdict import CauseKind
from .loading import MUCH_MEMORY, NO_MEMORY, fits_whole, told_free_memory
from .mode import Demotion
from .observation import Observation, running, steps_follow_sigmas


def pytorch(func: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    """Attend with torch's own function, whose work is not divided by free memory.

    Core's default on a CPU splits queries by available RAM, and its optional kernels fall
    back to another one without a word. Records name this override by its name.
    """
    del func
    observation = running.get()
    if observation is not None:
        observation.attentions += 1
    return comfy.ldm.modules.attention.attention_pytorch(*args, **kw)


def around_loading(
    executor: Any,
    model: Any,
    noise_shape: Any,
    conds: Any,
    model_options: Any = None,
    force_full_load: bool = False,
    force_offload: bool = False,
) -> Any:
    """Wrap `prepare_sampling`: a patched model is loaded whole where it fits.

    Loading in parts changes no weight, but core applies a LoRA to a part that stays
    outside in another type and with another rounding (0.30.0: comfy/model_patcher.py).
    """
    observation = running.get()
    pinned = observation is not None and observation.mode.deterministic
    wanted = pinned and bool(model.patches) and not model.is_dynamic()
    full = force_full_load or (
        wanted and fits_whole(model, _working_bytes(model, noise_shape, conds))
    )
    result = executor(
        model,
        noise_shape,
        conds,
        model_options=model_options,
        force_full_load=full,
        force_offload=force_offload,
    )
    if observation is not None:
        observation.look(lambda: {"load": _describe_load(model)})
        observation.look(lambda: _sample_weights(model))
        if pinned and model.patches:
            _check_load(model, observation)
    return result


def _working_bytes(model: Any, noise_shape: Any, conds: Any) -> float:
    """Estimate what a sampling needs besides the model: a forward, and the models beside it."""
    helpers: Any = comfy.sampler_helpers
    _, forward_bytes = helpers.estimate_memory(model, noise_shape, conds)
    others, others_bytes = helpers.get_additional_models(conds, model.model_dtype())
    return float(forward_bytes + others_bytes + sum(other.model_size() for other in others))


def _describe_load(model: Any) -> JsonObject:
    state = "full"
    if model.is_dynamic():
        state = "dynamic"
    elif model.model.model_lowvram:
        state = "partial"
    return {"state": state, "patched_on_the_fly": int(model.lowvram_patch_counter())}


def _sample_weights(model: Any) -> JsonObject:
    """Digest a sample of the weights as they will be used, patches included.

    Not where parts of the model wait elsewhere and are patched on the fly: then it would tell
    free memory. A copy to the CPU of each tensor's sample waits for a GPU once per tensor.
    """
    if model.is_dynamic() or model.model.model_lowvram:
        return {}
    network = model.model.diffusion_model
    named = [*network.named_parameters(), *network.named_buffers()]
    return {"weights_sample": str(digest_sample(named))}


def _check_load(model: Any, observation: Observation) -> None:
    """Say where free memory decides how the patches of a model are applied.

    Raises:
        DeterminismError: It does, and the mode is strict.
    """
    if model.is_dynamic():
        message = (
            "dynamic VRAM applies a LoRA in a way that depends on free memory and on earlier "
            "runs; start ComfyUI with --disable-dynamic-vram"
        )
    elif model.lowvram_patch_counter():
        message = (
            "the model does not fit the device as a whole, so free memory decides how its LoRA "
            "is applied"
        )
    else:
        return
    if observation.mode.is_strict:
        raise DeterminismError(f"on_fallback = error: {message}")
    observation.demote(Demotion(CauseKind.MEMORY, message))


def around_sampler(
    executor: Any,
    guider: Any,
    sigmas: torch.Tensor,
    extra_args: dict[str, Any],
    callback: Any,
    noise: Any,
    *args: Any,
    **kw: Any,
) -> Any:
    """Wrap `KSAMPLER.sample`, to seed its noise and to follow the latent from step to step.

    Its callback gets the latent before each step, and it returns the last one; here both are
    on the sampler's own scale (0.30.0: comfy/samplers.py).
    """
    observation = running.get()
    if observation is None:
        return executor(guider, sigmas, extra_args, callback, noise, *args, **kw)
    if observation.step_seed is not None:
        extra_args = {**extra_args, "seed": observation.step_seed}
    levels = sigmas.tolist() if steps_follow_sigmas(executor.class_obj) else []
    made = 0

    def traced(step: int, denoised: Any, latent: Any, total: int) -> None:
        nonlocal made
        level = levels[min(step, len(levels) - 1)] if levels else None
        observation.follow(made, level, latent)
        made += 1
        if callback is not None:
            callback(step, denoised, latent, total)

    output = executor(guider, sigmas, extra_args, traced, noise, *args, **kw)
    observation.follow(made, levels[-1] if levels else None, output)
    return output


def around_conditionings(executor: Any, model: Any, *args: Any, **kw: Any) -> Any:
    """Wrap `_calc_cond_batch`, which batches as many conditionings as fit free memory.

    With no memory free it always runs one, which every machine can; with much it runs all
    that have one shape (0.30.0: comfy/samplers.py, `get_free_memory` in `_calc_cond_batch`).
    The attribute is set on this sampling's own patcher, a clone of ours, and taken away again.
    """
    observation = running.get()
    if observation is None or not observation.mode.deterministic:
        return executor(model, *args, **kw)
    free_bytes = NO_MEMORY if observation.mode.cond_batch == "separate" else MUCH_MEMORY
    with told_free_memory(model.current_patcher, free_bytes):
        return executor(model, *args, **kw)


def around_forward(
    executor: Any,
    x: Any,
    t: Any,
    c_concat: Any,
    c_crossattn: Any,
    control: Any,
    transformer_options: dict[str, Any],
    **kw: Any,
) -> Any:
    """Wrap `BaseModel.apply_model`, to count what shares a forward."""
    observation = running.get()
    if observation is not None:
        conditionings = len(transformer_options.get("cond_or_uncond", [0]))
        observation.conditionings[conditionings] += 1
        observation.images[len(x) // conditionings] += 1
    return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kw)
