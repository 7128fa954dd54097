"""Samples are digested with their geometry, and decoded whole or not at all."""

from __future__ import annotations

import hashlib
import math
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from comfyui_provenance import limits
from comfyui_provenance import pixels as decoding
from comfyui_provenance.containers.png import SIGNATURE
from comfyui_provenance.errors import ContainerError, LimitError
from comfyui_provenance.pixels import (
    Difference,
    Pixels,
    decode_pixels,
    difference_image,
    digest_pixels,
    encode_jpeg,
    encode_png,
    encode_webp,
    measure_difference,
)

from support.builders import chunk_of, gradient, header_of, pixels_of, png_of, stored


def deep(channels: int, height: int = 5, width: int = 7) -> Pixels:
    """Build pixels of 16 bits whose two bytes both vary."""
    count = height * width * channels
    samples = b"".join((at * 2749 % 65536).to_bytes(2) for at in range(1, count + 1))
    return Pixels(samples, height, width, channels, bits=16)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_the_digest_binds_layout_height_and_width() -> None:
    digest = digest_pixels(Pixels(bytes(range(18)), 2, 3, 3))

    assert digest.algorithm == "sha256-rgb8"
    assert digest.hex == hashlib.sha256(b"rgb8 2x3\n" + bytes(range(18))).hexdigest()


def test_the_digest_of_sixteen_bits_says_so() -> None:
    digest = digest_pixels(Pixels(bytes(range(36)), 2, 3, 3, bits=16))

    assert digest.algorithm == "sha256-rgb16"
    assert digest.hex == hashlib.sha256(b"rgb16 2x3\n" + bytes(range(36))).hexdigest()


@pytest.mark.parametrize(
    ("channels", "layout"), [(1, "gray16"), (2, "graya16"), (3, "rgb16"), (4, "rgba16")]
)
def test_a_layout_names_the_bits(channels: int, layout: str) -> None:
    assert deep(channels).layout == layout


def test_the_same_bytes_of_other_bits_are_another_image() -> None:
    first, second = Pixels(bytes(6), 1, 6, 1), Pixels(bytes(6), 1, 3, 1, bits=16)

    assert str(digest_pixels(first)) != str(digest_pixels(second))


def test_the_same_samples_in_another_shape_have_another_digest() -> None:
    black = bytes(24)
    shapes = [(2, 3, 4), (3, 2, 4), (2, 4, 3), (4, 2, 3), (6, 2, 2), (24, 1, 1)]

    digests = {str(digest_pixels(Pixels(black, *shape))) for shape in shapes}

    assert len(digests) == len(shapes)


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        pytest.param((2, 2, 3), "expected 12 samples, got 11", id="a sample missing"),
        pytest.param((1, 11, 0), "1 to 4 channels, got 0", id="no channels"),
        pytest.param((1, 1, 11), "1 to 4 channels, got 11", id="too many channels"),
        pytest.param((0, 0, 1), "at least one pixel, got 0x0", id="no pixels"),
        pytest.param((-1, -11, 1), "at least one pixel", id="negative"),
        pytest.param((1, 11, 1, 12), "of 8 or 16 bits, got 12", id="12 bits"),
        pytest.param((1, 6, 1, 16), "expected 6 samples, got 5.5", id="half a sample missing"),
    ],
)
def test_samples_that_do_not_fill_the_geometry_are_refused(
    geometry: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Pixels(bytes(11), *geometry)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("compress_level", [0, 4, 9])
def test_an_encoded_image_decodes_to_the_same_samples(channels: int, compress_level: int) -> None:
    pixels = gradient(channels=channels)

    assert decode_pixels(encode_png(pixels, compress_level)) == pixels


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("compress_level", [0, 4, 9])
def test_an_encoded_image_of_sixteen_bits_decodes_to_the_same_samples(
    channels: int, compress_level: int
) -> None:
    pixels = deep(channels)

    assert decode_pixels(encode_png(pixels, compress_level)) == pixels


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_written_as_the_standard_says(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_BLOCK", 100)
    pixels = deep(channels, height=9, width=4)

    file = encode_png(pixels)

    assert unfiltered(file, pixels) == pixels.samples
    with Image.open(BytesIO(file)) as image:
        image.load()
        assert image.info == {}
        if channels >= 3:
            assert image.tobytes() == pixels.samples[::2]


def unfiltered(file: bytes, pixels: Pixels) -> bytes:
    """Undo chunks, compression and filter 2 in plain Python."""
    coded, at = b"", 8
    while at < len(file):
        size, kind = int.from_bytes(file[at : at + 4]), file[at + 4 : at + 8]
        assert zlib.crc32(file[at + 4 : at + 8 + size]) == int.from_bytes(
            file[at + 8 + size : at + 12 + size]
        )
        coded += file[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    data, width = zlib.decompress(coded), len(pixels.samples) // pixels.height
    above, rows = bytes(width), b""
    for start in range(0, len(data), width + 1):
        assert data[start] == 2
        row = data[start + 1 : start + 1 + width]
        above = bytes((a + b) % 256 for a, b in zip(above, row, strict=True))
        rows += above
    return rows


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("alpha", [0, 7, 255])
def test_lossless_webp_decodes_to_the_same_samples(channels: int, alpha: int) -> None:
    pixels = gradient(channels=channels)
    if channels == 4:
        samples = bytearray(pixels.samples)
        samples[3::4] = bytes([alpha]) * len(samples[3::4])
        pixels = Pixels(bytes(samples), pixels.height, pixels.width, 4)

    assert decode_pixels(encode_webp(pixels, lossless=True, quality=50)) == pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_of_high_quality_is_near(channels: int) -> None:
    image = Image.effect_noise((64, 64), 50)
    noise = Image.merge("RGB", [image, image.rotate(90), image.rotate(180)])
    samples = (noise if channels == 3 else image).tobytes()
    pixels = Pixels(samples, 64, 64, channels)

    decoded = decode_pixels(encode_jpeg(pixels, quality=100))

    assert measure_difference(decoded, pixels).max_abs <= 5


@pytest.mark.parametrize("channels", [3, 4])
def test_lossy_webp_keeps_the_layout_and_loses_bits(channels: int) -> None:
    pixels = gradient(16, 16, channels)

    decoded = decode_pixels(encode_webp(pixels, lossless=False, quality=80))

    assert str(decoded) == str(pixels)
    assert decoded != pixels


def test_quality_makes_the_file_larger() -> None:
    pixels = gradient(64, 64)

    for encode in (partial(encode_webp, lossless=False), encode_jpeg):
        sizes = [len(encode(pixels, quality=quality)) for quality in (1, 50, 100)]
        assert sizes == sorted(sizes)
        assert sizes[0] < sizes[2]


@pytest.mark.parametrize(("quality", "layers"), [(89, 2), (90, 1)])
def test_jpeg_colours_are_shared_below_quality_90(quality: int, layers: int) -> None:
    with Image.open(BytesIO(encode_jpeg(gradient(), quality=quality))) as image:
        assert isinstance(image, JpegImageFile)
        assert image.layer[0][1:3] == (layers, layers)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(encode_webp(gradient(), lossless=True, quality=80), id="lossless WebP"),
        pytest.param(encode_webp(gradient(), lossless=False, quality=80), id="lossy WebP"),
        pytest.param(encode_jpeg(gradient(), quality=80), id="JPEG"),
    ],
)
def test_encoders_write_no_metadata(file: bytes) -> None:
    with Image.open(BytesIO(file)) as image:
        assert not {"exif", "xmp", "icc_profile", "comment"} & image.info.keys()


@pytest.mark.parametrize("quality", [0, 101, -1])
def test_a_quality_that_there_is_not_is_refused(quality: int) -> None:
    with pytest.raises(ValueError, match=f"quality of 1 to 100, got {quality}"):
        encode_webp(gradient(), lossless=True, quality=quality)
    with pytest.raises(ValueError, match=f"quality of 1 to 100, got {quality}"):
        encode_jpeg(gradient(), quality=quality)


@pytest.mark.parametrize("level", [-1, 10])
@pytest.mark.parametrize("pixels", [gradient(), deep(3)], ids=str)
def test_a_level_that_there_is_not_is_refused(level: int, pixels: Pixels) -> None:
    with pytest.raises(ValueError, match=f"level of 0 to 9, got {level}"):
        encode_png(pixels, level)


@pytest.mark.parametrize("pixels", [gradient(channels=1), gradient(channels=2), deep(3)], ids=str)
def test_what_webp_cannot_hold_is_refused(pixels: Pixels) -> None:
    with pytest.raises(ValueError, match=f"rgb8 or rgba8 for WebP, got {pixels.layout}"):
        encode_webp(pixels, lossless=True, quality=80)


@pytest.mark.parametrize("pixels", [gradient(channels=4), gradient(channels=2), deep(1)], ids=str)
def test_what_jpeg_cannot_hold_is_refused(pixels: Pixels) -> None:
    with pytest.raises(ValueError, match=f"gray8 or rgb8 for JPEG, got {pixels.layout}"):
        encode_jpeg(pixels, quality=80)


def test_an_image_too_wide_is_refused_in_words() -> None:
    assert decode_pixels(encode_webp(black(16383), lossless=True, quality=1)) == black(16383)
    assert decode_pixels(encode_jpeg(black(65500), quality=1)).width == 65500
    with pytest.raises(
        ContainerError, match="at most 16383 pixels a side in WebP, got rgb8 1x16384"
    ):
        encode_webp(black(16384), lossless=True, quality=1)
    with pytest.raises(
        ContainerError, match="at most 65500 pixels a side in JPEG, got rgb8 1x65501"
    ):
        encode_jpeg(black(65501), quality=1)


def black(width: int) -> Pixels:
    return Pixels(bytes(3 * width), 1, width, 3)


def test_encoders_give_the_same_bytes_from_many_threads() -> None:
    images = [gradient(40, 40 + at) for at in range(8)]
    encoders: list[Callable[[Pixels], bytes]] = [
        encode_png,
        partial(encode_jpeg, quality=90),
        partial(encode_webp, lossless=True, quality=60),
    ]
    with ThreadPoolExecutor(4) as threads:
        for encode in encoders:
            assert list(threads.map(encode, images)) == [encode(image) for image in images]


def test_an_encoded_image_holds_nothing_but_the_image() -> None:
    image = Image.open(BytesIO(encode_png(gradient())))

    image.load()

    assert image.info == {}


def test_jpeg_decodes_as_pillow_decodes_it() -> None:
    image = Image.effect_noise((16, 8), 50).convert("RGB")
    file = saved(image, "JPEG")

    assert decode_pixels(file).samples == Image.open(BytesIO(file)).tobytes()


def test_one_bit_samples_are_widened_to_gray() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)

    assert decode_pixels(saved(image)) == pixels_of(0, 255)


def palette_image(*, transparent: bool) -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    return saved(image, transparency=0) if transparent else saved(image)


def test_a_palette_is_looked_up() -> None:
    assert decode_pixels(palette_image(transparent=False)) == pixels_of(
        10, 20, 30, 40, 50, 60, channels=3
    )


def test_a_transparent_palette_entry_gives_alpha() -> None:
    assert decode_pixels(palette_image(transparent=True)) == pixels_of(
        10, 20, 30, 0, 40, 50, 60, 255, channels=4
    )


def test_a_transparent_colour_gives_alpha() -> None:
    image = Image.new("L", (2, 1))
    image.putpixel((1, 0), 7)

    assert decode_pixels(saved(image, transparency=7)) == pixels_of(0, 255, 7, 0, channels=2)


def test_orientation_in_exif_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (3, 2))

    pixels = decode_pixels(saved(image, "JPEG", exif=exif.tobytes()))

    assert (pixels.height, pixels.width) == (2, 3)


def sixteen_bit(pixels: Pixels, *before: bytes) -> bytes:
    """Write a 16-bit PNG by hand: no filter, no compression."""
    size = len(pixels.samples) // pixels.height
    rows = [pixels.samples[at : at + size] for at in range(0, len(pixels.samples), size)]
    image = chunk_of(b"IDAT", stored(b"".join(b"\0" + row for row in rows)))
    header = header_of(pixels.width, pixels.height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[pixels.channels])
    return SIGNATURE + b"".join([header, *before, image]) + chunk_of(b"IEND")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_decoded_to_their_last_one(channels: int) -> None:
    pixels = deep(channels)

    assert decode_pixels(sixteen_bit(pixels)) == pixels


def test_interlaced_sixteen_bits_are_decoded() -> None:
    pixels = deep(3, height=1, width=1)
    plain = sixteen_bit(pixels)
    header = bytearray(header_of(1, 1, 16, 2)[8:21])
    header[12] = 1

    file = plain.replace(header_of(1, 1, 16, 2), chunk_of(b"IHDR", bytes(header)))

    assert file != plain
    assert decode_pixels(file) == pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_sixteen_bits_gives_alpha(channels: int) -> None:
    colour, near = b"\1\2" * channels, b"\1\2" * (channels - 1) + b"\1\3"
    file = sixteen_bit(
        Pixels(colour + near, 1, 2, channels, bits=16), chunk_of(b"tRNS", b"\1\2" * channels)
    )

    assert decode_pixels(file) == Pixels(
        colour + b"\0\0" + near + b"\xff\xff", 1, 2, channels + 1, bits=16
    )


def test_sixteen_bits_of_an_unknown_layout_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_PASSES_16", {})

    with pytest.raises(ContainerError, match="of 16 bits, got RGB;16B"):
        decode_pixels(sixteen_bit(deep(3)))


def test_half_a_file_of_sixteen_bits_is_refused() -> None:
    for channels in (1, 2, 3, 4):
        whole = encode_png(deep(channels, height=40, width=40))

        with pytest.raises(ContainerError, match="whole PNG, JPEG or WebP"):
            decode_pixels(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("file", "message"),
    [
        pytest.param(saved(Image.new("CMYK", (1, 1)), "JPEG"), "got CMYK", id="CMYK"),
        pytest.param(saved(Image.new("L", (1, 1)), "GIF"), "whole PNG, JPEG or WebP", id="a GIF"),
        pytest.param(b"", "whole PNG, JPEG or WebP", id="nothing"),
        pytest.param(encode_png(gradient())[:-30], "whole PNG", id="a cut PNG"),
        pytest.param(png_of().replace(b"IDAT", b"IDAX"), "whole PNG", id="a PNG without samples"),
        pytest.param(
            png_of().replace(header_of(1, 1), header_of(1, 1, colour=3)),
            "gray or RGB samples, got P",
            id="no palette",
        ),
        pytest.param(
            png_of(chunk_of(b"tRNS", b"x")).replace(header_of(1, 1), header_of(1, 1, colour=3)),
            "gray or RGB samples, got P",
            id="transparency without its palette",
        ),
        pytest.param(
            saved(Image.new("L", (1, 1)), save_all=True, append_images=[Image.new("L", (1, 1), 9)]),
            "one frame, got 2",
            id="an animation",
        ),
    ],
)
def test_what_cannot_be_decoded_whole_is_refused(file: bytes, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        decode_pixels(file)


def test_half_a_file_is_refused_whatever_another_pack_has_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = saved(Image.effect_noise((64, 64), 50), "JPEG")

    with pytest.raises(ContainerError, match="whole PNG, JPEG or WebP"):
        decode_pixels(whole[: len(whole) // 2])

    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_too_many_pixels_are_refused_from_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMAGE_PIXELS", 34)

    with pytest.raises(LimitError, match="at most 34 pixels, got 35"):
        decode_pixels(encode_png(gradient(5, 7)))


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = png_of().replace(header_of(1, 1), header_of(2**31 - 1, 2**31 - 1))

    with pytest.raises(LimitError, match="at most 268435456 pixels, got 46116"):
        decode_pixels(bomb)


def test_too_large_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMAGE_FILE_BYTES", 10)

    with pytest.raises(LimitError, match="at most 10 bytes, got 11"):
        decode_pixels(bytes(11))


def test_no_warning_of_pillow_escapes_and_its_settings_are_put_back() -> None:
    before = (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)
    # 100 million pixels: past the number at which Pillow warns.
    large = png_of().replace(header_of(1, 1), header_of(10_000, 10_000))

    with warnings.catch_warnings(record=True) as caught, pytest.raises(ContainerError):
        decode_pixels(large)

    assert caught == []
    after = (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)
    assert after == before


def test_equal_images_have_no_difference() -> None:
    assert measure_difference(gradient(), gradient()) == Difference(0, 0.0, None, 0.0, 255)


def test_a_difference_counts_pixels_and_not_samples() -> None:
    first = pixels_of(0, 0, 0, 0, 0, 0, channels=3)
    second = pixels_of(9, 0, 3, 0, 0, 0, channels=3)

    difference = measure_difference(first, second)

    assert difference.max_abs == 9
    assert difference.mean_abs == 2.0
    assert difference.psnr_db == pytest.approx(10 * math.log10(255**2 / 15))
    assert difference.differing_fraction == 0.5


def test_a_difference_does_not_wrap_around() -> None:
    assert measure_difference(pixels_of(0), pixels_of(255)).max_abs == 255
    assert difference_image(pixels_of(0, 255), pixels_of(255, 254)) == pixels_of(255, 1)


def test_a_difference_of_sixteen_bits_has_their_levels() -> None:
    first, second = Pixels(b"\0\0\1\0", 1, 2, 1, 16), Pixels(b"\xff\xff\0\xff", 1, 2, 1, 16)

    difference = measure_difference(first, second)

    assert (difference.max_abs, difference.mean_abs) == (65535, 32768.0)
    assert difference.peak == 65535
    assert difference.psnr_db == pytest.approx(10 * math.log10(65535**2 * 2 / (65535**2 + 1)))
    assert difference_image(first, second) == Pixels(b"\xff\xff\0\1", 1, 2, 1, 16)


def test_images_of_more_than_one_block_are_measured_whole() -> None:
    first = Pixels(bytes(3 * 2**21 + 6), 1, 2**21 + 2, 3)
    second = Pixels(b"\1" * len(first.samples), 1, 2**21 + 2, 3)

    assert measure_difference(first, second) == Difference(1, 1.0, 20 * math.log10(255), 1.0, 255)


def test_a_difference_agrees_with_numpy_in_floating_point() -> None:
    rng = np.random.default_rng(7)
    first, second = rng.integers(0, 256, (2, 9, 11, 4), dtype=np.uint8)
    delta = first.astype(float) - second

    difference = measure_difference(
        Pixels(first.tobytes(), 9, 11, 4), Pixels(second.tobytes(), 9, 11, 4)
    )

    assert difference.mean_abs == pytest.approx(np.abs(delta).mean())
    assert difference.psnr_db == pytest.approx(10 * np.log10(255**2 / np.square(delta).mean()))
    assert difference.differing_fraction == np.mean((delta != 0).any(axis=2))


def test_a_difference_of_sixteen_bits_agrees_with_numpy() -> None:
    rng = np.random.default_rng(8)
    first, second = rng.integers(0, 65536, (2, 9, 11, 3), dtype=np.uint16).astype(">u2")
    delta = first.astype(float) - second

    difference = measure_difference(
        Pixels(first.tobytes(), 9, 11, 3, 16), Pixels(second.tobytes(), 9, 11, 3, 16)
    )

    assert difference.max_abs == np.abs(delta).max()
    assert difference.mean_abs == pytest.approx(np.abs(delta).mean())
    assert difference.psnr_db == pytest.approx(10 * np.log10(65535**2 / np.square(delta).mean()))


def test_a_difference_gives_its_numbers_as_json() -> None:
    assert Difference(1, 0.5, None, 0.25, 65535).to_json() == {
        "max_abs": 1,
        "peak": 65535,
        "mean_abs": 0.5,
        "psnr_db": None,
        "differing_fraction": 0.25,
    }


@pytest.mark.parametrize("compare", [measure_difference, difference_image])
def test_images_of_two_geometries_cannot_be_compared(compare: object) -> None:
    assert callable(compare)

    with pytest.raises(ValueError, match="one geometry, got gray8 1x6 and rgb8 1x2"):
        compare(Pixels(bytes(6), 1, 6, 1), Pixels(bytes(6), 1, 2, 3))


def test_images_of_two_depths_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="one geometry, got rgb8 5x7 and rgb16 5x7"):
        measure_difference(gradient(), deep(3))


def test_a_png_that_claims_more_pixels_than_its_bytes_can_hold_is_refused_before_decoding() -> None:
    content = BytesIO()
    Image.new("1", (4096, 4096)).save(content, "PNG")
    whole = content.getvalue()
    cut = bytearray(whole[: whole.index(b"IDAT") + 40])

    assert decode_pixels(whole).width == 4096
    with pytest.raises(ContainerError, match="cannot hold them"):
        decode_pixels(bytes(cut))
