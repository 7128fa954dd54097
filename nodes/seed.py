"""A seed, checked once and shared by every sampler that is connected to it."""

from __future__ import annotations

from comfy_api.latest import io

from ..adapter.seed_guard import check_seed


class ProvenanceSeed(io.ComfyNode):
    """An integer from 0 to 2^64-1."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProvenanceSeed",
            display_name="Seed (Provenance)",
            category="provenance",
            description="A seed that is an integer from 0 to 2^64-1, or an error.",
            inputs=[
                io.Int.Input(
                    "seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True
                )
            ],
            outputs=[io.Int.Output("seed_out", display_name="seed")],
        )

    @classmethod
    def validate_inputs(cls, input_types: dict[str, str]) -> bool:
        # Naming `input_types` lets a link of any type through to `execute`, which refuses
        # what is not a seed with its value; core would tell the type alone.
        del input_types
        return True

    @classmethod
    def execute(cls, seed: object) -> io.NodeOutput:
        checked, warnings = check_seed(seed)
        return io.NodeOutput(checked, ui={"provenance_warnings": warnings} if warnings else None)
