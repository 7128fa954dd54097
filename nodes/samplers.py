"""Core's two samplers with Deterministic Mode and strict seeds."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..adapter.links import declared_types, find_mismatch
from ..adapter.pinned_model import joined_mode
from ..adapter.sampling import Settings, sample, sampler_names, scheduler_names

_MAX_SEED = 0xFFFFFFFFFFFFFFFF


def _seed_input(name: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=0,
        min=0,
        max=_MAX_SEED,
        control_after_generate=True,
        tooltip="An integer from 0 to 2^64-1. Anything else is refused, never converted.",
    )


def _settings_inputs() -> list[io.Input]:
    return [
        io.Int.Input("steps", default=20, min=1, max=10000),
        io.Float.Input("cfg", default=8.0, min=0.0, max=100.0, step=0.1, round=0.01),
        io.Combo.Input("sampler_name", options=sampler_names()),
        io.Combo.Input("scheduler", options=scheduler_names()),
        io.Conditioning.Input("positive"),
        io.Conditioning.Input("negative"),
        io.Latent.Input("latent_image"),
    ]


def _mode_inputs() -> list[io.Input]:
    return [
        io.Boolean.Input(
            "deterministic_mode",
            default=True,
            optional=True,
            tooltip="Pin what this node can pin: torch's kernels and precision, attention, and how "
            "many conditionings share a forward. What it cannot reach is listed in the record.",
        ),
        io.Boolean.Input(
            "batch_invariant",
            default=False,
            optional=True,
            advanced=True,
            tooltip="Make each image of a batch the same bits as that image alone. It samples one "
            "image after the other, and a stochastic sampler gives each a noise of its own.",
        ),
    ]


def sampler_inputs() -> list[io.Input]:
    """List the inputs of `ProvenanceKSampler`."""
    return [
        io.Model.Input("model"),
        _seed_input("seed"),
        *_settings_inputs(),
        io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01),
        *_mode_inputs(),
    ]


def _output(latent: dict[str, Any], warnings: list[str]) -> io.NodeOutput:
    return io.NodeOutput(latent, ui={"provenance_warnings": warnings} if warnings else None)


class ProvenanceKSampler(io.ComfyNode):
    """Core's KSampler, pinned and watched from inside."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProvenanceKSampler",
            display_name="KSampler (Provenance)",
            category="provenance",
            description="Core's KSampler in Deterministic Mode, with strict seeds.",
            inputs=sampler_inputs(),
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def validate_inputs(cls, input_types: dict[str, str]) -> bool | str:
        expected = declared_types(cls.define_schema().inputs, but="seed")
        return find_mismatch(input_types, expected) or True

    @classmethod
    def execute(
        cls,
        model: Any,
        seed: object,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        denoise: float,
        deterministic_mode: bool = True,
        batch_invariant: bool = False,
    ) -> io.NodeOutput:
        mode = joined_mode(model, deterministic=deterministic_mode, batch_invariant=batch_invariant)
        latent, warnings, _ = sample(
            model,
            positive,
            negative,
            latent_image,
            Settings(seed, steps, cfg, sampler_name, scheduler, denoise),
            mode,
            seed_input="seed",
        )
        return _output(latent, warnings)


class ProvenanceKSamplerAdvanced(io.ComfyNode):
    """Core's KSampler (Advanced), pinned and watched from inside."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProvenanceKSamplerAdvanced",
            display_name="KSampler Advanced (Provenance)",
            category="provenance",
            description="Core's KSampler (Advanced) in Deterministic Mode, with strict seeds.",
            inputs=[
                io.Model.Input("model"),
                io.Combo.Input("add_noise", options=["enable", "disable"], advanced=True),
                _seed_input("noise_seed"),
                *_settings_inputs(),
                io.Int.Input("start_at_step", default=0, min=0, max=10000, advanced=True),
                io.Int.Input("end_at_step", default=10000, min=0, max=10000, advanced=True),
                io.Combo.Input(
                    "return_with_leftover_noise", options=["disable", "enable"], advanced=True
                ),
                *_mode_inputs(),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def validate_inputs(cls, input_types: dict[str, str]) -> bool | str:
        expected = declared_types(cls.define_schema().inputs, but="noise_seed")
        return find_mismatch(input_types, expected) or True

    @classmethod
    def execute(
        cls,
        model: Any,
        add_noise: str,
        noise_seed: object,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        start_at_step: int,
        end_at_step: int,
        return_with_leftover_noise: str,
        deterministic_mode: bool = True,
        batch_invariant: bool = False,
    ) -> io.NodeOutput:
        mode = joined_mode(model, deterministic=deterministic_mode, batch_invariant=batch_invariant)
        settings = Settings(
            noise_seed,
            steps,
            cfg,
            sampler_name,
            scheduler,
            add_noise=add_noise == "enable",
            start_step=start_at_step,
            last_step=end_at_step,
            force_full_denoise=return_with_leftover_noise == "disable",
        )
        latent, warnings, _ = sample(
            model,
            positive,
            negative,
            latent_image,
            settings,
            mode,
            seed_input="noise_seed",
        )
        return _output(latent, warnings)
