"""Samplers and schedulers: what ComfyUI calls them, and what A1111 and its kin do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .. import limits

COMFYUI: Final = "ComfyUI"
"""The value of `Version` in texts that nodes of ComfyUI write."""

_SAMPLER_LABELS: Final = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_sde_gpu": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_2m_sde_heun_gpu": "DPM++ 2M SDE Heun",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
    "ddpm": "DDPM",
    "lcm": "LCM",
    "ddim": "DDIM",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
}
"""ComfyUI's samplers that A1111 or Forge has, and their names there."""

_OTHER_SAMPLERS: Final = (
    *("euler_cfg_pp", "euler_ancestral_cfg_pp", "heunpp2", "exp_heun_2_x0", "exp_heun_2_x0_sde"),
    *("dpmpp_2s_ancestral_cfg_pp", "dpmpp_2m_cfg_pp", "ipndm", "ipndm_v", "deis"),
    *("res_multistep", "res_multistep_cfg_pp", "res_multistep_ancestral"),
    *("res_multistep_ancestral_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp"),
    *("er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece"),
)
"""The rest of ComfyUI 0.30.0's samplers."""

_SAMPLERS: Final = {
    # Diffusers documents these three classes of its own as k-diffusion's; SD.Next shows them so.
    "lmsd": "lms",
    "kdpm2": "dpm_2",
    "kdpm2 a": "dpm_2_ancestral",
    **{label.casefold(): name for name, label in reversed(_SAMPLER_LABELS.items())},
    **{name: name for name in (*_SAMPLER_LABELS, *_OTHER_SAMPLERS)},
}
"""ComfyUI's samplers by what texts call them, case folded."""

_UNIPC_VARIANTS: Final = {"bh1": "uni_pc", "bh2": "uni_pc_bh2"}
"""The values of A1111's `UniPC variant` that ComfyUI has as samplers; `bh1` is the default."""

_SCHEDULER_LABELS: Final = {
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
    "beta": "Beta",
    "kl_optimal": "KL Optimal",
}
"""ComfyUI's schedulers that A1111 1.10 or Forge has, and their names there."""

_SCHEDULERS: Final = {
    # k-diffusion's own sigmas are at evenly spaced timesteps, as those of `normal` are.
    "uniform": "normal",
    "sgmuniform": "sgm_uniform",
    "betas": "beta",
    "linear_quadratic": "linear_quadratic",
    **{label.casefold(): name for name, label in _SCHEDULER_LABELS.items()},
    **{name: name for name in _SCHEDULER_LABELS},
}
"""ComfyUI's schedulers by what texts call them, case folded."""

_AUTOMATIC: Final = {
    **dict.fromkeys(("euler", "euler_ancestral", "lms", "heun"), "normal"),
    **dict.fromkeys(("dpm_fast", "dpm_adaptive"), "normal"),
    **dict.fromkeys(("dpmpp_2m", "dpmpp_sde", "dpmpp_2s_ancestral"), "karras"),
    **dict.fromkeys(("dpm_2", "dpm_2_ancestral"), "karras"),
    **dict.fromkeys(("dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"), "exponential"),
    "ddim": "ddim_uniform",
}
"""What `Automatic` means for each sampler in A1111, which has it since 1.9."""


def to_sampler_fields(sampler: str) -> dict[str, str]:
    """Give the fields that name one of ComfyUI's samplers, under its own name at worst."""
    fields = {"Sampler": _SAMPLER_LABELS.get(sampler, sampler)}
    return {**fields, "UniPC variant": "bh2"} if sampler == _UNIPC_VARIANTS["bh2"] else fields


def to_schedule_type(scheduler: str) -> str:
    """Give A1111's name of one of ComfyUI's schedulers, or its own."""
    return _SCHEDULER_LABELS.get(scheduler, scheduler)


def to_sampling(details: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Give ComfyUI's names of the sampler and the scheduler that a text names.

    A name that ComfyUI's core does not have is taken as it stands from a text of ComfyUI's
    own nodes, and from no other.
    """
    name = details.get("Sampler", "")
    sampler = _SAMPLERS.get(name.casefold())
    if sampler == "uni_pc":
        sampler = _UNIPC_VARIANTS.get(details.get("UniPC variant", "bh1"))
    elif sampler is None and _is_ours(details, name) and "Schedule type" in details:
        sampler = name
    elif sampler is None:
        return _to_joined_sampling(details, name)
    return sampler, _to_scheduler(details, sampler)


def _to_joined_sampling(details: Mapping[str, str], name: str) -> tuple[str | None, str | None]:
    """Read a name that ends with the scheduler's: `DPM++ 2M Karras`, or `deis_beta`."""
    folded = name.casefold()
    endings = [end for end in _SCHEDULERS if folded.endswith((f" {end}", f"_{end}"))]
    # The longest: `SGM Uniform` also ends with `Uniform`.
    ending = max(endings, key=len, default=None)
    if ending is None:
        sampler = name if _is_ours(details, name) else None
        return sampler, _to_scheduler(details, sampler)
    sampler = _SAMPLERS.get(folded[: -len(ending) - 1])
    return sampler, _SCHEDULERS[ending] if sampler else _to_scheduler(details, None)


def _to_scheduler(details: Mapping[str, str], sampler: str | None) -> str | None:
    stated = details.get("Schedule type", "")
    if stated.casefold() == "automatic":
        return _AUTOMATIC.get(sampler or "")
    # `Scheduler` is the field of some nodes of ComfyUI, `Sampler sigma` that of SD.Next.
    names = (stated, details.get("Scheduler", ""), details.get("Sampler sigma", ""))
    known = (_SCHEDULERS.get(name.casefold()) for name in names)
    found = next((scheduler for scheduler in known if scheduler), None)
    return found or (stated if _is_ours(details, stated) else None)


def _is_ours(details: Mapping[str, str], name: str) -> bool:
    return details.get("Version") == COMFYUI and 0 < len(name) <= limits.NAME_CHARS
