"""Within tolerance is what controls of this very model have shown rounding to make, and no more.

The last tests are about the controls that were measured and come with the library.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.control_files import SET_COUNT, dump_controls, parse_controls
from comfyui_provenance.controls import (
    Control,
    ControlSet,
    ControlSets,
    Key,
    Measurement,
    make_control_set,
)
from comfyui_provenance.errors import LimitError, RecordError
from comfyui_provenance.pixels import Difference
from comfyui_provenance.tolerance import (
    Standing,
    Tolerance,
    built_in_controls,
    judge_tolerance,
    key_of,
    measure,
)
from comfyui_provenance.trace import Sketch, Step
from comfyui_provenance.verdict import CauseKind

from support.control_pairs import BUILT_IN, RAW, Pair, make_sets, parse_raw

KEY = Key("BaseModel", "ab" * 32, "float16", "float16", "cuda NVIDIA H100", "euler")
ISA = frozenset({CauseKind.CPU_ISA})
PLAIN = (1e-6, 1e-5, 1e-4)
LARGER = (2e-6, 2e-5, 2e-4)

PAIRS, CONDITIONS = parse_raw(RAW.read_text("ascii"))
MEASURED = make_sets(PAIRS, CONDITIONS).sets

each_set = pytest.mark.parametrize(
    "measured",
    MEASURED,
    ids=lambda item: f"{item.key.model_dtype} {item.key.compute_dtype} {item.key.sampler}",
)


def apart(*steps: float, max_abs: float | None = 1.0, mean_abs: float | None = 1e-3) -> Measurement:
    return Measurement((steps,), max_abs, mean_abs)


def control(
    *steps: float,
    name: str = "AVX2",
    key: Key = KEY,
    axes: frozenset[CauseKind] = ISA,
    max_abs: float | None = 1.0,
    mean_abs: float | None = 1e-3,
) -> Control:
    return Control(key, name, axes, apart(*steps, max_abs=max_abs, mean_abs=mean_abs))


def set_of(
    *rows: Sequence[float],
    positives: Sequence[Control] = (),
    key: Key = KEY,
    max_abs: float | None = 1.0,
    mean_abs: float | None = 1e-3,
) -> ControlSet:
    negatives = [control(*row, key=key, max_abs=max_abs, mean_abs=mean_abs) for row in rows]
    return make_control_set(negatives, positives)


SET = set_of(PLAIN, PLAIN, LARGER)


def judged(measurement: Measurement, *axes: CauseKind, of: ControlSet | None = SET) -> Tolerance:
    return judge_tolerance(measurement, of, axes)


# Thresholds


def test_every_threshold_is_at_or_above_every_negative() -> None:
    thresholds = set_of((1e-6, 3e-5), (2e-6, 1e-5), (3e-6, 2e-5)).thresholds

    assert thresholds.steps[0] >= 3e-6
    assert thresholds.steps[1] >= 3e-5


def test_thresholds_have_the_shape_of_one_third_and_the_height_of_the_others() -> None:
    thresholds = set_of((2e-6, 1e-5, 1e-4), (2e-6, 1e-5, 3e-4), (2e-6, 2e-5, 1e-4)).thresholds

    assert thresholds.steps == pytest.approx((6e-6, 3e-5, 3e-4))
    assert (thresholds.max_abs, thresholds.mean_abs) == pytest.approx((3.0, 3e-3))


def test_a_pair_that_gave_the_shape_is_within_too() -> None:
    shape = control(*LARGER, max_abs=2.0, mean_abs=2e-3)

    made = make_control_set([shape, control(*PLAIN)])

    assert judged(shape.measurement, CauseKind.CPU_ISA, of=made).standing is Standing.WITHIN


def test_the_bound_on_false_alarms_counts_the_pairs_that_gave_the_height() -> None:
    made = set_of(*[PLAIN] * 30)

    assert (made.negatives, made.heights) == (30, 20)
    assert made.false_alarm_bound == pytest.approx(1 / 21)


def test_a_step_that_no_control_changed_has_a_threshold_above_nothing() -> None:
    thresholds = set_of((0.0, 1e-5), (0.0, 1e-5)).thresholds

    assert thresholds.steps[0] == pytest.approx(1e-6)


def test_negatives_with_equal_pixels_are_not_counted() -> None:
    equal = control(*LARGER, axes=frozenset({CauseKind.BATCH}), max_abs=0.0, mean_abs=0.0)

    made = make_control_set([control(*PLAIN), equal, control(*PLAIN)])

    assert made.negatives == 2
    assert made.axes == ISA
    assert made.thresholds == set_of(PLAIN, PLAIN).thresholds


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"compute_dtype": "float32"}, id="computed in fp32"),
        pytest.param({"model_dtype": "float32"}, id="weights in fp32"),
        pytest.param({"model_version": "cd" * 32}, id="other weights"),
        pytest.param({"device": "cpu x86_64"}, id="another device"),
        pytest.param({"sampler": "heun"}, id="another sampler"),
        pytest.param({"model_class": "Flux"}, id="another class of model"),
    ],
)
def test_controls_of_two_keys_are_never_pooled(changed: dict[str, str]) -> None:
    other = control(*PLAIN, key=replace(KEY, **changed))

    with pytest.raises(ValueError, match="of one key, got 2"):
        make_control_set([control(*PLAIN), control(*PLAIN), other])
    with pytest.raises(ValueError, match="of one key, got 2"):
        make_control_set([control(*PLAIN), control(*PLAIN)], [other])


@pytest.mark.parametrize(
    ("negatives", "message"),
    [
        pytest.param([], "one key, got 0", id="none"),
        pytest.param([control(*PLAIN)], "two negatives or more", id="one"),
        pytest.param(
            [control(*PLAIN), control(*PLAIN[:2])], "of one number of steps", id="two step counts"
        ),
        pytest.param([control(*PLAIN, mean_abs=None)] * 2, "all known", id="no pixels"),
        pytest.param([control()] * 2, "all known", id="no steps"),
        pytest.param(
            [Control(KEY, "", ISA, Measurement((PLAIN, PLAIN), 1.0, 1e-3))] * 2,
            "one sampling of equal steps",
            id="two samplings",
        ),
        pytest.param([control(*PLAIN, max_abs=0.0)] * 2, "with other pixels", id="equal pixels"),
    ],
)
def test_too_little_makes_no_thresholds(negatives: list[Control], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_control_set(negatives)


@pytest.mark.parametrize("number", [-1e-9, float("inf"), float("nan")])
def test_a_distance_that_is_none_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="finite distances from 0"):
        apart(0.0, number)


# Finding a set


@pytest.mark.parametrize("name", Key.__dataclass_fields__)
def test_a_set_is_found_for_its_own_key_alone(name: str) -> None:
    sets = ControlSets().with_set(SET)

    assert sets.find(KEY) is SET
    assert sets.find(replace(KEY, **{name: "another"})) is None
    assert sets.find(None) is None


def test_a_set_takes_the_place_of_an_older_one_of_its_key() -> None:
    newer = set_of(LARGER, LARGER)
    other = set_of(PLAIN, PLAIN, key=replace(KEY, sampler="heun"))

    sets = ControlSets().with_set(SET).with_set(other).with_set(newer)

    assert sets.sets == (newer, other)


SAMPLING: dict[str, JsonValue] = {
    "source": "sampling",
    "model_class": "BaseModel",
    "model_dtype": "float16",
    "compute_dtype": "float16",
    "sampler": "euler",
}
CUDA: dict[str, JsonValue] = {
    "os": "Linux x86_64",
    "device": {"type": "cuda", "name": "NVIDIA H100"},
}


def test_a_key_is_read_from_a_record() -> None:
    on_cpu: dict[str, JsonValue] = {"os": "Linux x86_64", "device": {"type": "cpu"}}

    assert key_of(SAMPLING, "ab" * 32, CUDA) == KEY
    assert key_of(SAMPLING, "ab" * 32, on_cpu) == replace(KEY, device="cpu x86_64")


@pytest.mark.parametrize(
    ("sampling", "version", "environment"),
    [
        pytest.param({"source": "graph"}, "ab" * 32, {}, id="read from the graph"),
        pytest.param({"compute_dtype": None}, "ab" * 32, {}, id="no type"),
        pytest.param({}, "unresolved", {}, id="weights not established"),
        pytest.param({}, None, {}, id="no weights"),
        pytest.param({}, "ab" * 32, {"device": {"type": "cuda"}}, id="a GPU without a name"),
        pytest.param({}, "ab" * 32, {"device": "unknown"}, id="no device"),
        pytest.param(
            {}, "ab" * 32, {"device": {"type": "cpu"}, "os": "unknown"}, id="unknown machine"
        ),
    ],
)
def test_a_record_that_does_not_say_all_of_it_has_no_key(
    sampling: dict[str, JsonValue], version: JsonValue, environment: dict[str, JsonValue]
) -> None:
    assert key_of({**SAMPLING, **sampling}, version, {**CUDA, **environment}) is None


# Judging


def test_what_the_controls_allow_is_within_and_says_what_that_is_worth() -> None:
    found = judged(apart(*LARGER), CauseKind.CPU_ISA)

    assert found.standing is Standing.WITHIN
    assert found.false_alarm_bound == pytest.approx(1 / 3)
    assert found.message == (
        "consistent with rounding in float16: up to 1 times what 3 controls allow; of pairs with "
        "causes mixed as theirs at most 33.3% are called more; which small changes it could have "
        "seen was not measured"
    )


@pytest.mark.parametrize(
    "measurement",
    [
        pytest.param(apart(2e-6, 2.1e-5, 1e-4), id="one step in the middle"),
        pytest.param(apart(*PLAIN, max_abs=3.0), id="one sample"),
        pytest.param(apart(*PLAIN, mean_abs=3e-3), id="the samples on average"),
    ],
)
def test_one_number_above_its_threshold_is_outside(measurement: Measurement) -> None:
    found = judged(measurement)

    assert found.standing is Standing.OUTSIDE
    assert found.message.startswith("more than rounding in float16 was measured to make: up to")


def test_a_change_that_is_gone_at_the_last_step_is_seen_at_the_first() -> None:
    found = judged(apart(0.0, 1e-3, 1e-4))

    assert found.standing is Standing.OUTSIDE


def test_another_number_of_steps_is_never_within() -> None:
    equal = replace(apart(0.0, 0.0, 0.0), same_steps=False)

    assert judged(equal).standing is Standing.OUTSIDE
    assert judged(equal, of=None).standing is Standing.OUTSIDE


@pytest.mark.parametrize(
    ("measurement", "axes", "words"),
    [
        pytest.param(apart(*PLAIN), [CauseKind.BATCH], "did not vary: batch", id="not varied"),
        pytest.param(
            apart(9.0, 9.0, 9.0), [CauseKind.DEVICE], "did not vary: device", id="far, not varied"
        ),
        pytest.param(
            Measurement((PLAIN, PLAIN), 1.0, 1e-3), [], "this image has 2", id="two samplings"
        ),
        pytest.param(Measurement((), 1.0, 1e-3), [], "this image has 0", id="no sampling"),
        pytest.param(Measurement((None,), 1.0, 1e-3), [], "steps cannot be", id="no trace"),
        pytest.param(apart(*PLAIN, max_abs=None), [], "images cannot be", id="no pixels"),
    ],
)
def test_what_the_controls_are_not_about_is_unknown(
    measurement: Measurement, axes: list[CauseKind], words: str
) -> None:
    found = judged(measurement, *axes)

    assert found.standing is Standing.UNKNOWN
    assert words in found.message
    assert found.thresholds is None


def test_without_controls_it_is_unknown_with_the_numbers() -> None:
    found = judged(apart(*PLAIN), of=None)

    assert found.standing is Standing.UNKNOWN
    assert found.message.startswith("no controls were measured for this model")
    assert found.to_json()["measured"] == {
        "samplings": [[*PLAIN]],
        "max_abs": 1.0,
        "mean_abs": 1e-3,
        "same_steps": True,
    }


def test_of_another_number_of_steps_than_the_controls_only_little_is_within() -> None:
    small, large = (
        judged(apart(*steps), CauseKind.CPU_ISA) for steps in ((2e-4, 2e-4), (*[1e-5] * 4, 3e-4))
    )

    assert small.standing is Standing.WITHIN
    assert small.false_alarm_bound is None
    assert "they made 2 steps and these runs 1, so no rate" in small.message
    assert large.standing is Standing.UNKNOWN
    assert "they made 2 steps and these runs 4" in large.message


def test_a_tolerant_verdict_names_what_it_could_not_have_seen() -> None:
    changes = [
        control(*PLAIN, name="CFG +0.01"),
        control(0.0, 1e-3, 1e-4, name="CFG +0.01"),
        control(0.0, 1e-3, 0.0, name="weights in fp8"),
        Control(KEY, "one step fewer", ISA, replace(apart(0.0, 0.0), same_steps=False)),
    ]

    controls = set_of(PLAIN, PLAIN, LARGER, positives=changes)
    found = judged(apart(*PLAIN), CauseKind.CPU_ISA, of=controls)

    assert found.unseen == ("CFG +0.01",)
    assert found.seen == ("one step fewer", "weights in fp8")
    assert found.message.endswith("would not have been seen: CFG +0.01")


def test_where_every_change_was_seen_the_verdict_says_so() -> None:
    changes = [control(0.0, 1e-3, 1e-4, name="CFG +0.01")]

    found = judged(apart(*PLAIN), of=set_of(PLAIN, PLAIN, positives=changes))

    assert found.unseen == ()
    assert found.message.endswith("every small change that was tried would have been seen")


def test_controls_that_can_miss_a_change_need_a_known_difference_to_be_within() -> None:
    seen = [control(0.0, 1e-3, 1e-4, name="LoRA +0.01")]
    missed = [*seen, control(*PLAIN, name="CFG +0.01")]

    for positives, expected in (
        (seen, Standing.WITHIN),
        (missed, Standing.UNKNOWN),
        ([], Standing.UNKNOWN),
    ):
        controls = set_of(PLAIN, PLAIN, LARGER, positives=positives)
        assert judged(apart(*PLAIN), of=controls).standing is expected
        assert judged(apart(*PLAIN), CauseKind.CPU_ISA, of=controls).standing is Standing.WITHIN


def test_what_is_seen_is_told_by_the_thresholds_that_are_used() -> None:
    changes = [control(0.0, 1.5e-4, 0.0, name="CFG +0.01")]

    made = set_of(PLAIN, PLAIN, positives=changes)

    assert judged(apart(*PLAIN), of=made).seen == ("CFG +0.01",)
    assert judged(apart(*PLAIN[:2]), of=made).seen == ("CFG +0.01",)
    wider = set_of(PLAIN, LARGER, positives=changes)
    assert judged(apart(*PLAIN), of=wider).seen == ("CFG +0.01",)
    assert judged(apart(*PLAIN[:2]), of=wider).unseen == ("CFG +0.01",)


# Measuring


def sketch(first: int, norm: float = 4.0) -> Sketch:
    return Sketch(norm, -22, (first, *[1 << 20] * 15))


def state(name: str, *sketches: Sketch | None) -> Step:
    return Step(0, 1.0, hashlib.sha256(name.encode()).digest()[:16], sketches or (sketch(0),))


DIFFERENCE = Difference(2, mean_abs=0.25, psnr_db=50.0, differing_fraction=0.5, peak=255)


def test_a_distance_is_the_estimate_and_its_floor() -> None:
    moved = 1 << 22  # at an exponent of -22, a sum moved by 1: a quarter of the norm

    found = measure([[state("a"), state("b")]], [[state("a"), state("c", sketch(moved))]], None)

    ((at_first, at_last),) = [steps for steps in found.samplings if steps is not None]
    assert at_first == 0
    assert 0.25 < at_last < 0.25 + 1e-6
    assert found.same_steps


def test_equal_sketches_of_unequal_bits_are_as_far_apart_as_sketches_can_hide() -> None:
    found = measure([[state("a")]], [[state("b")]], None)

    ((distance,),) = [steps for steps in found.samplings if steps is not None]
    assert 0 < distance < 1e-6


def test_of_a_batch_only_the_image_in_question_is_measured() -> None:
    alone = [state("alone", sketch(7))]
    batch = [state("batch", sketch(1 << 22), sketch(7), None)]

    near = measure([alone], [batch], None, places=(0, 1)).samplings[0]
    far = measure([batch], [alone], None, places=(0, 0)).samplings[0]
    unknown = measure([alone], [batch], None, places=(0, 2)).samplings[0]
    outside = measure([alone], [batch], None, places=(0, 3)).samplings[0]

    assert near is not None
    assert far is not None
    assert near[0] < 1e-6
    assert far[0] > 0.2
    assert (unknown, outside) == (None, None)


def test_two_images_of_one_batch_are_not_the_same_for_its_digest() -> None:
    batch = [state("batch", sketch(0), sketch(1 << 22))]

    (steps,) = measure([batch], [batch], None, places=(0, 1)).samplings

    assert steps is not None
    assert steps[0] > 0.2


def test_pixels_are_measured_in_levels_of_8_bits() -> None:
    of_8, of_16 = (measure([], [], DIFFERENCE, bits=bits) for bits in (8, 16))

    assert (of_8.max_abs, of_8.mean_abs) == (2, 0.25)
    assert (of_16.max_abs, of_16.mean_abs) == pytest.approx((2 / 257, 0.25 / 257))


def test_a_sampling_that_only_one_run_has_is_not_known() -> None:
    assert measure([[state("a")]], [], None).samplings == (None,)
    assert measure([], [[state("a")]], None).samplings == (None,)


def test_a_run_with_a_step_more_is_told() -> None:
    found = measure([[state("a")]], [[state("a"), state("b")]], None)

    assert found.samplings == ((0.0,),)
    assert not found.same_steps


# Files


def test_sets_read_back_as_they_were_written() -> None:
    steps_differ = Control(KEY, "fewer", ISA, replace(apart(0.0), same_steps=False))
    sets = ControlSets().with_set(set_of(PLAIN, LARGER, positives=[steps_differ]))

    assert parse_controls(dump_controls(sets)) == sets
    assert parse_controls(dump_controls(ControlSets())) == ControlSets()


def document_with(field: str, value: JsonValue) -> str:
    """Dump a set with one field, of it or of its thresholds, set to a value."""
    document = json.loads(dump_controls(ControlSets().with_set(SET)))
    (entry,) = document["sets"]
    part = entry["thresholds"] if field in entry["thresholds"] else entry
    part[field] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[]", "object of version 1", id="a list"),
        pytest.param('{"version": 2, "sets": []}', "object of version 1", id="a newer version"),
        pytest.param('{"version": 1}', "a list of at most", id="no sets"),
        pytest.param(
            json.dumps({"version": 1, "sets": [0] * (SET_COUNT + 1)}),
            "a list of at most",
            id="too many sets",
        ),
        pytest.param('{"version": 1, "sets": [{}]}', "KeyError", id="an empty set"),
        pytest.param(document_with("steps", []), "at least one step", id="no steps"),
        pytest.param(document_with("steps", [0.0]), "above 0", id="a threshold of nothing"),
        pytest.param(document_with("max_abs", -1), "from 0", id="a negative threshold"),
        pytest.param(document_with("max_abs", 10**400), "OverflowError", id="beyond a float"),
        pytest.param(document_with("mean_abs", True), "a number, got bool", id="a truth"),
        pytest.param(document_with("axes", ["weather"]), "weather", id="an unknown axis"),
        pytest.param(document_with("heights", 0), "from 1, got 0", id="no heights"),
        pytest.param(document_with("heights", True), "from 1, got True", id="a truth as a count"),
        pytest.param(document_with("conditions", "x" * 5000), "characters", id="a long text"),
    ],
)
def test_what_is_no_file_of_sets_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse_controls(text)


def test_two_sets_of_one_key_are_refused() -> None:
    with pytest.raises(RecordError, match="one set for each key"):
        parse_controls(dump_controls(ControlSets((SET, SET))))


def test_more_positives_than_we_agree_to_read_are_refused() -> None:
    with pytest.raises(LimitError, match="at most 64 items"):
        parse_controls(document_with("positives", [{}] * 65))


# The controls that were measured


def controls_of(key: Key, *kinds: str) -> list[Pair]:
    return [pair for pair in PAIRS if pair.control.key == key and pair.kind in kinds]


def test_the_built_in_sets_are_made_from_the_measured_pairs() -> None:
    assert BUILT_IN.read_text("ascii") == dump_controls(make_sets(PAIRS, CONDITIONS))
    assert built_in_controls() == make_sets(PAIRS, CONDITIONS)


@each_set
def test_a_measured_set_raises_at_most_5_false_alarms_in_100(measured: ControlSet) -> None:
    assert measured.false_alarm_bound <= 0.05
    assert measured.axes >= {
        CauseKind.CPU_ISA,
        CauseKind.THREADS,
        CauseKind.ATTENTION,
        CauseKind.BATCH,
    }


def left_out_in_turn(measured: ControlSet) -> tuple[list[str], int]:
    """Judge each negative by the others: the names of those outside, and how many there are."""
    negatives = [pair.control for pair in controls_of(measured.key, "negative")]
    counted = [item for item in negatives if item.measurement.max_abs]
    outside = [
        left_out.name
        for at, left_out in enumerate(counted)
        if not is_within(left_out, make_control_set(counted[:at] + counted[at + 1 :]))
    ]
    return outside, len(counted)


def is_within(item: Control, control_set: ControlSet) -> bool:
    return judge_tolerance(item.measurement, control_set, item.axes).standing is Standing.WITHIN


@each_set
def test_a_negative_is_within_what_the_others_allow_but_for_two(measured: ControlSet) -> None:
    """One of the two gave the height, the other the shape."""
    outside, _ = left_out_in_turn(measured)

    assert len(outside) <= 2, Counter(outside)


def test_of_all_negatives_left_out_in_turn_at_most_5_in_100_are_outside() -> None:
    found = [left_out_in_turn(measured) for measured in MEASURED]

    assert sum(len(outside) for outside, _ in found) <= 0.05 * sum(count for _, count in found)


@each_set
def test_in_float32_every_small_change_is_seen_and_in_bfloat16_two_are(
    measured: ControlSet,
) -> None:
    hidden = {"CFG +0.01", "CFG -0.01", "LoRA strength +0.01", "LoRA strength -0.01"}

    unseen = {item.name for item in measured.positives if not item.is_seen(any_steps=False)}

    assert unseen == (hidden if measured.key.compute_dtype == "bfloat16" else set())
    assert {item.name for item in measured.positives} - hidden == {
        "one step fewer",
        "weights rounded to fp8 e4m3",
    }


def test_twice_the_steps_are_within_the_largest_threshold_and_half_of_them_never_outside() -> None:
    sets = {item.key: item for item in MEASURED}
    found = Counter(
        (
            pair.case.steps,
            judge_tolerance(pair.control.measurement, sets[pair.control.key], ISA).standing,
        )
        for pair in PAIRS
        if pair.kind == "other steps"
    )

    assert {item.steps for item in MEASURED} == {6}
    assert found == {
        (3, Standing.WITHIN): 18,
        (3, Standing.UNKNOWN): 22,
        (12, Standing.WITHIN): 40,
    }
