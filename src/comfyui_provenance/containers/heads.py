"""The head of an image file of any kind that Pillow knows: how large the picture is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import ContainerError


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of an image file tells.

    Attributes:
        width: In pixels.
        height: In pixels.
        frames: How many pictures it holds.
    """

    width: int
    height: int
    frames: int


def read_head(path: Path) -> Head:
    """Read the size of a picture without decoding it.

    Raises:
        ContainerError: It is none that can be read.
    """
    try:
        with Image.open(path) as image:
            return Head(image.width, image.height, int(getattr(image, "n_frames", 1)))
    except Exception as error:  # a decoder's own, whatever the bytes
        raise ContainerError("expected an image file, got one that cannot be read") from error
