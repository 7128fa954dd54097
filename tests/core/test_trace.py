"""A trace reads back as written, refuses what is not one, and two tell where runs part."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any

import pytest

from comfyui_provenance.canonical import JsonValue, dump_canonical, parse_json
from comfyui_provenance.errors import LimitError, RecordError
from comfyui_provenance.trace import (
    BUCKETS,
    FORMAT,
    IMAGE_COUNT,
    STEP_COUNT,
    Estimate,
    Sketch,
    Step,
    TraceDifference,
    compare_traces,
    estimate_difference,
    parse_trace,
    to_json,
)

UNIT = 1 << 18
ALIKE = tuple(range(-8 * UNIT, 8 * UNIT, UNIT))
DIGEST = "A" * 22
SKETCH = "A" * 71

OLD_FORMAT = "sha256-f32+sketch-16x26"
OLD_DIGEST = "A" * 43
OLD_SKETCH = "A" * 76


def sketch_of(*counts: int, norm: float = 1.0, exponent: int = -22) -> Sketch:
    """Build a sketch: the first counts as given, the others as in `ALIKE`."""
    return Sketch(norm, exponent, counts + ALIKE[len(counts) :])


def older(sketch: Sketch, rest: int = 0) -> Sketch:
    """Give the sketch in the old format's 26 bits, with as many quarter units more a count."""
    counts = tuple(4 * count + rest for count in sketch.counts)
    return Sketch(sketch.norm, sketch.exponent - 2, counts, count_bits=26)


def prefix_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def trace_of(*states: str, sketches: tuple[Sketch | None, ...] = (sketch_of(),)) -> list[Step]:
    """Build a trace by the names of its latents: equal names have equal digests."""
    return [
        Step(at, float(len(states) - at), prefix_of(state), sketches)
        for at, state in enumerate(states)
    ]


def entry_of(*steps: JsonValue, **fields: JsonValue) -> JsonValue:
    return {"format": FORMAT, "steps": list(steps), **fields}


def old_entry_of(*steps: JsonValue) -> JsonValue:
    return entry_of(*steps, format=OLD_FORMAT)


def difference_of(recorded: list[Step], now: list[Step]) -> TraceDifference:
    difference = compare_traces(recorded, now)
    assert difference is not None
    return difference


def test_a_trace_reads_back_as_it_was_written() -> None:
    batch = (sketch_of(), None, sketch_of(-(2**23), 2**23 - 1, norm=0.0, exponent=-128))
    steps = trace_of("a", "b", sketches=batch)

    entry: JsonValue = {"node_id": "3", **to_json(steps)}

    assert list(parse_trace(parse_json(dump_canonical(entry)))) == steps


def test_the_record_form_is_sigma_digest_and_packed_sketches() -> None:
    sketch = Sketch(1.5, -3, (0, 1, *[-1] * (BUCKETS - 2)))

    entry = to_json([Step(0, 14.5, bytes(15) + b"\xff", (sketch, None))])

    # norm 1.5 and exponent -3 in five bytes, then each count in three, lowest first, offset 2^23.
    packed = bytes.fromhex("0000c03f" + "fd" + "000080" + "010080" + "ffff7f" * 14)
    digest_text, sketch_text = "A" * 20 + "/w", to_base64(packed)
    assert entry == {"format": FORMAT, "steps": [[14.5, digest_text, sketch_text, None]]}


def test_the_old_record_form_is_read_as_half_the_digest_and_the_same_counts() -> None:
    # norm 1.5 and exponent -3 in five bytes, then 26 bits a count from the lowest, offset 2^25.
    bits = 2**25 | (2**25 + 1) << 26 | sum((2**25 - 1) << 26 * at for at in range(2, BUCKETS))
    packed = bytes.fromhex("0000c03f" + "fd") + bits.to_bytes(52, "little")

    steps = parse_trace(old_entry_of([14.5, to_base64(bytes(range(32))), to_base64(packed), None]))

    sketch = Sketch(1.5, -3, (0, 1, *[-1] * (BUCKETS - 2)), count_bits=26)
    assert steps == (Step(0, 14.5, bytes(range(16)), (sketch, None)),)


def test_only_the_present_format_is_written() -> None:
    steps = trace_of("a", sketches=(older(sketch_of()),))

    with pytest.raises(ValueError, match="expected counts of 24 bits, got 26"):
        to_json(steps)


def to_base64(data: bytes) -> str:
    """Encode slowly: the oracle."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    bits = "".join(f"{byte:08b}" for byte in data)
    groups = [bits[at : at + 6].ljust(6, "0") for at in range(0, len(bits), 6)]
    return "".join(alphabet[int(group, 2)] for group in groups)


def test_a_whole_sigma_written_without_a_fraction_is_read() -> None:
    (step,) = parse_trace(entry_of([1, DIGEST, SKETCH]))

    assert step.sigma == 1.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(None, "expected an object, got NoneType", id="nothing"),
        pytest.param([], "expected an object, got list", id="a list"),
        pytest.param({"steps": [[1.0, DIGEST, SKETCH]]}, "expected format", id="no format"),
        pytest.param({"format": "later", "steps": []}, "got 'later'", id="another format"),
        pytest.param({"format": FORMAT}, "at least one step", id="no steps"),
        pytest.param(entry_of(), "at least one step", id="an empty list"),
        pytest.param(entry_of({}), "step 0: expected a list", id="a step that is an object"),
        pytest.param(entry_of([1.0, DIGEST]), "step 0: expected a list", id="no sketch"),
        pytest.param(
            entry_of([1.0, DIGEST, SKETCH], ["1", DIGEST, SKETCH]),
            "step 1: expected a number as sigma, got str",
            id="sigma as text",
        ),
        pytest.param(entry_of([True, DIGEST, SKETCH]), "got bool", id="sigma as truth"),
        pytest.param(entry_of([10**400, DIGEST, SKETCH]), "step 0: int too large", id="huge sigma"),
        pytest.param(entry_of([2.0**53, DIGEST, SKETCH]), "finite sigma", id="sigma past exact"),
        pytest.param(entry_of([math.nan, DIGEST, SKETCH]), "finite sigma", id="sigma of NaN"),
        pytest.param(entry_of([math.inf, DIGEST, SKETCH]), "finite sigma", id="infinite sigma"),
        pytest.param(entry_of([1.0, "sha256-f32:00", SKETCH]), "22 characters", id="hex digest"),
        pytest.param(entry_of([1.0, None, SKETCH]), "22 characters", id="no digest"),
        pytest.param(entry_of([1.0, "A" * 21 + "B", SKETCH]), "stray bits", id="stray bits"),
        pytest.param(entry_of([1.0, "A" * 21 + "é", SKETCH]), "ASCII", id="not ASCII"),
        pytest.param(entry_of([1.0, "A" * 21 + "!", SKETCH]), "base64", id="not base64"),
        pytest.param(entry_of([1.0, "=" + "A" * 21, SKETCH]), "adding", id="padding inside"),
        pytest.param(entry_of([1.0, DIGEST, SKETCH[1:]]), "71 characters", id="short sketch"),
        pytest.param(entry_of([1.0, DIGEST, 7]), "71 characters", id="a sketch that is a number"),
        # float32: 7f800000 is infinity, bf800000 is -1.
        pytest.param(entry_of([1.0, DIGEST, "AACAfw" + "A" * 65]), "finite norm", id="norm inf"),
        pytest.param(entry_of([1.0, DIGEST, "AACAvw" + "A" * 65]), "norm from 0", id="norm below"),
        pytest.param(old_entry_of([1.0, DIGEST, OLD_SKETCH]), "43 characters", id="a new digest"),
        pytest.param(old_entry_of([1.0, OLD_DIGEST, SKETCH]), "76 characters", id="a new sketch"),
        pytest.param({"format": [FORMAT], "steps": []}, "got \\['sha256", id="a list of formats"),
    ],
)
def test_what_is_not_a_trace_is_refused(value: JsonValue, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse_trace(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(entry_of(*[None] * (STEP_COUNT + 1)), "at most 10001 steps", id="steps"),
        pytest.param(
            entry_of([1.0, DIGEST, *[None] * (IMAGE_COUNT + 1)]), "at most 4096 images", id="images"
        ),
    ],
)
def test_a_trace_past_the_limits_is_refused(value: JsonValue, message: str) -> None:
    with pytest.raises(LimitError, match=message):
        parse_trace(value)


def test_the_longest_trace_is_read() -> None:
    steps: list[JsonValue] = [[1.0, DIGEST, None]] * STEP_COUNT

    assert len(parse_trace(entry_of(*steps))) == STEP_COUNT


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        pytest.param([], "expected 1 to 10001 steps, got 0", id="none"),
        pytest.param(trace_of("a", "b")[1:], "in order from 0", id="a first one missing"),
        pytest.param(trace_of("a", "b")[::-1], "in order from 0", id="backwards"),
    ],
)
def test_steps_out_of_order_are_not_written(steps: list[Step], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_json(steps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"norm": math.nan}, "finite norm", id="norm"),
        pytest.param({"exponent": 128}, "exponent from -128 to 127, got 128", id="exponent"),
        pytest.param({"counts": (0,) * 15}, "expected 16 counts, got 15", id="few counts"),
        pytest.param({"counts": (2**23,) * 16}, "counts of 24 bits", id="a large count"),
        pytest.param({"counts": (-(2**23) - 1,) * 16}, "counts of 24 bits", id="a low count"),
    ],
)
def test_a_sketch_out_of_range_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(sketch_of(), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"index": -1}, "index from 0", id="index below"),
        pytest.param({"index": STEP_COUNT}, "index from 0 to 10000", id="index above"),
        pytest.param({"sketches": ()}, "1 to 4096 images, got 0", id="no images"),
        pytest.param({"digest_prefix": bytes(32)}, "expected 16 bytes, got 32", id="digest"),
    ],
)
def test_a_step_out_of_range_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(trace_of("a")[0], **change)


def test_equal_traces_have_no_difference() -> None:
    assert compare_traces(trace_of("a", "b"), trace_of("a", "b")) is None


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        pytest.param([], trace_of("a"), id="recorded"),
        pytest.param(trace_of("a"), [], id="now"),
        pytest.param([], [], id="both"),
    ],
)
def test_an_empty_trace_agrees_with_nothing(recorded: list[Step], now: list[Step]) -> None:
    with pytest.raises(ValueError, match="at least one step"):
        compare_traces(recorded, now)


def test_the_digest_decides_and_the_sketch_only_measures() -> None:
    same_digest = trace_of("a", sketches=(sketch_of(1, 2, 3),))
    same_sketch = trace_of("b")

    assert compare_traces(trace_of("a"), same_digest) is None
    assert difference_of(trace_of("a"), same_sketch).first_step == 0


def test_the_first_difference_is_found_and_every_one_counted() -> None:
    difference = difference_of(trace_of(*"abcdef"), trace_of(*"abxdyz"))

    assert (difference.first_step, difference.last_step, difference.differing) == (2, 5, 3)
    assert not difference.is_noise


def test_a_difference_before_the_first_step_is_one_of_the_noise() -> None:
    difference = difference_of(trace_of(*"abc"), trace_of(*"xyz"))

    assert difference.is_noise


def test_the_size_is_the_norm_of_the_difference_over_that_of_the_recorded() -> None:
    # 3 and 4 units of 2^18, at 2^-22 each: 5/16 of a latent of norm 2.
    recorded = trace_of("a", sketches=(sketch_of(0, 0, norm=2.0),))
    now = trace_of("b", sketches=(sketch_of(3 * UNIT, -4 * UNIT, norm=9.0),))

    estimate = difference_of(recorded, now).at_last

    assert estimate is not None
    assert estimate.value == pytest.approx(5 / 16 / 2, rel=1e-6)


def test_sketches_of_different_exponents_are_compared_by_value() -> None:
    finer = Sketch(1.0, -23, tuple(2 * count for count in ALIKE))
    recorded, now = trace_of("a", sketches=(finer,)), trace_of("b")

    estimate = estimate_difference(recorded[0], now[0])

    assert estimate is not None
    assert estimate.value == 0


def test_what_rounding_adds_on_average_is_taken_off() -> None:
    recorded = trace_of("a", sketches=(Sketch(1.0, -22, (0,) * 16),))
    now = trace_of("b", sketches=(Sketch(1.0, -22, (4,) * 16),))

    estimate = difference_of(recorded, now).at_first

    # Two roundings to a unit have a variance of a twelfth each.
    assert estimate is not None
    assert estimate.value == pytest.approx(math.sqrt(16 * (4**2 - 2 / 12)) * 2**-22)


def test_a_difference_of_the_last_bit_of_the_sketch_is_not_told_from_rounding() -> None:
    recorded = trace_of("a", sketches=(sketch_of(7),))
    now = trace_of("b", sketches=(sketch_of(8),))

    estimate = difference_of(recorded, now).at_first

    assert estimate is not None
    assert estimate.value <= estimate.floor
    assert str(estimate) == "less than 8e-07 of the latent's size"


def test_of_a_batch_the_image_that_differs_most_gives_the_size() -> None:
    recorded = trace_of("a", sketches=(sketch_of(0), sketch_of(0), sketch_of(0)))
    now = trace_of("b", sketches=(sketch_of(0), sketch_of(UNIT), sketch_of(2 * UNIT)))

    difference = difference_of(recorded, now)

    assert difference.images == (1, 2)
    assert difference.at_first is not None
    assert difference.at_first.value == pytest.approx(2 / 16, rel=1e-6)


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        pytest.param((None,), (sketch_of(),), id="recorded image without a sketch"),
        pytest.param((sketch_of(),), (None,), id="present image without a sketch"),
        pytest.param((sketch_of(norm=0.0),), (sketch_of(),), id="recorded latent of zeros"),
        pytest.param((sketch_of(),), (sketch_of(),) * 2, id="another batch size"),
    ],
)
def test_where_there_is_no_size_it_is_unknown(
    recorded: tuple[Sketch | None, ...], now: tuple[Sketch | None, ...]
) -> None:
    difference = difference_of(trace_of("a", sketches=recorded), trace_of("b", sketches=now))

    assert difference.at_first is None
    assert "by an unknown amount" in str(difference)


@pytest.mark.parametrize("rest", [-2, -1, 0, 1, 2])
def test_a_trace_of_the_old_format_agrees_with_a_new_one_of_the_same_latents(rest: int) -> None:
    recorded = trace_of("a", "b", sketches=(older(sketch_of(), rest), None))
    now = trace_of("a", "b", sketches=(sketch_of(), None))

    assert compare_traces(recorded, now) is None
    assert compare_traces(now, recorded) is None


@pytest.mark.parametrize("rest", [-2, -1, 0, 1, 2])
def test_of_two_formats_no_rounding_is_told_as_another_image(rest: int) -> None:
    recorded = trace_of("a", sketches=(older(sketch_of(), rest), older(sketch_of()), None))
    now = trace_of("b", sketches=(sketch_of(), sketch_of(UNIT), None))

    difference = difference_of(recorded, now)

    assert difference.images == (1,)


def test_of_two_formats_the_size_is_the_norm_of_the_difference() -> None:
    recorded = trace_of("a", sketches=(older(sketch_of(0, 0, norm=2.0)),))
    now = trace_of("b", sketches=(sketch_of(3 * UNIT, -4 * UNIT, norm=2.0),))

    estimate = difference_of(recorded, now).at_first

    assert estimate is not None
    assert estimate.value == pytest.approx(5 / 16 / 2, rel=1e-6)


def test_of_two_formats_another_norm_is_another_image() -> None:
    recorded = trace_of("a", sketches=(older(sketch_of(norm=1.0)),))
    now = trace_of("b", sketches=(sketch_of(norm=1.0 + 2.0**-23),))

    assert difference_of(recorded, now).images == (0,)


PARTED = TraceDifference(
    first_step=3,
    last_step=20,
    recorded_steps=20,
    steps_now=20,
    differing=18,
    images=(0,),
    at_first=Estimate(2.4e-7, 5e-8),
    at_last=Estimate(1.1e-3, 5e-8),
    equal_at_last=False,
)


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        pytest.param(
            PARTED,
            "the runs part at step 3 of 20, by about 2.4e-07 of the latent's size there"
            " and about 0.0011 at step 20",
            id="parted",
        ),
        pytest.param(
            replace(PARTED, first_step=0, at_first=Estimate(1.4, 1e-7)),
            "the runs differ before the first step of 20, by about 1.4 of the latent's size"
            " and about 0.0011 at step 20",
            id="noise",
        ),
        pytest.param(
            replace(PARTED, first_step=20, at_first=Estimate(1e-9, 5e-8)),
            "the runs part at step 20 of 20, by less than 5e-08 of the latent's size there",
            id="only the last",
        ),
        pytest.param(
            replace(PARTED, at_last=None, equal_at_last=True),
            "the runs part at step 3 of 20, by about 2.4e-07 of the latent's size there,"
            " and are the same again at step 20",
            id="the same again",
        ),
        pytest.param(
            replace(PARTED, at_first=None),
            "the runs part at step 3 of 20, by an unknown amount there"
            " and about 0.0011 of the latent's size at step 20",
            id="unknown at first",
        ),
        pytest.param(
            replace(PARTED, steps_now=25),
            "the runs part at step 3 of 20 (now 25), by about 2.4e-07 of the latent's size there"
            " and about 0.0011 at step 20",
            id="more steps",
        ),
    ],
)
def test_a_difference_is_told_in_a_sentence(difference: TraceDifference, sentence: str) -> None:
    assert str(difference) == sentence


@pytest.mark.parametrize(("recorded", "now"), [("ab", "abc"), ("abc", "ab")])
def test_a_run_that_only_goes_on_longer_differs(recorded: str, now: str) -> None:
    difference = difference_of(trace_of(*recorded), trace_of(*now))

    assert (difference.first_step, difference.last_step, difference.differing) == (2, 1, 0)
    assert difference.at_first is None
    expected = f"{len(recorded) - 1} (now {len(now) - 1})"
    assert str(difference) == f"the runs are the same up to step 1, of {expected}"
