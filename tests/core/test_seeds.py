"""A seed is an integer from 0 to 2^64-1, and nothing becomes one without a word."""

from __future__ import annotations

import numpy as np
import pytest

from comfyui_provenance.errors import SeedError
from comfyui_provenance.seeds import MAX_SEED, parse_seed, seed_warnings


@pytest.mark.parametrize(
    ("value", "seed"),
    [
        pytest.param(0, 0, id="the smallest"),
        pytest.param(2**64 - 1, MAX_SEED, id="the largest"),
        pytest.param(np.int64(42), 42, id="NumPy's signed integer"),
        pytest.param(np.uint64(2**64 - 1), MAX_SEED, id="NumPy's unsigned integer"),
    ],
)
def test_an_integer_is_a_seed(value: object, seed: int) -> None:
    parsed = parse_seed(value)

    assert parsed == seed
    assert type(parsed) is int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param("42", "got '42' of type str", id="text"),
        pytest.param(42.0, "got 42.0 of type float", id="a whole float"),
        pytest.param(42.7, "got 42.7 of type float", id="a float"),
        pytest.param(True, "got True of type bool", id="a truth value"),
        pytest.param(None, "got None of type NoneType", id="nothing"),
        pytest.param([42], r"got \[42\] of type list", id="a list"),
        pytest.param(np.bool_(True), "of type bool", id="NumPy's truth value"),
        pytest.param(np.float64(42), "of type float64", id="NumPy's float"),
        pytest.param(np.array(42), "of type ndarray", id="an array"),
        pytest.param(-1, "got -1 of type int", id="below 0"),
        pytest.param(np.int64(-1), "got -1 of type int", id="NumPy's integer below 0"),
        pytest.param(2**64, "got 18446744073709551616 of type int", id="past 64 bits"),
        pytest.param(10**5000, "got a number too large of type int", id="absurdly high"),
        pytest.param(-(10**5000), "got a number too large of type int", id="absurdly low"),
        pytest.param("4" * 10**6, r"got '4{76}\.\.\. of type str", id="very long text"),
    ],
)
def test_what_is_not_a_seed_is_refused(value: object, message: str) -> None:
    with pytest.raises(SeedError, match=message):
        parse_seed(value)


def test_the_message_names_the_input_and_the_remedy() -> None:
    with pytest.raises(SeedError, match=r"^noise_seed: expected .* connect an INT output"):
        parse_seed("42", name="noise_seed")


@pytest.mark.parametrize(
    ("seed", "messages"),
    [
        pytest.param(2**32 - 1, [], id="the last of 32 bits"),
        pytest.param(2**32 + 5, ["same initial noise as seed 5"], id="past 32 bits"),
        pytest.param(2**53, ["low 32 bits"], id="the last a browser keeps"),
        pytest.param(2**53 + 1, ["a browser rounds it", "as seed 1"], id="past 2^53"),
    ],
)
def test_a_large_seed_is_explained(seed: int, messages: list[str]) -> None:
    warnings = seed_warnings(seed)

    assert len(warnings) == len(messages)
    assert all(message in text for message, text in zip(messages, warnings, strict=True))
