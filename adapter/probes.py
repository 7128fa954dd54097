"""What this machine and this ComfyUI are, as far as it can change an image's bits.

Every probe is optional: what cannot be found out is `unknown`. What cannot change while
ComfyUI runs is looked up once.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import comfy.ldm.modules.attention
import comfy.model_management
import comfyui_version
import torch
from comfy.cli_args import args

from ..src.comfyui_provenance.checkouts import read_commit, read_version
from ..src.comfyui_provenance.environment import LAUNCH_FLAGS, UNKNOWN, VARIABLES
from ..src.comfyui_provenance.numerics.fingerprint import measure_fingerprint
from ..src.comfyui_provenance.record import JsonObject, JsonValue
from .node_classes import pack_folder, packs_of

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

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.,:;+ =()@#~-]{0,128}")
"""What may be written down of the system's own words: never a separator of paths."""

_PATH: Final = re.compile(r"\S*[/\\]\S*")

_NVIDIA_DRIVER: Final = Path("/proc/driver/nvidia/version")
_CPU_NAME: Final = re.compile(r"^model name\s*:\s*(.+?)\s*$", re.MULTILINE)


def capture_environment(class_types: Iterable[str]) -> JsonObject:
    """Describe this machine and software.

    Args:
        class_types: Classes of the graph; only the packs they come from are listed.
    """
    packs = sorted(packs_of(class_types))
    return {
        "comfyui": comfyui_version.__version__,
        "comfyui_commit": _comfyui_commit(),
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.machine()}",
        "os_release": _os_release(),
        "libc": _libc(),
        "device": _device(),
        "cpu": {
            "name": _cpu_name(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "interop_threads": torch.get_num_interop_threads(),
        },
        "attention": str(
            getattr(comfy.ldm.modules.attention.optimized_attention, "__name__", UNKNOWN)
        ),
        "precision": _precision(),
        "packages": dict(_packages()),
        "node_packs": {pack: _pack(pack)[0] for pack in packs},
        "node_pack_commits": {pack: _pack(pack)[1] for pack in packs},
        "variables": _variables(),
        "launch": _launch(),
    }


def capture_fingerprint() -> JsonObject:
    """Measure what the devices that make an image compute.

    Returns:
        By type of device, its fingerprint. The CPU's is always there: noise and sigmas are
        made on it. Nothing where the server's owner set PROVENANCE_FINGERPRINT to 0, since a
        fingerprint tells the class of the hardware.
    """
    if os.environ.get("PROVENANCE_FINGERPRINT") == "0":
        return {}
    devices = {"cpu": torch.device("cpu")}
    chosen = comfy.model_management.get_torch_device()
    devices.setdefault(chosen.type, chosen)
    return {name: measure_fingerprint(device) for name, device in devices.items()}


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
                "driver": _driver(),
                "cuda": str(torch.version.cuda),
                "cudnn": int(torch.backends.cudnn.version() or 0),
            }
        )
    return described


@cache
def _driver() -> str:
    """Give the version of NVIDIA's driver, where the system tells it without a program."""

    def probe() -> str:
        found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", _NVIDIA_DRIVER.read_text("ascii"))
        return found[1] if found else UNKNOWN

    return _probed(probe)


@cache
def _cpu_name() -> str:
    def probe() -> str:
        try:
            found = _CPU_NAME.search(Path("/proc/cpuinfo").read_text("utf-8"))
        except OSError:
            found = None
        return found[1] if found else platform.processor() or UNKNOWN

    return _probed(probe)


@cache
def _os_release() -> str:
    return _probed(platform.release)


@cache
def _libc() -> str:
    return _probed(lambda: " ".join(platform.libc_ver()).strip() or UNKNOWN)


@cache
def _comfyui_commit() -> str:
    file = comfyui_version.__file__
    return (read_commit(Path(file).parent) if file else None) or UNKNOWN


@cache
def _packages() -> dict[str, str]:
    return {name: version for name in _PACKAGES if (version := _version(name))}


@cache
def _pack(name: str) -> tuple[str, str]:
    """Give a pack's version and commit."""
    folder = pack_folder(name)
    if folder is None:
        return UNKNOWN, UNKNOWN
    return _plain(read_version(folder) or UNKNOWN), read_commit(folder) or UNKNOWN


def _precision() -> JsonObject:
    """Give the types that are used where neither a graph nor a model says otherwise."""
    management: Any = comfy.model_management
    probes: dict[str, Callable[[], Any]] = {
        "default": torch.get_default_dtype,
        "intermediate": lambda: management.intermediate_dtype(),
        "text_encoder": lambda: management.text_encoder_dtype(management.text_encoder_device()),
        "vae": lambda: management.vae_dtype(management.vae_device()),
    }
    return {
        name: _probed(lambda probe=probe: str(probe()).removeprefix("torch."))
        for name, probe in probes.items()
    }


def _variables() -> JsonObject:
    return {name: _plain(os.environ[name]) for name in VARIABLES if name in os.environ}


def _launch() -> JsonObject:
    """Give the options that ComfyUI was started with, those on their default left out."""
    found: JsonObject = {}
    for name in LAUNCH_FLAGS:
        value = getattr(args, name, None)
        if isinstance(value, bool | int | float) and value:
            found[name] = value
        elif isinstance(value, set | list) and value:
            # `fast` holds members of an enumeration.
            names: list[JsonValue] = [
                *sorted(_plain(str(getattr(item, "value", item))) for item in value)
            ]
            found[name] = names
    return found


def _probed(probe: Callable[[], str]) -> str:
    try:
        return _plain(probe())
    except Exception:  # noqa: BLE001 - an optional probe, whose platform may fail in its own way
        return UNKNOWN


def _plain(text: str) -> str:
    """Give the system's own words if they can tell neither a path nor whose machine this is."""
    private = any(re.search(pattern, text, re.IGNORECASE) for pattern in _private_names())
    return text if _PLAIN.fullmatch(text) and not private else UNKNOWN


def hide_private(text: str) -> str:
    """Put dots for words with a separator of paths, and for the names of machine and user."""
    text = _PATH.sub("...", text)
    for pattern in _private_names():
        text = re.sub(pattern, "...", text, flags=re.IGNORECASE)
    return text


@cache
def _private_names() -> list[str]:
    """Give patterns for the names of machine and user, as words."""
    node = platform.node()
    names = {node, node.partition(".")[0], Path("~").expanduser().name}
    return [rf"(?<![^\W_]){re.escape(name)}(?![^\W_])" for name in names if name]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
