"""Deterministic Mode for every sampler, text encoder and VAE downstream."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..adapter.mode import COND_BATCHES, FALLBACKS, NOISES, PRECISIONS, Mode
from ..adapter.pinning import pin


class ProvenanceDeterministicMode(io.ComfyNode):
    """One node after the loader; everything that uses its outputs is pinned and watched."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProvenanceDeterministicMode",
            display_name="Deterministic Mode (Provenance)",
            category="provenance",
            description="Pins what decides the bits of an image besides its settings: free memory, "
            "kernels, precision, batches. Put it right after the loader, and connect its outputs "
            "to everything that used the loader's: stock samplers are covered as well.",
            inputs=[
                io.Model.Input("model"),
                io.Boolean.Input("enabled", default=True),
                io.Boolean.Input(
                    "batch_invariant",
                    default=False,
                    tooltip="Make each image of a batch the same bits as that image alone. It "
                    "samples one image after the other, and a stochastic sampler gives each "
                    "noise of its own.",
                ),
                io.Combo.Input(
                    "precision",
                    options=[*PRECISIONS],
                    tooltip="fp32: compute in 32 bits, whatever the weights are stored in.",
                ),
                io.Combo.Input(
                    "on_fallback",
                    options=[*FALLBACKS],
                    tooltip="What to do when a VAE runs out of memory and would go on in tiles, "
                    "an operation has no deterministic version, a model with a LoRA does not fit, "
                    "or a CLIP or VAE cannot be pinned: note it in the record, or stop.",
                ),
                io.Clip.Input("clip", optional=True),
                io.Vae.Input("vae", optional=True),
                io.Combo.Input(
                    "noise",
                    options=[*NOISES],
                    optional=True,
                    advanced=True,
                    tooltip="comfy: the noise that ComfyUI draws. portable: one that no processor, "
                    "GPU or number of threads changes; it gives other images for a seed.",
                ),
                io.Combo.Input(
                    "cond_batch",
                    options=[*COND_BATCHES],
                    optional=True,
                    advanced=True,
                    tooltip="separate: one conditioning in each forward, which every machine can "
                    "do. together: all at once; running out of memory is an error then.",
                ),
            ],
            outputs=[
                io.Model.Output("MODEL", display_name="MODEL"),
                io.Clip.Output("CLIP", display_name="CLIP"),
                io.Vae.Output("VAE", display_name="VAE"),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        enabled: bool,
        batch_invariant: bool,
        precision: str,
        on_fallback: str,
        clip: Any = None,
        vae: Any = None,
        noise: str = NOISES[0],
        cond_batch: str = COND_BATCHES[0],
    ) -> io.NodeOutput:
        if not enabled:
            return io.NodeOutput(model, clip, vae)
        mode = Mode(
            batch_invariant=batch_invariant,
            precision=precision,
            on_fallback=on_fallback,
            noise=noise,
            cond_batch=cond_batch,
        )
        return io.NodeOutput(*pin(model, clip, vae, mode))
