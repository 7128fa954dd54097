"""Whether a sampling gives the same bits again."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..adapter.links import declared_types, find_mismatch
from ..adapter.pinned_model import joined_mode
from ..adapter.sampling import Settings
from ..adapter.self_controls import add_controls
from ..adapter.self_test import SelfTest
from .samplers import sampler_inputs


class ProvenanceSelfTest(io.ComfyNode):
    """Runs a sampling several times and says whether it is repeatable here."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProvenanceSelfTest",
            display_name="Self Test (Provenance)",
            category="provenance",
            description="Runs a sampling twice, again after another one, and again while little "
            "memory seems to be free; then with another CFG, which must change the result. Says "
            "whether it is repeatable here, and if not, the first step that differs and why.",
            inputs=[
                *sampler_inputs(),
                io.Vae.Input("vae", optional=True),
                io.Boolean.Input(
                    "measure_controls",
                    default=False,
                    optional=True,
                    tooltip="Also measure how far rounding moves this model here, so that a later "
                    "rerun can be within tolerance: 64 more samplings. Needs a vae.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            outputs=[
                io.Boolean.Output("repeatable", display_name="repeatable"),
                io.String.Output("report", display_name="report"),
            ],
            is_output_node=True,
            not_idempotent=True,
        )

    @classmethod
    def validate_inputs(cls, input_types: dict[str, str]) -> bool | str:
        expected = declared_types(cls.define_schema().inputs, but="seed")
        return find_mismatch(input_types, expected) or True

    @classmethod
    def fingerprint_inputs(cls, **kwargs: object) -> float:
        del kwargs
        return float("nan")  # A test is never answered from the cache.

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
        vae: Any = None,
        measure_controls: bool = False,
    ) -> io.NodeOutput:
        mode = joined_mode(model, deterministic=deterministic_mode, batch_invariant=batch_invariant)
        settings = Settings(seed, steps, cfg, sampler_name, scheduler, denoise)
        test = SelfTest(model, positive, negative, latent_image, settings, mode, vae)
        report = test.run()
        if measure_controls and report.match:
            report = add_controls(report, test, cls.hidden.dynprompt, cls.hidden.unique_id)
        return io.NodeOutput(
            report.match,
            report.summary(),
            ui={"provenance_report": [report.to_json()], "text": [report.summary()]},
        )
