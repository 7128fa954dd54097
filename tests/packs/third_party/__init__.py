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


class ThirdPartyRandomWords:
    """Gives other words each time, and says so to ComfyUI's cache."""

    RETURN_TYPES = ("STRING",)
    FUNCTION = "draw"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare no inputs."""
        return {"required": {}}

    @classmethod
    def IS_CHANGED(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Never be the same."""
        return float("nan")

    def draw(self):  # noqa: ANN201 - as third-party packs are written
        """Draw the words."""
        import secrets

        return (f"a fox and a {secrets.token_hex(4)}",)


class ThirdPartyExpandedWords:
    """Expands into core's node that joins two texts."""

    RETURN_TYPES = ("STRING",)
    FUNCTION = "expand"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"first": ("STRING", {}), "second": ("STRING", {})}}

    def expand(self, first, second):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Give the graph that runs instead."""
        from comfy_execution.graph_utils import GraphBuilder

        graph = GraphBuilder()
        inputs = {"string_a": first, "string_b": second, "delimiter": " "}
        joined = graph.node("StringConcatenate", **inputs)
        return {"result": (joined.out(0),), "expand": graph.finalize()}


NODE_CLASS_MAPPINGS = {
    "ThirdPartyExpandedWords": ThirdPartyExpandedWords,
    "ThirdPartyRandomWords": ThirdPartyRandomWords,
    "ThirdPartyMirror": ThirdPartyMirror,
    "ThirdPartyFlexibleNoise": ThirdPartyFlexibleNoise,
    "ThirdPartyAnySeed": ThirdPartyAnySeed,
}
