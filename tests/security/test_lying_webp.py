"""Attack: a WebP or JPEG whose sizes lie, to send a walker past the end or round for ever."""

from __future__ import annotations

import struct
import time

import pytest

from comfyui_provenance.containers import embed, extract, strip
from comfyui_provenance.errors import ContainerError

from support.builders import image_file, riff_chunk_of, webp_of

IMAGE = image_file("WEBP")[12:]
MB = 1024**2


@pytest.mark.parametrize("claimed", [2**32 - 1, 2**32 - 2, 2**31, 3])
def test_a_chunk_larger_than_the_file_is_refused(claimed: int) -> None:
    lying = webp_of(IMAGE, struct.pack("<4sL", b"EXIF", claimed) + b"xy")

    with pytest.raises(ContainerError, match="got one cut off"):
        extract(lying)


@pytest.mark.parametrize("claimed", [2**32 - 1, 10**6])
def test_a_file_that_claims_to_be_larger_is_refused(claimed: int) -> None:
    lying = b"RIFF" + struct.pack("<L", claimed) + webp_of(IMAGE)[8:]

    with pytest.raises(ContainerError, match=f"expected {8 + claimed} bytes in a WebP file"):
        extract(lying)


@pytest.mark.parametrize("claimed", [0, 3, 4, 11])
def test_a_file_that_claims_to_be_smaller_has_no_image(claimed: int) -> None:
    lying = b"RIFF" + struct.pack("<L", claimed) + webp_of(IMAGE)[8:]

    with pytest.raises(ContainerError, match=r"first in a WebP file|got one cut off"):
        embed(lying, {"prompt": "{}"})


def test_empty_chunks_end() -> None:
    assert extract(webp_of(IMAGE, *[riff_chunk_of(b"junk")] * 60_000)) == {}


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"\xff" * 4 * MB, id="fill bytes"),
        pytest.param(b"\xff\0" * 2 * MB, id="stuffed bytes"),
        pytest.param(b"\xff\xd0" * 2 * MB, id="restart markers"),
    ],
)
def test_a_scan_of_markers_is_walked_in_one_go(behind: bytes) -> None:
    plain = image_file("JPEG")
    started = time.perf_counter()

    with pytest.raises(ContainerError, match="an end after the scan"):
        strip(plain[:-2] + behind)
    with pytest.raises(ContainerError, match=r"marker|segment"):
        extract(plain[:2] + behind)

    assert time.perf_counter() - started < 2
