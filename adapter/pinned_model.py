"""Deterministic Mode on a model: every sampling that goes through it is pinned and watched.

Everything happens in wrappers on a clone of the model (0.30.0: comfy/patcher_extension.py),
so it reaches every sampler that goes through a guider, core's and others', and no other
model. One stands around the whole sampling, one around its loading, one around the
sampler, one around each batch of conditionings and one around each forward.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import comfy.patcher_extension
import torch

from ..src.comfyui_provenance.numerics.step_trace import StepTracer
from ..src.comfyui_provenance.numerics.tensors import digest_tensor
from ..src.comfyui_provenance.trace import IMAGE_COUNT
from .log_warnings import heard_warnings
from .mode import KEY, Mode, mode_of, pinned_scope, seeded_random
from .model_demotions import check_attention, find_demotions
from .noise import NoisePlan, find_noise_demotions, plan_noise, with_portable_noise
from .observation import (
    Observation,
    describe_conditionings,
    describe_model,
    describe_request,
    running,
)
from .runs import Run, remember
from .sampling_wrappers import (
    around_conditionings,
    around_forward,
    around_loading,
    around_sampler,
    pytorch,
)
from .slicing import Slicer, refuse_inseparable


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
        kinds.PREPARE_SAMPLING: around_loading,
        kinds.SAMPLER_SAMPLE: around_sampler,
        kinds.CALC_COND_BATCH: around_conditionings,
        kinds.APPLY_MODEL: around_forward,
    }
    for kind, wrapper in wrappers.items():
        pinned.remove_wrappers_with_key(kind, KEY)
        pinned.add_wrapper_with_key(kind, KEY, wrapper)
        # First is outermost: what counts a sampling's steps or looks at its batch must see
        # one image as one sampling.
        others = dict(pinned.wrappers[kind])
        pinned.wrappers[kind] = {KEY: others.pop(KEY), **others}
    before = mode_of(model)
    pinned.set_attachments(KEY, mode)
    if mode.precision == "fp32" and pinned.object_patches.get("manual_cast_dtype") != torch.float32:
        pinned.set_model_compute_dtype(torch.float32)
    elif mode.precision != "fp32" and before is not None and before.precision == "fp32":
        pinned.object_patches.pop("manual_cast_dtype", None)
        pinned.patches_uuid = uuid4()  # load anew, as `set_model_compute_dtype` does
    if mode.deterministic:
        options = pinned.model_options.setdefault("transformer_options", {})
        options.setdefault("optimized_attention_override", pytorch)
    return pinned


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
        tracer = StepTracer(len(noise)) if len(noise) <= IMAGE_COUNT else None
        observation = Observation(self._mode, tracer)
        request = _Request(
            executor, observation, latent, sampler, sigmas, denoise_mask, disable_pbar, seed
        )
        token = running.set(observation)
        try:
            with (
                heard_warnings() as heard,
                pinned_scope(self._mode, observation.demotions),
            ):
                plan = plan_noise(self._mode, seed or 0, noise, latent)
                _describe(request, plan)
                if self._mode.batch_invariant and len(noise) > 1:
                    output = _sample_each(request, plan, callback, latent_shapes)
                else:
                    whole = slice(0, len(noise))
                    output = request.run(plan, whole, callback, latent_shapes)
        finally:
            running.reset(token)
        observation.look(lambda: {"latent_out": str(digest_tensor(output)), "log": [*heard]})
        check_attention(observation)
        demotions = tuple(observation.demotions)
        remember(Run("sample", observation.to_entry(), demotions, observation.to_trace()))
        return output


@dataclass(frozen=True, slots=True)
class _Request:
    """What a sampling was called with, besides noise, callback and shapes.

    Attributes:
        executor: Goes on to core's sampling, as often as it is called.
        observation: Of this sampling.
        latent: Shape (batch, ...), on the CPU.
        sampler: Core's `KSAMPLER`, or what takes its place.
        sigmas: The noise levels.
        denoise_mask: Shape (batch, ...), or none.
        disable_pbar: As core takes it.
        seed: 0 to 2^64-1; `None` where the caller has none.
    """

    executor: Any
    observation: Observation
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
        observation = self.observation
        observation.step_seed = plan.step_seeds[images.start] if plan.step_seeds else None
        mask = self.denoise_mask
        # Guiders of older packs do not take the shapes.
        more = {} if shapes is None else {"latent_shapes": shapes}
        with self._seeded(plan):
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

    def _seeded(self, plan: NoisePlan) -> AbstractContextManager[None]:
        """Seed the global generator, which some samplers and patches draw from."""
        if not self.observation.mode.deterministic:
            return nullcontext()
        if self.observation.step_seed is not None:
            return seeded_random(self.observation.step_seed)
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


def _outer_wrappers(executor: Any) -> list[str]:
    """Name what stands around our wrapper, by key where it has one."""
    kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
    options = executor.class_obj.model_options.get("transformer_options", {})
    registered = options.get("wrappers", {}).get(kind, {})
    outer = executor.wrappers[: executor.idx]
    return [
        str(key) for key, found in registered.items() if any(wrapper in outer for wrapper in found)
    ]


def _describe(request: _Request, plan: NoisePlan) -> None:
    """Tell how a sampling starts, and what of it is not pinned."""
    observation, guider = request.observation, request.guider
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
        *(find_demotions(guider, observation.mode) if observation.mode.deterministic else ()),
    ):
        observation.demote(demotion)
