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
    "ThirdPartyAnySeed": ThirdPartyAnySeed,
}
