"""Attack: an integer literal of a million digits.

Converting it takes time quadratic in the digits. Python refuses past 4300 unless
the host has lifted that limit, with an error that is not of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest

from comfyui_provenance import limits
from comfyui_provenance.canonical import parse_json
from comfyui_provenance.errors import LimitError
from comfyui_provenance.graph.prompt import dump_prompt, parse_prompt, to_prompt

HUGE = "9" * 1_000_000


@pytest.fixture(autouse=True, params=[0, 640, 4300], ids=["lifted", "lowest", "default"])
def digits_of_the_host(request: pytest.FixtureRequest) -> Generator[None]:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(request.param)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("text", [HUGE, f"-{HUGE}", f'{{"seed":[{HUGE}]}}'])
def test_a_huge_integer_is_refused_unconverted(text: str) -> None:
    with pytest.raises(LimitError, match="at most 640 digits, got 1000000"):
        parse_json(text)


def test_a_huge_integer_in_a_live_prompt_is_refused() -> None:
    with pytest.raises(LimitError, match="at most 640 digits"):
        to_prompt({"1": {"class_type": "A", "inputs": {"seed": 1 << 100_000}}})


@pytest.mark.parametrize("sign", ["", "-"])
def test_the_largest_integer_survives_any_setting_of_the_host(sign: str) -> None:
    literal = sign + "9" * limits.INTEGER_DIGITS
    text = f'{{"1":{{"class_type":"A","inputs":{{"seed":{literal}}}}}}}'

    assert dump_prompt(parse_prompt(text)) == text
