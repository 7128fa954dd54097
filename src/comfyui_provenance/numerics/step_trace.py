"""Measures the latent after each step of a sampling, for the step trace of a record.

A `Step` is a pure function of the latent's float32 bytes: values become integers, signs and
buckets come from a fixed hash of the position, and sums of integers do not depend on their
order. So two machines, or two thread counts, give the same sketch for the same latent. What a
sketch is good for and how a record keeps it is told in `trace`.

Measured on one core of an AMD EPYC with SHA instructions, digest included: 0.1 ms a step for SD 1.5
(1x4x64x64), 0.3 ms for SDXL (1x4x128x128), 1.2 ms for Flux (1x16x128x128), 10 ms for Wan
(1x16x21x60x104); the first step of a new size takes 3 to 8 times as long, for the hashes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import torch

from ..canonical import JsonValue
from ..trace import BUCKETS, Sketch, Step, to_json, to_sketch
from .tensors import digest_tensor

_SUM_BITS: Final = 62
"""A sum of all absolute values stays below 2^62, and so any sum of them within int64."""

_BIN_BITS: Final = (2 * BUCKETS - 1).bit_length()
"""A bucket and a sign."""

_FLOAT32_MAX: Final = 2.0**128 - 2.0**104

_SIGNIFICANT: Final = ".9g"
"""Nine digits tell every float32 from its neighbours: a sigma is one."""


class StepTracer:
    """Collects the states of one sampling, in order.

    It keeps no tensor.
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []

    @property
    def steps(self) -> Sequence[Step]:
        """What was measured so far."""
        return tuple(self._steps)

    def add(self, sigma: float | None, latent: torch.Tensor) -> None:
        """Measure the next state; the first one is the noised latent, before any step.

        Args:
            sigma: As for `measure_step`.
            latent: As for `measure_step`.

        Raises:
            ValueError: As for `measure_step`.
        """
        self._steps.append(measure_step(len(self._steps), sigma, latent))

    def to_json(self) -> dict[str, JsonValue]:
        """Give the entry of a record's `trace`, but for its `node_id`.

        Raises:
            ValueError: There are no steps.
        """
        return to_json(self._steps)


def measure_step(index: int, sigma: float | None, latent: torch.Tensor) -> Step:
    """Measure a latent: its digest, and of each image of the batch its norm and sketch.

    Args:
        index: How many steps have been made.
        sigma: The noise level, kept to nine digits; `None` if the sampler does not tell.
        latent: Any real dtype, any device, shape (batch, ...); not changed, and copied once.

    Raises:
        ValueError: The latent has no values or no batch, or a number is out of range.
    """
    if latent.ndim == 0 or latent.numel() == 0:
        raise ValueError(f"expected a batch of latents, got shape {tuple(latent.shape)}")
    values = latent.detach().to(device="cpu", dtype=torch.float32).contiguous()
    return Step(
        index,
        None if sigma is None else float(format(sigma, _SIGNIFICANT)),
        digest_tensor(values),
        tuple(_measure_image(image) for image in values.reshape(len(values), -1)),
    )


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
