"""A step is a pure function of the latent's values, and tells how far two latents are apart."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from comfyui_provenance.canonical import JsonValue, dump_canonical
from comfyui_provenance.numerics.determinism import deterministic
from comfyui_provenance.numerics.step_trace import StepTracer, to_sketch
from comfyui_provenance.numerics.tensors import digest_tensor
from comfyui_provenance.trace import (
    BUCKETS,
    FORMAT,
    STEP_COUNT,
    Estimate,
    Sketch,
    Step,
    compare_traces,
    estimate_difference,
    parse_trace,
)

SRC = Path(__file__).resolve().parents[3] / "src"
STEPS = 10

KNOWN = """
import json, torch
from comfyui_provenance.numerics.step_trace import StepTracer
tracer = StepTracer(2)
values = torch.arange(2 * 4 * 33 * 65, dtype=torch.int64)
tracer.add(0, 14.6, ((values * 7919 % 10007).double() / 997 - 5).float().reshape(2, 4, 33, 65))
print(json.dumps(tracer.to_json()))
"""
KNOWN_STEP: list[JsonValue] = [
    14.6,
    "vvdaJIODccih8MjBCehHjg",
    "hjaGQ/GgPUXsop/A8TjeIHlYCIO58HxF0VsSRYXyV4OeS5zUzl/9iD3W01UobntH6Zzn36A",
    "BDGGQ/Gp6X6Xt5pjgLe7rq1fCY3qsKyoMGhlq3Lgy6JePY2euFUChYJg1WSr7sINI56lJmI",
]
"""What `KNOWN` prints, on every machine; records hold such steps, so it can never change."""

OLD_STEP: list[JsonValue] = [
    14.6,
    "vvdaJIODccih8MjBCehHjgCI3V7ZIppO2g3Y1L4XkPE",
    "hjaGQ++A9hS9Lvr5bzzO3SB5YSEMkgvPJ1H0VhJFhcZfDeq5xAm189f8iD1XT1d54ra3UTpn59+g",
    "BDGGQ++lpvt1eaupGOCtu66tfSU0pg7LKioM2mSrcoEvi+bV05gnbtUBhYKBVZOx6i4sw4jnpCZi",
]
"""What `KNOWN` printed in the format `sha256-f32+sketch-16x26`."""


@contextmanager
def threads(count: int) -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def measure(latent: torch.Tensor, sigma: float | None = 1.0) -> Step:
    """Measure one state of a whole batch."""
    tracer = StepTracer(len(latent))
    tracer.add(0, sigma, latent)
    (step,) = tracer.steps
    return step


def sketch_of(latent: torch.Tensor) -> Sketch:
    sketch = measure(latent).sketches[0]
    assert sketch is not None
    return sketch


def estimate_of(recorded: torch.Tensor, now: torch.Tensor) -> Estimate:
    estimate = estimate_difference(measure(recorded), measure(now))
    assert estimate is not None
    return estimate


def relative_difference(recorded: torch.Tensor, now: torch.Tensor) -> float:
    """Give the true relative L2 difference: the oracle."""
    return float((now.double() - recorded.double()).norm() / recorded.double().norm())


def splitmix64(position: int) -> int:
    """Give output `position` of the generator with seed 0, as published."""
    state = (position + 1) * 0x9E3779B97F4A7C15 % 2**64
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
    return state ^ state >> 31


def test_the_oracle_is_splitmix64() -> None:
    # The first outputs for seed 0 of the published code.
    assert [splitmix64(at) for at in range(2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
def test_a_count_is_the_signed_sum_of_its_bucket(count: int) -> None:
    values = noise(1, count)

    sketch = sketch_of(values)

    sums = [0.0] * BUCKETS
    for at, value in enumerate(values.flatten().tolist()):
        hashed = splitmix64(at) >> 59
        sums[hashed % BUCKETS] += value if hashed < BUCKETS else -value
    counts = [math.ldexp(count, sketch.exponent) for count in sketch.counts]
    assert counts == pytest.approx(sums, abs=math.ldexp(0.51, sketch.exponent))
    assert sketch.norm == pytest.approx(float(values.double().norm()), rel=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_the_number_of_threads_does_not_count(count: int) -> None:
    latent = noise(2, 16, 128, 128) * 14.6
    with threads(3 - count):
        expected = measure(latent)

    with threads(count):
        assert measure(latent) == expected


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param({"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}, id="plain"),
        pytest.param({"OMP_NUM_THREADS": "2"}, id="two threads"),
    ],
)
def test_another_process_with_other_kernels_gives_the_known_bytes(setting: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", KNOWN],
        env={"PYTHONPATH": str(SRC), **setting},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(result.stdout)["steps"] == [KNOWN_STEP]


def test_what_the_old_format_kept_of_the_same_latent_agrees() -> None:
    (old,) = parse_trace({"format": "sha256-f32+sketch-16x26", "steps": [OLD_STEP]})
    (new,) = parse_trace({"format": FORMAT, "steps": [KNOWN_STEP]})

    forced = replace(new, digest_prefix=bytes(16))

    assert old.sketches != new.sketches
    assert compare_traces([old], [new]) is None
    for difference in (compare_traces([old], [forced]), compare_traces([forced], [old])):
        assert difference is not None
        assert difference.images == ()
        assert difference.at_first is not None
        assert difference.at_first.value <= difference.at_first.floor


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(lambda latent: latent.transpose(1, 3).contiguous().transpose(1, 3), id="view"),
        pytest.param(lambda latent: latent.to(memory_format=torch.channels_last), id="channels"),
        pytest.param(lambda latent: latent.clone().requires_grad_(), id="with a gradient"),
        pytest.param(lambda latent: latent.double(), id="float64"),
    ],
)
def test_the_layout_in_memory_does_not_count(
    layout: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    latent = noise(2, 4, 8, 6)

    assert measure(layout(latent)) == measure(latent)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_latent_of_another_type_is_measured_as_float32(dtype: torch.dtype) -> None:
    latent = noise(1, 4, 8, 8).to(dtype)

    assert measure(latent) == measure(latent.float())


def test_the_latent_is_left_as_it_was() -> None:
    latent = noise(1, 4, 8, 8)
    before = latent.clone()

    measure(latent)

    assert torch.equal(latent, before)
    assert latent._version == 0


def test_the_surroundings_do_not_count() -> None:
    latent = noise(1, 4, 8, 9)
    expected = measure(latent)

    with torch.inference_mode(), torch.device("meta"), deterministic() as indeterminate:
        other_size = measure(latent[..., :7])
        found = measure(latent)

    assert found == expected
    assert measure(latent[..., :7]) == other_size
    assert other_size.sketches[0] is not None
    assert any(other_size.sketches[0].counts)
    assert indeterminate == []


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Lists the operations that touch the memory of one tensor."""

    def __init__(self, watched: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.operations: list[str] = []
        self._address = watched.untyped_storage().data_ptr()

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        tensors = [item for item in args if isinstance(item, torch.Tensor)]
        if self._address in [tensor.untyped_storage().data_ptr() for tensor in tensors]:
            self.operations.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_latent_is_copied_from_its_device_once_and_nothing_else_is_done_there() -> None:
    latent = noise(3, 4, 8, 8).to(torch.bfloat16)

    with Watch(latent) as watch:
        measure(latent)

    assert watch.operations.count("aten._to_copy.default") == 1
    assert set(watch.operations) == {"aten.detach.default", "aten._to_copy.default"}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_image_with_nan_or_an_infinity_has_a_digest_and_no_sketch(bad: float) -> None:
    latent = noise(2, 4, 8, 8)
    whole = measure(latent)
    latent[1, 2, 3, 4] = bad

    step = measure(latent)

    assert step.digest_prefix.hex() == digest_tensor(latent).hex[:32]
    assert step.sketches == (whole.sketches[0], None)


def test_float64_past_float32_has_no_sketch() -> None:
    assert measure(torch.tensor([[1e300]], dtype=torch.float64)).sketches == (None,)


def test_a_norm_past_float32_has_no_sketch() -> None:
    latent = torch.full((1, 4), 3e38)

    assert measure(latent[:, :1]).sketches != (None,)
    assert measure(latent).sketches == (None,)


@pytest.mark.parametrize("bits", [-90, -24, 7, 20, 100])
def test_a_latent_of_any_scale_has_the_same_counts(bits: int) -> None:
    latent = noise(1, 4, 16, 16)

    scaled = sketch_of(latent * 2.0**bits)

    plain = sketch_of(latent)
    assert scaled.counts == plain.counts
    assert (scaled.norm, scaled.exponent) == (plain.norm * 2.0**bits, plain.exponent + bits)


def test_a_latent_of_zeros_has_a_sketch_of_zeros() -> None:
    sketch = sketch_of(torch.zeros(1, 4, 8, 8))

    assert (sketch.norm, set(sketch.counts)) == (0.0, {0})


def test_sums_of_a_video_latent_are_exact_at_the_largest_sigma() -> None:
    # All values at the peak: the sum of absolute values is the largest that can be.
    latent = torch.full((1, 16, 21, 30, 52), 4000.0)

    sketch = sketch_of(latent)

    half = sketch_of(latent / 2)
    assert sketch.counts == half.counts
    assert sketch.norm == pytest.approx(4000 * math.sqrt(latent.numel()), rel=1e-5)
    assert max(map(abs, sketch.counts)) * 2.0**sketch.exponent < 4000 * latent.numel() / BUCKETS


def test_each_image_of_a_batch_has_the_sketch_it_has_alone() -> None:
    latent = noise(3, 4, 8, 8)

    step = measure(latent)

    assert step.sketches == tuple(sketch_of(latent[at : at + 1]) for at in range(3))


def test_the_changed_image_of_a_batch_is_told() -> None:
    latent = noise(4, 4, 16, 16)
    changed = latent.clone()
    changed[2] += 0.01 * noise(4, 16, 16, seed=1)

    difference = compare_traces([measure(latent)], [measure(changed)])

    assert difference is not None
    assert difference.images == (2,)
    assert difference.at_first is not None
    assert 0.005 < difference.at_first.value < 0.02


@pytest.mark.parametrize("size", [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(1, 4, 32, 32), (1, 16, 3, 8, 12)])
def test_the_estimate_is_within_a_factor_of_two(shape: tuple[int, ...], size: float) -> None:
    for seed in range(20):
        recorded = noise(*shape, seed=seed) * 14.6
        change = noise(*shape, seed=seed + 1000)
        now = recorded + change * (size * recorded.norm() / change.norm())

        estimate = estimate_of(recorded, now)

        assert estimate.value > estimate.floor
        assert 0.5 < estimate.value / relative_difference(recorded, now) < 2


def test_nine_estimates_of_ten_are_as_close_as_the_docstring_says() -> None:
    ratios: list[float] = []
    for seed in range(300):
        recorded, change = noise(1, 4, 16, 16, seed=seed), noise(1, 4, 16, 16, seed=seed + 1000)
        now = recorded + 1e-3 * change
        estimate = estimate_of(recorded, now)
        ratios.append(estimate.value / relative_difference(recorded, now))

    low, high = (sorted(ratios)[int(300 * part)] for part in (0.05, 0.95))
    assert low == pytest.approx(0.70, abs=0.06)
    assert high == pytest.approx(1.29, abs=0.06)


def test_rounding_of_a_sketch_is_never_told_as_a_difference() -> None:
    for seed in range(200):
        recorded = noise(1, 4, 16, 16, seed=seed)
        now = recorded.clone()
        now[0, 0, 0, seed % 16] *= 1 + 2**-23

        estimate = estimate_of(recorded, now)

        assert estimate.value <= estimate.floor < 1e-6


def test_one_unit_in_the_last_place_of_every_value_is_below_the_floor() -> None:
    for seed in range(50):
        recorded = noise(1, 4, 16, 16, seed=seed)
        now = torch.nextafter(recorded, torch.full_like(recorded, math.inf))

        estimate = estimate_of(recorded, now)

        assert relative_difference(recorded, now) == pytest.approx(9e-8, rel=0.1)
        assert measure(recorded).digest_prefix != measure(now).digest_prefix
        assert estimate.value <= estimate.floor < 1e-6


class Toy(torch.nn.Module):
    """A small denoiser of the shape of a UNet: convolutions down and up, and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.down = torch.nn.Conv2d(4, 16, 3, stride=2, padding=1)
        self.norm = torch.nn.GroupNorm(4, 16)
        self.up = torch.nn.ConvTranspose2d(16, 4, 4, stride=2, padding=1)

    def forward(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Give the denoised latent."""
        scaled = x / math.sqrt(1 + sigma**2)
        inner = torch.nn.functional.silu(self.norm(self.down(scaled)))
        denoised: torch.Tensor = 0.5 * scaled + self.up(inner)
        return denoised


def sample(after_step: int | None = None, *, seed: int = 7, batch: int = 1) -> list[torch.Tensor]:
    """Run Euler with a weight changed once `after_step` steps have been made; give each state."""
    with threads(1), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = Toy()
        sigmas = [14.6 * (1 - at / STEPS) ** 3 for at in range(STEPS + 1)]
        x = noise(batch, 4, 16, 16, seed=seed) * sigmas[0]
        states = [x]
        for at in range(STEPS):
            if at == after_step:
                model.up.weight[0, 0, 0, 0] += 1e-3
            slope = (x - model(x, sigmas[at])) / sigmas[at]
            x = x + slope * (sigmas[at + 1] - sigmas[at])
            states.append(x)
    return states


def trace_of(states: list[torch.Tensor]) -> tuple[Step, ...]:
    """Trace a run and take it through the JSON of a record."""
    tracer = StepTracer(len(states[0]))
    for at, state in enumerate(states):
        tracer.add(at, 14.6 * (1 - at / STEPS) ** 3, state)
    return parse_trace(json.loads(dump_canonical(tracer.to_json())))


def test_a_run_again_has_an_equal_trace() -> None:
    assert compare_traces(trace_of(sample()), trace_of(sample())) is None


@pytest.mark.parametrize("after_step", [0, 1, 4, 7, 9])
def test_a_weight_changed_during_sampling_is_found_at_its_step(after_step: int) -> None:
    recorded, now = sample(), sample(after_step)

    difference = compare_traces(trace_of(recorded), trace_of(now))

    assert difference is not None
    assert difference.first_step == after_step + 1
    assert difference.differing == STEPS - after_step
    for estimate, at in ((difference.at_first, after_step + 1), (difference.at_last, STEPS)):
        truth = relative_difference(recorded[at], now[at])
        assert estimate is not None
        assert truth > 1e-7
        assert 0.5 < estimate.value / truth < 2


def test_another_seed_is_told_as_other_noise() -> None:
    difference = compare_traces(trace_of(sample()), trace_of(sample(seed=8)))

    assert difference is not None
    assert difference.is_noise
    assert difference.at_first is not None
    assert 0.7 < difference.at_first.value < 2.8


def test_a_tracer_keeps_steps_in_order_and_sigmas_to_the_float32() -> None:
    tracer = StepTracer(1)
    sigmas = torch.linspace(14.614642, 0, 6).tolist()

    for at, sigma in enumerate(sigmas):
        tracer.add(at, sigma, noise(1, 4, 4, 4))

    assert [step.index for step in tracer.steps] == list(range(6))
    assert torch.tensor([step.sigma for step in tracer.steps]).tolist() == sigmas


def test_a_sigma_that_is_not_known_stays_unknown() -> None:
    tracer = StepTracer(1)

    tracer.add(0, None, noise(1, 4, 4, 4))

    assert parse_trace(tracer.to_json())[0].sigma is None


def test_a_tracer_keeps_what_a_latent_was_when_it_was_given() -> None:
    tracer, latent = StepTracer(2), noise(2, 4, 4, 4)
    expected = measure(latent)

    tracer.add(0, 1.0, latent[:1])
    tracer.add(0, 1.0, latent[1:])
    latent.zero_()

    assert tracer.steps == (expected,)


def test_the_digest_of_a_batch_in_pieces_is_that_of_the_whole() -> None:
    tracer, states = StepTracer(3), [noise(3, 4, 4, 4, seed=seed) for seed in range(2)]

    for first, last in ((0, 1), (1, 3)):
        for at, state in enumerate(states):
            tracer.add(at, 1.0, state[first:last])

    for step, state in zip(tracer.steps, states, strict=True):
        assert step.digest_prefix.hex() == digest_tensor(state).hex[:32]
        assert step.sketches == measure(state).sketches


@pytest.mark.parametrize("count", [0, 4097])
def test_a_batch_of_a_size_that_no_record_holds_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"expected 1 to 4096 images, got {count}"):
        StepTracer(count)


def test_a_tracer_without_steps_has_no_json() -> None:
    with pytest.raises(ValueError, match="expected 1 to 10001 steps, got 0"):
        StepTracer(1).to_json()


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        pytest.param((2,), "state 0: expected 2 images, got 1", id="an image missing"),
        pytest.param((2, 3), "state 2: expected 2 images, got 1", id="more steps of the second"),
        pytest.param((3, 2), "state 2: expected 2 images, got 1", id="fewer steps of the second"),
    ],
)
def test_images_that_made_different_numbers_of_steps_have_no_trace(
    lengths: tuple[int, ...], message: str
) -> None:
    tracer = StepTracer(2)
    for length in lengths:
        for at in range(length):
            tracer.add(at, 1.0, noise(1, 4, 4, 4))

    with pytest.raises(ValueError, match=message):
        tracer.to_json()


@pytest.mark.parametrize(
    ("index", "sigma", "shape", "message"),
    [
        pytest.param(-1, 1.0, (1, 4, 8, 8), "a state from 0 to 1, got -1", id="before the first"),
        pytest.param(2, 1.0, (1, 4, 8, 8), "a state from 0 to 1, got 2", id="a state left out"),
        pytest.param(0, 2.0, (1, 4, 8, 8), "expected sigma 1.0, got 2.0", id="another sigma"),
        pytest.param(0, None, (1, 4, 8, 8), "expected sigma 1.0, got None", id="no sigma"),
        pytest.param(0, 1.0, (1, 4, 8, 6), r"of \(4, 8, 8\), got \(4, 8, 6\)", id="another shape"),
        pytest.param(0, 1.0, (1, 4, 64), r"of \(4, 8, 8\), got \(4, 64\)", id="other axes"),
        pytest.param(0, 1.0, (3, 4, 8, 8), "at most 2 images, got 3", id="more than are missing"),
        pytest.param(1, 1.0, (4, 4, 8, 8), "at most 3 images, got 4", id="more than the batch"),
        pytest.param(0, 1.0, (), "expected a batch of latents", id="a number"),
        pytest.param(0, 1.0, (0, 4, 8, 8), "expected a batch of latents", id="no images"),
        pytest.param(0, 1.0, (1, 0), "expected a batch of latents", id="no values"),
    ],
)
def test_what_does_not_fit_the_batch_is_refused_and_leaves_no_mark(
    index: int, sigma: float | None, shape: tuple[int, ...], message: str
) -> None:
    tracer, latent = StepTracer(3), noise(3, 4, 8, 8)
    tracer.add(0, 1.0, latent[:1])

    with pytest.raises(ValueError, match=message):
        tracer.add(index, sigma, torch.zeros(shape))

    tracer.add(0, 1.0, latent[1:])
    assert tracer.steps == (measure(latent),)


@pytest.mark.parametrize("sigma", [math.nan, math.inf, 1e16])
def test_a_sigma_that_no_record_holds_has_no_trace(sigma: float) -> None:
    tracer = StepTracer(1)
    tracer.add(0, sigma, noise(1, 4, 4, 4))

    with pytest.raises(ValueError, match="expected a finite sigma"):
        tracer.to_json()


def test_a_tracer_takes_no_more_states_than_a_record_holds() -> None:
    tracer, latent = StepTracer(1), noise(1, 1)
    for at in range(STEP_COUNT):
        tracer.add(at, 1.0, latent)

    with pytest.raises(ValueError, match="expected a state from 0 to 10000, got 10001"):
        tracer.add(STEP_COUNT, 1.0, latent)


def test_a_trace_of_twenty_steps_takes_less_than_2_kb_of_base64() -> None:
    tracer = StepTracer(1)
    for at, sigma in enumerate([*torch.linspace(14.614642, 0.029167, 20).tolist(), 0.0]):
        tracer.add(at, sigma, noise(1, 4, 64, 64) * (sigma + 1))

    entry: Any = tracer.to_json()

    texts = [text for step in entry["steps"] for text in step[1:]]
    assert len(texts) == 2 * 21
    assert sum(map(len, texts)) == 1953


@pytest.mark.parametrize(
    ("largest", "kept"),
    [
        pytest.param(2**23 - 1, (2**23 - 1, 0), id="the largest that fits"),
        pytest.param(2**23, (2**22, 1), id="one bit more"),
        pytest.param(2**24 - 1, (2**22, 2), id="rounded up to one bit more"),
        pytest.param(-(2**24 - 1), (-(2**22), 2), id="the same below zero"),
        pytest.param(3 << 60, (3 << 21, 39), id="past int64"),
    ],
)
def test_sums_keep_as_many_bits_as_a_count_has(largest: int, kept: tuple[int, int]) -> None:
    sketch = to_sketch(1.0, [largest, *[0] * 15], fraction_bits=7)

    assert (sketch.counts[0], sketch.exponent + 7) == kept


def test_sums_too_small_for_an_exponent_are_rounded_away() -> None:
    sketch = to_sketch(1.0, [2**60] * 16, fraction_bits=209)

    assert (sketch.exponent, set(sketch.counts)) == (-128, {0})
