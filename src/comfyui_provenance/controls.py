"""Controls: pairs of runs that are known to differ by rounding alone, or by a small change.

A negative control is one graph made twice in ways that should give the same numbers but for
rounding: on another instruction set, with another attention kernel, in a batch. A positive control
is a graph and the same with one small change. A control set is what the negatives of one model,
type, device and sampler allow, and what became of the positives under that; it says nothing of any
other model.

How the thresholds are made. A pair has several numbers: a distance after each step, and the pixels'
two. Were each held against the largest of the controls, each would have its own chance to be the
largest, and together they would raise more false alarms than any one of them. So every third
negative gives the shape (the largest of each number), and the others the height: the thresholds are
the shape times the largest factor by which one of those exceeds it. Each of these pairs then has
one factor, and so has a new pair: if it is drawn as they were, the chance that its factor is the
largest of all is 1 / (their number + 1). That is the bound on false alarms.

Negatives whose pixels came out equal are left out: nobody asks for a tolerance there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from .canonical import JsonValue
from .verdict import CauseKind

SHAPE_STRIDE: Final = 3
"""Every how many negatives one gives the shape; the others give the height and the bound."""

LEAST_DISTANCE: Final = 1e-6
"""Of a step, as a part of the latent's norm: what the rounding of sketches hides (`trace`)."""

LEAST_MAX_ABS: Final = 1.0
"""In 8-bit levels: truncation can make one out of any rounding."""

LEAST_MEAN_ABS: Final = 1e-4
"""In 8-bit levels: five samples of a picture of 128 x 128 pixels, moved by one level."""

_DIGITS: Final = 3


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What a control set holds for.

    Attributes:
        model_class: ComfyUI's class of the model.
        model_version: SHA-256 of the weights, in hex.
        model_dtype: Type of the weights in memory, as torch names it.
        compute_dtype: Type in which the model computes. Neither tells the other: ComfyUI computes
            in float32 on a CPU with weights that it keeps in bfloat16.
        device: Type of the device and its name; of a CPU, the type of machine.
        sampler: As in ComfyUI.
    """

    model_class: str
    model_version: str
    model_dtype: str
    compute_dtype: str
    device: str
    sampler: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """How far two runs are apart.

    Attributes:
        samplings: Of each sampling upstream, in order, the upper bound of the distance after each
            step that both runs have, step 0 first: the L2 norm of the difference as a part of the
            recorded latent's. `None` where that is not known.
        max_abs: Largest difference of two samples, in 8-bit levels; `None` where the images
            cannot be compared.
        mean_abs: Mean absolute difference of all samples, in the same.
        same_steps: Whether every sampling made the same number of steps in both runs.

    Raises:
        ValueError: A number is negative or not finite.
    """

    samplings: tuple[tuple[float, ...] | None, ...]
    max_abs: float | None
    mean_abs: float | None
    same_steps: bool = True

    def __post_init__(self) -> None:
        numbers = [number for found in self.samplings for number in found or ()]
        numbers += [number for number in (self.max_abs, self.mean_abs) if number is not None]
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError(f"expected finite distances from 0, got {numbers}")

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """The steps' distances and the pixels' two; `None` unless it is one sampling, all known."""
        if len(self.samplings) != 1 or self.max_abs is None or self.mean_abs is None:
            return None
        steps = self.samplings[0]
        return None if not steps else (*steps, self.max_abs, self.mean_abs)

    def to_json(self) -> dict[str, JsonValue]:
        """Give the attributes under their names."""
        return {
            "samplings": [None if steps is None else [*steps] for steps in self.samplings],
            "max_abs": self.max_abs,
            "mean_abs": self.mean_abs,
            "same_steps": self.same_steps,
        }


@dataclass(frozen=True, slots=True)
class Control:
    """One pair of runs that were made to learn what differences look like.

    Attributes:
        key: Of the first run.
        name: What the second run did otherwise, for people.
        axes: Of a negative: the kinds of cause that it varies.
        measurement: How far the two are apart.
    """

    key: Key
    name: str
    axes: frozenset[CauseKind]
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The largest distances that are consistent with rounding.

    Attributes:
        steps: After each step, step 0 first.
        max_abs: Of the pixels, in 8-bit levels.
        mean_abs: The same.
    """

    steps: tuple[float, ...]
    max_abs: float
    mean_abs: float

    def measure_excess(self, measurement: Measurement, *, any_steps: bool = False) -> float:
        """Give the largest quotient of a distance and its threshold: within up to 1.

        Args:
            measurement: With numbers that are known.
            any_steps: Hold every step against the largest threshold of all steps, so that the
                numbers of steps need not be the same.

        Returns:
            Infinity where the two runs made other numbers of steps.

        Raises:
            ValueError: It is not of one sampling with known numbers, or of another number of steps
                than the thresholds.
        """
        if not measurement.same_steps:
            return math.inf
        if measurement.numbers is None:
            raise ValueError("expected one sampling with known distances")
        *steps, max_abs, mean_abs = measurement.numbers
        limits = [max(self.steps)] * len(steps) if any_steps else [*self.steps]
        pairs = zip(
            [*steps, max_abs, mean_abs], [*limits, self.max_abs, self.mean_abs], strict=True
        )
        return max(number / limit for number, limit in pairs)


@dataclass(frozen=True, slots=True)
class Positive:
    """What became of one small change under the thresholds.

    Attributes:
        name: The change.
        runs: How many pairs were measured.
        least: The smallest excess of them, infinity where a pair differs in the number of steps.
        least_any_steps: The same with the largest threshold for every step.
    """

    name: str
    runs: int
    least: float
    least_any_steps: float

    def is_seen(self, *, any_steps: bool) -> bool:
        """Tell whether every pair was outside the thresholds."""
        return (self.least_any_steps if any_steps else self.least) > 1


@dataclass(frozen=True, slots=True)
class ControlSet:
    """What the controls of one key allow.

    Attributes:
        key: What it holds for.
        axes: The kinds of cause that its negatives vary.
        negatives: How many pairs the thresholds are made from.
        heights: How many of them give the height, and with it the bound on false alarms.
        thresholds: Their length tells the number of steps of the controls.
        positives: In the order of their names.
        conditions: What the controls were made with, for people: software, sizes.
    """

    key: Key
    axes: frozenset[CauseKind]
    negatives: int
    heights: int
    thresholds: Thresholds
    positives: tuple[Positive, ...]
    conditions: str

    @property
    def steps(self) -> int:
        """The number of steps that the controls made."""
        return len(self.thresholds.steps) - 1

    @property
    def false_alarm_bound(self) -> float:
        """The largest chance that a pair drawn like the controls is outside."""
        return 1 / (self.heights + 1)


@dataclass(frozen=True, slots=True)
class ControlSets:
    """Control sets by what they hold for: at most one for each key."""

    sets: tuple[ControlSet, ...] = ()

    def find(self, key: Key | None) -> ControlSet | None:
        """Find the set that holds for exactly this."""
        return next((item for item in self.sets if item.key == key), None)

    def with_set(self, control_set: ControlSet) -> Self:
        """Give the same with one set more, in the place of an older one of its key."""
        others = [item for item in self.sets if item.key != control_set.key]
        return replace(self, sets=tuple(sorted([*others, control_set], key=lambda item: item.key)))


def make_control_set(
    negatives: Sequence[Control], positives: Iterable[Control] = (), conditions: str = ""
) -> ControlSet:
    """Make thresholds from negative controls, and hold positive ones against them.

    Args:
        negatives: In an order that does not depend on what was measured, and in which no kind comes
            at every third place alone.
        positives: Several of one name are runs of one change.
        conditions: What they were made with.

    Raises:
        ValueError: The controls are of several keys or numbers of steps, a negative's numbers are
            not known, or fewer than two negatives have other pixels.
    """
    changes = [*positives]
    keys = {control.key for control in [*negatives, *changes]}
    if len(keys) != 1:
        raise ValueError(f"expected controls of one key, got {len(keys)}")
    told = [item for item in negatives if item.measurement.max_abs != 0]
    rows = [_numbers_of(item) for item in told]
    if len(rows) < 2 or len({len(row) for row in rows}) != 1:
        raise ValueError(
            "expected two negatives or more, of one number of steps, with other pixels"
        )
    thresholds, heights = _make_thresholds(rows)
    return ControlSet(
        key=keys.pop(),
        axes=frozenset(axis for item in told for axis in item.axes),
        negatives=len(rows),
        heights=heights,
        thresholds=thresholds,
        positives=_hold_against(thresholds, changes),
        conditions=conditions,
    )


def _numbers_of(control: Control) -> tuple[float, ...]:
    numbers = control.measurement.numbers
    if numbers is None or not control.measurement.same_steps:
        raise ValueError(f"{control.name}: expected one sampling of equal steps, all known")
    return numbers


def _make_thresholds(rows: Sequence[tuple[float, ...]]) -> tuple[Thresholds, int]:
    """Give the thresholds, and how many rows gave their height."""
    states = len(rows[0]) - 2
    least = [LEAST_DISTANCE] * states + [LEAST_MAX_ABS, LEAST_MEAN_ABS]
    shape = [max(numbers) for numbers in zip(least, *rows[::SHAPE_STRIDE], strict=True)]
    heights = [row for at, row in enumerate(rows) if at % SHAPE_STRIDE]
    factors = [max(a / b for a, b in zip(row, shape, strict=True)) for row in heights]
    # From 1: what gave the shape is a negative, too.
    *steps, max_abs, mean_abs = (_round_up(max(1.0, *factors) * number) for number in shape)
    return Thresholds(tuple(steps), max_abs, mean_abs), len(heights)


def _hold_against(thresholds: Thresholds, changes: Sequence[Control]) -> tuple[Positive, ...]:
    found: list[Positive] = []
    for name in sorted({change.name for change in changes}):
        pairs = [change.measurement for change in changes if change.name == name]
        least, least_any_steps = (
            min(thresholds.measure_excess(pair, any_steps=any_steps) for pair in pairs)
            for any_steps in (False, True)
        )
        found.append(Positive(name, len(pairs), _round_down(least), _round_down(least_any_steps)))
    return tuple(found)


def _round_up(number: float) -> float:
    """Keep a few digits, never below the number."""
    return -_round_down(-number)


def _round_down(number: float) -> float:
    """Keep a few digits, never above the number."""
    if number == 0 or math.isinf(number):
        return number
    rounded = float(f"{number:.{_DIGITS - 1}e}")
    if rounded <= number:
        return rounded
    unit = 10.0 ** (math.floor(math.log10(abs(rounded))) - _DIGITS + 1)
    return float(f"{rounded - unit:.{_DIGITS}e}")
