"""Deterministic Mode on a text encoder: what it encodes is pinned and watched.

ComfyUI fires no wrappers for a CLIP, and its nodes that patch one, a LoRA or a skipped
layer, go on with a plain clone. So the copy here also pins its clones.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

import comfy.model_management
import torch

from ..src.comfyui_provenance.errors import DeterminismError
from ..src.comfyui_provenance.numerics.determinism import read_flags
from ..src.comfyui_provenance.numerics.tensors import digest_tensor
from ..src.comfyui_provenance.record import JsonObject, JsonValue
from ..src.comfyui_provenance.verdict import CauseKind
from .log_warnings import heard_warnings
from .mode import Demotion, Mode, pinned_scope, seeded_random
from .runs import Run, remember

_MODE: Final = "_provenance_mode"
"""The attribute that holds the mode of a pinned copy."""

_WATCHED: Final = ("encode_from_tokens", "encode_from_tokens_scheduled", "generate")
"""Methods that compute (0.30.0: comfy/sd.py)."""

_inside: ContextVar[bool] = ContextVar("inside", default=False)


def pin_clip(clip: Any, mode: Mode) -> Any:
    """Clone a text encoder so that what it encodes is pinned as the mode asks.

    Args:
        clip: ComfyUI's CLIP; not changed. A pinned one is pinned anew.
        mode: What to pin; one that is not deterministic pins nothing.
    """
    clone = type(clip).clone
    return _pinned(clone(clip), clone, mode) if mode.deterministic else clone(clip)


def _pinned(clip: Any, clone: Callable[..., Any], mode: Mode) -> Any:
    """Pin a clone that nothing else uses."""

    def pinned_clone(*args: Any, **kw: Any) -> Any:
        return _pinned(clone(clip, *args, **kw), clone, mode)

    setattr(clip, _MODE, mode)
    clip.clone = pinned_clone
    clip.load_model = lambda tokens=None: _load_whole(clip, tokens or {})
    for name in _WATCHED:
        if hasattr(clip, name):
            setattr(clip, name, _watched(clip, name, getattr(clip, name), mode))
    return clip


def _watched(clip: Any, name: str, method: Callable[..., Any], mode: Mode) -> Callable[..., Any]:
    """Run a method pinned, and remember what it did; inside another one it is a part of that."""

    def run(*args: Any, **kw: Any) -> Any:
        if _inside.get():
            return method(*args, **kw)
        demotions: list[Demotion] = []
        token = _inside.set(True)
        try:
            with heard_warnings() as heard, pinned_scope(mode, demotions), seeded_random(0):
                flags = read_flags()
                output = method(*args, **kw)
        finally:
            _inside.reset(token)
        _check_load(clip, mode, demotions)
        entry: JsonObject = {
            "flags": flags,
            "mode": mode.to_json(),
            "output": _digest_output(output),
            "log": [*heard],
            "dtype": str(next(clip.cond_stage_model.parameters()).dtype).removeprefix("torch."),
            "device": str(clip.patcher.load_device.type),
            "model_class": type(clip.cond_stage_model).__name__,
        }
        operation = "text_generate" if name == "generate" else "text_encode"
        remember(Run(operation, entry, tuple(demotions)))
        return output

    return run


def _load_whole(clip: Any, tokens: Any) -> Any:
    """Load a text encoder as its `load_model` does, whole where a LoRA patches it."""
    model = clip.cond_stage_model
    memory_bytes = 0
    if hasattr(model, "memory_estimation_function"):
        memory_bytes = model.memory_estimation_function(tokens, device=clip.patcher.load_device)
    comfy.model_management.load_models_gpu(
        [clip.patcher],
        memory_required=memory_bytes,
        force_full_load=bool(clip.patcher.patches) and not clip.patcher.is_dynamic(),
    )
    return clip.patcher


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
