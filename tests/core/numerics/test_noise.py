"""The noise is standard normal, and its bits follow from its arguments on every machine.

Processes with environment variables that make torch and MKL use other kernels stand for other
machines. They are compared in float64: a rounding to float32 would hide most differences.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from comfyui_provenance.numerics import noise
from comfyui_provenance.numerics.determinism import deterministic
from comfyui_provenance.numerics.noise import PortableBrownian, PortableNoise, portable_normal

SRC: Final = Path(__file__).resolve().parents[3] / "src"
SAMPLES: Final = 1 << 18
STANDARD_ERROR: Final = SAMPLES**-0.5

KNOWN_NORMAL: Final = "02e53549d0fe04d97fa03fa8d761335375342c71d12fbc8ef74e3955e461f62a"
KNOWN_BROWNIAN: Final = "dfcfc220b1d56a8264e48d31794491b41c9814f3c191fcaecccc285322d30595"
"""Records name this noise by what it is made from, so these can never change."""

PROGRAM: Final = """
import hashlib, json, sys, torch
torch.set_num_threads(int(sys.argv[1]))
from comfyui_provenance.numerics import noise
def digest(tensor):
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
words = torch.arange(1 << 18) * 16411 % (1 << 32)
motion = noise.PortableBrownian(7, [1, 2], (2, 4, 65, 33), 0.03, 14.6)
for sigmas in ((14.6, 7.1), (14.6, 3.3), (3.3, 0.5), (3.3, 0.03), (0.03, 0.01)):
    motion(*sigmas)
operands = torch.arange(1, 100_001, dtype=torch.float64)
left, right = operands / 7, 1e6 / (operands + 0.1)
print(json.dumps([torch.backends.cpu.get_cpu_capability(), {
    "normal": digest(noise._to_normal(words)),
    "rounded": digest(noise.portable_normal(7, 2**63 + 1, 3, (16, 65, 65))),
    "motion": [digest(point) for point in motion._points],
    "operations": [digest(value) for value in (left + right, left - right, left * right)],
    "quotient": digest(left / right),
    "logarithm": digest(noise._log(left)),
}]))
"""

EXACT_OPERATIONS: Final = {
    "abs", "add", "bitwise_and", "bitwise_xor", "copysign", "div", "frexp", "gt", "lt", "mul",
    "neg", "nonzero", "rshift", "sub", "where",
    "_to_copy", "arange", "copy", "empty", "full_like",
    "index_copy", "index_select", "slice", "split", "stack", "view", "zeros",
}  # fmt: skip
"""What has one possible result: IEEE 754 arithmetic, integers, comparisons and copies."""


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Notes what is asked of torch."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.names: set[str] = set()
        self.keywords: set[str] = set()

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        self.names.add(func.overloadpacket.__name__.removeprefix("__").rstrip("_"))
        self.keywords.update(kwargs or {})
        return func(*args, **(kwargs or {}))


def elsewhere(threads: int, **variables: str) -> tuple[str, dict[str, Any]]:
    """Run `PROGRAM` in another process."""
    kept = {name: os.environ[name] for name in os.environ if not name.startswith(("MKL_", "ATEN_"))}
    environ = {**kept, "PYTHONPATH": str(SRC), "OMP_WAIT_POLICY": "PASSIVE", **variables}
    command = [sys.executable, "-c", PROGRAM, str(threads)]
    output = subprocess.run(command, env=environ, check=True, capture_output=True).stdout
    capability, found = json.loads(output)
    return capability, found


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """Give what the usual kernels find on one thread."""
    return elsewhere(1)[1]


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.numpy().astype("<f4").tobytes()).hexdigest()


def samples(seed: int = 1, image_key: int = 2, draw: int = 3, count: int = SAMPLES) -> torch.Tensor:
    return portable_normal(seed, image_key, draw, [count]).double()


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack((one.flatten(), other.flatten())).double())[0, 1])


def words_of_every_size(count: int) -> list[int]:
    make = random.Random(5)  # noqa: S311 - a fixed choice, not a secret
    ends = [0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]
    near = [word for bits in range(1, 32) for word in (1 << bits, 2**32 - (1 << bits))]
    return ends + near + [make.randrange(2**32) for _ in range(count)]


def largest_relative_error(found: Iterable[float], expected: Iterable[float]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(abs(got - true) / abs(true) for got, true in pairs)


def motion(
    size: int = 64,
    image_keys: Sequence[int] = (2,),
    transform: Callable[[float], float] = float,
) -> PortableBrownian:
    shape = (len(image_keys), size)
    return PortableBrownian(1, image_keys, shape, 0.03, 14.6, transform)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        pytest.param(
            [0, 0, 0, 0],
            (0, 0),
            [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8],
            id="zeros",
        ),
        pytest.param(
            [0xFFFFFFFF] * 4,
            (0xFFFFFFFF, 0xFFFFFFFF),
            [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
            id="ones",
        ),
        pytest.param(
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
            id="digits of pi",
        ),
    ],
)
def test_random_words_are_those_that_random123_publishes(
    counter: list[int], key: tuple[int, int], expected: list[int]
) -> None:
    words = noise._philox([torch.tensor([word, word]) for word in counter], key)

    assert words.tolist() == expected * 2


def test_a_value_is_the_quantile_of_the_word_at_its_position() -> None:
    seed, image_key, draw = 0x0123456789ABCDEF, 0xFEDCBA9876543210, 5

    values = portable_normal(seed, image_key, draw, [3 * 4]).tolist()

    for block in range(3):
        counter = [block, draw, 0x76543210, 0xFEDCBA98]
        words = noise._philox([torch.tensor([word]) for word in counter], (0x89ABCDEF, 0x01234567))
        quantiles = [NormalDist().inv_cdf((word + 0.5) / 2**32) for word in words.tolist()]
        assert values[4 * block : 4 * block + 4] == torch.tensor(quantiles).tolist()


def test_quantiles_agree_with_those_of_python() -> None:
    words = words_of_every_size(100_000)

    found = noise._to_normal(torch.tensor(words)).tolist()

    expected = [NormalDist().inv_cdf((word + 0.5) / 2**32) for word in words]
    assert largest_relative_error(found, expected) < 2e-15


def test_logarithms_agree_with_those_of_python() -> None:
    make = random.Random(6)  # noqa: S311 - a fixed choice, not a secret
    numbers = [(word + 0.5) / 2**32 for word in words_of_every_size(50_000)]
    numbers += [math.ldexp(make.uniform(0.5, 1), make.randrange(-126, 127)) for _ in range(50_000)]

    found = noise._log(torch.tensor(numbers, dtype=torch.float64)).tolist()

    assert largest_relative_error(found, map(math.log, numbers)) < 4e-16


def test_square_roots_agree_with_those_of_python() -> None:
    numbers = [2.5 + step * 20.5 / 100_000 for step in range(100_001)]

    found = noise._sqrt(torch.tensor(numbers, dtype=torch.float64)).tolist()

    assert largest_relative_error(found, map(math.sqrt, numbers)) < 3e-16


def test_known_noise_never_changes() -> None:
    values = portable_normal(0x0123456789ABCDEF, 2**63 + 1, 3, (16, 65, 65))

    assert digest(values) == KNOWN_NORMAL


def test_a_known_motion_never_changes() -> None:
    known = PortableBrownian(7, [1, 2**64 - 1], (2, 4, 65, 33), 0.03, 14.6)

    calls = [(14.6, 7.1), (14.6, 3.3), (3.3, 0.5), (3.3, 0.03), (0.03, 0.01), (20.0, 14.6)]
    increments = torch.stack([known(*sigmas) for sigmas in calls])

    assert digest(increments) == KNOWN_BROWNIAN


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_does_not_show(alone: dict[str, Any], threads: int) -> None:
    assert elsewhere(threads)[1] == alone


@pytest.mark.instructions("AVX2", "AVX512")
@pytest.mark.parametrize(
    ("variables", "capability"),
    [
        pytest.param({"ATEN_CPU_CAPABILITY": "default"}, "DEFAULT", id="torch without vectors"),
        pytest.param({"ATEN_CPU_CAPABILITY": "avx2"}, "AVX2", id="torch with AVX2"),
        pytest.param({"MKL_CBWR": "COMPATIBLE"}, None, id="MKL's slowest kernels"),
        pytest.param({"MKL_CBWR": "AVX2"}, None, id="MKL with AVX2"),
    ],
)
def test_the_instruction_set_does_not_show(
    alone: dict[str, Any], variables: dict[str, str], capability: str | None
) -> None:
    for threads in (1, 3):
        used, found = elsewhere(threads, **variables)

        assert capability in {None, used}
        assert found == alone


def test_arithmetic_of_torch_rounds_as_python_does() -> None:
    make = random.Random(4)  # noqa: S311 - a fixed choice, not a secret
    left = [make.uniform(-1, 1) * 2 ** make.randrange(-20, 20) for _ in range(50_003)]
    right = [make.uniform(0.1, 1) * 2 ** make.randrange(-20, 20) for _ in range(50_003)]

    one, other = (torch.tensor(numbers, dtype=torch.float64) for numbers in (left, right))

    pairs = list(zip(left, right, strict=True))
    assert (one + other).tolist() == [a + b for a, b in pairs]
    assert (one - other).tolist() == [a - b for a, b in pairs]
    assert (one * other).tolist() == [a * b for a, b in pairs]
    assert (one / other).tolist() == [a / b for a, b in pairs]
    assert (one * 0.165).add_(1.3).tolist() == [a * 0.165 + 1.3 for a in left]
    mantissa, exponent = torch.frexp(one)
    assert list(zip(mantissa.tolist(), exponent.tolist(), strict=True)) == list(
        map(math.frexp, left)
    )
    assert one.to(torch.float32).tolist() == torch.tensor(left, dtype=torch.float32).tolist()


def test_nothing_is_asked_of_torch_but_what_has_one_result() -> None:
    with Operations() as asked:
        PortableNoise(1, [2, 3], (2, 50))(1.0, 0.5)
        brownian = motion()
        brownian(14.6, 1.0)
        brownian(20.0, 0.01)

    assert asked.names <= EXACT_OPERATIONS
    assert {"mul", "add", "div", "frexp"} <= asked.names
    assert "alpha" not in asked.keywords


def test_what_the_process_has_set_does_not_show() -> None:
    usual = portable_normal(1, 2, 3, (4, 9, 9)), motion()(14.6, 2.0)
    before = torch.get_rng_state().tolist(), random.getstate()

    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), deterministic(), torch.inference_mode():
            found = portable_normal(1, 2, 3, (4, 9, 9)), motion()(14.6, 2.0)
    finally:
        torch.set_default_dtype(torch.float32)

    assert [value.dtype for value in found] == [torch.float32, torch.float32]
    assert all(map(torch.equal, found, usual))
    assert (torch.get_rng_state().tolist(), random.getstate()) == before


def test_values_are_standard_normal() -> None:
    count = 1 << 20

    values = samples(count=count)

    error = count**-0.5
    assert abs(float(values.mean())) < 4 * error
    assert abs(float(values.square().mean()) - 1) < 4 * math.sqrt(2) * error
    assert abs(float(values.pow(3).mean())) < 4 * math.sqrt(15) * error
    assert abs(float(values.pow(4).mean()) - 3) < 4 * math.sqrt(96) * error
    # Kolmogorov and Smirnov: past 1.63 once in a hundred times.
    below = [0.5 * math.erfc(-value / math.sqrt(2)) for value in values.sort().values.tolist()]
    assert max(abs(share - at / count) for at, share in enumerate(below)) < 1.63 * error


def test_the_farthest_values_are_as_far_as_words_of_32_bits_allow() -> None:
    lowest, highest = noise._to_normal(torch.tensor([0, 2**32 - 1])).tolist()

    assert lowest == -highest
    assert 6.3 < highest < 6.4


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"seed": 2}, id="seed"),
        pytest.param({"seed": 1 + 2**32}, id="high word of the seed"),
        pytest.param({"image_key": 3}, id="image"),
        pytest.param({"image_key": 2 + 2**32}, id="high word of the image"),
        pytest.param({"draw": 4}, id="draw"),
        pytest.param({"seed": 2, "image_key": 1}, id="seed and image exchanged"),
        pytest.param({"image_key": 3, "draw": 2}, id="image and draw exchanged"),
    ],
)
def test_noise_of_another_name_is_independent(other: dict[str, int]) -> None:
    usual, found = samples(), samples(**other)

    assert abs(correlation(usual, found)) < 4 * STANDARD_ERROR
    assert abs(correlation(usual.square(), found.square())) < 4 * STANDARD_ERROR
    assert int((usual == found).sum()) < 5


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 64, 4096, 65536])
def test_values_of_one_tensor_are_independent(lag: int) -> None:
    values = samples(count=SAMPLES + lag)

    assert abs(correlation(values[lag:], values[:-lag])) < 4 * STANDARD_ERROR
    assert abs(correlation(values[lag:].square(), values[:-lag].square())) < 4 * STANDARD_ERROR


def test_values_of_a_smaller_tensor_come_first_in_a_larger_one() -> None:
    larger = portable_normal(1, 2, 3, (4, 200, 200)).flatten()

    for shape in [(), (1,), (0, 3), (2, 3), (4, 128, 128), (65536,), (65537,), (159999,)]:
        smaller = portable_normal(1, 2, 3, shape)

        assert smaller.shape == shape
        assert smaller.dtype is torch.float32
        assert torch.equal(smaller.flatten(), larger[: smaller.numel()])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param((-1, 0, 0, [1]), r"seed of 0 to 2\^64 - 1, got -1", id="negative seed"),
        pytest.param((2**64, 0, 0, [1]), r"seed of 0 to 2\^64 - 1", id="seed of 65 bits"),
        pytest.param((0, -1, 0, [1]), r"image key of 0 to 2\^64 - 1", id="negative image key"),
        pytest.param((0, 2**64, 0, [1]), r"image key of 0 to", id="image key of 65 bits"),
        pytest.param((0, 0, -1, [1]), r"draw of 0 to 2\^32 - 1, got -1", id="negative draw"),
        pytest.param((0, 0, 2**32, [1]), r"draw of 0 to 2\^32 - 1", id="draw of 33 bits"),
        pytest.param((0, 0, 0, [-2, -2]), r"got shape \(-2, -2\)", id="negative sizes"),
        pytest.param((0, 0, 0, [2**34 + 1]), r"at most 2\^34 values, got", id="too many values"),
    ],
)
def test_a_number_out_of_range_is_refused(
    arguments: tuple[int, int, int, list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        portable_normal(*arguments)


def test_the_largest_numbers_are_taken() -> None:
    values = portable_normal(2**64 - 1, 2**64 - 1, 2**32 - 1, [5])

    assert bool(values.isfinite().all())


def test_each_call_gives_the_next_draw_of_every_image() -> None:
    sampler = PortableNoise(1, [7, 5], (2, 4, 3))

    first, second = sampler(14.6, 7.0), sampler(torch.tensor(7.0), torch.tensor(3.0))

    for draw, found in ((1, first), (2, second)):
        assert found.device == torch.device("cpu")
        expected = [portable_normal(1, image_key, draw, (4, 3)) for image_key in (7, 5)]
        assert torch.equal(found, torch.stack(expected))


def test_the_first_draw_can_be_another() -> None:
    later = PortableNoise(1, [7], (1, 4), first_draw=9)(1.0, 0.5)

    assert torch.equal(later[0], portable_normal(1, 7, 9, (4,)))


def test_noise_goes_where_the_latent_is() -> None:
    sigma = torch.empty((), device="meta")

    assert PortableNoise(1, [7], (1, 4))(sigma, sigma).device == sigma.device


def test_an_image_has_the_same_noise_in_any_batch() -> None:
    together, single = motion(image_keys=[2, 3, 4]), motion(image_keys=[3])

    for sigmas in [(14.6, 7.0), (7.0, 1.0), (7.0, 3.0)]:
        assert torch.equal(together(*sigmas)[1:2], single(*sigmas))


@pytest.mark.parametrize(
    ("image_keys", "shape", "message"),
    [
        pytest.param([], (0, 4), "got 0 keys", id="no image"),
        pytest.param([1, 2], (3, 4), r"got 2 keys and shape \(3, 4\)", id="more images"),
        pytest.param([1], (), r"got 1 keys and shape \(\)", id="no batch"),
        pytest.param([2**64], (1, 4), "image key of 0", id="image key of 65 bits"),
        pytest.param([-1], (1, 4), "image key of 0", id="negative image key"),
    ],
)
def test_a_batch_that_its_keys_do_not_fit_is_refused(
    image_keys: list[int], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PortableNoise(1, image_keys, shape)
    with pytest.raises(ValueError, match=message):
        PortableBrownian(1, image_keys, shape, 0.03, 14.6)


def test_a_first_draw_out_of_range_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="draw of 0"):
        PortableNoise(1, [7], (1, 4), first_draw=-1)


@pytest.mark.parametrize(
    ("transform", "time"),
    [
        pytest.param(float, float, id="sigma is time"),
        pytest.param(lambda sigma: -math.log(sigma), math.log, id="time falls with sigma"),
    ],
)
def test_increments_have_variance_1_and_go_as_brownian_motion_does(
    transform: Callable[[float], float], time: Callable[[float], float]
) -> None:
    brownian = motion(SAMPLES, transform=transform)
    calls = [(14.6, 5.0), (5.0, 1.0), (14.6, 0.5), (8.0, 2.0), (2.0, 0.03), (0.03, 0.01), (20, 9)]

    found = [(start, end, brownian(start, end)) for start, end in calls]

    for start, end, increment in found:
        assert abs(float(increment.double().mean())) < 4 * STANDARD_ERROR
        variance = float(increment.double().square().mean())
        assert abs(variance - 1) < 4 * math.sqrt(2) * STANDARD_ERROR
        for other_start, other_end, other in found:
            shared = time(min(start, other_start)) - time(max(end, other_end))
            spans = (time(start) - time(end)) * (time(other_start) - time(other_end))
            expected = max(0.0, shared) / math.sqrt(spans)
            assert abs(correlation(increment, other) - expected) < 4 * STANDARD_ERROR


@pytest.mark.parametrize("transform", [float, lambda sigma: -math.log(sigma)])
def test_adjacent_increments_add_up_to_the_whole(transform: Callable[[float], float]) -> None:
    brownian = motion(transform=transform)

    def unscaled(start: float, end: float) -> torch.Tensor:
        span = abs(transform(end) - transform(start))
        return brownian(start, end).double() * math.sqrt(span)

    whole = unscaled(14.6, 1.0)
    parts = unscaled(14.6, 7.0) + unscaled(7.0, 2.0) + unscaled(2.0, 1.0)

    assert float((parts - whole).abs().max()) < 1e-5


def test_the_same_question_has_the_same_answer() -> None:
    brownian = motion()

    first = brownian(14.6, 7.0)
    brownian(7.0, 3.0)
    brownian(11.0, 9.0)

    assert torch.equal(brownian(14.6, 7.0), first)
    sigmas = torch.tensor([14.6, 7.0], dtype=torch.float64)
    assert torch.equal(brownian(*sigmas), first)


def test_the_way_back_is_the_way_there_with_the_other_sign() -> None:
    for transform in (float, math.log, lambda sigma: -math.log(sigma)):
        brownian = motion(transform=transform)

        assert torch.equal(brownian(7.0, 3.0), -brownian(3.0, 7.0))


def test_the_sign_does_not_depend_on_the_way_of_the_transform() -> None:
    rising, falling = motion(transform=math.log), motion(transform=lambda sigma: -math.log(sigma))

    for sigmas in [(14.6, 3.0), (14.6, 7.0), (3.0, 0.01)]:
        assert torch.allclose(rising(*sigmas), falling(*sigmas), atol=1e-6)


def test_where_no_time_passes_nothing_moves() -> None:
    assert motion()(7.0, 7.0).tolist() == [[0.0] * 64]


def test_a_sampling_of_one_step_has_a_motion() -> None:
    brownian = PortableBrownian(1, [2], (1, SAMPLES), 14.6, 14.6)

    increment = brownian(14.6, 1.0).double()

    assert abs(float(increment.square().mean()) - 1) < 4 * math.sqrt(2) * STANDARD_ERROR


def test_a_sigma_off_by_an_ulp_moves_the_noise_little() -> None:
    nudged = 7.0 * (1 + 2**-23)
    exact, off = motion(), motion()

    exact(14.6, 7.0), off(14.6, 7.0)
    # Known on one machine, new on the other: both go on with the same draws.
    for one, other in [(exact(7.0, 3.0), off(nudged, 3.0)), (exact(3.0, 1.0), off(3.0, 1.0))]:
        assert float((one - other).abs().max()) < 5e-3


@pytest.mark.parametrize(
    ("sigma_min", "sigma_max", "transform", "message"),
    [
        pytest.param(2.0, 1.0, float, "sigmas in order, got 2.0 and 1.0", id="wrong order"),
        pytest.param(math.nan, 1.0, float, "sigmas in order", id="NaN"),
        pytest.param(1.0, math.inf, float, "finite time, got inf", id="infinite"),
        pytest.param(1.0, 2.0, lambda _: math.nan, "finite time, got nan", id="transform to NaN"),
    ],
)
def test_a_motion_without_finite_times_in_order_is_refused(
    sigma_min: float, sigma_max: float, transform: Callable[[float], float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PortableBrownian(1, [2], (1, 4), sigma_min, sigma_max, transform)


def test_a_time_that_is_not_finite_is_refused_and_uses_no_draw() -> None:
    brownian, untouched = motion(), motion()

    with pytest.raises(ValueError, match="finite time, got nan"):
        brownian(14.6, math.nan)

    assert torch.equal(brownian(14.6, 7.0), untouched(14.6, 7.0))
