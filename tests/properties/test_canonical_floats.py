"""Floats are written as ECMAScript writes them, by whichever encoder is the faster."""

from __future__ import annotations

import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from comfyui_provenance.canonical import JsonValue, dump_canonical

SMALL_AND_LARGE = st.integers(-30, 30).flatmap(
    lambda exponent: st.floats(1, 10, exclude_max=True).map(lambda digits: digits * 10**exponent)
)


@given(SMALL_AND_LARGE.filter(lambda number: not number.is_integer()))
@example(0.0001)
@example(0.00009999)
@example(0.00001)
@example(0.000001)
@example(0.0000001)
@example(5e-324)
@example(2.0**52 - 0.5)
def test_a_float_with_a_fraction_is_written_as_the_standard_says(number: float) -> None:
    value: JsonValue = {"a": [number, -number, 1]}

    assert dump_canonical(value) == rfc8785.dumps(value)
