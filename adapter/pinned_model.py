"""Deterministic Mode on a model: every sampling that goes through it is pinned and watched.

Everything happens in wrappers on a clone of the model (0.30.0: comfy/patcher_extension.py),
so it reaches every sampler that goes through a guider, core's and others', and no other
model. One stands around the whole sampling, one around its loading, one around the
sampler, one around each batch of conditionings and one around each forward.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

import comfy.ldm.modules.attention
import comfy.model_patcher
import comfy.patcher_extension
import comfy.quant_ops
import comfy.sampler_helpers
import torch

from ..src.comfyui_provenance.errors import DeterminismError
from ..src.comfyui_provenance.numerics.step_trace import StepTracer
from ..src.comfyui_provenance.numerics.tensors import digest_tensor
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.trace import IMAGE_COUNT
from ..src.comfyui_provenance.verdict import CauseKind
from .loading import MUCH_MEMORY, NO_MEMORY, fits_whole, told_free_memory
from .log_warnings import heard_warnings
from .mode import Demotion, Mode, pinned_scope, seeded_random
from .noise import NoisePlan, find_noise_demotions, plan_noise, with_portable_noise
from .observation import (
    Observation,
    describe_conditionings,
    describe_model,
    describe_request,
    host_attention_is_whole,
    host_attention_name,
    steps_follow_sigmas,
)
from .runs import Run, remember
from .slicing import Slicer, refuse_inseparable

_KEY: Final = "provenance"
"""The key of this pack's wrappers and of its mode on a model."""

_observed: ContextVar[Observation | None] = ContextVar("observed", default=None)
"""The sampling that is running."""


def pin_model(model: Any, mode: Mode) -> Any:
    """Clone a model so that each of its samplings is watched, and pinned as the mode asks.

    A model that has a mode already gets the given one in its place.

    Args:
        model: ComfyUI's ModelPatcher; not changed.
        mode: What to pin; one that is not deterministic only watches.
    """
    pinned = model.clone()
    kinds = comfy.patcher_extension.WrappersMP
    sampling = _Sampling(mode)
    wrappers: dict[str, Callable[..., Any]] = {
        kinds.OUTER_SAMPLE: sampling.around_sampling,
        kinds.PREPARE_SAMPLING: _around_loading,
        kinds.SAMPLER_SAMPLE: _around_sampler,
        kinds.CALC_COND_BATCH: _around_conditionings,
        kinds.APPLY_MODEL: _around_forward,
    }
    for kind, wrapper in wrappers.items():
        pinned.remove_wrappers_with_key(kind, _KEY)
        pinned.add_wrapper_with_key(kind, _KEY, wrapper)
        # First is outermost: what counts a sampling's steps or looks at its batch must see
        # one image as one sampling.
        others = dict(pinned.wrappers[kind])
        pinned.wrappers[kind] = {_KEY: others.pop(_KEY), **others}
    before = mode_of(model)
    pinned.set_attachments(_KEY, mode)
    if mode.precision == "fp32" and pinned.object_patches.get("manual_cast_dtype") != torch.float32:
        pinned.set_model_compute_dtype(torch.float32)
    elif mode.precision != "fp32" and before is not None and before.precision == "fp32":
        pinned.object_patches.pop("manual_cast_dtype", None)
        pinned.patches_uuid = uuid4()  # load anew, as `set_model_compute_dtype` does
    if mode.deterministic:
        options = pinned.model_options.setdefault("transformer_options", {})
        options.setdefault("optimized_attention_override", pytorch)
    return pinned


def mode_of(model: Any) -> Mode | None:
    """Give the mode that a model was pinned with."""
    mode = model.get_attachment(_KEY)
    return mode if isinstance(mode, Mode) else None


def joined_mode(model: Any, *, deterministic: bool, batch_invariant: bool) -> Mode:
    """Add what a sampler node asks for to the mode that its model has already."""
    present = mode_of(model)
    if present is None:
        return Mode(deterministic=deterministic, batch_invariant=batch_invariant)
    return replace(
        present,
        deterministic=present.deterministic or deterministic,
        batch_invariant=present.batch_invariant or batch_invariant,
    )


def pytorch(func: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    """Attend with torch's own function, whose work is not divided by free memory.

    Core's default on a CPU splits queries by available RAM, and its optional kernels fall
    back to another one without a word. Records name this override by its name.
    """
    del func
    observation = _observed.get()
    if observation is not None:
        observation.attentions += 1
    return comfy.ldm.modules.attention.attention_pytorch(*args, **kw)


class _Sampling:
    """Wraps `CFGGuider.outer_sample` (0.30.0: comfy/samplers.py).

    ComfyUI calls `to` on a wrapper that has one; a bound method has none.
    """

    def __init__(self, mode: Mode) -> None:
        self._mode = mode

    def around_sampling(
        self,
        executor: Any,
        noise: torch.Tensor,
        latent: torch.Tensor,
        sampler: Any,
        sigmas: torch.Tensor,
        denoise_mask: torch.Tensor | None = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        latent_shapes: Any = None,
    ) -> torch.Tensor:
        """Sample an image or a batch, and remember what it was."""
        guider = executor.class_obj
        tracer = StepTracer(len(noise)) if len(noise) <= IMAGE_COUNT else None
        observation = Observation(self._mode, tracer)
        request = _Request(executor, latent, sampler, sigmas, denoise_mask, disable_pbar, seed)
        token = _observed.set(observation)
        try:
            with (
                heard_warnings() as heard,
                pinned_scope(self._mode, observation.demotions),
            ):
                plan = plan_noise(self._mode, seed or 0, noise, latent)
                _describe(observation, guider, request, plan)
                if self._mode.batch_invariant and len(noise) > 1:
                    output = _sample_each(request, plan, callback, latent_shapes)
                else:
                    whole = slice(0, len(noise))
                    output = request.run(plan, whole, callback, latent_shapes)
        finally:
            _observed.reset(token)
        observation.look(lambda: {"latent_out": str(digest_tensor(output)), "log": [*heard]})
        _check_attention(observation)
        demotions = tuple(observation.demotions)
        remember(Run("sample", observation.to_entry(), demotions, observation.to_trace()))
        return output


@dataclass(frozen=True, slots=True)
class _Request:
    """What a sampling was called with, besides noise, callback and shapes.

    Attributes:
        executor: Goes on to core's sampling, as often as it is called.
        latent: Shape (batch, ...), on the CPU.
        sampler: Core's `KSAMPLER`, or what takes its place.
        sigmas: The noise levels.
        denoise_mask: Shape (batch, ...), or none.
        disable_pbar: As core takes it.
        seed: 0 to 2^64-1; `None` where the caller has none.
    """

    executor: Any
    latent: torch.Tensor
    sampler: Any
    sigmas: torch.Tensor
    denoise_mask: torch.Tensor | None
    disable_pbar: bool
    seed: int | None

    @property
    def guider(self) -> Any:
        """The guider that is sampling."""
        return self.executor.class_obj

    def run(self, plan: NoisePlan, images: slice, callback: Any, shapes: Any) -> torch.Tensor:
        """Let core sample some images of the batch, with their own noise."""
        observation = _current()
        observation.step_seed = plan.step_seeds[images.start] if plan.step_seeds else None
        mask = self.denoise_mask
        # Guiders of older packs do not take the shapes.
        more = {} if shapes is None else {"latent_shapes": shapes}
        with self._seeded(observation, plan):
            return self.executor(
                plan.initial[images],
                self.latent[images],
                with_portable_noise(self.sampler, self.seed or 0, plan, images, self.sigmas),
                self.sigmas.clone(),
                mask[images] if mask is not None else None,
                callback,
                self.disable_pbar,
                self.seed,
                **more,
            )

    def _seeded(self, observation: Observation, plan: NoisePlan) -> AbstractContextManager[None]:
        """Seed the global generator, which some samplers and patches draw from."""
        if not observation.mode.deterministic:
            return nullcontext()
        if observation.step_seed is not None:
            return seeded_random(observation.step_seed)
        # Core has just drawn its noise from that generator, where it added any.
        is_drawn = torch.count_nonzero(plan.initial) > 0
        return seeded_random(self.seed or 0, plan.initial.shape if is_drawn else None)


def _sample_each(
    request: _Request, plan: NoisePlan, callback: Any, latent_shapes: Any
) -> torch.Tensor:
    """Sample the images of a batch one after the other, each as if it were alone.

    So nothing that looks at a whole batch can see more than one image: kernels whose sums
    depend on the batch's size, a sampler that chooses its steps, a cache that skips some.
    """
    count = len(plan.initial)
    guider = request.guider
    refuse_inseparable(guider, request.sampler, _outer_wrappers(request.executor), latent_shapes)
    slicer = Slicer(guider.conds, count, plan.initial.ndim - 2)
    shapes = latent_shapes and [torch.Size((1, *shape[1:])) for shape in latent_shapes]
    progress = _BatchProgress(callback, count)
    outputs: list[torch.Tensor] = []
    for image in range(count):
        guider.conds = slicer.at(image)
        report = progress.of_image(image)
        outputs.append(request.run(plan, slice(image, image + 1), report, shapes))
    return torch.cat(outputs)


class _BatchProgress:
    """Tells a callback of one sampling of a batch, while its images are sampled in turn.

    The callback may keep what it gets last, as core's sampler nodes do for the denoised
    latent, so it always gets a whole batch: what is done, and the image in hand for the rest.
    """

    def __init__(self, callback: Any, count: int) -> None:
        self._callback = callback
        self._count = count
        self._done: list[tuple[torch.Tensor, torch.Tensor]] = []

    def of_image(self, image: int) -> Callable[[int, Any, Any, int], None]:
        """Give the callback for the sampling of one image."""

        def report(step: int, denoised: torch.Tensor, latent: torch.Tensor, total: int) -> None:
            del self._done[image:]
            self._done.append((denoised, latent))
            if self._callback is None:
                return
            rest = [(denoised, latent)] * (self._count - len(self._done))
            whole = zip(*self._done, *rest, strict=True)
            batch = [torch.cat(images) for images in whole]
            self._callback(image * total + step, *batch, self._count * total)

        return report


def _check_attention(observation: Observation) -> None:
    """Say so where a model did not ask for the attention that was pinned.

    Some of core's do not hand the override to their attention (0.30.0: PixArt, Hunyuan DiT).
    """
    asked = observation.fields.get("attention") == pytorch.__name__
    if asked and not observation.attentions and observation.conditionings:
        observation.fields["attention"] = host_attention_name()
        if not host_attention_is_whole():
            message = f"this model attends with {host_attention_name()}, which free memory divides"
            observation.demote(Demotion(CauseKind.ATTENTION, message))


def _outer_wrappers(executor: Any) -> list[str]:
    """Name what stands around our wrapper, by key where it has one."""
    kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
    options = executor.class_obj.model_options.get("transformer_options", {})
    registered = options.get("wrappers", {}).get(kind, {})
    outer = executor.wrappers[: executor.idx]
    return [
        str(key) for key, found in registered.items() if any(wrapper in outer for wrapper in found)
    ]


def _describe(observation: Observation, guider: Any, request: _Request, plan: NoisePlan) -> None:
    """Tell how a sampling starts, and what of it is not pinned."""
    observation.look(
        lambda: describe_request(guider, request.sampler, request.sigmas, request.seed)
    )
    observation.look(lambda: describe_model(guider, request.latent))
    observation.look(lambda: describe_conditionings(guider.conds))
    observation.look(
        lambda: {
            "noise": str(digest_tensor(plan.initial)),
            "noise_source": plan.description,
            "latent_in": str(digest_tensor(request.latent)),
            "latent_shape": list(request.latent.shape),
        }
    )
    masked = request.denoise_mask is not None
    for demotion in (
        *plan.demotions,
        *find_noise_demotions(observation.mode, request.sampler, masked=masked),
        *(_find_demotions(guider, observation.mode) if observation.mode.deterministic else ()),
    ):
        observation.demote(demotion)


def _find_demotions(guider: Any, mode: Mode) -> list[Demotion]:
    """List what is known of this model and cannot be pinned here."""
    patcher = guider.model_patcher
    options = guider.model_options
    transformer = options.get("transformer_options", {})
    kinds = comfy.patcher_extension.WrappersMP
    found: list[tuple[CauseKind, str]] = []
    if patcher.get_additional_models_with_key("multigpu"):
        found.append((CauseKind.BATCH, "several GPUs share the conditionings by free memory"))
    compiled = "torch.compile" in transformer.get("wrappers", {}).get(kinds.APPLY_MODEL, {})
    if compiled or "torch_compile_kwargs" in options:
        found.append((CauseKind.NUMERICS, "torch.compile chooses and fuses kernels by itself"))
    if "sampler_calc_cond_batch_function" in options:
        found.append((CauseKind.BATCH, "another node decides which conditionings run together"))
    if transformer.get("optimized_attention_override") is not pytorch:
        found.append((CauseKind.ATTENTION, "another node chose the attention kernel"))
    if any(mode_of(other) is None for other in _other_models(guider)):
        found.append((CauseKind.MEMORY, "a second model of the guider is not pinned"))
    if mode.precision == "fp32" and _is_quantised(patcher.model):
        found.append((CauseKind.PRECISION, "quantised layers compute in their own type"))
    found += _find_control_demotions(guider, mode)
    return [Demotion(kind, message) for kind, message in found]


def _find_control_demotions(guider: Any, mode: Mode) -> list[tuple[CauseKind, str]]:
    """Say what of the ControlNets is not pinned: core hands them no override of attention."""
    controls = [
        entry["control"]
        for entries in guider.conds.values()
        for entry in entries
        if "control" in entry
    ]
    if not controls:
        return []
    found: list[tuple[CauseKind, str]] = []
    if not host_attention_is_whole():
        message = f"ControlNets attend with {host_attention_name()}, which free memory divides"
        found.append((CauseKind.ATTENTION, message))
    types = {
        getattr(control, "manual_cast_dtype", None)
        or getattr(getattr(control, "control_model", None), "dtype", None)
        for control in controls
    }
    if mode.precision == "fp32" and types - {torch.float32, None}:
        found.append((CauseKind.PRECISION, "ControlNets compute in their own type"))
    return found


def _other_models(guider: Any) -> list[Any]:
    """List further models that a guider holds."""
    return [
        value
        for value in vars(guider).values()
        if isinstance(value, comfy.model_patcher.ModelPatcher) and value is not guider.model_patcher
    ]


def _is_quantised(model: Any) -> bool:
    quantised = getattr(comfy.quant_ops, "QuantizedTensor", ())
    return any(isinstance(weight.data, quantised) for weight in model.parameters())


def _around_loading(
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
    observation = _observed.get()
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


def _around_sampler(
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
    observation = _observed.get()
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


def _around_conditionings(executor: Any, model: Any, *args: Any, **kw: Any) -> Any:
    """Wrap `_calc_cond_batch`, which batches as many conditionings as fit free memory.

    With no memory free it always runs one, which every machine can; with much it runs all
    that have one shape (0.30.0: comfy/samplers.py, `get_free_memory` in `_calc_cond_batch`).
    The attribute is set on this sampling's own patcher, a clone of ours, and taken away again.
    """
    observation = _observed.get()
    if observation is None or not observation.mode.deterministic:
        return executor(model, *args, **kw)
    free_bytes = NO_MEMORY if observation.mode.cond_batch == "separate" else MUCH_MEMORY
    with told_free_memory(model.current_patcher, free_bytes):
        return executor(model, *args, **kw)


def _around_forward(
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
    observation = _observed.get()
    if observation is not None:
        conditionings = len(transformer_options.get("cond_or_uncond", [0]))
        observation.conditionings[conditionings] += 1
        observation.images[len(x) // conditionings] += 1
    return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kw)


def _current() -> Observation:
    observation = _observed.get()
    if observation is None:
        raise DeterminismError("expected to be inside a sampling")
    return observation
