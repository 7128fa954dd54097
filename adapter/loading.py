"""What ComfyUI decides by free memory: how a model is loaded, and how much runs together.

Loading in parts changes no weight, but core applies a LoRA to a part that stays outside in
another type and with another rounding (0.30.0: comfy/model_patcher.py), and free memory
decides which part that is.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import comfy.model_management

NO_MEMORY: Final = 0
MUCH_MEMORY: Final = 1 << 62
"""Bytes: more than anything needs."""


def fits_whole(patcher: Any, working_bytes: float) -> bool:
    """Estimate whether a whole model fits its device beside its work, with others unloaded.

    Args:
        patcher: ComfyUI's ModelPatcher.
        working_bytes: What its work needs besides its weights.
    """
    management: Any = comfy.model_management
    device = patcher.load_device
    if management.is_device_cpu(device):
        return True
    loaded = [
        other.loaded_size()
        for other in management.loaded_models()
        if other is not None and other.load_device == device
    ]
    free = management.get_free_memory(device) + sum(loaded)
    needed = patcher.model_size() + working_bytes + management.extra_reserved_memory()
    return bool(needed <= free)


@contextmanager
def told_free_memory(patcher: Any, free_bytes: int) -> Generator[None]:
    """Let a patcher of ours say how much memory is free, and take that back."""
    before = patcher.__dict__.get("get_free_memory")
    patcher.get_free_memory = lambda device: free_bytes
    try:
        yield
    finally:
        if before is None:
            del patcher.get_free_memory
        else:
            patcher.get_free_memory = before
