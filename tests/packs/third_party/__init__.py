"""A node pack that is not ours: it mirrors an image, and says so in no registry."""


class ThirdPartyMirror:
    """Mirrors an image."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "mirror"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"image": ("IMAGE",)}}

    def mirror(self, image):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Turn left into right."""
        return (image.flip(2),)


class _AnyInputs(dict):
    """Says yes to every input's name, as flexible nodes of several packs do."""

    def __contains__(self, name):  # noqa: ANN001, ANN204 - as third-party packs are written
        """Claim to declare it."""
        return True

    def __getitem__(self, name):  # noqa: ANN001, ANN204 - as third-party packs are written
        """Declare it of any type."""
        return ("*",)


class ThirdPartyFlexibleNoise:
    """Gives noise without a seed, and takes any input."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "make"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {}, "optional": _AnyInputs()}

    def make(self, **inputs):  # noqa: ANN003, ANN201 - as third-party packs are written
        """Draw from the global generator."""
        import torch

        return (torch.rand(1, 64, 64, 3),)


class ThirdPartyAnySeed:
    """Gives a value of a chosen Python type from an output of a chosen ComfyUI type."""

    FUNCTION = "give"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"literal": ("STRING", {"default": "42"})}}

    RETURN_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "*")

    def give(self, literal):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Give the literal's value from every output."""
        import ast

        return (ast.literal_eval(literal),) * 5


NODE_CLASS_MAPPINGS = {
    "ThirdPartyMirror": ThirdPartyMirror,
    "ThirdPartyFlexibleNoise": ThirdPartyFlexibleNoise,
    "ThirdPartyAnySeed": ThirdPartyAnySeed,
}
