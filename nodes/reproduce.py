"""Run an image's recorded graph again and say whether it gives the image."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..adapter.reading import has_image, list_images
from ..adapter.reproduce import (
    RESULT_CLASS,
    Unrunnable,
    finish_reproduction,
    plan_reproduction,
)
from ..src.comfyui_provenance.verdict import Report


def _outputs() -> list[io.Output]:
    return [
        io.Image.Output("reproduced", display_name="reproduced"),
        io.Image.Output("original", display_name="original"),
        io.Boolean.Output("match", display_name="match"),
        io.String.Output("report", display_name="report"),
    ]


class ProvenanceReproduce(io.ComfyNode):
    """One file in, a verdict out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProvenanceReproduce",
            display_name="Reproduce (Provenance)",
            category="provenance",
            description="Runs the graph that an image carries again, compares the pixels and names "
            "what changed. Works with images of this pack and with any PNG of ComfyUI.",
            inputs=[
                io.Combo.Input("image", options=list_images(), upload=io.UploadType.image),
            ],
            outputs=_outputs(),
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            not_idempotent=True,
            enable_expand=True,
        )

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:
        return has_image(image) or f"no such image: {image!r}"

    @classmethod
    def fingerprint_inputs(cls, image: str) -> float:
        del image
        return float("nan")  # A reproduction is never answered from the cache.

    @classmethod
    async def execute(cls, image: str) -> io.NodeOutput:
        plan = await plan_reproduction(image, cls.hidden.unique_id)
        if isinstance(plan, Unrunnable):
            return _tell(plan.reproduced, plan.original, plan.report, [])
        links = [[plan.result_id, slot] for slot in range(len(_outputs()))]
        return io.NodeOutput(*links, expand=plan.expansion)


class ProvenanceReproduceResult(io.ComfyNode):
    """The end of a rebuilt graph; it is added by Reproduce and of no use elsewhere."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=RESULT_CLASS,
            display_name="Reproduce Result (Provenance)",
            category="provenance",
            inputs=[io.Image.Input("images"), io.String.Input("job")],
            outputs=_outputs(),
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            is_input_list=True,
            is_output_node=True,
            is_dev_only=True,
            not_idempotent=True,
        )

    @classmethod
    def execute(cls, images: list[Tensor], job: list[str]) -> io.NodeOutput:
        done = finish_reproduction(job[0], images, cls.hidden.unique_id, cls.hidden.dynprompt)
        return _tell(done.reproduced, done.original, done.report, done.pictures)


def _tell(
    reproduced: Any, original: Any, report: Report, pictures: list[dict[str, str]]
) -> io.NodeOutput:
    """Give both images and the report, and show it."""
    return io.NodeOutput(
        reproduced,
        original,
        report.match,
        report.summary(),
        ui={
            "provenance_report": [report.to_json()],
            "provenance_images": pictures,
            "text": [report.summary()],
        },
    )
