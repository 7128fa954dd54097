"""How large the images, latents and masks of a graph can become, found without running it.

An upper bound for each node follows from those of its sources and from its own numbers. The
classes are those of `core_classes`; of any other class it is assumed that it enlarges nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import folder_paths

from ..src.comfyui_provenance.containers.heads import read_head
from ..src.comfyui_provenance.errors import ContainerError, PolicyError
from ..src.comfyui_provenance.graph.prompt import Link, NodeId, Prompt
from .node_classes import output_types
from .node_inputs import NodeInputs

_CARRIERS: Final = frozenset({"IMAGE", "LATENT", "MASK", "*", "COMFY_MATCHTYPE_V3"})
"""Types of outputs that hold pixels."""

_UPSCALER_FACTOR: Final = 8
"""Upscale models enlarge by 1, 2, 4 or 8; how much one does is known only when it is loaded."""

_LATENT_FACTOR: Final = 8
"""Pixels to a side of a latent's element, for which a decoder takes it."""

_SMALLEST_TILE: Final = 64
"""Core's own for splitting; merging tiles of one or two pixels it counts without end."""

_KONTEXT_SIDES: Final = (672, 1568)
"""Shortest and longest side of the sizes that FluxKontextImageScale chooses from."""

_MEGAPIXEL: Final = 2**20


@dataclass(frozen=True, slots=True)
class Extent:
    """What a node gives, at most.

    Attributes:
        elements: Length of a list; what follows runs once for each.
        images: In each element.
        width: In pixels; a latent counts for the image that a decoder makes of it.
        height: In pixels.
        shortest: Of the shorter side, in pixels; a lower bound, for what keeps proportions.
    """

    elements: float = 1
    images: float = 1
    width: float = 1
    height: float = 1
    shortest: float = 1

    @property
    def pixels(self) -> float:
        """All pixels together."""
        return self.elements * self.images * self.width * self.height

    @property
    def longest(self) -> float:
        """The longer side, in pixels."""
        return max(self.width, self.height)

    def scaled(self, factor: float) -> Extent:
        """Give what is left when both sides are multiplied."""
        return replace(
            self,
            width=self.width * factor,
            height=self.height * factor,
            shortest=max(1, math.floor(self.shortest * factor)),
        )

    def sized(self, width: float, height: float) -> Extent:
        """Give what is left when every image is made this large."""
        sides = max(1, width), max(1, height)
        return replace(self, width=sides[0], height=sides[1], shortest=min(sides))


Sources = Sequence[Extent]
Rule = Callable[[Extent, Sources, NodeInputs], Extent]


def extent_of(
    prompt: Prompt, node_id: NodeId, inputs: NodeInputs, known: Mapping[NodeId, Extent]
) -> Extent:
    """Bound what a node gives.

    Args:
        prompt: The graph.
        node_id: The node.
        inputs: Its inputs.
        known: The extents of all nodes that it depends on.

    Raises:
        PolicyError: A number that decides it is computed, or is none.
    """
    sources = [known[link.node_id] for link in inputs.links.values() if _holds_pixels(prompt, link)]
    together = _together(sources) if sources else _made(inputs)
    rule = _RULES.get(inputs.class_type)
    extent = rule(together, sources, inputs) if rule is not None else together
    sampler = inputs.links.get("sampler")
    if sampler is not None and sampler.node_id in prompt.nodes:
        # SamplerLCMUpscale enlarges the latent while it is sampled.
        extent = extent.scaled(max(1, NodeInputs(prompt, sampler.node_id).number("scale_ratio", 1)))
    return extent


def _holds_pixels(prompt: Prompt, link: Link) -> bool:
    types = output_types(prompt.nodes[link.node_id].class_type)
    return link.slot < len(types) and types[link.slot] in _CARRIERS


def _together(sources: Sources) -> Extent:
    """Bound what is made of several images that are laid over each other."""
    return Extent(
        elements=max(source.elements for source in sources),
        images=max(source.images for source in sources),
        width=max(source.width for source in sources),
        height=max(source.height for source in sources),
        shortest=min(source.shortest for source in sources),
    )


def _made(inputs: NodeInputs) -> Extent:
    """Bound what is made of no image."""
    images = inputs.number("batch_size", 1) * (1 + inputs.number("layers"))
    return Extent(images=images).sized(inputs.number("width", 1), inputs.number("height", 1))


def _loaded(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    """Read the size of an input image from its head; one that is not here has none."""
    name = str(inputs.value("image"))
    try:
        if not folder_paths.exists_annotated_filepath(name):
            return extent
        head = read_head(Path(folder_paths.get_annotated_filepath(name)))
        return replace(extent, images=head.frames).sized(head.width, head.height)
    except (ContainerError, OSError, ValueError) as error:
        # Without the error's words: they may hold the path of a folder of this server.
        message = f"{inputs.place}: the size of {name[:80]!a} cannot be read"
        raise PolicyError(message) from error


def _joined(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    return replace(extent, images=sum(source.images for source in sources))


def _repeated(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    return replace(extent, images=extent.images * inputs.number("amount", 1))


def _rebatched(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    images = extent.elements * extent.images
    return replace(extent, elements=images, images=min(images, inputs.number("batch_size", 1)))


def _scaled(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    return extent.scaled(inputs.number("scale_by", 1))


def _resized(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    """Follow an explicit size; a side of 0 follows the other one in proportion."""
    width, height = inputs.number("width"), inputs.number("height")
    if width and height:
        # LatentUpscale makes no side shorter than 64.
        return extent.sized(max(width, 64), max(height, 64))
    return _in_proportion(extent, max(width, height))


def _in_proportion(extent: Extent, side: float) -> Extent:
    """Give any side this length, and the other one in proportion; 0 changes nothing."""
    return extent.scaled(side / extent.shortest) if side else extent


def _within(extent: Extent, side: float) -> Extent:
    """Make the longer side this long."""
    shortest = max(1, math.floor(side * extent.shortest / extent.longest))
    return replace(extent.sized(side, side), shortest=shortest) if side else extent


def _to_megapixels(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    return _in_proportion(extent, math.sqrt(inputs.number("megapixels") * _MEGAPIXEL))


def _to_longest(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    return _within(extent, inputs.number("largest_size"))


def _resized_by_choice(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    """Follow `ResizeImageMaskNode`, whose numbers depend on its choice."""
    if inputs.has("multiplier"):
        return extent.scaled(inputs.number("multiplier"))
    if inputs.has("longer_size"):
        return _within(extent, inputs.number("longer_size"))
    if inputs.has("shorter_size"):
        return _in_proportion(extent, inputs.number("shorter_size"))
    if inputs.has("megapixels"):
        return _to_megapixels(extent, sources, inputs)
    return _resized(extent, sources, inputs)


def _cropped(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    # Beyond the border is nothing: one row may be all that is left.
    width = min(extent.width, inputs.number("width", math.inf))
    height = min(extent.height, inputs.number("height", math.inf))
    return replace(extent, width=width, height=height, shortest=1)


def _padded(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    return replace(
        extent,
        width=extent.width + inputs.number("left") + inputs.number("right"),
        height=extent.height + inputs.number("top") + inputs.number("bottom"),
    )


def _boxed(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    return extent.sized(inputs.number("target_width", 1), inputs.number("target_height", 1))


def _turned(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    return replace(extent, width=extent.longest, height=extent.longest)


def _stitched(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    """Bound images side by side, the one enlarged to fit the other."""
    factor = max(1, extent.longest / extent.shortest)
    spacing = inputs.number("spacing_width")
    return replace(
        extent,
        width=sum(source.width for source in sources) * factor + spacing,
        height=sum(source.height for source in sources) * factor + spacing,
    )


def _concatenated(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    # Along the time of a video there are more images; for a still one, longer sides.
    return replace(
        extent,
        width=sum(source.width for source in sources),
        height=sum(source.height for source in sources),
    )


def _split(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    """Bound a list of tiles; core lets them overlap by three quarters at most."""
    width, height = (inputs.number(f"tile_{side}", 64) for side in ("width", "height"))
    columns = math.ceil(extent.width / max(1, width / 4, width - inputs.number("overlap")))
    rows = math.ceil(extent.height / max(1, height / 4, height - inputs.number("overlap")))
    tile = extent.sized(min(width, extent.width), min(height, extent.height))
    return replace(
        tile,
        elements=extent.elements * columns * rows,
        shortest=min(extent.shortest, width, height),
    )


def _merged(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    if extent.shortest < _SMALLEST_TILE:
        raise PolicyError(
            f"{inputs.place}: expected tiles of at least {_SMALLEST_TILE} pixels to a side"
        )
    merged = replace(extent, elements=1)
    return merged.sized(inputs.number("final_width", 1), inputs.number("final_height", 1))


def _sliced(extent: Extent, sources: Sources, inputs: NodeInputs) -> Extent:
    slices = math.ceil(extent.longest / _LATENT_FACTOR / max(1, inputs.number("slice_size", 1)))
    return replace(extent, images=extent.images * slices, shortest=1)


def _by(factor: float) -> Rule:
    """Make the rule of a class that enlarges both sides by the same always."""
    return lambda extent, sources, inputs: extent.scaled(factor)


_RULES: Final[Mapping[str, Rule]] = {
    "BatchImagesNode": _joined,
    "BatchLatentsNode": _joined,
    "BatchMasksNode": _joined,
    "CropMask": _cropped,
    # Its latent is the image itself; another decoder would take it for one of an eighth.
    "EmptyChromaRadianceLatentImage": _by(_LATENT_FACTOR),
    "FluxKontextImageScale": lambda extent, sources, inputs: replace(
        extent.sized(_KONTEXT_SIDES[1], _KONTEXT_SIDES[1]), shortest=_KONTEXT_SIDES[0]
    ),
    "ImageBatch": _joined,
    "ImageCrop": _cropped,
    "ImageCropV2": _cropped,
    "ImageMergeTileList": _merged,
    "ImagePadForOutpaint": _padded,
    "ImageRotate": _turned,
    "ImageScale": _resized,
    "ImageScaleBy": _scaled,
    "ImageScaleToMaxDimension": _to_longest,
    "ImageScaleToTotalPixels": _to_megapixels,
    "ImageStitch": _stitched,
    "ImageUpscaleWithModel": _by(_UPSCALER_FACTOR),
    "LatentBatch": _joined,
    "LatentConcat": _concatenated,
    "LatentCrop": _cropped,
    "LatentCut": _cropped,
    "LatentCutToBatch": _sliced,
    "LatentRotate": _turned,
    "LatentUpscale": _resized,
    "LatentUpscaleBy": _scaled,
    "LoadImage": _loaded,
    "LoadImageMask": _loaded,
    "RebatchImages": _rebatched,
    "RebatchLatents": _rebatched,
    "RepeatImageBatch": _repeated,
    "RepeatLatentBatch": _repeated,
    "ResizeAndPadImage": _boxed,
    "ResizeImageMaskNode": _resized_by_choice,
    # Of an image it makes a latent of a quarter, which a decoder enlarges by eight.
    "SD_4XUpscale_Conditioning": lambda extent, sources, inputs: extent.scaled(
        2 * inputs.number("scale_ratio", 1)
    ),
    "SplitImageToTileList": _split,
    # Its latent is a quarter of the size; most decoders enlarge by eight.
    "StableCascade_EmptyLatentImage": _by(2),
    "StableCascade_StageC_VAEEncode": _by(2),
    "StableCascade_SuperResolutionControlnet": _by(2),
}
