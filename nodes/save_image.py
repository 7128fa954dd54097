"""Save images with the record of what made them."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..adapter.saving import FORMATS, Format, save_images


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
                io.Combo.Input("format", options=[*FORMATS], optional=True, advanced=True),
                io.Boolean.Input(
                    "sidecar",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Also write the record beside the image, as NAME.provenance.json.",
                ),
                io.Boolean.Input(
                    "parameters",
                    default=True,
                    optional=True,
                    advanced=True,
                    tooltip="Also write the text that A1111 and Civitai read.",
                ),
                io.Combo.Input(
                    "bit_depth",
                    options=["8", "16"],
                    optional=True,
                    advanced=True,
                    tooltip="Bits of a sample. 16 needs the format png.",
                ),
                io.Boolean.Input(
                    "lossless",
                    default=True,
                    optional=True,
                    advanced=True,
                    tooltip="Of webp: whether every pixel is kept.",
                ),
                io.Int.Input(
                    "quality",
                    default=90,
                    min=1,
                    max=100,
                    optional=True,
                    advanced=True,
                    tooltip="Of jpeg, and of webp that is not lossless.",
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
        parameters: bool = True,
        bit_depth: str = "8",
        lossless: bool = True,
        quality: int = 90,
    ) -> io.NodeOutput:
        saved = save_images(
            images,
            filename_prefix,
            Format(format, int(bit_depth), lossless, quality),
            sidecar=sidecar,
            parameters=parameters,
            node_id=cls.hidden.unique_id,
            input_name="images",
            dynprompt=cls.hidden.dynprompt,
            extra_pnginfo=cls.hidden.extra_pnginfo,
        )
        return io.NodeOutput(ui={"images": saved.images, "provenance_warnings": saved.warnings})
