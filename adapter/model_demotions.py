"""What of a sampling Deterministic Mode knows that it cannot pin."""

from __future__ import annotations

from typing import Any

import comfy.model_patcher
import comfy.patcher_extension
import comfy.quant_ops
import torch

from ..src.comfyui_provenance.verdict import CauseKind
from .mode import Demotion, Mode, mode_of
from .observation import Observation, host_attention_is_whole, host_attention_name
from .sampling_wrappers import pytorch


def find_demotions(guider: Any, mode: Mode) -> list[Demotion]:
    """List what is known of this model and cannot be pinned here."""
    patcher = guider.model_patcher
    options = guider.model_options
    transformer = options.get("transformer_options", {})
    kinds = comfy.patcher_extension.WrappersMP
    found: list[tuple[CauseKind, str]] = []
    if patcher.get_additional_models_with_key("multigpu"):
        found.append((CauseKind.BATCH, "several GPUs share the conditionings by free memory"))
    compiled = "torch.compile" in transformer.get("wrappers", {}).get(kinds.APPLY_MODEL, {})
    if compiled or "torch_compile_kwargs" in options:
        found.append((CauseKind.NUMERICS, "torch.compile chooses and fuses kernels by itself"))
    if "sampler_calc_cond_batch_function" in options:
        found.append((CauseKind.BATCH, "another node decides which conditionings run together"))
    if transformer.get("optimized_attention_override") is not pytorch:
        found.append((CauseKind.ATTENTION, "another node chose the attention kernel"))
    if any(mode_of(other) is None for other in _other_models(guider)):
        found.append((CauseKind.MEMORY, "a second model of the guider is not pinned"))
    if mode.precision == "fp32" and _is_quantised(patcher.model):
        found.append((CauseKind.PRECISION, "quantised layers compute in their own type"))
    found += _find_control_demotions(guider, mode)
    return [Demotion(kind, message) for kind, message in found]


def _find_control_demotions(guider: Any, mode: Mode) -> list[tuple[CauseKind, str]]:
    """Say what of the ControlNets is not pinned: core hands them no override of attention."""
    controls = [
        entry["control"]
        for entries in guider.conds.values()
        for entry in entries
        if "control" in entry
    ]
    if not controls:
        return []
    found: list[tuple[CauseKind, str]] = []
    if not host_attention_is_whole():
        message = f"ControlNets attend with {host_attention_name()}, which free memory divides"
        found.append((CauseKind.ATTENTION, message))
    types = {
        getattr(control, "manual_cast_dtype", None)
        or getattr(getattr(control, "control_model", None), "dtype", None)
        for control in controls
    }
    if mode.precision == "fp32" and types - {torch.float32, None}:
        found.append((CauseKind.PRECISION, "ControlNets compute in their own type"))
    return found


def _other_models(guider: Any) -> list[Any]:
    """List further models that a guider holds."""
    return [
        value
        for value in vars(guider).values()
        if isinstance(value, comfy.model_patcher.ModelPatcher) and value is not guider.model_patcher
    ]


def _is_quantised(model: Any) -> bool:
    quantised = getattr(comfy.quant_ops, "QuantizedTensor", ())
    return any(isinstance(weight.data, quantised) for weight in model.parameters())


def check_attention(observation: Observation) -> None:
    """Say so where a model did not ask for the attention that was pinned.

    Some of core's do not hand the override to their attention (0.30.0: PixArt, Hunyuan DiT).
    """
    asked = observation.fields.get("attention") == pytorch.__name__
    if asked and not observation.attentions and observation.conditionings:
        observation.fields["attention"] = host_attention_name()
        if not host_attention_is_whole():
            message = f"this model attends with {host_attention_name()}, which free memory divides"
            observation.demote(Demotion(CauseKind.ATTENTION, message))
