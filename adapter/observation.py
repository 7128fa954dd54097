"""What a sampling shows while it runs, as fields of a record's `samplings` entry.

Each probe is optional: a model or guider of a kind never seen before costs its fields,
never the sampling.
"""

from __future__ import annotations

import hashlib
import logging
import math
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import comfy.ldm.modules.attention
import torch

from ..src.comfyui_provenance.numerics.determinism import read_flags
from ..src.comfyui_provenance.numerics.step_trace import StepTracer
from ..src.comfyui_provenance.numerics.tensors import digest_tensor
from ..src.comfyui_provenance.record import UNRESOLVED, JsonObject, JsonValue
from .mode import Demotion, Mode
from .noise import function_name, sampler_name
from .probes import hide_private

_log = logging.getLogger(__name__)

_OWN_STEPS: Final = ("dpm_fast", "dpm_adaptive", "ar_video")
"""Samplers whose steps are not those of their sigmas, by part of the function's name."""

_EXACT_INTEGER: Final = 2**53

_SHOWN_CHARS: Final = 200
"""Of one text among the settings."""

_PATCH_SETS: Final = 16
"""Digests of patches to remember."""

_DIGESTED_BYTES: Final = 1 << 30
"""Of weight patches: about ten seconds, once."""

_TOLD_OPTIONS: Final = ("wrappers", "callbacks", "optimized_attention_override")
"""Of a model's options, those whose functions are not named one by one."""

_patch_digests: OrderedDict[object, str] = OrderedDict()
_tensor_digests: dict[int, tuple[weakref.ref[torch.Tensor], str]] = {}


@dataclass(slots=True)
class Observation:
    """One sampling.

    Attributes:
        mode: Deterministic Mode, as asked for.
        tracer: Follows the latents; `None` for more images than a trace holds.
        fields: Of the entry.
        conditionings: How many forwards ran so many conditionings together.
        images: How many forwards ran so many images together.
        attentions: How many times the pinned attention was asked for.
        demotions: What was not pinned.
        step_seed: The seed for the noise of the image that is being sampled; `None` for the
            sampling's.
        is_followed: Whether every step so far could be measured.
    """

    mode: Mode
    tracer: StepTracer | None
    fields: JsonObject = field(default_factory=dict)
    conditionings: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    attentions: int = 0
    demotions: list[Demotion] = field(default_factory=list)
    step_seed: int | None = None
    is_followed: bool = True

    def look(self, probe: Callable[[], JsonObject]) -> None:
        """Add what a probe sees."""
        try:
            self.fields.update(probe())
        except Exception:  # noqa: BLE001 - a model or guider of a kind never seen before
            _log.warning("could not observe a part of this sampling", exc_info=True)

    def demote(self, demotion: Demotion) -> None:
        """Note what was not pinned, once."""
        if demotion not in self.demotions:
            self.demotions.append(demotion)

    def follow(self, step: int, sigma: float | None, images: torch.Tensor) -> None:
        """Measure a state of the next images of the batch."""
        if not self.is_followed or self.tracer is None:
            return
        try:
            self.tracer.add(step, sigma, images)
        except Exception:  # noqa: BLE001 - a latent of a kind never seen before
            # One missing step would shift all that follow: no trace, and no harm.
            self.is_followed = False
            _log.warning("could not follow this sampling step by step", exc_info=True)

    def to_trace(self) -> JsonObject | None:
        """Give the trace; `None` where some image was not followed to the end."""
        try:
            return self.tracer.to_json() if self.is_followed and self.tracer else None
        except ValueError:
            _log.info("the images of this batch made different numbers of steps: no trace")
            return None

    def to_entry(self) -> JsonObject:
        """Give the entry of `samplings`, without what only the graph tells."""
        return {
            "source": "sampling",
            "deterministic_mode": self.mode.deterministic,
            "batch_invariant": self.mode.batch_invariant,
            "mode": self.mode.to_json(),
            "conditionings_per_forward": _to_counts(self.conditionings),
            "images_per_forward": _to_counts(self.images),
            "demotions": [demotion.message for demotion in self.demotions],
            "warnings": [],
            **self.fields,
        }


running: ContextVar[Observation | None] = ContextVar("running", default=None)
"""The sampling that is running."""


def describe_request(
    guider: Any, sampler: Any, sigmas: torch.Tensor, seed: int | None
) -> JsonObject:
    """Tell what a sampling was asked to do."""
    entry: JsonObject = {
        "seed": UNRESOLVED if seed is None else str(seed),
        "sigmas": str(digest_tensor(sigmas)),
        "sigma_count": int(sigmas.shape[-1]),
        "sampler_function": function_name(sampler),
        "sampler_options": {
            str(name): _to_plain(value)
            for name, value in sorted(getattr(sampler, "extra_options", {}).items())
        },
        "guider": type(guider).__name__,
        "flags": read_flags(),
    }
    name = sampler_name(sampler)
    if name is not None:
        entry["sampler"] = name
    cfg = getattr(guider, "cfg", None)
    if isinstance(cfg, int | float) and not isinstance(cfg, bool):
        entry["cfg"] = cfg
    return entry


def describe_model(guider: Any, latent: torch.Tensor) -> JsonObject:
    """Tell the model, as it will run, and the size of what it makes."""
    patcher = guider.model_patcher
    model = patcher.model
    described: JsonObject = {
        "model_dtype": _dtype(patcher.model_dtype()),
        "compute_dtype": _dtype(
            patcher.get_model_object("manual_cast_dtype") or model.get_dtype_inference()
        ),
        "model_class": type(model).__name__,
        "attention": _attention_name(guider),
        "patches": {
            "weights": len(patcher.patches),
            "digest": _digest_patches(patcher),
            "objects": [*sorted(map(str, patcher.object_patches))],
            "wrappers": [*sorted({str(k) for keys in patcher.wrappers.values() for k in keys})],
            "functions": [*sorted(set(_functions(patcher.model_options)))],
        },
    }
    ratio = getattr(patcher.get_model_object("latent_format"), "spacial_downscale_ratio", None)
    if isinstance(ratio, int) and latent.ndim >= 4:
        described.update(width=latent.shape[-1] * ratio, height=latent.shape[-2] * ratio)
    return described


def describe_conditionings(conds: Mapping[str, list[dict[str, Any]]]) -> JsonObject:
    """Tell the conditionings: digests of their tensors, and their plain settings."""
    return {
        "conditionings": {
            str(name): [_describe_conditioning(entry) for entry in entries]
            for name, entries in conds.items()
        }
    }


def steps_follow_sigmas(sampler: Any) -> bool:
    """Tell whether a sampler's steps are those of its sigmas; adaptive ones choose their own."""
    name = function_name(sampler)
    return not any(part in name for part in _OWN_STEPS)


def _describe_conditioning(entry: Mapping[str, Any]) -> JsonObject:
    described: JsonObject = {}
    for key, value in sorted(entry.items()):
        if isinstance(value, torch.Tensor):
            described[key] = str(digest_tensor(value))
        elif key == "control":
            described[key] = [*_describe_controls(value)]
        elif key == "hooks":
            described[key] = [_describe_hook(hook) for hook in value.hooks]
        elif isinstance(value, bool | int | float | str) and key != "uuid":
            described[key] = _to_plain(value)
        elif isinstance(value, list | tuple) and all(isinstance(x, torch.Tensor) for x in value):
            described[key] = [str(digest_tensor(tensor)) for tensor in value]
    return described


def _describe_hook(hook: Any) -> JsonObject:
    """Tell what changes a model for one conditioning: a scheduled LoRA, as a rule."""
    described: JsonObject = {"type": str(getattr(hook.hook_type, "value", hook.hook_type))}
    for name in ("strength_model", "strength_clip"):
        described[name] = _to_plain(getattr(hook, f"_{name}", getattr(hook, name, None)))
    weights = getattr(hook, "weights", None)
    if isinstance(weights, dict):
        described["digest"] = _digest_weights(weights)
    keyframes = getattr(hook.hook_keyframe, "keyframes", [])
    described["keyframes"] = [
        [_to_plain(keyframe.start_percent), _to_plain(keyframe.strength)] for keyframe in keyframes
    ]
    return described


def _describe_controls(control: Any) -> list[JsonObject]:
    found: list[JsonObject] = []
    while control is not None:
        described: JsonObject = {"class": type(control).__name__, "strength": control.strength}
        if control.cond_hint_original is not None:
            described["hint"] = str(digest_tensor(control.cond_hint_original))
        found.append(described)
        control = control.previous_controlnet
    return found


def host_attention_name() -> str:
    """Name the attention function that core chose when it started."""
    chosen = comfy.ldm.modules.attention.optimized_attention
    return str(getattr(chosen, "__name__", type(chosen).__name__)).removeprefix("attention_")


def host_attention_is_whole() -> bool:
    """Tell whether that function never divides its work by free memory, nor gives up on it."""
    return host_attention_name() in ("pytorch", "basic")


def _functions(options: Any, path: str = "") -> Iterator[str]:
    """Name the functions that nodes put into a model's options, by where and what they are.

    `wrappers` and the attention are told elsewhere.
    """
    if isinstance(options, dict):
        for key, value in options.items():
            if key not in _TOLD_OPTIONS:
                yield from _functions(value, f"{path}.{key}".removeprefix("."))
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _functions(value, path)
    elif callable(options):
        name = getattr(options, "__qualname__", type(options).__qualname__)
        yield (
            hide_private(f"{path}: {name}")[:_SHOWN_CHARS]
            .encode("ascii", "backslashreplace")
            .decode()
        )


def _attention_name(guider: Any) -> str:
    options = guider.model_options.get("transformer_options", {})
    chosen = options.get("optimized_attention_override")
    if chosen is None:
        return host_attention_name()
    return str(getattr(chosen, "__name__", type(chosen).__name__))


def _digest_patches(patcher: Any) -> str:
    """Digest the tensors, strengths and order of a model's weight patches.

    ComfyUI gives a patcher a new `patches_uuid` whenever they change.
    """
    known = _patch_digests.get(patcher.patches_uuid)
    if known is None:
        known = _digest_weights(patcher.patches)
        _patch_digests[patcher.patches_uuid] = known
        while len(_patch_digests) > _PATCH_SETS:
            _patch_digests.popitem(last=False)
    return known


def _digest_weights(weights: Mapping[Any, Any]) -> str:
    """Digest weights by name.

    Returns:
        `unresolved` where there is more to digest than a user should wait for: a merge holds
        a whole model as patches.
    """
    named = [[str(key), weights[key]] for key in sorted(weights, key=str)]
    if sum(tensor.nbytes for tensor in _tensors_in(named)) > _DIGESTED_BYTES:
        return UNRESOLVED
    state = hashlib.sha256()
    _feed(state, named)
    return f"sha256:{state.hexdigest()}"


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of weight patches, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors_in(item)
    else:
        weights = getattr(value, "weights", None)
        if weights is not None:
            yield from _tensors_in(weights)


def _feed(state: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        state.update(f"{value.dtype} {_digest_kept(value)}\n".encode())
    elif isinstance(value, list | tuple):
        state.update(f"{len(value)}\n".encode())
        for item in value:
            _feed(state, item)
    elif isinstance(value, bool | int | float | str) or value is None:
        state.update(f"{value!r}\n".encode())
    else:
        # An adapter of core's holds its tensors here.
        state.update(f"{type(value).__name__}\n".encode())
        _feed(state, getattr(value, "weights", None))


def _digest_kept(tensor: torch.Tensor) -> str:
    """Digest a tensor that stays the same, once: a LoRA's, whatever its strength."""
    known = _tensor_digests.get(id(tensor))
    if known is not None and known[0]() is tensor:
        return known[1]
    digest = str(digest_tensor(tensor))
    place = id(tensor)
    kept = weakref.ref(tensor, lambda _: _tensor_digests.pop(place, None))
    _tensor_digests[place] = kept, digest
    return digest


def _to_plain(value: Any) -> JsonValue:
    """Give a setting as a record can hold it: any pack may have put it there."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < _EXACT_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return hide_private(value)[:_SHOWN_CHARS].encode("ascii", "backslashreplace").decode()
    return type(value).__name__


def _to_counts(counter: Counter[int]) -> JsonObject:
    return {str(size): count for size, count in sorted(counter.items())}


def _dtype(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
