"""Where an image was made: versions, device and settings that can change its bits.

An environment is a plain JSON object, gathered by `adapter/probes.py` and carried in
the record. It never holds a path, a host name or a user name. A fingerprint, beside it,
says what the device computes (`numerics/fingerprint.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from .canonical import JsonValue
from .verdict import CauseKind

UNKNOWN: Final = "unknown"
"""Stands for what could not be probed: it agrees with nothing and disagrees with nothing."""

VARIABLES: Final[Mapping[str, CauseKind]] = {
    "ATEN_CPU_CAPABILITY": CauseKind.CPU_ISA,
    "CUBLAS_WORKSPACE_CONFIG": CauseKind.DEVICE,
    "MKL_CBWR": CauseKind.CPU_ISA,
    "MKL_ENABLE_INSTRUCTIONS": CauseKind.CPU_ISA,
    "MKL_NUM_THREADS": CauseKind.THREADS,
    "NVIDIA_TF32_OVERRIDE": CauseKind.PRECISION,
    "OMP_NUM_THREADS": CauseKind.THREADS,
    "ONEDNN_MAX_CPU_ISA": CauseKind.CPU_ISA,
    # The order of sets, which some packs let into their results.
    "PYTHONHASHSEED": CauseKind.NODE_PACK,
}
"""Environment variables that can change bits, and what kind of cause each is."""

LAUNCH_FLAGS: Final[Mapping[str, CauseKind]] = {
    # Where things are computed.
    **dict.fromkeys(("cpu", "cpu_vae", "directml", "gpu_only"), CauseKind.DEVICE),
    **dict.fromkeys(("enable_triton_backend", "disable_triton_backend"), CauseKind.DEVICE),
    # In which type, and by which kind of kernel.
    **dict.fromkeys(("deterministic", "fast", "force_channels_last"), CauseKind.PRECISION),
    **dict.fromkeys(("force_fp32", "force_fp16", "fp32_unet", "fp64_unet"), CauseKind.PRECISION),
    **dict.fromkeys(("bf16_unet", "fp16_unet", "fp8_e4m3fn_unet"), CauseKind.PRECISION),
    **dict.fromkeys(("fp8_e5m2_unet", "fp8_e8m0fnu_unet"), CauseKind.PRECISION),
    **dict.fromkeys(("fp16_vae", "fp32_vae", "bf16_vae"), CauseKind.PRECISION),
    **dict.fromkeys(("fp8_e4m3fn_text_enc", "fp8_e5m2_text_enc"), CauseKind.PRECISION),
    **dict.fromkeys(("fp16_text_enc", "fp32_text_enc", "bf16_text_enc"), CauseKind.PRECISION),
    **dict.fromkeys(("fp16_intermediates", "supports_fp8_compute"), CauseKind.PRECISION),
    **dict.fromkeys(("use_split_cross_attention", "use_quad_cross_attention"), CauseKind.ATTENTION),
    **dict.fromkeys(("use_pytorch_cross_attention", "use_sage_attention"), CauseKind.ATTENTION),
    **dict.fromkeys(("use_flash_attention", "disable_xformers"), CauseKind.ATTENTION),
    **dict.fromkeys(("force_upcast_attention", "dont_upcast_attention"), CauseKind.ATTENTION),
    # Free memory decides about batches, tiles and how weights are patched.
    **dict.fromkeys(("highvram", "lowvram", "novram", "reserve_vram"), CauseKind.MEMORY),
    **dict.fromkeys(("disable_smart_memory", "vram_headroom"), CauseKind.MEMORY),
    **dict.fromkeys(("disable_dynamic_vram", "enable_dynamic_vram"), CauseKind.MEMORY),
}
"""ComfyUI's launch options that can change bits, as `comfy.cli_args` names them."""

_KINDS: Final[tuple[tuple[str, CauseKind], ...]] = (
    ("comfyui", CauseKind.COMFYUI_VERSION),
    ("device.", CauseKind.DEVICE),
    ("cpu.capability", CauseKind.CPU_ISA),
    ("cpu.threads", CauseKind.THREADS),
    ("cpu.interop_threads", CauseKind.THREADS),
    ("cpu.", CauseKind.DEVICE),
    ("attention", CauseKind.ATTENTION),
    ("precision.", CauseKind.PRECISION),
    ("node_packs.", CauseKind.NODE_PACK),
    ("node_pack_commits.", CauseKind.NODE_PACK),
    ("", CauseKind.LIBRARY_VERSION),
)
"""Which kind of cause a difference is, by the start of its dotted name; first match."""

_LISTS: Final = ("packages.", "node_packs.", "node_pack_commits.", "variables.", "launch.")
"""Groups in which a missing entry says that there is no such thing.

Elsewhere, and where the whole group is missing, it says only that the pack which wrote
the record did not look.
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One entry that two environments do not share.

    Attributes:
        name: Dotted name, as `packages.torch`.
        kind: What kind of cause it can be.
        recorded: The recorded value, `None` where there was none.
        now: The present value, `None` where there is none.
    """

    name: str
    kind: CauseKind
    recorded: JsonValue
    now: JsonValue


def compare_environments(
    recorded: Mapping[str, JsonValue], now: Mapping[str, JsonValue]
) -> list[Difference]:
    """List the entries that differ, the recorded ones first and in their order.

    What one of the two did not probe is not a difference.
    """
    before = dict(_flatten(recorded))
    after = dict(_flatten(now))
    return [
        Difference(name, _kind(name), before.get(name), after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
        and UNKNOWN not in (before.get(name), after.get(name))
        and (_has(recorded, before, name) and _has(now, after, name))
    ]


def compare_fingerprints(
    recorded: Mapping[str, JsonValue], now: Mapping[str, JsonValue]
) -> list[str]:
    """List the families of operations that gave other results, by dotted name.

    Args:
        recorded: By type of device, the digests of each family: `cpu.attention`.
        now: The same, on this machine.
    """
    return [difference.name for difference in compare_environments(recorded, now)]


def _flatten(value: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    for name, entry in value.items():
        if isinstance(entry, dict):
            yield from _flatten(entry, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", entry


def _has(environment: Mapping[str, JsonValue], flat: Mapping[str, JsonValue], name: str) -> bool:
    """Tell whether an environment says something of an entry, be it that there is none."""
    listed = name.startswith(_LISTS) and name.partition(".")[0] in environment
    return listed or name in flat


def _kind(name: str) -> CauseKind:
    group, _, entry = name.partition(".")
    listed = {"variables": VARIABLES, "launch": LAUNCH_FLAGS}.get(group, {})
    if entry in listed:
        return listed[entry]
    return next(kind for start, kind in _KINDS if name.startswith(start))
