"""Attack: a chunk that claims more bytes than the file has, or a file of endless chunks.

A reader that allocates what the length says, or that trusts it to find the next
chunk, runs out of memory or reads beyond the end.
"""

from __future__ import annotations

import struct

import pytest

from comfyui_provenance import limits
from comfyui_provenance.containers.png import SIGNATURE, embed_text, read_text
from comfyui_provenance.errors import ContainerError, LimitError

from support.builders import chunk_of, header_of, png_of


@pytest.mark.parametrize("claimed", [5, 2**31 - 1, 2**32 - 1])
def test_a_length_past_the_end_is_refused(claimed: int) -> None:
    lying = struct.pack(">I4s", claimed, b"tEXt") + b"a\0bc" + bytes(4)
    file = SIGNATURE + header_of(1, 1) + lying

    with pytest.raises(ContainerError, match=f"expected {claimed} bytes in tEXt .* 33, got 4"):
        read_text(file)


def test_a_length_that_swallows_the_end_is_refused() -> None:
    file = png_of()
    swallowing = file.replace(struct.pack(">I", 0) + b"IEND", struct.pack(">I", 1) + b"IEND")

    with pytest.raises(ContainerError, match="expected 1 bytes in IEND"):
        embed_text(swallowing, {"a": "b"})


def test_endless_chunks_are_refused() -> None:
    file = png_of(*[chunk_of(b"prVt")] * limits.CHUNK_COUNT)

    with pytest.raises(LimitError, match="at most 65536 chunks"):
        read_text(file)


def test_a_file_past_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMAGE_FILE_BYTES", 50)

    with pytest.raises(LimitError, match="at most 50 bytes"):
        read_text(png_of())
