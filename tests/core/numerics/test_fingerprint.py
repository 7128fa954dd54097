"""A fingerprint tells instruction sets and libraries apart, and nothing else of a machine.

Processes with environment variables that make torch and its libraries use other kernels stand
for other machines. Expected bits are nowhere written down: processes are compared.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from comfyui_provenance.digest import Digest
from comfyui_provenance.environment import compare_fingerprints
from comfyui_provenance.numerics import fingerprint
from comfyui_provenance.numerics.determinism import read_flags
from comfyui_provenance.numerics.fingerprint import measure_fingerprint
from comfyui_provenance.numerics.tensors import digest_tensor

SOURCE = Path(__file__).resolve().parents[3] / "src"
BACKENDS: Any = torch.backends
CPU: Final = torch.device("cpu")
FAMILIES = {
    "activations",
    "attention",
    "attention_bfloat16",
    "convolution",
    "convolution_bfloat16",
    "matmul",
    "matmul_bfloat16",
    "norms",
    "random_numbers",
    "reductions",
    "resampling",
    "schedules",
}
PROGRAM = """
import json, sys, torch
torch.set_num_threads(int(sys.argv[1]))
from comfyui_provenance.numerics.fingerprint import measure_fingerprint
found = measure_fingerprint(torch.device("cpu"))
print(json.dumps([torch.backends.cpu.get_cpu_capability(), found]))
"""

Elsewhere = Callable[..., tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def elsewhere() -> Elsewhere:
    """Measure in another process, once for each number of threads and set of variables."""
    measured: dict[object, tuple[str, dict[str, Any]]] = {}

    def measure(threads: int = 1, **variables: str) -> tuple[str, dict[str, Any]]:
        key = (threads, *variables.items())
        if key not in measured:
            kept = {name: os.environ[name] for name in os.environ if not name.startswith("MKL_")}
            environ = {**kept, "PYTHONPATH": str(SOURCE), "OMP_WAIT_POLICY": "PASSIVE", **variables}
            command = [sys.executable, "-c", PROGRAM, str(threads)]
            output = subprocess.run(command, env=environ, check=True, capture_output=True).stdout
            capability, found = json.loads(output)
            measured[key] = capability, found
        return measured[key]

    return measure


@pytest.fixture
def not_yet_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_measured", {})


def expected_input(counter: int) -> float:
    """Compute an input as the module says, in Python's integers."""
    bits = counter
    for factor in (0x7FEB352D, 0x2C1B3C6D):
        bits = ((bits ^ (bits >> 15)) * factor) % 2**32
    return ((bits >> 8) / 2**22 - 2) / float(2 ** (bits % 8))


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return set(compare_fingerprints(one, other))


def test_every_family_is_measured_on_this_cpu() -> None:
    found = measure_fingerprint(CPU)

    assert set(found) == FAMILIES
    assert all(str(digest).startswith("sha256-f32:") for digest in found.values())
    assert len(set(map(str, found.values()))) == len(FAMILIES)


@pytest.mark.usefixtures("not_yet_measured")
def test_measuring_again_gives_the_same() -> None:
    first = measure_fingerprint(CPU)
    fingerprint._measured.clear()

    assert measure_fingerprint(CPU) == first


def test_another_process_gives_the_same_with_any_number_of_threads(elsewhere: Elsewhere) -> None:
    _, alone = elsewhere(1)

    for threads in (2, 3, 8):
        assert elsewhere(threads) == elsewhere(1)
    assert differing(alone, measure_fingerprint(CPU)) == set()


@pytest.mark.instructions("AVX512")
@pytest.mark.parametrize(
    ("variable", "value", "least"),
    [
        pytest.param(
            "ATEN_CPU_CAPABILITY",
            "default",
            {"activations", "attention", "norms", "random_numbers", "schedules"},
            id="torch without vectors",
        ),
        pytest.param(
            "ATEN_CPU_CAPABILITY", "avx2", {"activations", "attention"}, id="torch with AVX2"
        ),
        pytest.param(
            "ONEDNN_MAX_CPU_ISA",
            "AVX2",
            {"convolution", "matmul_bfloat16", "convolution_bfloat16"},
            id="oneDNN with AVX2",
        ),
        pytest.param("MKL_CBWR", "AVX2", set(), id="MKL with AVX2, which it may use anyway"),
        pytest.param("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", set(), id="oneDNN without bfloat16"),
        pytest.param("MKL_CBWR", "COMPATIBLE", {"matmul"}, id="MKL's slowest kernels"),
    ],
)
def test_another_instruction_set_is_told_by_the_families_it_moves(
    elsewhere: Elsewhere, variable: str, value: str, least: set[str]
) -> None:
    _, usual = elsewhere(1)

    _, other = elsewhere(1, **{variable: value})

    assert differing(usual, other) >= least
    for threads in (2, 8):
        assert elsewhere(threads, **{variable: value})[1] == other


@pytest.mark.instructions("AVX512")
def test_what_is_told_apart_differs_from_each_other_too(elsewhere: Elsewhere) -> None:
    found = [
        elsewhere(1)[1],
        elsewhere(1, ATEN_CPU_CAPABILITY="default")[1],
        elsewhere(1, ATEN_CPU_CAPABILITY="avx2")[1],
        elsewhere(1, ONEDNN_MAX_CPU_ISA="AVX2")[1],
        elsewhere(1, MKL_CBWR="COMPATIBLE")[1],
    ]

    assert len({json.dumps(entry, sort_keys=True) for entry in found}) == len(found)


@pytest.mark.instructions("AVX2", "AVX512")
def test_torch_without_vectors_is_told_on_any_processor(elsewhere: Elsewhere) -> None:
    _, other = elsewhere(1, ATEN_CPU_CAPABILITY="default")

    assert differing(elsewhere(1)[1], other) >= {"activations", "attention"}


def test_sums_in_16_bits_are_nothing_but_their_rounding() -> None:
    make = fingerprint._Inputs(CPU, torch.bfloat16)
    tokens, weights = fingerprint._cancelling(make(7, 64)), fingerprint._mirrored(make(5, 64))

    exact = tokens.double() @ weights.double().T

    assert float(tokens.abs().sum()) > 1
    assert float(exact.abs().max()) == 0


def test_inputs_are_what_they_are_on_every_machine() -> None:
    wide = fingerprint._Inputs(CPU, torch.float32)(9, 1000)
    narrow = fingerprint._Inputs(CPU, torch.bfloat16)(9, 1000)

    assert wide.flatten().tolist() == [expected_input(counter) for counter in range(9000)]
    assert len(set(wide.flatten().tolist())) > 8900
    assert 1.9 < float(wide.max()) <= 2
    assert -2 <= float(wide.min()) < -1.9
    assert len(set(narrow.flatten().tolist())) > 200


@pytest.mark.usefixtures("not_yet_measured")
def test_random_state_flags_and_default_type_stay_as_they_were() -> None:
    random.seed(3)
    torch.manual_seed(3)
    before = (
        torch.get_rng_state().tolist(),
        random.getstate(),
        read_flags(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
    )
    torch.set_default_dtype(torch.float64)
    try:
        first = measure_fingerprint(CPU)
        default = torch.get_default_dtype()
    finally:
        torch.set_default_dtype(torch.float32)

    fingerprint._measured.clear()
    assert default is torch.float64
    assert measure_fingerprint(CPU) == first
    assert before == (
        torch.get_rng_state().tolist(),
        random.getstate(),
        read_flags(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
    )


@pytest.mark.usefixtures("not_yet_measured")
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_it_is_measured_on_one_thread_and_the_number_of_threads_put_back(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None
) -> None:
    found: list[int] = []

    def watch(tensor: torch.Tensor) -> Digest:
        found.append(torch.get_num_threads())
        if error is not None:
            raise error
        return digest_tensor(tensor)

    monkeypatch.setattr(fingerprint, "digest_tensor", watch)
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with nullcontext() if error is None else pytest.raises(error):
            measure_fingerprint(CPU)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(usual)

    assert set(found) == {1}
    assert after == 3


@pytest.mark.usefixtures("not_yet_measured")
def test_flags_outside_do_not_show() -> None:
    usual = measure_fingerprint(CPU)
    fingerprint._measured.clear()
    torch.set_float32_matmul_precision("medium")
    try:
        assert measure_fingerprint(CPU) == usual
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("not_yet_measured")
def test_a_switch_between_kernels_is_another_measurement() -> None:
    usual = measure_fingerprint(CPU)
    flash = BACKENDS.cuda.flash_sdp_enabled()
    BACKENDS.cuda.enable_flash_sdp(False)
    try:
        without = measure_fingerprint(CPU)
    finally:
        BACKENDS.cuda.enable_flash_sdp(flash)

    assert differing(usual, without) >= {"attention"}
    assert differing(usual, without) <= {"attention", "attention_bfloat16"}


@pytest.mark.usefixtures("not_yet_measured")
def test_it_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure_fingerprint(CPU)

    monkeypatch.setattr(fingerprint, "_measure", lambda _: pytest.fail("measured again"))
    assert measure_fingerprint(CPU) == found


@pytest.mark.usefixtures("not_yet_measured")
def test_what_a_device_cannot_compute_is_unknown_and_no_difference() -> None:
    found = measure_fingerprint(torch.device("meta"))

    assert set(found.values()) == {"unknown"}
    assert compare_fingerprints({"cpu": found}, {"cpu": measure_fingerprint(CPU)}) == []


@pytest.mark.gpu
def test_a_gpu_has_a_fingerprint_that_repeats() -> None:
    first = measure_fingerprint(torch.device("cuda"))
    fingerprint._measured.clear()

    assert measure_fingerprint(torch.device("cuda")) == first
    assert "unknown" not in {value for name, value in first.items() if "16" not in name}
