"""Deterministic Mode on what a loader gives: model, text encoder and VAE at once."""

from __future__ import annotations

from typing import Any, Final

from ..src.comfyui_provenance.errors import DeterminismError
from ..src.comfyui_provenance.record import JsonValue
from .mode import Mode
from .pinned_clip import can_pin_clip, pin_clip
from .pinned_model import pin_model
from .pinned_vae import can_pin_vae, pin_vae
from .runs import Run, remember

OPERATION: Final = "pin"
"""Of the run by which a Deterministic Mode node tells what it pinned."""


def pin(model: Any, clip: Any, vae: Any, mode: Mode) -> tuple[Any, Any, Any]:
    """Pin what a loader gave, and remember what that was.

    A text encoder or VAE that is not core's, or has no weights, is handed on as it is: it may
    not even be used. A record lists each use of it.

    Args:
        model: ComfyUI's ModelPatcher.
        clip: CLIP, or none.
        vae: VAE, or none.
        mode: What to pin.

    Raises:
        DeterminismError: One of them is not core's, and the mode is strict.
    """
    pinned: list[JsonValue] = ["MODEL"]
    parts = (("CLIP", clip, can_pin_clip, pin_clip), ("VAE", vae, can_pin_vae, pin_vae))
    found: dict[str, Any] = {}
    for name, part, can_pin, pin_part in parts:
        found[name] = part
        if part is not None and can_pin(part):
            found[name] = pin_part(part, mode)
            pinned.append(name)
        elif part is not None and mode.is_strict:
            raise DeterminismError(
                f"on_fallback = error: this {name} is not core's, or has no weights, and cannot be "
                "pinned; disconnect it, or set on_fallback to record"
            )
    remember(Run(OPERATION, {"pinned": pinned, "mode": mode.to_json()}))
    return pin_model(model, mode), found["CLIP"], found["VAE"]
