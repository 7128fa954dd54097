"""Show what an image says about how it was made."""

from __future__ import annotations

from comfy_api.latest import io

from ..adapter.reading import describe_image, has_image, list_images


class ProvenanceReadRecord(io.ComfyNode):
    """The record of an image, as JSON and as a summary."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProvenanceReadRecord",
            display_name="Read Record (Provenance)",
            category="provenance",
            description="Reads the record that an image carries. Nothing is run.",
            inputs=[
                io.Combo.Input("image", options=list_images(), upload=io.UploadType.image),
            ],
            outputs=[
                io.String.Output("record", display_name="record"),
                io.String.Output("summary", display_name="summary"),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:
        return has_image(image) or f"no such image: {image!r}"

    @classmethod
    def fingerprint_inputs(cls, image: str) -> float:
        del image
        return float("nan")  # The file may have changed: always read it again.

    @classmethod
    def execute(cls, image: str) -> io.NodeOutput:
        record, summary = describe_image(image)
        return io.NodeOutput(record, summary, ui={"text": [summary]})
