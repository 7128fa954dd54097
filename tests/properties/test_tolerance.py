"""Laws of tolerance: more distance never passes where less fails, and the bound holds."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, islice
from math import nextafter

from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.control_files import dump_controls, parse_controls
from comfyui_provenance.controls import (
    Control,
    ControlSet,
    ControlSets,
    Key,
    Measurement,
    make_control_set,
)
from comfyui_provenance.errors import RecordError
from comfyui_provenance.tolerance import Standing, judge_tolerance
from comfyui_provenance.verdict import CauseKind

KEY = Key("BaseModel", "ab" * 32, "float16", "float16", "cuda NVIDIA H100", "euler")
STATES = 3

kinds = st.sampled_from(list(CauseKind))
distances = st.floats(0, 10)
measurements = st.builds(
    lambda steps, max_abs, mean_abs: Measurement((tuple(steps),), max_abs, mean_abs),
    st.lists(distances, min_size=STATES, max_size=STATES),
    st.floats(1, 255),
    st.floats(0, 255),
)
controls = st.builds(
    Control,
    st.just(KEY),
    st.text(max_size=8),
    st.frozensets(kinds, min_size=1, max_size=3),
    measurements,
)
sets = st.builds(
    make_control_set, st.lists(controls, min_size=2, max_size=12), st.lists(controls, max_size=4)
)


def is_within(measurement: Measurement, control_set: ControlSet) -> bool:
    return judge_tolerance(measurement, control_set, control_set.axes).standing is Standing.WITHIN


@given(sets, measurements, st.lists(st.floats(1, 4), min_size=STATES + 2, max_size=STATES + 2))
def test_a_larger_difference_never_passes_where_a_smaller_one_fails(
    control_set: ControlSet, smaller: Measurement, factors: list[float]
) -> None:
    assert smaller.numbers is not None
    *steps, max_abs, mean_abs = (
        number * factor for number, factor in zip(smaller.numbers, factors, strict=True)
    )
    larger = Measurement((tuple(steps),), max_abs, mean_abs)

    assert is_within(smaller, control_set) >= is_within(larger, control_set)


@given(st.lists(controls, min_size=2, max_size=12))
def test_every_control_is_within_the_thresholds_it_helped_to_make(made: list[Control]) -> None:
    control_set = make_control_set(made)

    assert all(is_within(item.measurement, control_set) for item in made)


@given(st.data(), st.integers(1, 4))
def test_of_pairs_left_out_in_turn_at_most_one_is_outside(data: st.DataObject, count: int) -> None:
    """It is the bound on false alarms: 1 of the pairs that give the height and one more."""
    shape = data.draw(st.lists(controls, min_size=count, max_size=count))
    pairs = data.draw(st.lists(controls, min_size=2 * count, max_size=2 * count))

    outside = 0
    for at, left_out in enumerate(pairs):
        others = iter(pairs[:at] + pairs[at + 1 :])
        rows = list(chain.from_iterable((item, *islice(others, 2)) for item in shape))
        control_set = make_control_set(rows)
        outside += not is_within(left_out.measurement, control_set)
        assert control_set.heights == 2 * count - 1

    assert outside <= 1


@given(sets, measurements, kinds)
def test_a_difference_that_the_controls_did_not_vary_is_never_within(
    control_set: ControlSet, measurement: Measurement, kind: CauseKind
) -> None:
    standing = judge_tolerance(measurement, control_set, [kind]).standing

    assert kind in control_set.axes or standing is Standing.UNKNOWN


@given(sets, measurements, st.integers(1, 6))
def test_of_another_number_of_steps_nothing_is_outside_and_no_bound_is_told(
    control_set: ControlSet, measurement: Measurement, states: int
) -> None:
    steps = measurement.samplings[0] or ()
    other = Measurement(((*steps, *steps)[:states],), measurement.max_abs, measurement.mean_abs)

    found = judge_tolerance(other, control_set)

    if states != STATES:
        assert found.standing is not Standing.OUTSIDE
        assert found.false_alarm_bound is None


@given(sets, measurements)
def test_every_positive_is_either_seen_or_not(
    control_set: ControlSet, measurement: Measurement
) -> None:
    found = judge_tolerance(measurement, control_set)

    assert sorted([*found.seen, *found.unseen]) == [item.name for item in control_set.positives]


@given(st.lists(controls, min_size=2, max_size=6), controls)
def test_a_positive_that_is_seen_is_not_within(made: list[Control], change: Control) -> None:
    control_set = make_control_set(made, [change])

    (positive,) = control_set.positives

    assert not (positive.is_seen(any_steps=False) and is_within(change.measurement, control_set))


@given(sets)
def test_sets_read_back_as_they_were_written(control_set: ControlSet) -> None:
    file = ControlSets().with_set(control_set)

    assert parse_controls(dump_controls(file)) == file


@given(sets, st.integers(0), st.binary(max_size=4))
def test_any_bytes_give_sets_or_an_error_of_ours(
    control_set: ControlSet, place: int, inserted: bytes
) -> None:
    data = dump_controls(ControlSets().with_set(control_set)).encode()
    at = place % len(data)

    with suppress(RecordError):
        parse_controls(data[:at] + inserted + data[at + len(inserted) :])


@given(st.floats(1e-6, 1e3))
def test_the_largest_control_is_on_its_threshold_and_nothing_much_above_it(number: float) -> None:
    rows = [Measurement(((number,),), 1.0, 1e-4)] * 2
    axes = frozenset({CauseKind.CPU_ISA})
    control_set = make_control_set([Control(KEY, "", axes, row) for row in rows])

    assert is_within(rows[0], control_set)
    assert is_within(Measurement(((nextafter(number, 0.0),),), 1.0, 1e-4), control_set)
    assert not is_within(Measurement(((number * 1.011,),), 1.0, 1e-4), control_set)
