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


class _Any(str):
    """A type that equals every type, as switches of several packs declare it."""

    def __ne__(self, other):  # noqa: ANN001, ANN204 - as third-party packs are written
        """Differ from nothing."""
        return False


class ThirdPartySwitch:
    """Hands on what it is given, whatever that is."""

    RETURN_TYPES = (_Any("*"),)
    FUNCTION = "hand_on"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare one input of any type."""
        return {"required": {"value": (_Any("*"),)}}

    def hand_on(self, value):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Give it back."""
        return (value,)


class ThirdPartyReadsKey:
    """Gives a key that no widget shows, as nodes do that read a file or a variable."""

    RETURN_TYPES = ("STRING",)
    FUNCTION = "read"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare no inputs."""
        return {"required": {}}

    def read(self):  # noqa: ANN201 - as third-party packs are written
        """Read the key, put together so that this file does not show it."""
        return ("plain-" + "words-" + "8842",)


class ThirdPartyAsks:
    """Gives words for a key, as nodes do that ask a service."""

    RETURN_TYPES = ("STRING",)
    FUNCTION = "ask"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the inputs."""
        return {"required": {"api_key": ("STRING", {})}}

    def ask(self, api_key):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Answer."""
        return ("a fox in the rain",)


class ThirdPartySeeds:
    """Gives a list of three seeds."""

    RETURN_TYPES = ("INT",)
    OUTPUT_IS_LIST = (True,)
    FUNCTION = "give"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the first seed."""
        return {"required": {"first": ("INT", {"default": 0})}}

    def give(self, first):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Count up."""
        return ([first, first + 1, first + 2],)


class ThirdPartyPick:
    """Takes one image out of a list."""

    RETURN_TYPES = ("IMAGE",)
    INPUT_IS_LIST = True
    FUNCTION = "pick"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the list and the place."""
        return {"required": {"images": ("IMAGE",), "place": ("INT", {"default": 0})}}

    def pick(self, images, place):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Pick it."""
        return (images[place[0]],)


class ThirdPartyCanary:
    """Leaves a file behind, so that a test can tell that it ran."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "sing"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the word to leave, and ask for what only the user knows."""
        return {
            "required": {"word": ("STRING", {})},
            "hidden": {"key": "API_KEY_COMFY_ORG"},
        }

    def sing(self, word, key=None):  # noqa: ANN001, ANN201 - as third-party packs are written
        """Leave the word."""
        from pathlib import Path

        import folder_paths
        import torch

        path = Path(folder_paths.get_output_directory()) / "canary.txt"
        path.write_text(f"{word} {key}", encoding="utf-8")
        return (torch.zeros(1, 64, 64, 3),)


NODE_CLASS_MAPPINGS = {
    "ThirdPartyCanary": ThirdPartyCanary,
    "ThirdPartyAsks": ThirdPartyAsks,
    "ThirdPartyPick": ThirdPartyPick,
    "ThirdPartyReadsKey": ThirdPartyReadsKey,
    "ThirdPartySeeds": ThirdPartySeeds,
    "ThirdPartySwitch": ThirdPartySwitch,
    "ThirdPartyExpandedWords": ThirdPartyExpandedWords,
    "ThirdPartyRandomWords": ThirdPartyRandomWords,
    "ThirdPartyMirror": ThirdPartyMirror,
    "ThirdPartyFlexibleNoise": ThirdPartyFlexibleNoise,
    "ThirdPartyAnySeed": ThirdPartyAnySeed,
}
