"""Step traces: a small account of the latent after each step, and where two of them part.

A trace tells at which step two runs of one recipe part, how far apart they are there and
how far at the end; a wrong seed, a changed weight and another kernel look different.

Of each state a trace holds half the digest of the whole latent, which decides whether two are
the same, and of each image of its batch a sketch, which tells how far apart they are when
they are not. A sketch is `BUCKETS` sums of the image's values, each value with a sign and in
a bucket fixed by its position (`numerics.step_trace` makes them). It is linear, so the
difference of two sketches is the sketch of the difference, and the expected sum of its
squares is the square of the difference's L2 norm.

How exact that is: for a difference spread over the latent, the estimate is within 0.70 to
1.31 times the truth in 90 of 100 pairs, and within a factor of 2 in 998 of 1000, from 1e-6
to 1 (`tests/core/numerics/test_step_trace.py` measures it anew).

What it cannot see: the sums are rounded to `COUNT_BITS` bits. `Estimate.floor` gives for each
pair what that hides: 1e-7 to 8e-7 of the latent's norm, mostly 2e-7 to 4e-7. So a change of
every value by one unit in the last place (9e-8) is below the floor, and one of 3e-7 above it
in 6 of 10 pairs; the digest tells both. A change of few values can fall in one bucket with
opposite signs and cancel; the digest still tells it. 128 bits of a digest and public signs
are evidence against mistakes, not against a forger. Latents of different shape give an
estimate without meaning: compare shapes first.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .canonical import JsonValue
from .errors import LimitError, RecordError

FORMAT: Final = "sha256-f32/128+sketch-16x24"
"""What is written. The name fixes every parameter of digests and sketches."""

BUCKETS: Final = 16
DIGEST_BYTES: Final = 16
COUNT_BITS: Final = 24
"""Of one count, its sign included. A trace of 20 steps of one image has 1953 characters of base64
so; 26 bits and whole digests, the format before, have 2499."""

EXPONENTS: Final = range(-128, 128)
"""Of a sketch: what a byte holds. Sums of float32 reach 2^127 at most and vanish below 2^-128."""

STEP_COUNT: Final = 10_001
"""States of one sampling. ComfyUI's KSampler allows 10 000 steps."""

IMAGE_COUNT: Final = 4096
"""Images of one batch: what ComfyUI's empty latents allow."""

_HEAD: Final = struct.Struct("<fb")
"""Of a packed sketch: the norm as float32, then the exponent."""

_EXACT_INTEGER: Final = 2**53

_LAYOUTS: Final = {FORMAT: (DIGEST_BYTES, COUNT_BITS), "sha256-f32+sketch-16x26": (32, 26)}
"""By every format ever written, the bytes of a digest and the bits of a count."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A count-sketch of one image's latent.

    Attributes:
        norm: L2 norm of the latent, a float32, from 0.
        exponent: A count times 2 to this power is a sum of signed values.
        counts: `BUCKETS` integers of `count_bits` bits, by bucket.
        count_bits: `COUNT_BITS`, or what an older format had.

    Raises:
        ValueError: A value is out of range.
    """

    norm: float
    exponent: int
    counts: tuple[int, ...]
    count_bits: int = COUNT_BITS

    def __post_init__(self) -> None:
        if not (math.isfinite(self.norm) and self.norm >= 0):
            raise ValueError(f"expected a finite norm from 0, got {self.norm}")
        if self.exponent not in EXPONENTS:
            raise ValueError(f"expected an exponent from -128 to 127, got {self.exponent}")
        if len(self.counts) != BUCKETS:
            raise ValueError(f"expected {BUCKETS} counts, got {len(self.counts)}")
        limit = 1 << (self.count_bits - 1)
        if not all(-limit <= count < limit for count in self.counts):
            raise ValueError(f"expected counts of {self.count_bits} bits, got {self.counts}")


@dataclass(frozen=True, slots=True)
class Step:
    """The latent at one moment of a sampling.

    Attributes:
        index: How many steps have been made: 0 is the noised latent that went in.
        sigma: The noise level there, below 2^53; `None` if the sampler does not tell.
        digest_prefix: The first `DIGEST_BYTES` bytes of `sha256-f32` of the whole latent, every
            image of the batch.
        sketches: One for each image of the batch, in order; `None` for an image that has
            NaN or an infinity in it, or a norm past float32.

    Raises:
        ValueError: A value is out of range.
    """

    index: int
    sigma: float | None
    digest_prefix: bytes
    sketches: tuple[Sketch | None, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.index < STEP_COUNT:
            raise ValueError(f"expected an index from 0 to {STEP_COUNT - 1}, got {self.index}")
        if self.sigma is not None and not abs(self.sigma) < _EXACT_INTEGER:
            raise ValueError(f"expected a finite sigma below 2^53, got {self.sigma}")
        if len(self.digest_prefix) != DIGEST_BYTES:
            raise ValueError(f"expected {DIGEST_BYTES} bytes, got {len(self.digest_prefix)}")
        if not 1 <= len(self.sketches) <= IMAGE_COUNT:
            raise ValueError(f"expected 1 to {IMAGE_COUNT} images, got {len(self.sketches)}")


@dataclass(frozen=True, slots=True)
class Estimate:
    """How far two latents are apart, as a part of the recorded one's L2 norm.

    Attributes:
        value: Of the L2 norm of the difference; of a batch, for the image where it is largest.
        floor: What the rounding of the sketches alone gives. A value not above it says
            that the difference is at most about that large.
    """

    value: float
    floor: float

    def __str__(self) -> str:
        if self.value > self.floor:
            return f"about {self.value:.2g} of the latent's size"
        return f"less than {self.floor:.0e} of the latent's size"


@dataclass(frozen=True, slots=True)
class TraceDifference:
    """Where two traces part, and how far.

    Attributes:
        first_step: The first state that differs or that only one trace has; 0 is the
            noised latent that went into the sampling.
        last_step: The last state that both have.
        recorded_steps: Steps of the recorded run.
        steps_now: Steps of the other run.
        differing: States, of those that both have, that differ.
        images: Positions in the batch of the images whose sketches differ anywhere.
        at_first: How far apart they are at `first_step`; `None` where that is unknown.
        at_last: The same for `last_step`; `None` too where they are equal there.
        equal_at_last: Whether they are the same at `last_step`, bit for bit.
    """

    first_step: int
    last_step: int
    recorded_steps: int
    steps_now: int
    differing: int
    images: tuple[int, ...]
    at_first: Estimate | None
    at_last: Estimate | None
    equal_at_last: bool

    @property
    def is_noise(self) -> bool:
        """Whether the latents differed before the first step: another noise or input."""
        return self.first_step == 0

    def __str__(self) -> str:
        """Tell it in one sentence for a report, without a full stop."""
        counts = f"{self.recorded_steps}"
        if self.steps_now != self.recorded_steps:
            counts = f"{self.recorded_steps} (now {self.steps_now})"
        if self.first_step > self.last_step:
            return f"the runs are the same up to step {self.last_step}, of {counts}"
        there = _words(self.at_first)
        if self.first_step == self.last_step:
            end = ""
        elif self.equal_at_last:
            end = f", and are the same again at step {self.last_step}"
        else:
            at_end = _words(self.at_last, short=self.at_first is not None)
            end = f" and {at_end} at step {self.last_step}"
        if self.is_noise:
            return f"the runs differ before the first step of {counts}, by {there}{end}"
        return f"the runs part at step {self.first_step} of {counts}, by {there} there{end}"


def compare_traces(recorded: Sequence[Step], now: Sequence[Step]) -> TraceDifference | None:
    """Find where two traces of one sampling part.

    Args:
        recorded: At least one step, in order from index 0, as `parse_trace` gives.
        now: The same.

    Returns:
        `None` if every state is the same, bit for bit.

    Raises:
        ValueError: A trace is empty: nothing compared is not agreement.
    """
    if not recorded or not now:
        raise ValueError("expected traces of at least one step, got an empty one")
    pairs = list(zip(recorded, now, strict=False))
    prefixes = [(before.digest_prefix, after.digest_prefix) for before, after in pairs]
    differing = [at for at, (before, after) in enumerate(prefixes) if before != after]
    if not differing and len(recorded) == len(now):
        return None
    first = differing[0] if differing else len(pairs)
    last = len(pairs) - 1
    differs_at_last = bool(differing) and differing[-1] == last
    return TraceDifference(
        first_step=first,
        last_step=last,
        recorded_steps=len(recorded) - 1,
        steps_now=len(now) - 1,
        differing=len(differing),
        images=_differing_images(pairs),
        at_first=estimate_difference(*pairs[first]) if differing else None,
        at_last=estimate_difference(*pairs[last]) if differs_at_last else None,
        equal_at_last=not differs_at_last,
    )


def tell_difference(recorded: JsonValue, now: JsonValue) -> str:
    """Say where two samplings part, from their entries of `trace`, without a full stop."""
    try:
        difference = compare_traces(parse_trace(recorded), parse_trace(now))
    except (RecordError, ValueError) as error:
        return f"its steps cannot be compared: {error}"
    if difference is None:
        return "the latent is the same bits after every step, so the runs part later"
    return str(difference)


def estimate_difference(recorded: Step, now: Step) -> Estimate | None:
    """Estimate how far two latents are apart, for the image where it is most.

    Returns:
        `None` where it is unknown: batches of different size, an image without a sketch,
        or a recorded latent of zeros.
    """
    if len(recorded.sketches) != len(now.sketches):
        return None
    estimates: list[Estimate] = []
    for before, after in zip(recorded.sketches, now.sketches, strict=True):
        if before is None or after is None or before.norm == 0:
            return None
        estimates.append(_estimate(before, after))
    return max(estimates, key=lambda estimate: (estimate.value, estimate.floor))


def to_json(steps: Sequence[Step]) -> dict[str, JsonValue]:
    """Give the entry of a record's `trace` for one sampling, but for its `node_id`.

    Args:
        steps: In order, from index 0 without gaps.

    Raises:
        ValueError: The steps are none, too many, out of order, or of an older format.
    """
    if not 1 <= len(steps) <= STEP_COUNT:
        raise ValueError(f"expected 1 to {STEP_COUNT} steps, got {len(steps)}")
    if [step.index for step in steps] != list(range(len(steps))):
        raise ValueError("expected steps in order from 0")
    return {"format": FORMAT, "steps": [_dump_step(step) for step in steps]}


def parse_trace(value: JsonValue) -> tuple[Step, ...]:
    """Parse one entry of a record's `trace`: the steps of one sampling, in any of its formats.

    Fields other than `format` and `steps` are not looked at.

    Returns:
        At least one step, in order; the position in the list is the index.

    Raises:
        RecordError: It is not a trace, or one of a format that is not known.
        LimitError: It has more steps or images than we agree to read.
    """
    if not isinstance(value, dict):
        raise RecordError(f"trace: expected an object, got {type(value).__name__}")
    name = value.get("format")
    layout = _LAYOUTS.get(name) if isinstance(name, str) else None
    if layout is None:
        raise RecordError(f"trace: expected format {' or '.join(_LAYOUTS)}, got {name!a:.80}")
    steps = value.get("steps")
    if not isinstance(steps, list) or not steps:
        raise RecordError("trace: expected a list of at least one step")
    if len(steps) > STEP_COUNT:
        raise LimitError(f"trace: expected at most {STEP_COUNT} steps, got {len(steps)}")
    return tuple(_parse_step(index, step, *layout) for index, step in enumerate(steps))


def _estimate(recorded: Sketch, now: Sketch) -> Estimate:
    """Estimate as a part of `recorded.norm`, which is not 0."""
    distance, floor = _measure_distance(recorded, now)
    return Estimate(distance / recorded.norm, floor / recorded.norm)


def _measure_distance(recorded: Sketch, now: Sketch) -> tuple[float, float]:
    """Give the estimated L2 norm of the difference, and the floor of it."""
    squares = math.fsum(
        (math.ldexp(before, recorded.exponent) - math.ldexp(after, now.exponent)) ** 2
        for before, after in zip(recorded.counts, now.counts, strict=True)
    )
    # Rounding to a unit has a variance of unit^2 / 12.
    units = math.ldexp(1.0, 2 * recorded.exponent) + math.ldexp(1.0, 2 * now.exponent)
    noise = BUCKETS * units / 12
    return math.sqrt(max(0.0, squares - noise)), 2 * math.sqrt(noise)


def _differing_images(pairs: Sequence[tuple[Step, Step]]) -> tuple[int, ...]:
    found = {
        at
        for recorded, now in pairs
        for at, sketches in enumerate(zip(recorded.sketches, now.sketches, strict=False))
        if _is_other_image(*sketches)
    }
    return tuple(sorted(found))


def _is_other_image(recorded: Sketch | None, now: Sketch | None) -> bool:
    if recorded is None or now is None or recorded.count_bits == now.count_bits:
        return recorded != now
    # One image has two sketches in two formats: counts that differ by half the larger unit at
    # most, so below the floor, and the same norm.
    distance, floor = _measure_distance(recorded, now)
    return recorded.norm != now.norm or distance > floor


def _words(estimate: Estimate | None, *, short: bool = False) -> str:
    text = str(estimate) if estimate is not None else "an unknown amount"
    return text.removesuffix(" of the latent's size") if short else text


def _dump_step(step: Step) -> JsonValue:
    sketches: list[JsonValue] = [
        None if sketch is None else _to_base64(_pack(sketch)) for sketch in step.sketches
    ]
    return [step.sigma, _to_base64(step.digest_prefix), *sketches]


def _parse_step(index: int, value: JsonValue, digest_bytes: int, count_bits: int) -> Step:
    if not isinstance(value, list) or len(value) < 3:
        raise RecordError(f"step {index}: expected a list of sigma, digest and sketches")
    sigma, digest, *sketches = value
    if not isinstance(sigma, int | float | None) or isinstance(sigma, bool):
        raise RecordError(f"step {index}: expected a number as sigma, got {type(sigma).__name__}")
    if len(sketches) > IMAGE_COUNT:
        raise LimitError(f"step {index}: expected at most {IMAGE_COUNT} images")
    try:
        return Step(
            index,
            sigma if sigma is None else float(sigma),
            _from_base64(digest, digest_bytes)[:DIGEST_BYTES],
            tuple(None if item is None else _unpack(item, count_bits) for item in sketches),
        )
    except (ValueError, OverflowError) as error:
        raise RecordError(f"step {index}: {error}") from error


def _pack(sketch: Sketch) -> bytes:
    if sketch.count_bits != COUNT_BITS:
        raise ValueError(f"expected counts of {COUNT_BITS} bits, got {sketch.count_bits}")
    bits = 0
    for count in reversed(sketch.counts):
        bits = bits << COUNT_BITS | (count + (1 << (COUNT_BITS - 1)))
    head = _HEAD.pack(sketch.norm, sketch.exponent)
    return head + bits.to_bytes(BUCKETS * COUNT_BITS // 8, "little")


def _unpack(value: JsonValue, count_bits: int) -> Sketch:
    packed = _from_base64(value, _HEAD.size + BUCKETS * count_bits // 8)
    norm, exponent = _HEAD.unpack_from(packed)
    bits = int.from_bytes(packed[_HEAD.size :], "little")
    mask, offset = (1 << count_bits) - 1, 1 << (count_bits - 1)
    counts = tuple((bits >> at * count_bits & mask) - offset for at in range(BUCKETS))
    return Sketch(norm, exponent, counts, count_bits)


def _to_base64(data: bytes) -> str:
    """Encode without the padding, which says nothing where the size is fixed."""
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _from_base64(value: JsonValue, size_bytes: int) -> bytes:
    """Decode the one text that stands for these bytes.

    Raises:
        ValueError: It is not base64 of this many bytes, as `_to_base64` writes it.
    """
    expected_chars = -(-size_bytes * 8 // 6)
    if not isinstance(value, str) or len(value) != expected_chars:
        raise ValueError(f"expected {expected_chars} characters of base64")
    data = base64.b64decode(value + "=" * (-expected_chars % 4), validate=True)
    if _to_base64(data) != value:
        raise ValueError("expected base64 without stray bits")
    return data
