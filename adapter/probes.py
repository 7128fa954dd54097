"""What this machine and this ComfyUI are, as far as it can change an image's bits."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Any, Final

import comfy.ldm.modules.attention
import comfy.model_management
import comfyui_version
import torch

from ..src.comfyui_provenance.record import JsonObject
from .node_classes import packs_of

_PACKAGES: Final = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pillow",
    "av",
    "safetensors",
    "transformers",
    "tokenizers",
    "torchsde",
    "comfy-kitchen",
    "comfy-aimdo",
    "xformers",
    "sageattention",
    "flash-attn",
)
"""Packages whose version has been seen to change pixels."""


def capture_environment(class_types: Iterable[str]) -> JsonObject:
    """Describe this machine and software.

    Args:
        class_types: Classes of the graph; only the packs they come from are listed.
    """
    return {
        "comfyui": comfyui_version.__version__,
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.machine()}",
        "device": _device(),
        "cpu": {
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        },
        "attention": str(
            getattr(comfy.ldm.modules.attention.optimized_attention, "__name__", "unknown")
        ),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "node_packs": dict.fromkeys(sorted(packs_of(class_types)), "unknown"),
    }


def _device() -> JsonObject:
    device = comfy.model_management.get_torch_device()
    described: JsonObject = {"type": device.type}
    if device.type == "cuda":
        properties: Any = torch.cuda.get_device_properties(device)
        described.update(
            {
                "name": str(properties.name),
                "capability": f"{properties.major}.{properties.minor}",
                "multiprocessors": int(properties.multi_processor_count),
                "cuda": str(torch.version.cuda),
                "cudnn": int(torch.backends.cudnn.version() or 0),
            }
        )
    return described


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
