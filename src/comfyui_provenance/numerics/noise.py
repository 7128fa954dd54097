"""Gaussian noise for image sampling whose float32 bits are the same on every machine.

`torch.randn` promises its bits for one build on one kind of device. This noise depends on its
arguments alone, whatever the instruction set, number of threads, operating system and version
of torch, because nothing in it is left to a library's choice:

- The random bits are Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as
  easy as 1, 2, 3", SC 2011) of the position: integers, and no state to keep in step.
- The normal values are PPND16 of these (Wichura, algorithm AS 241, Applied Statistics 37, 1988)
  in float64, made of +, -, * and / only, each an operation of torch by itself. IEEE 754 allows
  one result for each of these. Nothing is fused, nothing is transcendental, nothing is summed.
  The square root is ours too: torch leaves that to MKL where it has it, which promises no more
  than one unit in the last place.
- One rounding to float32 at the end.

Two machines may still part on what a sampler does with the noise: the sigmas that scale it may
differ in the last place. A cast to float16 or bfloat16 and the device are the caller's.

A record names the noise by what it is made from, so that no bit of it can ever change.

Measured on an Intel Xeon with AVX512: 1 ms for SD 1.5 (4x64x64), 3 ms for SDXL (4x128x128), 12 ms
for Flux (16x128x128), with one thread as with more.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch

Sigma: TypeAlias = torch.Tensor | float
"""A noise level as samplers pass it: a number, or a tensor of one."""

_CPU: Final = torch.device("cpu")

_MASK: Final = 2**32 - 1

# Of Philox4x32-10: words of a block, multipliers, and what the words of the key grow by a round.
_WORDS: Final = 4
_ROUNDS: Final = 10
_MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)

_CHUNK_BLOCKS: Final = 8192
"""Worked on at once: 2^15 values stay in a core's cache, and are few enough for torch to use one
thread. Waiting for a second one took 5 times as long on a busy machine."""

# Coefficients of AS 241, lowest power first: of a quotient for probabilities within 0.425 of 1/2
# and of one for the tails. Its third, below exp(-25), is out of reach: ours are 2^-33 or more.
# fmt: off
_CENTRE_ABOVE: Final = (
    3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
    45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727,
)
_CENTRE_BELOW: Final = (
    1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
    21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610,
)
_TAIL_ABOVE: Final = (
    1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550,
    3.64784832476320460504, 1.27045825245236838258, 2.41780725177450611770e-1,
    2.27238449892691845833e-2, 7.74545014278341407640e-4,
)
_TAIL_BELOW: Final = (
    1.0, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1,
    1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
    1.05075007164441684324e-9,
)
# fmt: on

_ATANH: Final = tuple(2.0 / (2 * term + 1) for term in range(10))
"""Of 2 atanh(z) / z in powers of z^2, lowest first."""

_LN2_HIGH: Final = float.fromhex("0x1.62e42fefa3980p-1")
"""The logarithm of 2 cut after 46 bits: its product with an exponent up to 127 is exact."""

_LN2_LOW: Final = float.fromhex("0x1.bcd5e4f1d9cc0p-47")
"""What was cut off."""


def portable_normal(seed: int, image_key: int, draw: int, shape: Sequence[int]) -> torch.Tensor:
    """Give independent standard normal values, the same bits on every machine.

    The values of a shape are the first ones of any larger shape, in row-major order.

    Args:
        seed: Of the whole generation, 64 bits, unsigned.
        image_key: Which image of a batch, 64 bits, unsigned.
        draw: Which of the tensors that an image needs, 32 bits, unsigned.
        shape: Of one image, at most 2^34 values.

    Returns:
        float32 on the CPU, of absolute value below 6.4.

    Raises:
        ValueError: A number is out of its range.
    """
    _refuse_wider("seed", seed, 64)
    _refuse_wider("image key", image_key, 64)
    _refuse_wider("draw", draw, 32)
    if any(size < 0 for size in shape):
        raise ValueError(f"expected sizes of 0 or more, got shape {tuple(shape)}")
    count = math.prod(shape)
    if count > _WORDS << 32:
        raise ValueError(f"expected at most 2^34 values, got {count}")
    values = torch.empty(count, dtype=torch.float32, device=_CPU)
    counter = (draw, image_key & _MASK, image_key >> 32)
    key = (seed & _MASK, seed >> 32)
    for part, chunk in enumerate(torch.split(values, _WORDS * _CHUNK_BLOCKS)):
        blocks = torch.arange(-(-len(chunk) // _WORDS), dtype=torch.int64, device=_CPU)
        blocks.add_(part * _CHUNK_BLOCKS)
        words = _philox((blocks, *(torch.full_like(blocks, word) for word in counter)), key)
        chunk.copy_(_to_normal(words[: len(chunk)]))
    return values.reshape(tuple(shape))


class PortableNoise:
    """Gives a sampler of ComfyUI fresh noise at each call, as its `noise_sampler`."""

    def __init__(
        self, seed: int, image_keys: Sequence[int], shape: Sequence[int], first_draw: int = 1
    ) -> None:
        """Name the noise.

        Args:
            seed: As for `portable_normal`.
            image_keys: One for each image of the batch.
            shape: Of the whole batch, (batch, ...).
            first_draw: That of the first call; draw 0 is the noise that sampling starts from.

        Raises:
            ValueError: The batch has not as many images as there are keys, or a number is out
                of its range.
        """
        _refuse_wider("draw", first_draw, 32)
        self._batch = _Batch(seed, tuple(image_keys), tuple(shape))
        self._draw = first_draw

    def __call__(self, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Give the next draw.

        Args:
            sigma: Tells the device, where it is a tensor.
            sigma_next: Not used.

        Returns:
            float32, the shape of the batch, on the device of `sigma` or the CPU.

        Raises:
            ValueError: There is no draw left, after 2^32.
        """
        values = self._batch.normal(self._draw)
        self._draw += 1
        return values.to(_device_of(sigma))


class PortableBrownian:
    """Gives a sampler of ComfyUI the increments of one Brownian motion, as its `noise_sampler`.

    It stands in for `BrownianTreeNoiseSampler` of ComfyUI's `k_diffusion`, with the same law and
    the same sign: increments of intervals that overlap agree, and the way back has the other
    sign. Known times are kept in order, and a new one is drawn given its neighbours.

    Each call has two draws of its own, used for its two times where these are new. Were the
    draws counted by the new times, a sigma that equals an earlier one on one machine and misses
    it by an ulp on another would change all noise that follows. As it is, such an ulp moves a
    value by about sqrt(ulp / time passed), some 0.001, and an ulp elsewhere by less.

    It keeps 8 bytes for each value at each time that was asked for.
    """

    def __init__(
        self,
        seed: int,
        image_keys: Sequence[int],
        shape: Sequence[int],
        sigma_min: float,
        sigma_max: float,
        transform: Callable[[float], float] = float,
    ) -> None:
        """Name the motion: 0 at `sigma_min`, draw 1 scaled to its variance at `sigma_max`.

        Args:
            seed: As for `portable_normal`.
            image_keys: One for each image of the batch.
            shape: Of the whole batch, (batch, ...).
            sigma_min: The lowest sigma to be asked for, to the last bit.
            sigma_max: The highest; equal to `sigma_min` for a sampling of one step. Beyond the
                two the motion goes on.
            transform: From sigma to the time of the motion, strictly monotonic.

        Raises:
            ValueError: The batch has not as many images as there are keys, the sigmas are not
                in order, a time is not finite, or a number is out of its range.
        """
        if not sigma_min <= sigma_max:
            raise ValueError(f"expected sigmas in order, got {sigma_min} and {sigma_max}")
        self._batch = _Batch(seed, tuple(image_keys), tuple(shape))
        self._transform = transform
        self._times = [self._time(sigma_min)]
        self._points = [torch.zeros(self._batch.shape, dtype=torch.float64, device=_CPU)]
        self._calls = 0
        self._point(self._time(sigma_max), 1)

    def __call__(self, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Give the increment from `sigma` to `sigma_next`, of variance 1.

        Args:
            sigma: One number; tells the device, where it is a tensor.
            sigma_next: One number.

        Returns:
            `(W(sigma_next) - W(sigma)) / sqrt(time passed)`, or zeros where no time passes;
            float32, the shape of the batch, on the device of `sigma` or the CPU.

        Raises:
            ValueError: A time is not finite, or there is no draw left, after 2^31 calls.
        """
        start, end = self._time(sigma), self._time(sigma_next)
        self._calls += 1
        before = self._point(start, 2 * self._calls)
        increment = self._point(end, 2 * self._calls + 1) - before
        if start != end:
            # Multiplied: a kernel may well turn a division by a number into that.
            increment.mul_(1 / math.sqrt(abs(end - start)))
        return increment.to(torch.float32).to(_device_of(sigma))

    def _time(self, sigma: Sigma) -> float:
        time = self._transform(float(sigma))
        if not math.isfinite(time):
            raise ValueError(f"expected a finite time, got {time} for sigma {float(sigma)}")
        return time

    def _point(self, time: float, draw: int) -> torch.Tensor:
        """Give the motion at a time, drawing it if it is not known.

        Returns:
            float64, not to be changed.
        """
        index = bisect_left(self._times, time)
        if index == len(self._times) or self._times[index] != time:
            point = self._draw_point(time, index, draw)
            self._times.insert(index, time)
            self._points.insert(index, point)
        return self._points[index]

    def _draw_point(self, time: float, index: int, draw: int) -> torch.Tensor:
        """Draw the motion at a new time, which belongs before the known one at `index`.

        Between two known times it is a Brownian bridge: its mean is linear, its variance
        (t - a) (b - t) / (b - a).
        """
        normal = self._batch.normal(draw).double()
        if index in {0, len(self._times)}:
            end = min(index, len(self._times) - 1)
            return normal.mul_(math.sqrt(abs(time - self._times[end]))).add_(self._points[end])
        before, after = self._times[index - 1 : index + 1]
        left, right = self._points[index - 1 : index + 1]
        share = (time - before) / (after - before)
        mean = (right - left).mul_(share).add_(left)
        return normal.mul_(math.sqrt(share * (after - time))).add_(mean)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Noise for several images at once.

    Attributes:
        seed: As for `portable_normal`.
        image_keys: One for each image.
        shape: (batch, ...).
    """

    seed: int
    image_keys: tuple[int, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.image_keys or self.shape[:1] != (len(self.image_keys),):
            raise ValueError(
                f"expected an image for each key, got {len(self.image_keys)} keys"
                f" and shape {self.shape}"
            )
        _refuse_wider("seed", self.seed, 64)
        for image_key in self.image_keys:
            _refuse_wider("image key", image_key, 64)

    def normal(self, draw: int) -> torch.Tensor:
        """Give one draw of every image, float32 on the CPU."""
        shape = self.shape[1:]
        return torch.stack(
            [portable_normal(self.seed, key, draw, shape) for key in self.image_keys]
        )


def _refuse_wider(name: str, number: int, bits: int) -> None:
    if not 0 <= number < 1 << bits:
        raise ValueError(f"expected {name} of 0 to 2^{bits} - 1, got {number}")


def _device_of(sigma: Sigma) -> torch.device:
    return sigma.device if isinstance(sigma, torch.Tensor) else _CPU


def _philox(counter: Sequence[torch.Tensor], key: tuple[int, int]) -> torch.Tensor:
    """Give the 128 random bits of each counter: Philox4x32-10.

    A product of two words may pass 2^63: int64 multiplies modulo 2^64, and the bits are those
    of the unsigned product.

    Args:
        counter: Four words, each int64 of shape (blocks,) and in [0, 2^32).
        key: Two words in [0, 2^32).

    Returns:
        int64 in [0, 2^32), the four words of the first block, then those of the next.
    """
    word0, word1, word2, word3 = counter
    key0, key1 = key
    for _ in range(_ROUNDS):
        product0, product1 = word0 * _MULTIPLIERS[0], word2 * _MULTIPLIERS[1]
        word0 = (product1 >> 32).bitwise_xor_(word1).bitwise_xor_(key0).bitwise_and_(_MASK)
        word2 = (product0 >> 32).bitwise_xor_(word3).bitwise_xor_(key1).bitwise_and_(_MASK)
        # Low words that keep the high ones above them: these are masked off where they are used.
        word1, word3 = product1, product0
        key0, key1 = (key0 + _WEYL[0]) & _MASK, (key1 + _WEYL[1]) & _MASK
    return torch.stack((word0, word1, word2, word3), dim=-1).flatten().bitwise_and_(_MASK)


def _to_normal(words: torch.Tensor) -> torch.Tensor:
    """Turn random words into normal values: the quantiles of (word + 1/2) / 2^32, by AS 241.

    Args:
        words: int64 in [0, 2^32), flat.

    Returns:
        float64, within 1e-15 of the true quantile, relative.
    """
    # Exact: the distance of the probability from 1/2, of 33 bits.
    distance = words.double().sub_(2.0**31 - 0.5).mul_(2.0**-32)
    r = (distance * distance).neg_().add_(0.180625)
    values = _polynomial(r, _CENTRE_ABOVE).div_(_polynomial(r, _CENTRE_BELOW)).mul_(distance)
    tails = (distance.abs() > 0.425).nonzero().flatten()
    # Not by brackets, which wake other threads for these few.
    distance = distance.index_select(0, tails)
    r = _sqrt(_log(distance.abs().neg_().add_(0.5)).neg_()).sub_(1.6)
    far = _polynomial(r, _TAIL_ABOVE).div_(_polynomial(r, _TAIL_BELOW))
    return values.index_copy_(0, tails, far.copysign_(distance))


def _polynomial(x: torch.Tensor, coefficients: Sequence[float]) -> torch.Tensor:
    """Evaluate by Horner's rule, rounding after each product and each sum.

    Args:
        x: float64.
        coefficients: Two or more, lowest power first.
    """
    *lower, highest = coefficients
    total = x * highest
    for coefficient in reversed(lower[1:]):
        total.add_(coefficient).mul_(x)
    return total.add_(lower[0])


def _log(x: torch.Tensor) -> torch.Tensor:
    """Give natural logarithms.

    `x = m 2^e` with m in [1/sqrt(2), sqrt(2)), where log m = 2 atanh((m - 1) / (m + 1)). The
    series leaves out less than 3e-17 of log m: z^2 is at most 0.0295, and the eleventh of its
    terms 0.0295^10 / 21 of the first.

    Args:
        x: float64, from 2^-127 to 2^127.
    """
    mantissa, exponent = torch.frexp(x)
    low = mantissa < math.sqrt(0.5)
    mantissa = torch.where(low, mantissa * 2.0, mantissa)
    exponent = (exponent - low.to(exponent.dtype)).double()
    z = (mantissa - 1.0).div_(mantissa + 1.0)
    log_mantissa = _polynomial(z * z, _ATANH).mul_(z)
    return log_mantissa.add_(exponent * _LN2_LOW).add_(exponent * _LN2_HIGH)


def _sqrt(x: torch.Tensor) -> torch.Tensor:
    """Give square roots by Heron's rule.

    The line that it starts from is off by less than 9 %, and each turn halves the square of
    what it is off by: after four turns that is far below the rounding.

    Args:
        x: float64, from 2.5 to 23.
    """
    root = (x * 0.165).add_(1.3)
    for _ in range(4):
        root = (x / root).add_(root).mul_(0.5)
    return root
