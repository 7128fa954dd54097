"""Say what tells two images apart."""

from __future__ import annotations

from comfy_api.latest import io

from ..adapter.comparing import compare_uploads
from ..adapter.reading import has_image, list_images


class ProvenanceCompareRecords(io.ComfyNode):
    """Two files in, what differs out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProvenanceCompareRecords",
            display_name="Compare Records (Provenance)",
            category="provenance",
            description="Says what two images were made of and how, where that differs, the most "
            "consequential first. Nothing is run.",
            inputs=[
                io.Combo.Input("first", options=list_images(), upload=io.UploadType.image),
                io.Combo.Input("second", options=list_images(), upload=io.UploadType.image),
            ],
            outputs=[
                io.Boolean.Output("same", display_name="same"),
                io.String.Output("report", display_name="report"),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, first: str, second: str) -> bool | str:
        missing = [name for name in (first, second) if not has_image(name)]
        return f"no such image: {missing[0]!r}" if missing else True

    @classmethod
    def fingerprint_inputs(cls, first: str, second: str) -> float:
        del first, second
        return float("nan")  # The files may have changed: always read them again.

    @classmethod
    def execute(cls, first: str, second: str) -> io.NodeOutput:
        report = compare_uploads(first, second)
        return io.NodeOutput(
            report.match,
            report.summary(),
            ui={"provenance_report": [report.to_json()], "text": [report.summary()]},
        )
