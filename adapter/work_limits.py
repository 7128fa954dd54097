"""How much a graph that this server has not run before may ask of it.

The work is bounded along the whole graph, not one node at a time: a chain of small enlargements is
as large as one huge image. What another node computes cannot be bounded, and is refused. The
numbers leave room for ordinary graphs: a hires fix, or an upscale model on a 2048 x 2048 image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from ..src.comfyui_provenance.errors import PolicyError
from ..src.comfyui_provenance.graph.prompt import Link, NodeId, Prompt
from ..src.comfyui_provenance.graph.samplings import is_sampling
from ..src.comfyui_provenance.graph.trace import upstream
from .anew import only_loads
from .extents import Extent, extent_of
from .node_inputs import NodeInputs

_ELSEWHERE: Final = "in a graph that this server has not run before"
_REMEDY: Final = "queue it once yourself"

_LARGEST: Final = {
    "steps": 1000,
    "width": 8192,
    "height": 8192,
    "batch_size": 64,
    "amount": 64,
    "scale_by": 8,
}
"""Largest numbers of these names; core itself allows 10 000 steps."""

_PIXELS: Final = 2**28
"""Pixels of all that one node gives: one image of 16384 x 16384, which is what an upscale model of
factor 8 makes of 2048 x 2048."""

_PIXELS_TOGETHER: Final = 2**30
"""Pixels of all that the nodes give: ComfyUI keeps it until the next prompt, 13 GB as images."""

_STEPS: Final = 2000
"""Steps of all samplers together. Ten passes of 50 steps are 500."""

_WORK: Final = 2**33
"""Steps times pixels, of all samplers together: 8192 steps at 1024 x 1024, which take a desktop GPU
some twenty minutes. Growing a mask by so many pixels counts likewise: about two minutes."""

_PARTS: Final = 100
"""Conditionings, models or hooks that are combined into one. Each is run in each step, and to
combine one with itself doubles them: ten nodes made one step take 1024 times as long."""

_LOADERS: Final = 100
"""Nodes that only load or patch models. Each may read a file of tens of GB and keep what it made of
it; published workflows for one image have under 40."""

_TEXT_CHARS: Final = 2**15
"""Characters of all texts. CLIP-L took 20 s for 16 000 on two cores, and cannot be interrupted."""

_SCHEDULE_STEPS: Final = 100_000
"""Steps divided by denoise: so many core lists before it keeps the last ones. 1000 at 0.01."""

_SMALLEST_DOWNSCALE: Final = 1
"""Below it, what is inside the model is enlarged: a hundredfold at core's least."""

_ENDLESS_CLASS: Final = "SamplerDPMAdaptative"
_ENDLESS_SAMPLER: Final = "dpm_adaptive"
"""It chooses its steps by tolerances: with one of 0, or a latent that is not finite, it goes on for
ever (both measured)."""

_COMBINING: Final = ("Combine", "Concat", "Merge")
"""In the names of classes whose parts add up."""


def refuse_work(prompt: Prompt, inputs: Mapping[NodeId, NodeInputs]) -> None:
    """Refuse a graph that asks for too much.

    Args:
        prompt: Pruned to one output.
        inputs: The inputs of each node.

    Raises:
        PolicyError: It does, or that cannot be told.
    """
    chars = sum(found.text_chars() for found in inputs.values())
    _refuse_more(chars, _TEXT_CHARS, "characters of text")
    loaders = sum(only_loads(node) for node in prompt.nodes.values())
    _refuse_more(loaders, _LOADERS, "nodes that load or patch models")
    for node_id, found in inputs.items():
        _refuse_numbers(node_id, found)
        _refuse_endless(node_id, found)
    _Work(prompt, inputs).refuse()


def _refuse_numbers(node_id: NodeId, inputs: NodeInputs) -> None:
    for name, largest in _LARGEST.items():
        _refuse_more(inputs.number(name), largest, name, node_id)
    downscale = inputs.number("downscale_factor", _SMALLEST_DOWNSCALE)
    if downscale < _SMALLEST_DOWNSCALE:
        raise PolicyError(
            f"{inputs.place}: expected downscale_factor of at least {_SMALLEST_DOWNSCALE} "
            f"{_ELSEWHERE}, got {downscale:g}; {_REMEDY}"
        )
    denoise = inputs.number("denoise", 1)
    if denoise > 0:
        schedule = inputs.number("steps") / denoise
        _refuse_more(schedule, _SCHEDULE_STEPS, "steps divided by denoise", node_id)


def _refuse_endless(node_id: NodeId, inputs: NodeInputs) -> None:
    if inputs.class_type == _ENDLESS_CLASS or inputs.value("sampler_name") == _ENDLESS_SAMPLER:
        raise PolicyError(
            f"{inputs.place}: a sampler of adaptive steps can go on without end; it is not run "
            f"{_ELSEWHERE}; {_REMEDY}"
        )


def _refuse_more(found: float, largest: float, what: str, node_id: NodeId | None = None) -> None:
    # Not `>`: NaN is no number of pixels either.
    if not found <= largest:
        place = f"node {node_id}: " if node_id is not None else ""
        raise PolicyError(
            f"{place}expected {what} of at most {largest} {_ELSEWHERE}, got {found:g}; {_REMEDY}"
        )


class _Work:
    """What a graph asks for, found from its sources to its output."""

    def __init__(self, prompt: Prompt, inputs: Mapping[NodeId, NodeInputs]) -> None:
        self._prompt = prompt
        self._inputs = inputs
        self._extents: dict[NodeId, Extent] = {}
        self._parts: dict[NodeId, int] = {}
        self._steps: dict[NodeId, float] = {}

    def refuse(self) -> None:
        """Refuse the graph if it asks for too much."""
        steps = work = pixels = 0.0
        for node_id in _in_order(self._prompt):
            inputs = self._inputs[node_id]
            extent = extent_of(self._prompt, node_id, inputs, self._extents)
            self._extents[node_id] = extent
            self._parts[node_id] = self._parts_of(inputs)
            self._steps[node_id] = self._steps_of(inputs)
            pixels += extent.pixels
            _refuse_more(extent.pixels, _PIXELS, "pixels", node_id)
            _refuse_more(pixels, _PIXELS_TOGETHER, "pixels of all nodes")
            _refuse_more(self._parts[node_id], _PARTS, "parts combined", node_id)
            repeats = _repeats(inputs)
            if is_sampling(self._prompt.nodes[node_id]):
                steps += self._steps[node_id] * extent.elements
                repeats += self._steps[node_id]
            work += repeats * extent.pixels
            _refuse_more(steps, _STEPS, "steps of all samplers")
            _refuse_more(work, _WORK, "steps times pixels")

    def _parts_of(self, inputs: NodeInputs) -> int:
        """Count what is combined into what a node gives."""
        parts = {name: self._parts[link.node_id] for name, link in inputs.links.items()}
        if not any(word in inputs.class_type for word in _COMBINING):
            return max(parts.values(), default=1)
        # A pair of conditionings is combined side by side.
        negative = sum(count for name, count in parts.items() if name.startswith("negative"))
        return max(1, negative, sum(parts.values()) - negative)

    def _steps_of(self, inputs: NodeInputs) -> float:
        """Count the steps of a sampler, or of the sigmas that a node gives."""
        sigmas = inputs.links.get("sigmas")
        if sigmas is not None:
            # ExtendIntermediateSigmas puts so many between any two.
            return self._steps[sigmas.node_id] * max(1, inputs.number("steps", 1))
        if inputs.has("sigmas"):
            # ManualSigmas: numbers with something between them.
            return len(str(inputs.value("sigmas"))) / 2
        return inputs.number("steps")


def _repeats(inputs: NodeInputs) -> float:
    """Count how often a node goes over its pixels."""
    return abs(inputs.number("expand", lowest=-math.inf)) + inputs.number("kernel_size") ** 2


def _in_order(prompt: Prompt) -> list[NodeId]:
    """List the nodes, inputs before users."""
    used = {
        value.node_id
        for node in prompt.nodes.values()
        for value in node.inputs.values()
        if isinstance(value, Link)
    }
    ends = [node_id for node_id in prompt.nodes if node_id not in used]
    return list(dict.fromkeys(found for end in ends for found in upstream(prompt, end)))
