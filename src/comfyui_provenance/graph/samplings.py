"""What a prompt says about each sampling upstream of an image.

Widgets are read here, not what ran: a sampler that reported from inside its own
sampling overrides these values (`record.py`). Nodes are recognised by the names of
their inputs, which core's samplers and nearly all third-party ones share, so a sampler
never seen before is read as well. What the graph does not say is `None`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..canonical import JsonValue
from .prompt import Link, Node, NodeId, Prompt
from .rebuild import with_values
from .trace import upstream

_SEEDS: Final = ("seed", "noise_seed")
_SAMPLERS: Final = ("sampler_name", "sampler")
_STRUCTURE: Final = ("guider", "noise", "sampler", "sigmas")
"""Inputs through which `SamplerCustomAdvanced` takes what others have as widgets.

The guider comes first: its model is the one that samples. A scheduler's model only gives
the sigmas, and is often the one before the adapters.
"""

_HOLDERS: Final = {
    "PrimitiveBoolean": "value",
    "PrimitiveFloat": "value",
    "PrimitiveInt": "value",
    "PrimitiveString": "value",
    "PrimitiveStringMultiline": "value",
    "ProvenanceSeed": "seed",
    "SeedNode": "seed",
}
"""Nodes whose one output is the value of one input, by the name of that input.

A list: `StringLength` has one input, too, and does not hand it on.
"""

_LATENT_EDITS: Final = frozenset(
    {"LatentBatchSeedBehavior", "LatentFromBatch", "RepeatLatentBatch", "SetLatentNoiseMask"}
)
"""Core nodes that keep the size of the latent at their input `samples`."""

_TEXT_NAMES: Final = ("text", "prompt", "clip_", "t5xxl", "llama", "lyrics", "tags")
_PASS_THROUGH_LIMIT: Final = 64


@dataclass(frozen=True, slots=True)
class PromptText:
    """Words given to a text encoder.

    Attributes:
        node_id: The encoder.
        input: The encoder's input that holds them.
        text: The exact words, or `None` where another node computes them.
    """

    node_id: NodeId
    input: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Sampling:
    """One sampling, as the prompt's widgets describe it; `None` is unresolved.

    Attributes:
        node_id: The sampler node.
        class_type: Its class.
        seed: The seed as it stands in the prompt, of whatever type.
        sampler: ComfyUI's name of the sampler.
        scheduler: ComfyUI's name of the scheduler.
        steps: Number of steps asked for.
        cfg: Classifier-free guidance scale.
        denoise: 0 to 1.
        width: Of the sampled latent, in pixels.
        height: Of the sampled latent, in pixels.
        positive: Texts of the positive conditioning, inputs first.
        negative: Texts of the negative conditioning, inputs first.
        model: Where the model comes from.
    """

    node_id: NodeId
    class_type: str
    seed: JsonValue
    sampler: JsonValue
    scheduler: JsonValue
    steps: JsonValue
    cfg: JsonValue
    denoise: JsonValue
    width: JsonValue
    height: JsonValue
    positive: tuple[PromptText, ...]
    negative: tuple[PromptText, ...]
    model: Link | None


def is_sampling(node: Node) -> bool:
    """Tell whether a node's inputs are those of a sampler."""
    names = node.inputs.keys()
    return (
        # Detailers and tiled upscalers sample an image instead of a latent.
        ("latent_image" in names or isinstance(node.inputs.get("model"), Link))
        and any(name in names for name in _SAMPLERS)
        and any(name in names for name in (*_SEEDS, "noise"))
    )


def read_samplings(
    prompt: Prompt, node_id: NodeId, values: Mapping[Link, JsonValue] | None = None
) -> list[Sampling]:
    """List the samplings that a node's outputs depend on, in order of execution.

    Args:
        prompt: The graph.
        node_id: The node.
        values: What nodes computed, by output.

    Raises:
        GraphError: The prompt has a cycle.
    """
    as_run = with_values(prompt, values or {})
    return [
        read_sampling(as_run, found)
        for found in upstream(prompt, node_id)
        if is_sampling(prompt.nodes[found])
    ]


def resolve(prompt: Prompt, value: Link | JsonValue) -> JsonValue:
    """Give the literal that an input has, also through a node that only holds a value.

    Returns:
        The literal; `None` for a link to a node that computes its output.
    """
    for _ in range(_PASS_THROUGH_LIMIT):
        if not isinstance(value, Link):
            return value
        holder = prompt.nodes[value.node_id]
        name = _HOLDERS.get(holder.class_type)
        if name is None:
            return None
        value = holder.inputs.get(name)
    return None


def read_sampling(prompt: Prompt, node_id: NodeId) -> Sampling:
    """Read the sampling of one node, whatever of it the graph tells."""
    node = prompt.nodes[node_id]
    width, height = _latent_size(prompt, node.inputs.get("latent_image"))
    return Sampling(
        node_id=node_id,
        class_type=node.class_type,
        seed=_find(prompt, node, *_SEEDS),
        sampler=_find(prompt, node, "sampler_name"),
        scheduler=_find(prompt, node, "scheduler"),
        steps=_find(prompt, node, "steps"),
        cfg=_find(prompt, node, "cfg"),
        denoise=_find(prompt, node, "denoise"),
        width=width,
        height=height,
        positive=_texts(prompt, _find_link(prompt, node, "positive", "conditioning")),
        negative=_texts(prompt, _find_link(prompt, node, "negative")),
        model=_find_link(prompt, node, "model"),
    )


def _parts(prompt: Prompt, node: Node) -> Iterator[Node]:
    """Yield a sampler and the nodes that hold its settings, nearest first."""
    yield node
    for name in _STRUCTURE:
        part = node.inputs.get(name)
        if isinstance(part, Link):
            yield prompt.nodes[part.node_id]


def _find(prompt: Prompt, node: Node, *names: str) -> JsonValue:
    for part in _parts(prompt, node):
        for name in names:
            if name in part.inputs:
                return resolve(prompt, part.inputs[name])
    return None


def _find_link(prompt: Prompt, node: Node, *names: str) -> Link | None:
    for part in _parts(prompt, node):
        for name in names:
            value = part.inputs.get(name)
            if isinstance(value, Link):
                return value
    return None


def _latent_size(prompt: Prompt, latent: Link | JsonValue) -> tuple[JsonValue, JsonValue]:
    for _ in range(_PASS_THROUGH_LIMIT):
        if not isinstance(latent, Link):
            break
        node = prompt.nodes[latent.node_id]
        if "width" in node.inputs and "height" in node.inputs:
            width = resolve(prompt, node.inputs["width"])
            height = resolve(prompt, node.inputs["height"])
            # LatentUpscale computes the side that is 0 from the other one.
            return (None, None) if 0 in (width, height) else (width, height)
        if node.class_type not in _LATENT_EDITS:
            break
        latent = node.inputs.get("samples")
    return None, None


def _texts(prompt: Prompt, conditioning: Link | None) -> tuple[PromptText, ...]:
    """List the texts that a conditioning was made from."""
    texts: list[PromptText] = []
    seen: set[Link] = set()
    waiting = [conditioning] if conditioning is not None else []
    while waiting:
        link = waiting.pop()
        if link in seen:
            continue
        seen.add(link)
        node = prompt.nodes[link.node_id]
        if isinstance(node.inputs.get("clip"), Link):
            texts.extend(_encoder_texts(prompt, link.node_id))
            # GLIGEN's and ControlNet's encoders add their text to a conditioning.
            waiting.extend(reversed(_named(node, "cond")))
        else:
            waiting.extend(reversed(_conditionings(node, link.slot)))
    return tuple(texts)


def _conditionings(node: Node, slot: int) -> list[Link]:
    """Give the conditionings that a node passes on at one of its outputs."""
    if node.class_type == "ConditioningZeroOut":
        return []
    # Also `positive_A` and the like: pairs of conditionings with hooks.
    pair = _named(node, "positive"), _named(node, "negative")
    if all(pair) and slot in (0, 1):
        return pair[slot]
    return _named(node, "cond") or _named(node, "")


def _named(node: Node, start: str) -> list[Link]:
    """Give the links at the inputs whose names start so, in order."""
    return [
        value
        for name, value in node.inputs.items()
        if isinstance(value, Link) and name.startswith(start)
    ]


def _encoder_texts(prompt: Prompt, node_id: NodeId) -> list[PromptText]:
    inputs = prompt.nodes[node_id].inputs
    named = [name for name in inputs if any(part in name for part in _TEXT_NAMES)]
    texts: list[PromptText] = []
    for name in named:
        value = resolve(prompt, inputs[name])
        if isinstance(value, str) or isinstance(inputs[name], Link):
            texts.append(PromptText(node_id, name, value if isinstance(value, str) else None))
    return texts
