"""What a file without a record still tells: the prompt that ComfyUI wrote into it.

It is read as a record that knows little. Which of a prompt's images a file is, the prompt does not
say; with one saved image there is no question.
"""

from __future__ import annotations

from typing import Final

from .digest import digest_text, digest_value
from .errors import GraphError
from .graph.prompt import Link, NodeId, Prompt, dump_prompt, parse_prompt
from .graph.samplings import read_samplings
from .graph.trace import prune
from .pixels import Pixels, digest_pixels
from .recipe import to_sampling_entry, to_tuple
from .record import VERSION, JsonObject, Record, Subject, seal

_IMAGES: Final = ("images", "image")
_SAVES: Final = ("Save", "Preview")


def record_from_prompt(text: str, pixels: Pixels) -> Record:
    """Read ComfyUI's own prompt as a record of the image beside it.

    Args:
        text: The file's `prompt`.
        pixels: The file's, decoded.

    Raises:
        GraphError: It is no prompt, or it cannot be told which of its nodes gave the image.
        LimitError: It is larger than we agree to read.
    """
    whole = parse_prompt(text)
    output = _saved(whole)
    prompt = prune(whole, [output.node_id])
    samplings = read_samplings(prompt, output.node_id)
    entries = [to_sampling_entry(sampling) for sampling in samplings]
    parameters: JsonObject = {}
    if entries:
        parameters = to_tuple(entries[-1], prompt, samplings[-1].model, [])
    graph = dump_prompt(prompt)
    size = (pixels.width, pixels.height, pixels.channels)
    return seal(
        {
            "version": VERSION,
            "generator": {"name": "ComfyUI", "version": "unknown"},
            "subject": Subject(digest_pixels(pixels), *size).to_json(),
            "graph": graph,
            "graph_sha256": digest_text(graph).hex,
            "output": {"node_id": output.node_id, "slot": output.slot},
            "tuple": parameters,
            "recipe": str(digest_value(parameters)),
            "samplings": [*entries],
            "materials": [],
            "environment": {},
        }
    )


def _saved(prompt: Prompt) -> Link:
    """Find the image that a prompt saves.

    Raises:
        GraphError: None, or several.
    """
    found = {
        value
        for node in prompt.nodes.values()
        if node.class_type.startswith(_SAVES)
        for name in _IMAGES
        if isinstance(value := node.inputs.get(name), Link)
    }
    if len(found) != 1:
        count = len(found) or "no"
        raise GraphError(
            f"expected a prompt that saves one image, got one that saves {count}: without a record "
            "it cannot be told which this is"
        )
    (link,) = found
    return Link(NodeId(link.node_id), link.slot)
