"""Image files as carriers of text: what kind a file is, and the texts it holds."""

from __future__ import annotations

from ..errors import ContainerError
from . import png


def sniff(data: bytes) -> str | None:
    """Tell the kind of an image file from its first bytes.

    Returns:
        `png`, `jpeg` or `webp`, or None for anything else. What follows the
        first bytes was not looked at.
    """
    if data.startswith(png.SIGNATURE):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    return None


def extract(data: bytes) -> dict[str, str]:
    """Extract the texts of an image file by keyword.

    Raises:
        LimitError: The file or its texts exceed `limits`.
        ContainerError: The file is damaged or not of a kind that can be read.
    """
    kind = sniff(data)
    if kind == "png":
        return png.read_text(data)
    if not data:
        raise ContainerError("expected a PNG file, got an empty file")
    found = {"jpeg": "JPEG", "webp": "WebP", None: "a file of another kind"}[kind]
    raise ContainerError(f"expected a PNG file, got {found}")
