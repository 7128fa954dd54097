"""Laws of pixels: coding is lossless, and differences are a distance."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.pixels import (
    Pixels,
    decode_pixels,
    difference_image,
    digest_pixels,
    encode_png,
    measure_difference,
)

from support.strategies import deep_pixels, pixels

any_pixels = pixels() | deep_pixels()


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Pixels, Pixels]:
    """Draw two images of one geometry."""
    first = draw(any_pixels)
    size = len(first.samples)
    samples = draw(st.just(first.samples) | st.binary(min_size=size, max_size=size))
    return first, Pixels(samples, first.height, first.width, first.channels, first.bits)


@given(any_pixels, st.integers(0, 9))
def test_encoding_and_decoding_gives_the_image_back(image: Pixels, level: int) -> None:
    assert decode_pixels(encode_png(image, level)) == image


@given(any_pixels, any_pixels)
def test_digests_are_equal_for_equal_images_alone(first: Pixels, second: Pixels) -> None:
    assert (digest_pixels(first) == digest_pixels(second)) == (first == second)


@given(pairs())
def test_images_differ_where_their_bits_do(pair: tuple[Pixels, Pixels]) -> None:
    difference = measure_difference(*pair)

    is_equal = pair[0] == pair[1]
    assert (difference.max_abs == 0) == is_equal
    assert (difference.psnr_db is None) == is_equal
    assert (difference.differing_fraction == 0) == is_equal


@given(pairs())
def test_the_difference_is_the_same_both_ways(pair: tuple[Pixels, Pixels]) -> None:
    first, second = pair

    assert measure_difference(first, second) == measure_difference(second, first)
    assert difference_image(first, second) == difference_image(second, first)


@given(pairs())
def test_the_numbers_agree_with_plain_python(pair: tuple[Pixels, Pixels]) -> None:
    first, second = pair
    deltas = [abs(a - b) for a, b in zip(numbers_of(first), numbers_of(second), strict=True)]

    difference = measure_difference(first, second)

    assert difference.max_abs == max(deltas)
    assert difference.mean_abs == sum(deltas) / len(deltas)
    assert numbers_of(difference_image(first, second)) == deltas


def numbers_of(image: Pixels) -> list[int]:
    size = image.bits // 8
    starts = range(0, len(image.samples), size)
    return [int.from_bytes(image.samples[at : at + size]) for at in starts]
