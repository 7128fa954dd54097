"""Laws of step traces: they read back as written, and where two part is told truly."""

from __future__ import annotations

import hashlib
import math

from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.canonical import JsonValue, dump_canonical, parse_json
from comfyui_provenance.digest import Digest
from comfyui_provenance.errors import RecordError
from comfyui_provenance.trace import (
    BUCKETS,
    FORMAT,
    Sketch,
    Step,
    compare_traces,
    parse_trace,
    to_json,
    to_sketch,
)

from support.strategies import canonical_values, nested, prompt_scalars

counts = st.integers(-(2**25), 2**25 - 1)
sketches = st.builds(
    Sketch,
    st.floats(0, 2.0**127, width=32),
    st.integers(-128, 127),
    st.tuples(*[counts] * BUCKETS),
)
base64_texts = st.text("ABz09+/=é", min_size=1, max_size=2).map(lambda text: text * 80)
scalars = (
    prompt_scalars
    | st.sampled_from([math.nan, -math.inf])
    | base64_texts.map(lambda text: text[:43])
    | base64_texts.map(lambda text: text[:76])
)
entries = st.fixed_dictionaries(
    {"format": st.just(FORMAT), "steps": st.lists(st.lists(nested(scalars), max_size=4))}
)


@st.composite
def traces(draw: st.DrawFn) -> list[Step]:
    """Traces of latents with few names, so that two often share a state."""
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=6))
    return [
        Step(
            at,
            draw(st.none() | st.floats(-1e6, 1e6)),
            Digest("sha256-f32", hashlib.sha256(name.encode()).hexdigest()),
            tuple(draw(st.lists(st.none() | sketches, min_size=1, max_size=3))),
        )
        for at, name in enumerate(names)
    ]


@given(traces())
def test_a_trace_reads_back_as_it_was_written(steps: list[Step]) -> None:
    text = dump_canonical(to_json(steps))

    assert list(parse_trace(parse_json(text))) == steps


@given(entries.map(dict) | canonical_values | nested(scalars))
def test_any_json_is_a_trace_or_refused_as_one(value: JsonValue) -> None:
    try:
        steps = parse_trace(value)
    except RecordError:
        return

    assert parse_trace(to_json(steps).copy()) == steps


@given(traces())
def test_a_trace_agrees_with_itself(steps: list[Step]) -> None:
    assert compare_traces(steps, steps) is None


@given(traces(), traces())
def test_the_first_step_that_differs_is_the_one_told(recorded: list[Step], now: list[Step]) -> None:
    difference = compare_traces(recorded, now)

    before, after = ([step.digest for step in steps] for steps in (recorded, now))
    if difference is None:
        assert before == after
        return
    first = difference.first_step
    assert before[:first] == after[:first]
    assert before[: first + 1] != after[: first + 1]
    assert difference.equal_at_last == (before[difference.last_step] == after[difference.last_step])
    assert str(difference).isprintable()


@given(
    st.lists(st.integers(-(2**62), 2**62), min_size=BUCKETS, max_size=BUCKETS),
    st.integers(-66, 210),
)
def test_counts_are_the_sums_to_within_half_a_unit(sums: list[int], fraction_bits: int) -> None:
    sketch = to_sketch(1.0, sums, fraction_bits)

    unit_bits = sketch.exponent + fraction_bits
    for count, total in zip(sketch.counts, sums, strict=True):
        assert 2 * abs((count << unit_bits) - total) <= 1 << unit_bits
