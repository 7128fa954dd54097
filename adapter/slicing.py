"""What a conditioning holds for one image of a batch.

Core hands a batch's conditionings to each image by position, and repeats them where they
are fewer (0.30.0: `repeat_to_batch_size` in comfy/utils.py). An image that is sampled by
itself would get the first entry, whichever it is; so each gets its own here. What cannot
be told apart by image is refused.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import comfy.conds
import comfy.model_base
import comfy.model_patcher
import comfy.samplers
import comfy.utils
import torch

from ..src.comfyui_provenance.errors import DeterminismError

_RESIZED: Final = ("concat_latent_image", "concat_mask", "concat_image", "denoise_mask")
"""Entries that core spreads over a batch instead of repeating them."""

_REPEATED: Final = (
    "cross_attn",
    "pooled_output",
    "attention_mask",
    "attention_mask_mt5xl",
    "conditioning_byt5small",
    "conditioning_llama3",
    "conditioning_lyrics",
    "conditioning_mt5xl",
    "cross_attn_controlnet",
    "noise_concat",
    "reference_latents",
    "reference_latents_text_embeds",
)
"""Entries of which each image gets one, counting from the start again where they are fewer."""

_SHARED_INJECTIONS: Final = ("bypass_lora",)
"""Changes to a model's modules that treat each image alike: core's own."""

_DEPTH: Final = 6
_LOOKED_AT: Final = 4096
"""How deep and how far to look into what other nodes hung on a model."""

_NOT_LOOKED_INTO: Final = (
    type(None),
    type,
    ModuleType,
    torch.nn.Module,
    torch.device,
    torch.dtype,
    comfy.model_patcher.ModelPatcher,
    str,
    bytes,
    int,
    float,
    bool,
)
"""Weights and plain values: they hold nothing for an image."""

_FRAMES: Final = (comfy.model_base.SVD_img2vid,)
"""Models that take the frames of one video as their batch."""


class Slicer:
    """Gives the conditionings of a sampling to one image of its batch at a time."""

    def __init__(self, conds: dict[str, list[dict[str, Any]]], images: int, dims: int) -> None:
        """Check that every conditioning can be told apart by image.

        Args:
            conds: Of the guider, as it holds them before a sampling.
            images: Size of the batch.
            dims: Dimensions of a latent besides batch and channels.

        Raises:
            DeterminismError: One cannot; the message names it.
        """
        self._conds = conds
        self._images = images
        self._dims = dims
        self._controls: dict[tuple[int, int], Any] = {}
        self.at(0)

    def at(self, image: int) -> dict[str, list[dict[str, Any]]]:
        """Give the conditionings of one image; entries that all share are the same objects."""
        return {
            name: [self._slice(entry, image) for entry in entries]
            for name, entries in self._conds.items()
        }

    def _slice(self, entry: dict[str, Any], image: int) -> dict[str, Any]:
        return {key: self._slice_value(key, value, image) for key, value in entry.items()}

    def _slice_value(self, key: str, value: Any, image: int) -> Any:
        if key == "control":
            return self._slice_control(value, image)
        if key == "mask":
            # Without a dimension for the batch it is one mask for all.
            shared = value.ndim == self._dims
            return value if shared else self._repeated(value, image)
        if key == "model_conds":
            return {name: self._slice_cond(name, cond, image) for name, cond in value.items()}
        if key in _RESIZED and isinstance(value, torch.Tensor):
            return comfy.utils.resize_to_batch_size(value, self._images)[image : image + 1]
        if key in _REPEATED:
            return _map_tensors(value, lambda tensor: self._repeated(tensor, image))
        if _has_batch(value):
            raise DeterminismError(
                f"batch_invariant: the conditioning's {key!r} cannot be told apart by image; use a "
                "batch of 1, or switch batch_invariant off"
            )
        return value

    def _repeated(self, tensor: torch.Tensor, image: int) -> torch.Tensor:
        size = tensor.shape[0] if tensor.ndim else 1
        return tensor if size == 1 else tensor[image % size : image % size + 1]

    def _slice_cond(self, name: str, cond: Any, image: int) -> Any:
        """Slice what another node has prepared for the model."""
        value = getattr(cond, "cond", None)
        if not _has_batch(value) or isinstance(cond, comfy.conds.CONDConstant):
            return cond
        if not isinstance(cond, comfy.conds.CONDRegular):
            raise DeterminismError(
                f"batch_invariant: what a node prepared for the model as {name!r} cannot be told "
                "apart by image; use a batch of 1, or switch batch_invariant off"
            )
        return type(cond)(_map_tensors(value, lambda tensor: self._repeated(tensor, image)))

    def _slice_control(self, control: Any, image: int) -> Any:
        """Copy a ControlNet and those before it, each with the hint of one image.

        The copy of one ControlNet is one object wherever it is used, as the original is:
        core runs conditionings together only where they share it.
        """
        key = id(control), image
        if key in self._controls:
            return self._controls[key]
        if not type(control).__module__.startswith("comfy.controlnet"):
            raise DeterminismError(
                f"batch_invariant: {type(control).__name__} is not core's ControlNet, and its "
                "hints cannot be told apart by image; use a batch of 1, or switch it off"
            )
        if _has_batch(getattr(control, "extra_args", None)):
            raise DeterminismError(
                "batch_invariant: an argument of this ControlNet cannot be told apart by image; "
                "use a batch of 1, or switch batch_invariant off"
            )
        copied = control.copy()
        hint = control.cond_hint_original
        if hint is not None:
            size = hint.shape[0]
            copied.cond_hint_original = self._repeated(hint, image)
            copied.extra_concat_orig = [
                self._repeated(extra, image % size) for extra in control.extra_concat_orig
            ]
        if control.previous_controlnet is not None:
            copied.set_previous_controlnet(self._slice_control(control.previous_controlnet, image))
        self._controls[key] = copied
        return copied


def refuse_inseparable(
    guider: Any, sampler: Any, outer_wrappers: list[str], latent_shapes: Any
) -> None:
    """Refuse to take a batch apart whose images belong together.

    Args:
        guider: Of the sampling.
        sampler: Of the sampling.
        outer_wrappers: Keys of the wrappers that stand around the whole batch.
        latent_shapes: Shapes of the latents that are sampled together, or nothing.

    Raises:
        DeterminismError: Its images are frames, or something looks at the batch as a whole.
    """
    patcher = guider.model_patcher
    reasons: list[str] = []
    if isinstance(patcher.model, _FRAMES):
        reasons.append(f"{type(patcher.model).__name__} takes the frames of a video as its batch")
    if not isinstance(sampler, comfy.samplers.KSAMPLER):
        reasons.append(f"sampler {type(sampler).__name__} may look at several images at once")
    if latent_shapes is not None and len(latent_shapes) > 1:
        reasons.append("several latents are sampled together, and core draws their noise in turn")
    if guider.model_options.get("context_handler") is not None:
        reasons.append("context windows look at several images at once")
    reasons += [
        f"{key!r} changed the model's modules and may look at several images at once"
        for key in patcher.injections
        if key not in _SHARED_INJECTIONS
    ]
    reasons += [
        f"{key!r} stands around the whole batch and may look at several images at once"
        for key in outer_wrappers
    ]
    reasons += [
        f"{name} of the model holds something for each image"
        for name in _patches_with_batch(guider)
    ]
    if reasons:
        raise DeterminismError(
            f"batch_invariant: {'; '.join(reasons)}. Use a batch of 1, or switch it off"
        )


def _patches_with_batch(guider: Any) -> list[str]:
    """Name the patches of a model that hold a tensor with several images in it.

    Such a patch gives image 2 of a batch its own part, and the first part to any image that
    is sampled alone.
    """
    found: dict[str, None] = {}
    models = [value for value in vars(guider).values() if hasattr(value, "model_options")]
    for options in (guider.model_options, *(model.model_options for model in models)):
        transformer = options.get("transformer_options", {})
        held = {
            **{name: value for name, value in options.items() if name != "transformer_options"},
            **{name: transformer.get(name) for name in ("patches", "patches_replace")},
        }
        found |= dict.fromkeys(name for name, value in held.items() if _holds_batch(value))
    return list(found)


def _holds_batch(value: Any) -> bool:
    """Look for such a tensor in what a patch can reach: its closure, its object, its parts."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    seen: set[int] = set()
    while waiting and len(seen) < _LOOKED_AT:
        found, depth = waiting.pop()
        if id(found) in seen or depth > _DEPTH or isinstance(found, _NOT_LOOKED_INTO):
            continue
        seen.add(id(found))
        if isinstance(found, torch.Tensor):
            # A list of numbers or a matrix of weights has no room for images.
            if found.ndim >= 3 and found.shape[0] > 1 and not isinstance(found, torch.nn.Parameter):
                return True
            continue
        waiting.extend((part, depth + 1) for part in _parts(found))
    return False


def _parts(value: Any) -> list[Any]:
    """List what a value holds, one level deep."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set):
        return list(value)
    parts: list[Any] = [getattr(value, "__self__", None)]
    for cell in getattr(value, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # not filled yet
            parts.append(cell.cell_contents)
    if isinstance(value, functools.partial):
        parts += [value.func, *value.args, *value.keywords.values()]
    parts += list(getattr(value, "__defaults__", None) or ())
    if not callable(value) or not hasattr(value, "__code__"):
        parts += list(vars(value).values()) if hasattr(value, "__dict__") else []
    return parts


def _map_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(_map_tensors(item, change) for item in value)
    return value


def _has_batch(value: Any) -> bool:
    """Tell whether there is a tensor with more than one entry in its first dimension."""
    if isinstance(value, torch.Tensor):
        return value.ndim > 0 and value.shape[0] > 1
    if isinstance(value, dict):
        return any(_has_batch(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return any(_has_batch(item) for item in value)
    # What CLIP vision gives is an object that holds tensors.
    held = vars(value).values() if hasattr(value, "__dict__") else ()
    return any(_has_batch(item) for item in held if isinstance(item, torch.Tensor))
