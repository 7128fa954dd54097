"""Deterministic Mode on a text encoder: what it encodes is pinned and watched.

ComfyUI fires no wrappers for a CLIP, and its nodes that patch one, a LoRA or a skipped
layer, go on with a clone. So the clone here is of a class of its own, whose clones are
pinned, too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any

import comfy.model_management
import comfy.sd
import torch

from ..src.comfyui_provenance.errors import DeterminismError
from ..src.comfyui_provenance.numerics.determinism import read_flags
from ..src.comfyui_provenance.numerics.tensors import digest_tensor
from ..src.comfyui_provenance.record import JsonObject, JsonValue
from ..src.comfyui_provenance.verdict import CauseKind
from .loading import fits_whole
from .log_warnings import HEARD_LIMIT, heard_warnings
from .mode import Demotion, Mode, pinned_scope, seeded_random
from .runs import Run, remember

_inside: ContextVar[bool] = ContextVar("inside", default=False)


def can_pin_clip(clip: Any) -> bool:
    """Tell whether an object is core's CLIP."""
    return isinstance(clip, comfy.sd.CLIP) and getattr(clip, "patcher", None) is not None


def pin_clip(clip: Any, mode: Mode) -> Any:
    """Clone a text encoder so that what it encodes is pinned as the mode asks.

    Args:
        clip: Core's CLIP, as `can_pin_clip` tells; not changed. A pinned one is pinned anew.
        mode: What to pin.
    """
    pinned = clip.clone()
    if not _is_pinned(pinned):
        pinned.__class__ = _pinned_class(type(pinned))
    pinned.provenance_mode = mode
    return pinned


def _is_pinned(part: Any) -> bool:
    return isinstance(part, _PinnedClip)


class _PinnedClip:
    """What a pinned CLIP does in place of the methods of core's class (0.30.0: comfy/sd.py).

    Attributes:
        provenance_mode: What to pin.
    """

    provenance_mode: Mode

    def clone(self: Any, *args: Any, **kw: Any) -> Any:
        """Clone it, pinned: core's own clone is a plain CLIP."""
        core: Any = super()
        cloned = core.clone(*args, **kw)
        cloned.__class__ = type(self)
        cloned.provenance_mode = self.provenance_mode
        return cloned

    def tokenize(self: Any, *args: Any, **kw: Any) -> Any:
        """Cut a text into tokens; what it warns of is told with the encoding that follows."""
        core: Any = super()
        with heard_warnings() as heard:
            tokens = core.tokenize(*args, **kw)
        self.provenance_heard = [*getattr(self, "provenance_heard", ()), *heard]
        return tokens

    def load_model(self: Any, tokens: Any = None) -> Any:
        """Load it as core does, and whole where a LoRA patches it and it fits."""
        patcher, model = self.patcher, self.cond_stage_model
        working_bytes = 0
        if hasattr(model, "memory_estimation_function"):
            working_bytes = model.memory_estimation_function(
                tokens or {}, device=patcher.load_device
            )
        whole = bool(patcher.patches) and not patcher.is_dynamic()
        comfy.model_management.load_models_gpu(
            [patcher],
            memory_required=working_bytes,
            force_full_load=whole and fits_whole(patcher, working_bytes),
        )
        return patcher

    def encode_from_tokens(self: Any, *args: Any, **kw: Any) -> Any:
        """Encode one text."""
        core: Any = super()
        method = core.encode_from_tokens
        return _watched(self, "text_encode", lambda: method(*args, **kw))

    def encode_from_tokens_scheduled(self: Any, *args: Any, **kw: Any) -> Any:
        """Encode one text for each part of a schedule."""
        core: Any = super()
        method = core.encode_from_tokens_scheduled
        return _watched(self, "text_encode", lambda: method(*args, **kw))

    def generate(self: Any, *args: Any, **kw: Any) -> Any:
        """Write a text."""
        core: Any = super()
        method = core.generate
        return _watched(self, "text_generate", lambda: method(*args, **kw))


@cache
def _pinned_class(clip_class: type[Any]) -> type[Any]:
    """Derive the pinned class of a class of CLIP: ours comes first, core's behind it."""
    return type(f"Pinned{clip_class.__name__}", (_PinnedClip, clip_class), {})


def _watched(clip: Any, operation: str, method: Callable[[], Any]) -> Any:
    """Run a method pinned, and remember what it did; inside another one it is a part of that."""
    if _inside.get():
        return method()
    mode: Mode = clip.provenance_mode
    demotions: list[Demotion] = []
    token = _inside.set(True)
    try:
        with heard_warnings() as heard, pinned_scope(mode, demotions), seeded_random(0):
            flags = read_flags()
            output = method()
    finally:
        _inside.reset(token)
    _check_load(clip, mode, demotions)
    weights = next(clip.cond_stage_model.parameters(), None)
    entry: JsonObject = {
        "flags": flags,
        "mode": mode.to_json(),
        "output": _digest_output(output),
        "log": [*dict.fromkeys([*clip.__dict__.pop("provenance_heard", ()), *heard])][:HEARD_LIMIT],
        "dtype": str(getattr(weights, "dtype", "unknown")).removeprefix("torch."),
        "device": str(clip.patcher.load_device.type),
        "model_class": type(clip.cond_stage_model).__name__,
    }
    remember(Run(operation, entry, tuple(demotions)))
    return output


def _check_load(clip: Any, mode: Mode, demotions: list[Demotion]) -> None:
    """Say where free memory decides how a LoRA on a text encoder is applied."""
    patcher = clip.patcher
    if not patcher.patches or not (patcher.is_dynamic() or patcher.lowvram_patch_counter()):
        return
    message = "free memory decides how the LoRA of the text encoder is applied"
    if mode.is_strict:
        raise DeterminismError(f"on_fallback = error: {message}")
    demotions.append(Demotion(CauseKind.MEMORY, message))


def _digest_output(output: Any) -> JsonValue:
    """Digest the tensors of what was encoded, in order."""
    if isinstance(output, torch.Tensor):
        return str(digest_tensor(output))
    if isinstance(output, dict):
        output = [output[key] for key in sorted(output)]
    if isinstance(output, list | tuple):
        found = [_digest_output(item) for item in output]
        return [item for item in found if item not in (None, [])]
    return None
