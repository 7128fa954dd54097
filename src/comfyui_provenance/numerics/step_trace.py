"""Measures the latent after each step of a sampling, for the step trace of a record.

A `Step` is a pure function of the latent's float32 bytes: values become integers, signs and
buckets come from a fixed hash of the position, and sums of integers do not depend on their
order. So two machines, or two thread counts, give the same sketch for the same latent. What a
sketch is good for and how a record keeps it is told in `trace`.

Measured on one thread of an Intel Xeon with SHA instructions, digest included: 0.2 ms a step for
SD 1.5 (1x4x64x64), 0.7 ms for SDXL (1x4x128x128), 2.6 ms for Flux (1x16x128x128), 25 ms for Wan
(1x16x21x60x104), and half that on an AMD EPYC; the first step of a new size takes 3 to 8 times as
long, for the hashes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import torch

from ..canonical import JsonValue
from ..trace import (
    BUCKETS,
    COUNT_BITS,
    DIGEST_BYTES,
    EXPONENTS,
    IMAGE_COUNT,
    STEP_COUNT,
    Sketch,
    Step,
    to_json,
)
from .tensors import TensorDigest

_SUM_BITS: Final = 62
"""A sum of all absolute values stays below 2^62, and so any sum of them within int64."""

_BIN_BITS: Final = (2 * BUCKETS - 1).bit_length()
"""A bucket and a sign."""

_FLOAT32_MAX: Final = 2.0**128 - 2.0**104

_SIGNIFICANT: Final = ".9g"
"""Nine digits tell every float32 from its neighbours: a sigma is one."""


class StepTracer:
    """Collects the states of one sampling, whose batch may arrive in pieces.

    Where each image is sampled alone, every state of the first image comes before any of the
    second. How a batch is cut leaves no mark. No tensor is kept.

    Args:
        batch_size: Images of the whole batch, from 1 to `IMAGE_COUNT`.

    Raises:
        ValueError: The batch size is out of range.
    """

    def __init__(self, batch_size: int) -> None:
        if not 1 <= batch_size <= IMAGE_COUNT:
            raise ValueError(f"expected 1 to {IMAGE_COUNT} images, got {batch_size}")
        self._batch_size = batch_size
        self._states: list[_State] = []

    def add(self, index: int, sigma: float | None, images: torch.Tensor) -> None:
        """Measure the next images of a state, those that it does not have yet.

        Nothing is taken from what is refused.

        Args:
            index: How many steps have been made: 0 is the noised latent that went in. A state
                comes after those before it.
            sigma: The noise level, kept to nine digits; `None` if the sampler does not tell.
            images: Any real dtype, any device, shape (images, ...); not changed, and copied
                once.

        Raises:
            ValueError: There are no values, or more images than the batch has; the state is
                out of order; or shape or sigma are not those of the state's other images.
        """
        if images.ndim == 0 or images.numel() == 0:
            raise ValueError(f"expected a batch of latents, got shape {tuple(images.shape)}")
        last = min(len(self._states), STEP_COUNT - 1)
        if not 0 <= index <= last:
            raise ValueError(f"expected a state from 0 to {last}, got {index}")
        kept = None if sigma is None else float(format(sigma, _SIGNIFICANT))
        if index == len(self._states):
            state = _State(kept, (self._batch_size, *images.shape[1:]))
            state.add(images)
            self._states.append(state)
            return
        state = self._states[index]
        if kept != state.sigma:
            raise ValueError(f"expected sigma {state.sigma}, got {kept}")
        state.add(images)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The states, in order.

        Raises:
            ValueError: A state lacks images, as where they made different numbers of steps,
                or its sigma is out of range.
        """
        return tuple(state.to_step(index) for index, state in enumerate(self._states))

    def to_json(self) -> dict[str, JsonValue]:
        """Give the entry of a record's `trace`, but for its `node_id`.

        Raises:
            ValueError: There are no steps, or as for `steps`.
        """
        return to_json(self.steps)


class _State:
    """The latent at one moment: what is known of the images that have arrived."""

    def __init__(self, sigma: float | None, shape: tuple[int, ...]) -> None:
        self.sigma = sigma
        self._shape = shape
        self._digest = TensorDigest(shape)
        self._sketches: list[Sketch | None] = []

    def add(self, images: torch.Tensor) -> None:
        missing = self._shape[0] - len(self._sketches)
        if images.shape[1:] != self._shape[1:]:
            raise ValueError(f"expected images of {self._shape[1:]}, got {tuple(images.shape[1:])}")
        if len(images) > missing:
            raise ValueError(f"expected at most {missing} images, got {len(images)}")
        values = images.detach().to(device="cpu", dtype=torch.float32).contiguous()
        sketches = [_measure_image(image) for image in values.reshape(len(values), -1)]
        self._digest.update(values)
        self._sketches.extend(sketches)

    def to_step(self, index: int) -> Step:
        if len(self._sketches) != self._shape[0]:
            raise ValueError(
                f"state {index}: expected {self._shape[0]} images, got {len(self._sketches)}"
            )
        prefix = bytes.fromhex(self._digest.digest().hex)[:DIGEST_BYTES]
        return Step(index, self.sigma, prefix, tuple(self._sketches))


def _measure_image(image: torch.Tensor) -> Sketch | None:
    """Sketch one image.

    Args:
        image: float32, flat, on the CPU.

    Returns:
        `None` for one that has NaN or an infinity, or a norm past float32.
    """
    peak = float(image.abs().max())
    if not math.isfinite(peak):
        return None
    # As many bits as sums can hold: exact for float32 of ordinary size, whatever the scale.
    count_bits = image.numel().bit_length()
    _, peak_bits = math.frexp(peak)
    fraction_bits = _SUM_BITS - count_bits - peak_bits
    # float64: it holds a float32 times a power of 2 exactly, so that nothing is rounded twice.
    numbers = image.double().mul_(2.0**fraction_bits).round_().to(torch.int64)
    norm = _measure_norm(numbers, count_bits) * 2.0**-fraction_bits
    if norm > _FLOAT32_MAX:
        return None
    sums = torch.zeros(2 * BUCKETS, dtype=torch.int64, device="cpu")
    plus, minus = sums.scatter_add_(0, _bins(image.numel()).long(), numbers).view(2, BUCKETS)
    return to_sketch(_to_float32(norm), [int(total) for total in plus - minus], fraction_bits)


def to_sketch(norm: float, sums: Sequence[int], fraction_bits: int) -> Sketch:
    """Round exact sums to the counts that a record keeps.

    Args:
        norm: L2 norm of the values; finite.
        sums: `BUCKETS` integers of any size, by bucket.
        fraction_bits: A sum times 2 to minus this power is one of values.
    """
    largest = max(abs(total) for total in sums)
    shift = max(0, largest.bit_length() - COUNT_BITS + 1, fraction_bits + EXPONENTS.start)
    if _shift_rounding(largest, shift).bit_length() == COUNT_BITS:  # rounding gave it one bit more
        shift += 1
    counts = tuple(_shift_rounding(total, shift) for total in sums)
    return Sketch(norm, shift - fraction_bits, counts)


def _shift_rounding(number: int, bits: int) -> int:
    """Divide by a power of 2, rounding halves up."""
    return (number + (1 << bits >> 1)) >> bits


def _measure_norm(numbers: torch.Tensor, count_bits: int) -> float:
    """Give the L2 norm of integers of at most 2^(62 - count_bits), to five digits or better.

    They are rounded so that the sum of squares fits: a sum of floats would depend on the
    number of threads.
    """
    number_bits = _SUM_BITS - count_bits
    shift = number_bits - number_bits // 2
    high = (numbers + (1 << shift >> 1)) >> shift
    return math.sqrt(int(high.mul_(high).sum())) * 2.0**shift


def _to_float32(number: float) -> float:
    return torch.tensor(number, dtype=torch.float32, device="cpu").item()


@lru_cache(maxsize=2)
def _bins(count: int) -> torch.Tensor:
    """Give each position its bin: bucket `b` with sign plus is `b`, with minus `BUCKETS + b`.

    The five high bits of splitmix64 (Steele, Lea and Flood, 2014) of the position; int64
    multiplies modulo 2^64 like the uint64 of its definition.

    Returns:
        uint8, as long as `count`. The last two are kept: a sampling's states have one size.
    """
    state = torch.arange(1, count + 1, dtype=torch.int64, device="cpu")
    state.mul_(_signed(0x9E3779B97F4A7C15))
    state.bitwise_xor_(_shift_right(state, 30)).mul_(_signed(0xBF58476D1CE4E5B9))
    state.bitwise_xor_(_shift_right(state, 27)).mul_(_signed(0x94D049BB133111EB))
    state.bitwise_xor_(_shift_right(state, 31))
    return _shift_right(state, 64 - _BIN_BITS).to(torch.uint8)


def _shift_right(state: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift in zeros, as for unsigned numbers."""
    return (state >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    """Give the int64 with the bits of a uint64."""
    return number - 2**64 if number >= 2**63 else number
