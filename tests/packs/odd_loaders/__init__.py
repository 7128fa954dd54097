"""A node pack that is not ours: it loads files through inputs of names and types of its own.

What these inputs look like is taken from packs that people use. None of it tells a reader of the
graph that a file is meant, or which.
"""

import comfy.sd
import comfy.utils
import folder_paths
import node_helpers
import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image


def _load_checkpoint(name):  # noqa: ANN001, ANN202 - as third-party packs are written
    return comfy.sd.load_checkpoint_guess_config(
        folder_paths.get_full_path_or_raise("checkpoints", name),
        output_vae=True,
        output_clip=True,
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
    )[:3]


class OddBrainLoader:
    """Loads a checkpoint, and calls it a brain."""

    RETURN_TYPES = ("MODEL", "CLIP", "VAE")
    FUNCTION = "load"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"which_brain": (folder_paths.get_filename_list("checkpoints"),)}}

    def load(self, which_brain):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Load it."""
        return _load_checkpoint(which_brain)


class _AnyInputs(dict):
    """Says yes to every input's name, as flexible nodes of several packs do."""

    def __contains__(self, name):  # noqa: ANN001, ANN204 - as third-party packs are written
        """Claim to declare it."""
        return True

    def __getitem__(self, name):  # noqa: ANN001, ANN204 - as third-party packs are written
        """Declare it of any type."""
        return ("*",)


class OddLoraStack:
    """Loads a LoRA for each row of a list, where the row is switched on."""

    RETURN_TYPES = ("MODEL", "CLIP")
    FUNCTION = "stack"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs; the rows are any others."""
        return {"required": {"model": ("MODEL",), "clip": ("CLIP",)}, "optional": _AnyInputs()}

    def stack(self, model, clip, **rows):  # noqa: ANN001, ANN003, ANN201 - as above
        """Patch the model and the text encoder, row by row."""
        for name in sorted(rows):
            row = rows[name]
            if isinstance(row, dict) and row["on"]:
                path = folder_paths.get_full_path_or_raise("loras", row["lora"])
                lora = comfy.utils.load_torch_file(path, safe_load=True)
                strength = row["strength"]
                model, clip = comfy.sd.load_lora_for_models(model, clip, lora, strength, strength)
        return model, clip


class OddWeightsPath:
    """Loads an autoencoder whose file is given as plain text."""

    RETURN_TYPES = ("VAE",)
    FUNCTION = "load"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"weights_path": ("STRING", {"default": ""})}}

    def load(self, weights_path):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Load it."""
        path = folder_paths.get_full_path_or_raise("vae", weights_path)
        return (comfy.sd.VAE(sd=comfy.utils.load_torch_file(path)),)


class OddFileName:
    """Computes the name of a file, which another node takes."""

    RETURN_TYPES = ("STRING", "*")
    FUNCTION = "join"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"stem": ("STRING", {"default": ""})}}

    def join(self, stem):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Add the suffix."""
        return (f"{stem}.safetensors",) * 2


class OddNumberedBrain(io.ComfyNode):
    """Loads the checkpoint of a number."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="OddNumberedBrain",
            category="tests",
            inputs=[io.Int.Input("number", default=0, min=0)],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, number: int) -> io.NodeOutput:
        """Count through the sorted names."""
        name = sorted(folder_paths.get_filename_list("checkpoints"))[number]
        return io.NodeOutput(*_load_checkpoint(name))


class OddPicture(io.ComfyNode):
    """Loads an image of the input folder whose name is given as plain text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="OddPicture",
            category="tests",
            inputs=[io.String.Input("of_what")],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, of_what: str) -> io.NodeOutput:
        """Read it."""
        path = folder_paths.get_annotated_filepath(of_what)
        image = node_helpers.pillow(Image.open, path).convert("RGB")
        return io.NodeOutput(torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0)[None])


NODE_CLASS_MAPPINGS = {
    "OddBrainLoader": OddBrainLoader,
    "OddLoraStack": OddLoraStack,
    "OddWeightsPath": OddWeightsPath,
    "OddFileName": OddFileName,
    "OddNumberedBrain": OddNumberedBrain,
    "OddPicture": OddPicture,
}
