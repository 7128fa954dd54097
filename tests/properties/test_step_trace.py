"""Laws of step traces: they read back as written, and where two part is told truly."""

from __future__ import annotations

import hashlib
import math
import struct

import torch
from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.canonical import JsonValue, dump_canonical, parse_json
from comfyui_provenance.errors import RecordError
from comfyui_provenance.numerics.step_trace import StepTracer, to_sketch
from comfyui_provenance.trace import (
    BUCKETS,
    FORMAT,
    Sketch,
    Step,
    compare_traces,
    parse_trace,
    to_json,
)

from support.strategies import canonical_values, nested, prompt_scalars

OLD_FORMAT = "sha256-f32+sketch-16x26"

counts = st.integers(-(2**23), 2**23 - 1)
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
    | st.builds(lambda text, size: text[:size], base64_texts, st.sampled_from([22, 43, 71, 76]))
)
entries = st.fixed_dictionaries(
    {
        "format": st.sampled_from([FORMAT, OLD_FORMAT]),
        "steps": st.lists(st.lists(nested(scalars), max_size=4)),
    }
)
sums_of_values = st.lists(st.integers(-(2**62), 2**62), min_size=BUCKETS, max_size=BUCKETS)


@st.composite
def traces(draw: st.DrawFn) -> list[Step]:
    """Traces of latents with few names, so that two often share a state."""
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=6))
    return [
        Step(
            at,
            draw(st.none() | st.floats(-1e6, 1e6)),
            hashlib.sha256(name.encode()).digest()[:16],
            tuple(draw(st.lists(st.none() | sketches, min_size=1, max_size=3))),
        )
        for at, name in enumerate(names)
    ]


def older(sums: list[int], fraction_bits: int) -> Sketch:
    """Round sums to 26 bits as the old format did: the fewest bits cut off that do."""
    cut = max(0, fraction_bits - 128)
    while True:
        counts = tuple((total + (1 << cut >> 1)) >> cut for total in sums)
        if max(map(abs, counts)) < 2**25:
            return Sketch(1.0, cut - fraction_bits, counts, count_bits=26)
        cut += 1


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

    assert compare_traces(steps, steps) is None
    if isinstance(value, dict) and value["format"] == FORMAT:
        assert parse_trace(to_json(steps).copy()) == steps


@given(traces())
def test_a_trace_agrees_with_itself(steps: list[Step]) -> None:
    assert compare_traces(steps, steps) is None


@given(traces(), traces())
def test_the_first_step_that_differs_is_the_one_told(recorded: list[Step], now: list[Step]) -> None:
    difference = compare_traces(recorded, now)

    before, after = ([step.digest_prefix for step in steps] for steps in (recorded, now))
    if difference is None:
        assert before == after
        return
    first = difference.first_step
    assert before[:first] == after[:first]
    assert before[: first + 1] != after[: first + 1]
    assert difference.equal_at_last == (before[difference.last_step] == after[difference.last_step])
    assert str(difference).isprintable()


@given(sums_of_values, st.integers(-66, 210))
def test_counts_are_the_sums_to_within_half_a_unit(sums: list[int], fraction_bits: int) -> None:
    sketch = to_sketch(1.0, sums, fraction_bits)

    unit_bits = sketch.exponent + fraction_bits
    for count, total in zip(sketch.counts, sums, strict=True):
        assert 2 * abs((count << unit_bits) - total) <= 1 << unit_bits


@given(sums_of_values, st.integers(-66, 210), st.booleans())
def test_two_formats_of_one_latent_never_say_that_it_is_another(
    sums: list[int], fraction_bits: int, is_old_first: bool
) -> None:
    sketches = [older(sums, fraction_bits), to_sketch(1.0, sums, fraction_bits)]
    if not is_old_first:
        sketches.reverse()

    # Other digests, as of a batch of which another image differs.
    recorded, now = ([Step(0, 1.0, bytes([at] * 16), (sketches[at],))] for at in range(2))
    difference = compare_traces(recorded, now)

    assert difference is not None
    assert difference.images == ()
    assert difference.at_first is not None
    assert difference.at_first.value <= difference.at_first.floor


@given(st.data(), st.integers(1, 4), st.integers(1, 3), st.sampled_from([(), (5,), (2, 3, 4)]))
def test_any_way_of_cutting_a_batch_gives_the_trace_of_the_whole(
    data: st.DataObject, batch_size: int, state_count: int, shape: tuple[int, ...]
) -> None:
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    states = [torch.randn(batch_size, *shape, generator=random) for _ in range(state_count)]
    whole, cut = StepTracer(batch_size), StepTracer(batch_size)
    for at, state in enumerate(states):
        whole.add(at, float(at), state)

    taken = [0] * state_count
    while min(taken) < batch_size:
        begun = sum(count > 0 for count in taken)
        unfinished = [at for at in range(state_count) if at <= begun and taken[at] < batch_size]
        at = data.draw(st.sampled_from(unfinished))
        end = data.draw(st.integers(taken[at] + 1, batch_size))
        cut.add(at, float(at), states[at][taken[at] : end])
        taken[at] = end

    assert cut.to_json() == whole.to_json()
    for step, state in zip(cut.steps, states, strict=True):
        header = "f32 " + "x".join(map(str, (batch_size, *shape))) + "\n"
        values = struct.pack(f"<{state.numel()}f", *state.flatten().tolist())
        digest = hashlib.sha256(header.encode() + values).digest()
        assert step.digest_prefix == digest[:16]
