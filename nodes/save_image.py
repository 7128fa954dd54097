"""Save images with the record of what made them."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..adapter.saving import save_images


class ProvenanceSaveImage(io.ComfyNode):
    """Core's Save Image, with a record in each file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProvenanceSaveImage",
            display_name="Save Image (Provenance)",
            category="provenance",
            description="Saves images with a record of everything that made them.",
            inputs=[
                io.Image.Input("images"),
                io.String.Input("filename_prefix", default="ComfyUI"),
                io.Combo.Input("format", options=["png"], optional=True, advanced=True),
                io.Boolean.Input(
                    "sidecar",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Also write the record beside the image, as NAME.provenance.json.",
                ),
            ],
            outputs=[],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        filename_prefix: str,
        format: str = "png",  # noqa: A002 - the input's public name
        sidecar: bool = False,
    ) -> io.NodeOutput:
        del format  # One choice in this version; ComfyUI refuses any other.
        saved = save_images(
            images,
            filename_prefix,
            sidecar=sidecar,
            node_id=cls.hidden.unique_id,
            input_name="images",
            dynprompt=cls.hidden.dynprompt,
            extra_pnginfo=cls.hidden.extra_pnginfo,
        )
        return io.NodeOutput(ui={"images": saved.images, "provenance_warnings": saved.warnings})
