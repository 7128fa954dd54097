"""Image files as carriers of text: what kind a file is, and the texts it holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol

from ..errors import ContainerError
from . import jpeg, png, webp


class _Container(Protocol):
    """One kind of image file."""

    def read_text(self, data: bytes, /) -> dict[str, str]: ...
    def embed_text(self, data: bytes, texts: Mapping[str, str], /) -> bytes: ...
    def remove_text(self, data: bytes, keywords: Collection[str], /) -> bytes: ...
    def strip(self, data: bytes, /) -> bytes: ...


_CONTAINERS: Final[dict[str, _Container]] = {"png": png, "jpeg": jpeg, "webp": webp}


def sniff(data: bytes) -> str | None:
    """Tell the kind of an image file from its first bytes.

    Returns:
        `png`, `jpeg` or `webp`, or None for anything else. What follows the
        first bytes was not looked at.
    """
    if data.startswith(png.SIGNATURE):
        return "png"
    if data.startswith(jpeg.SIGNATURE):
        return "jpeg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    return None


def is_lossless(data: bytes) -> bool:
    """Tell whether a file holds the very samples that were written into it, by its kind.

    Raises:
        LimitError: The file exceeds `limits`.
        ContainerError: The file is damaged or not of a kind that can be read.
    """
    return _container(data) is not jpeg and (sniff(data) != "webp" or webp.is_lossless(data))


def extract(data: bytes) -> dict[str, str]:
    """Extract the texts of an image file by keyword.

    Raises:
        LimitError: The file or its texts exceed `limits`.
        ContainerError: The file is damaged or not of a kind that can be read.
    """
    return _container(data).read_text(data)


def embed(data: bytes, texts: Mapping[str, str]) -> bytes:
    """Put texts into an image file, in place of those with the same keywords.

    No pixel is coded anew. What each kind of file can hold, and what of its other
    metadata it keeps, is said by `png`, `jpeg` and `webp`.

    Raises:
        LimitError: The file or the texts exceed `limits`, or what the kind of file holds.
        ContainerError: The file is damaged or not of a kind that can be written, or a
            keyword or a text cannot be.
    """
    return _container(data).embed_text(data, texts)


def remove(data: bytes, keywords: Collection[str]) -> bytes:
    """Remove all text with these keywords from an image file.

    Raises:
        LimitError: The file exceeds `limits`.
        ContainerError: The file is damaged or not of a kind that can be written.
    """
    return _container(data).remove_text(data, keywords)


def strip(data: bytes) -> bytes:
    """Remove all metadata but what decides the displayed pixels, which keep their bytes.

    Raises:
        LimitError: The file exceeds `limits`.
        ContainerError: The file is damaged or not of a kind that can be written.
    """
    return _container(data).strip(data)


def _container(data: bytes) -> _Container:
    kind = sniff(data)
    if kind is None:
        found = "a file of another kind" if data else "an empty file"
        raise ContainerError(f"expected a PNG, JPEG or WebP file, got {found}")
    return _CONTAINERS[kind]
