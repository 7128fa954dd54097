"""Compare images with a reference file."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..adapter.reading import has_image, list_images
from ..adapter.verify import verify_images


class ProvenanceVerify(io.ComfyNode):
    """Whether images are the ones that a file's record speaks of."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProvenanceVerify",
            display_name="Verify (Provenance)",
            category="provenance",
            description="Compares images with a reference file and its record, bit for bit.",
            inputs=[
                io.Image.Input("images"),
                io.Combo.Input("reference", options=list_images(), upload=io.UploadType.image),
                io.Combo.Input(
                    "on_mismatch",
                    options=["report", "fail"],
                    optional=True,
                    tooltip="fail: stop the workflow unless the verdict is bitwise.",
                ),
            ],
            outputs=[
                io.Boolean.Output("match", display_name="match"),
                io.String.Output("report", display_name="report"),
                io.Image.Output("difference", display_name="difference"),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, reference: str) -> bool | str:
        return has_image(reference) or f"no such image: {reference!r}"

    @classmethod
    def fingerprint_inputs(cls, images: object, reference: str, **kwargs: object) -> float:
        del images, reference, kwargs
        return float("nan")  # The file may have changed: always read it again.

    @classmethod
    def execute(cls, images: Tensor, reference: str, on_mismatch: str = "report") -> io.NodeOutput:
        verified = verify_images(images, reference, cls.hidden.dynprompt, cls.hidden.unique_id)
        report = verified.report
        if on_mismatch == "fail" and not report.match:
            raise ValueError(report.summary())
        return io.NodeOutput(
            report.match,
            report.summary(),
            verified.difference,
            ui={
                "provenance_report": [report.to_json()],
                "provenance_images": verified.pictures,
                "text": [report.summary()],
            },
        )
