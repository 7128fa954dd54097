"""Laws of noise: the random words are Philox's, and a motion is one motion however it is asked."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyui_provenance.numerics import noise
from comfyui_provenance.numerics.noise import PortableBrownian, portable_normal

words = st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
names = st.integers(0, 2**64 - 1)
shapes = st.lists(st.integers(0, 9), max_size=4)
sigmas = st.floats(2**-10, 100, width=32)


def philox_in_integers(counter: list[int], key: list[int]) -> list[int]:
    """Compute Philox4x32-10 as its paper draws it, in Python's integers."""
    for at in range(10):
        high0, low0 = divmod(counter[0] * 0xD2511F53, 2**32)
        high1, low1 = divmod(counter[2] * 0xCD9E8D57, 2**32)
        key0, key1 = (key[0] + at * 0x9E3779B9) % 2**32, (key[1] + at * 0xBB67AE85) % 2**32
        counter = [high1 ^ counter[1] ^ key0, low1, high0 ^ counter[3] ^ key1, low0]
    return counter


def motion(image_key: int) -> PortableBrownian:
    return PortableBrownian(1, [image_key], (1, 3), 0.03, 14.6)


@given(st.lists(st.tuples(words, words, words, words), min_size=1, max_size=5), words, words)
def test_random_words_are_philox_of_the_counter(
    counters: list[tuple[int, int, int, int]], key0: int, key1: int
) -> None:
    columns = [torch.tensor(column) for column in zip(*counters, strict=True)]

    found = noise._philox(columns, (key0, key1))

    expected = [philox_in_integers(list(counter), [key0, key1]) for counter in counters]
    assert found.reshape(-1, 4).tolist() == expected


@given(names, names, words, shapes, st.integers(0, 50))
def test_a_smaller_tensor_is_the_start_of_a_larger_one(
    seed: int, image_key: int, draw: int, shape: list[int], more: int
) -> None:
    smaller = portable_normal(seed, image_key, draw, shape)

    larger = portable_normal(seed, image_key, draw, [math.prod(shape) + more])
    assert list(smaller.shape) == shape
    assert torch.equal(smaller.flatten(), larger[: smaller.numel()])
    assert bool((larger.abs() < 6.4).all())


@settings(max_examples=50)
@given(names, st.lists(st.tuples(sigmas, sigmas), max_size=6), sigmas, sigmas, sigmas)
def test_parts_of_a_motion_add_up_whatever_was_asked_before(
    image_key: int, asked: list[tuple[float, float]], start: float, between: float, end: float
) -> None:
    brownian = motion(image_key)
    for pair in asked:
        brownian(*pair)

    def unscaled(one: float, other: float) -> torch.Tensor:
        return brownian(one, other).double() * math.sqrt(abs(other - one))

    parts = unscaled(start, between) + unscaled(between, end)
    assert float((parts - unscaled(start, end)).abs().max()) < 1e-4
    assert torch.equal(brownian(start, end), -brownian(end, start))


@settings(max_examples=50)
@given(names, st.lists(st.tuples(sigmas, sigmas), min_size=1, max_size=6))
def test_what_was_answered_stays_true(image_key: int, asked: list[tuple[float, float]]) -> None:
    brownian = motion(image_key)

    answers = [brownian(*pair) for pair in asked]

    assert bool(torch.stack(answers).isfinite().all())
    for pair, answer in zip(asked, answers, strict=True):
        assert torch.equal(brownian(*pair), answer)
