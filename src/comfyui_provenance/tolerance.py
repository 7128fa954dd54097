"""Tolerance: whether two runs are as close as rounding alone has been measured to leave them.

*Within tolerance* means consistent with rounding in this type, by controls of this very model,
type, device and sampler (`controls`). It needs every step of the sampling, since a change can be
plain after the first step and gone in rounding at the last. Where no controls hold, and where the
two runs are known to differ in a way that the controls did not vary, it is unknown, with the
numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Final

from .canonical import JsonValue
from .control_files import parse_controls
from .controls import ControlSet, ControlSets, Key, Measurement, Thresholds
from .pixels import Difference
from .trace import Step, estimate_difference
from .verdict import CauseKind

NORM: Final = (
    "L2 of the latents' difference after each step; largest and mean absolute difference of samples"
)
UNIT: Final = "part of the recorded latent's L2 norm; 8-bit levels"

_PEAK: Final = 255
_FILE: Final = Path(__file__).with_name("controls.json")


class Standing(StrEnum):
    """Where a difference stands."""

    WITHIN = "within"
    OUTSIDE = "outside"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Where a difference stands, and what that is worth.

    Attributes:
        standing: `within` what rounding has been measured to make, `outside`, or `unknown`.
        message: One sentence or two, without a full stop at the end.
        measurement: The numbers.
        thresholds: What they were held against; `None` where nothing was.
        false_alarm_bound: The largest chance that rounding alone is called outside, for a pair
            drawn like the controls; `None` where that is not known.
        seen: Small changes that would have been outside, by the controls.
        unseen: Small changes that would not have been seen.
    """

    standing: Standing
    message: str
    measurement: Measurement
    thresholds: Thresholds | None = None
    false_alarm_bound: float | None = None
    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def to_json(self) -> dict[str, JsonValue]:
        """Give the attributes under their names, with norm and unit of the numbers."""
        thresholds = self.thresholds
        return {
            "standing": self.standing.value,
            "message": self.message,
            "norm": NORM,
            "unit": UNIT,
            "measured": self.measurement.to_json(),
            "thresholds": None
            if thresholds is None
            else {
                "steps": [*thresholds.steps],
                "max_abs": thresholds.max_abs,
                "mean_abs": thresholds.mean_abs,
            },
            "false_alarm_bound": self.false_alarm_bound,
            "seen": [*self.seen],
            "unseen": [*self.unseen],
        }


@cache
def built_in_controls() -> ControlSets:
    """Give the control sets that come with this library: of the tests' tiny model."""
    return parse_controls(_FILE.read_bytes())


def key_of(
    sampling: Mapping[str, JsonValue],
    model_version: JsonValue,
    environment: Mapping[str, JsonValue],
) -> Key | None:
    """Tell which controls would hold for a sampling.

    Args:
        sampling: An entry of a record's `samplings`.
        model_version: Of the record's `tuple`.
        environment: Of the record.

    Returns:
        `None` where the record does not say all of it: the sampling was not seen from inside, or
        its model's file is not established.
    """
    device = _device(environment)
    names = ("model_class", "model_dtype", "compute_dtype", "sampler")
    texts = {name: value for name in names if isinstance(value := sampling.get(name), str)}
    if sampling.get("source") != "sampling" or len(texts) < len(names) or device is None:
        return None
    if not isinstance(model_version, str) or len(model_version) != 64:
        return None
    return Key(model_version=model_version, device=device, **texts)


def measure(
    recorded_traces: Sequence[Sequence[Step]],
    traces_now: Sequence[Sequence[Step]],
    difference: Difference | None,
    *,
    places: tuple[int, int] = (0, 0),
    bits: int = 8,
) -> Measurement:
    """Measure how far two runs are apart, all their steps and the pixels.

    A trace gives an estimate with a floor, below which it tells nothing: their sum is taken, so
    that what cannot be told from rounding of the trace itself is never called closer than that.

    Args:
        recorded_traces: Of each sampling upstream, in order.
        traces_now: The same of the other run.
        difference: Of the two images; `None` where they cannot be compared.
        places: Of the image in question in the batch of each run. Only its latent is compared.
        bits: Of the images' samples.
    """
    scale = _PEAK / (2**bits - 1)
    pairs = list(zip_longest(recorded_traces, traces_now))
    return Measurement(
        samplings=tuple(
            _measure_steps(recorded, now, places) if recorded and now else None
            for recorded, now in pairs
        ),
        max_abs=None if difference is None else difference.max_abs * scale,
        mean_abs=None if difference is None else difference.mean_abs * scale,
        same_steps=all(len(recorded) == len(now) for recorded, now in pairs if recorded and now),
    )


def judge_tolerance(
    measurement: Measurement, control_set: ControlSet | None, live_axes: Iterable[CauseKind] = ()
) -> Tolerance:
    """Tell whether a difference is consistent with rounding.

    Args:
        measurement: How far the two runs are apart.
        control_set: What `ControlSets.find` gives for the key that both runs have.
        live_axes: The kinds of difference known between the two runs. Every one must be one that
            the controls varied; and where they could not have seen every small change, one must be
            known at all, since nothing else speaks for rounding.
    """
    axes = frozenset(live_axes)
    if not measurement.same_steps:
        message = "the two runs made other numbers of steps, which is no rounding"
        return Tolerance(Standing.OUTSIDE, message, measurement)
    doubt = _doubt(measurement, control_set, axes)
    if control_set is None or doubt:
        return Tolerance(Standing.UNKNOWN, doubt, measurement)
    held = _hold(measurement, control_set)
    sees_all = bool(control_set.positives) and not held.unseen
    if held.standing is Standing.WITHIN and not axes and not sees_all:
        message = (
            "no difference between the two runs is known that would change how numbers are "
            f"rounded; {held.message}"
        )
        return replace(held, standing=Standing.UNKNOWN, message=message)
    return held


def _doubt(
    measurement: Measurement, control_set: ControlSet | None, live_axes: frozenset[CauseKind]
) -> str:
    """Say why the controls tell nothing of this pair, or nothing if they do."""
    if control_set is None:
        return "no controls were measured for this model, type, device and sampler"
    missing = sorted(axis.value for axis in live_axes - control_set.axes)
    if missing:
        return f"the two runs differ in what the controls did not vary: {', '.join(missing)}"
    if len(measurement.samplings) != 1:
        count = len(measurement.samplings)
        return f"the controls are of one sampling, and this image has {count}"
    if measurement.samplings[0] is None:
        return "the two runs' steps cannot be compared"
    return "the images cannot be compared" if measurement.numbers is None else ""


def _hold(measurement: Measurement, control_set: ControlSet) -> Tolerance:
    """Hold a measurement against thresholds that are about it."""
    steps = len(measurement.samplings[0] or ()) - 1
    any_steps = steps != control_set.steps
    excess = control_set.thresholds.measure_excess(measurement, any_steps=any_steps)
    seen = [item.name for item in control_set.positives if item.is_seen(any_steps=any_steps)]
    unseen = [item.name for item in control_set.positives if item.name not in seen]
    standing = Standing.WITHIN if excess <= 1 else Standing.OUTSIDE
    if any_steps and standing is Standing.OUTSIDE:
        # More steps than the controls made may leave more than they did.
        standing = Standing.UNKNOWN
    bound = None if any_steps else control_set.false_alarm_bound
    return Tolerance(
        standing,
        "; ".join(_words(standing, excess, control_set, steps, unseen)),
        measurement,
        thresholds=control_set.thresholds,
        false_alarm_bound=bound,
        seen=tuple(seen),
        unseen=tuple(unseen),
    )


def _words(
    standing: Standing, excess: float, control_set: ControlSet, steps: int, unseen: Sequence[str]
) -> Iterator[str]:
    """Tell it in parts of a sentence."""
    dtype, made = control_set.key.compute_dtype, control_set.steps
    largest = f"up to {excess:.2g} times what {control_set.negatives} controls allow"
    if standing is Standing.OUTSIDE:
        yield f"more than rounding in {dtype} was measured to make: {largest}"
    elif standing is Standing.UNKNOWN:
        yield f"{largest}, but they made {made} steps and these runs {steps}"
    else:
        yield f"consistent with rounding in {dtype}: {largest}"
    if steps == made:
        bound = control_set.false_alarm_bound
        yield f"of pairs with causes mixed as theirs at most {bound:.1%} are called more"
    elif standing is Standing.WITHIN:
        yield f"they made {made} steps and these runs {steps}, so no rate of false alarms is known"
    if standing is not Standing.WITHIN:
        return
    if unseen:
        yield f"changes as small as these would not have been seen: {', '.join(unseen)}"
    elif control_set.positives:
        yield "every small change that was tried would have been seen"
    else:
        yield "which small changes it could have seen was not measured"


def _measure_steps(
    recorded: Sequence[Step], now: Sequence[Step], places: tuple[int, int]
) -> tuple[float, ...] | None:
    """Give the upper bound of the distance after each step that both have."""
    distances: list[float] = []
    for before, after in zip(recorded, now, strict=False):
        # The digest is of the whole batch: it says nothing of two of its images.
        if before.digest_prefix == after.digest_prefix and places[0] == places[1]:
            distances.append(0.0)
            continue
        estimate = estimate_difference(_only(before, places[0]), _only(after, places[1]))
        if estimate is None:
            return None
        distances.append(estimate.value + estimate.floor)
    return tuple(distances)


def _only(step: Step, place: int) -> Step:
    """Leave of a batch the image at a place, or everything where there is no such image."""
    sketches = step.sketches[place : place + 1] if len(step.sketches) > 1 else step.sketches
    return replace(step, sketches=sketches or step.sketches)


def _device(environment: Mapping[str, JsonValue]) -> str | None:
    """Name a device as keys do: `cuda NVIDIA H100`, `cpu x86_64`."""
    device, system = environment.get("device"), environment.get("os")
    if not isinstance(device, dict) or not isinstance(system, str):
        return None
    kind = device.get("type")
    name = system.split(" ")[-1] if kind == "cpu" else device.get("name")
    if not isinstance(kind, str) or not isinstance(name, str) or "unknown" in (kind, name):
        return None
    return f"{kind} {name}"
