"""Attack: EXIF whose counts, offsets and directories lie, to make a reader copy or loop for ever.

A count of four billion, a thousand values that all point at the same megabytes, a directory
that is its own successor: the values of a file are never larger together than the file.
"""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Generator

import pytest

from comfyui_provenance import limits
from comfyui_provenance.containers import embed, extract
from comfyui_provenance.containers.exif import edit_exif, read_exif
from comfyui_provenance.errors import ContainerError, LimitError

from support.builders import entry_of, image_file, riff_chunk_of, segment_of, tiff_of, webp_of

MB = 1024**2


@pytest.fixture(autouse=True)
def bounded() -> Generator[None]:
    """Let no attack take more than 2 seconds and 4 megabytes."""
    started = time.perf_counter()
    tracemalloc.start()
    try:
        yield
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * MB
    assert time.perf_counter() - started < 2


def pointing(tag: int, kind: int, count: int, offset: int) -> bytes:
    return struct.pack(">HHLL", tag, kind, count, offset)


def directory_of(*entries: bytes, size: int = 0) -> bytes:
    """Build TIFF of one directory with entries as they are, and bytes behind it."""
    head = b"MM\0*" + struct.pack(">LH", 8, len(entries)) + b"".join(entries)
    return head + bytes(max(0, size - len(head)))


@pytest.mark.parametrize("kind", range(1, 13))
@pytest.mark.parametrize("count", [2**32 - 1, 2**31, 2**28, 5000])
def test_a_giant_count_is_refused_before_anything_is_made_of_it(kind: int, count: int) -> None:
    data = directory_of(pointing(0x0110, kind, count, 8), size=4096)

    with pytest.raises(ContainerError, match="for tag 0x0110 at offset 8, got EXIF cut off"):
        read_exif(data)
    with pytest.raises(ContainerError, match="cut off"):
        edit_exif(data, ["prompt"], {"prompt": "{}"})


@pytest.mark.parametrize("offset", [2**32 - 1, 2**31, 4096, 4095])
def test_an_offset_past_the_end_is_refused(offset: int) -> None:
    with pytest.raises(ContainerError, match="cut off"):
        read_exif(directory_of(pointing(0x0110, 2, 8, offset), size=4096))
    with pytest.raises(ContainerError, match="an EXIF directory at offset"):
        read_exif(directory_of(pointing(0x8769, 4, 1, offset), size=4096))


def test_values_that_all_point_at_the_same_bytes_are_refused() -> None:
    shared = [pointing(tag, 2, MB - 20_000, 16_000) for tag in range(1000)]
    data = directory_of(*shared, size=MB)

    with pytest.raises(ContainerError, match="values apart, got overlap at tag 0x0001"):
        read_exif(data)


def test_values_of_several_directories_share_one_budget() -> None:
    inner = struct.pack(">H", 1) + pointing(0x9286, 7, 3000, 100)
    outer = directory_of(pointing(0x0110, 2, 3000, 100), pointing(0x8769, 4, 1, 34))
    data = (outer + inner).ljust(4096, b"\0")

    with pytest.raises(ContainerError, match="overlap at tag 0x9286"):
        read_exif(data)


@pytest.mark.parametrize("tag", [0x8769, 0x8825])
def test_a_directory_that_is_its_own_is_refused(tag: int) -> None:
    with pytest.raises(ContainerError, match="directories apart, got two at offset 8"):
        read_exif(directory_of(pointing(tag, 4, 1, 8)))


def test_two_directories_in_one_place_are_refused() -> None:
    data = directory_of(pointing(0x8769, 4, 1, 34), pointing(0x8825, 4, 1, 34)) + bytes(2)

    with pytest.raises(ContainerError, match="directories apart, got two at offset 34"):
        read_exif(data)


def test_a_successor_that_leads_back_is_not_followed() -> None:
    data = tiff_of(entry_of(0x0110, b"prompt:{}\0"))
    looped = data.replace(bytes(4) + b"prompt", struct.pack(">L", 8) + b"prompt")

    assert read_exif(looped) == {"prompt": "{}"}


def test_endless_entries_are_refused() -> None:
    entry = pointing(1, 99, 0, 0)

    assert read_exif(directory_of(*[entry] * limits.EXIF_ENTRY_COUNT)) == {}
    with pytest.raises(LimitError, match="at most 1024 entries in an EXIF directory, got 1025"):
        read_exif(directory_of(*[entry] * (limits.EXIF_ENTRY_COUNT + 1)))


def test_a_directory_that_claims_more_entries_than_there_are_is_refused() -> None:
    with pytest.raises(ContainerError, match="at offset 8, got one cut off"):
        read_exif(b"MM\0*\0\0\0\x08\xff\xff" + bytes(100))


def test_a_pointer_of_another_shape_is_not_followed() -> None:
    shapes = [pointing(0x8769, 3, 1, 8), pointing(0x8769, 4, 0, 8), pointing(0x8825, 4, 2, 30)]

    for shape in shapes:
        assert read_exif(directory_of(shape, size=64)) == {}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"Exif\0\0", id="a prefix alone"),
        pytest.param(b"MM\0*", id="no offset"),
        pytest.param(b"II\0*\0\0\0\x08\0\0", id="a number the wrong way round"),
        pytest.param(b"/etc/passwd", id="a name, which piexif would open"),
        pytest.param(b"\xff\xd8\xff", id="a JPEG, which piexif would take apart"),
    ],
)
def test_what_is_no_tiff_is_refused(data: bytes) -> None:
    with pytest.raises(ContainerError, match="TIFF header"):
        read_exif(data)


def test_exif_past_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT_TOTAL_BYTES", 100)

    with pytest.raises(LimitError, match="EXIF of at most 100 bytes, got 200"):
        read_exif(directory_of(size=200))


def test_many_numbers_of_foreign_exif_are_not_multiplied_by_an_edit() -> None:
    numbers = [entry_of(0x02BC, bytes(MB // 4), kind=1), entry_of(0x0111, bytes(16), kind=4)]

    edited = edit_exif(tiff_of(*numbers), ["prompt"], {"prompt": "{}"})

    assert len(edited) < 100


def test_hostile_exif_in_a_file_is_refused_and_the_file_not_edited() -> None:
    looped = directory_of(pointing(0x8769, 4, 1, 8))
    jpeg = image_file("JPEG")
    files = [
        jpeg[:20] + segment_of(0xE1, b"Exif\0\0" + looped) + jpeg[20:],
        webp_of(image_file("WEBP")[12:], riff_chunk_of(b"EXIF", looped)),
    ]

    for file in files:
        with pytest.raises(ContainerError, match="directories apart"):
            extract(file)
        with pytest.raises(ContainerError, match="directories apart"):
            embed(file, {"prompt": "{}"})
