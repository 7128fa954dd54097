"""Samples are digested with their geometry, and decoded whole or not at all."""

from __future__ import annotations

import hashlib
import math
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFile

from comfyui_provenance import limits
from comfyui_provenance.containers.png import SIGNATURE
from comfyui_provenance.errors import ContainerError, LimitError
from comfyui_provenance.pixels import (
    Difference,
    Pixels,
    decode_pixels,
    difference_image,
    digest_pixels,
    encode_png,
    measure_difference,
)

from support.builders import chunk_of, gradient, header_of, pixels_of, png_of, stored


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_the_digest_binds_layout_height_and_width() -> None:
    digest = digest_pixels(Pixels(bytes(range(18)), 2, 3, 3))

    assert digest.algorithm == "sha256-rgb8"
    assert digest.hex == hashlib.sha256(b"rgb8 2x3\n" + bytes(range(18))).hexdigest()


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
    ],
)
def test_samples_that_do_not_fill_the_geometry_are_refused(
    geometry: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Pixels(bytes(11), *geometry)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("compress_level", [0, 4, 9])
def test_an_encoded_image_decodes_to_the_same_samples(channels: int, compress_level: int) -> None:
    pixels = gradient(channels=channels)

    assert decode_pixels(encode_png(pixels, compress_level)) == pixels


def test_an_encoded_image_holds_nothing_but_the_image() -> None:
    image = Image.open(BytesIO(encode_png(gradient())))

    image.load()

    assert image.info == {}


def test_lossless_webp_decodes_to_the_same_samples() -> None:
    pixels = gradient(channels=4)
    image = Image.frombytes("RGBA", (pixels.width, pixels.height), pixels.samples)

    assert decode_pixels(saved(image, "WEBP", lossless=True, exact=True)) == pixels


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


def sixteen_bit(colour: int, channels: int) -> bytes:
    row = b"\0" + bytes(2 * channels)
    image = chunk_of(b"IDAT", stored(row))
    return SIGNATURE + header_of(1, 1, 16, colour) + image + chunk_of(b"IEND")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        pytest.param(sixteen_bit(0, 1), "16-bit, which is not supported yet", id="16-bit gray"),
        pytest.param(sixteen_bit(2, 3), "16-bit, which is not supported yet", id="16-bit RGB"),
        pytest.param(sixteen_bit(4, 2), "16-bit", id="16-bit gray and alpha"),
        pytest.param(sixteen_bit(6, 4), "16-bit", id="16-bit RGB and alpha"),
        pytest.param(saved(Image.new("CMYK", (1, 1)), "JPEG"), "got CMYK", id="CMYK"),
        pytest.param(saved(Image.new("L", (1, 1)), "GIF"), "whole PNG, JPEG or WebP", id="a GIF"),
        pytest.param(b"", "whole PNG, JPEG or WebP", id="nothing"),
        pytest.param(encode_png(gradient())[:-30], "whole PNG", id="a cut PNG"),
        pytest.param(png_of().replace(b"IDAT", b"IDAX"), "whole PNG", id="a PNG without samples"),
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
    assert measure_difference(gradient(), gradient()) == Difference(0, 0.0, None, 0.0)


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


def test_images_of_more_than_one_block_are_measured_whole() -> None:
    first = Pixels(bytes(3 * 2**21 + 6), 1, 2**21 + 2, 3)
    second = Pixels(b"\1" * len(first.samples), 1, 2**21 + 2, 3)

    assert measure_difference(first, second) == Difference(1, 1.0, 20 * math.log10(255), 1.0)


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


def test_a_difference_gives_its_numbers_as_json() -> None:
    assert Difference(1, 0.5, None, 0.25).to_json() == {
        "max_abs": 1,
        "mean_abs": 0.5,
        "psnr_db": None,
        "differing_fraction": 0.25,
    }


@pytest.mark.parametrize("compare", [measure_difference, difference_image])
def test_images_of_two_geometries_cannot_be_compared(compare: object) -> None:
    assert callable(compare)

    with pytest.raises(ValueError, match="one geometry, got gray8 1x6 and rgb8 1x2"):
        compare(Pixels(bytes(6), 1, 6, 1), Pixels(bytes(6), 1, 2, 3))
