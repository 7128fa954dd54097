"""One value, one byte form; and a text is read as one value or refused."""

from __future__ import annotations

import json
import math
from typing import cast

import pytest

from comfyui_provenance import limits
from comfyui_provenance.canonical import JsonValue, dump_ascii, dump_canonical, parse_json
from comfyui_provenance.errors import CanonicalError, LimitError, RecordError


def nested(depth: int) -> JsonValue:
    value: JsonValue = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_keys_sort_by_utf_16_units_and_numbers_follow_ecmascript() -> None:
    value: JsonValue = {"\ufb33": 1.0, "\U0001f600": 1e21, "a": [-0.0, 1e-7]}

    assert dump_canonical(value).decode() == '{"a":[0,1e-7],"\U0001f600":1e+21,"\ufb33":1}'


def test_the_largest_exact_integer_is_kept() -> None:
    assert dump_canonical([2**53 - 1, 1 - 2**53]) == b"[9007199254740991,-9007199254740991]"


def test_nesting_up_to_the_limit_is_dumped_and_parsed() -> None:
    value = nested(limits.JSON_DEPTH)

    assert parse_json(dump_canonical(value)) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(math.nan, "nan", id="NaN"),
        pytest.param([math.inf], "inf", id="an infinity"),
        pytest.param(2**53, "9007199254740992", id="an integer past 2^53-1"),
        pytest.param(2.0**53, "below 2\\^53", id="a float that reads back as such an integer"),
        pytest.param(1e20, "below 2\\^53", id="a large float written without an exponent"),
        pytest.param("\ud800", "canonical form", id="a lone surrogate in a value"),
        pytest.param({"\ud800": 1}, "canonical form", id="a lone surrogate in a key"),
        pytest.param({1: 1}, "keys must be strings", id="a key that is no text"),
        pytest.param({1, 2}, "unsupported type", id="a set"),
        pytest.param([b"bytes"], "unsupported type", id="bytes"),
        pytest.param(nested(limits.JSON_DEPTH + 1), "nesting of at most 64", id="too deep"),
    ],
)
def test_a_value_without_canonical_form_is_refused(value: object, message: str) -> None:
    with pytest.raises(CanonicalError, match=message):
        dump_canonical(cast("JsonValue", value))


def test_a_cyclic_value_is_refused() -> None:
    cycle: list[JsonValue] = []
    cycle += [cycle, cycle]

    with pytest.raises(CanonicalError, match="nesting"):
        dump_canonical(cycle)


def test_embedded_text_is_printable_ascii_and_parses_back() -> None:
    value: JsonValue = {"café\x7f": "\U0001f600\n\u2028"}

    text = dump_ascii(value)

    assert text == '{"caf\\u00e9\\u007f":"\\ud83d\\ude00\\n\\u2028"}'
    assert json.loads(text) == value


def test_integers_are_parsed_to_the_last_digit() -> None:
    assert parse_json("18446744073709551615") == 2**64 - 1


def test_brackets_within_strings_are_not_nesting() -> None:
    text = '["' + "[{" * 1000 + '\\"' + "[" * 1000 + '"]'

    assert parse_json(text) == ["[{" * 1000 + '"' + "[" * 1000]


def test_a_surrogate_pair_is_text() -> None:
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


def test_nan_and_infinities_are_read_where_allowed() -> None:
    value = parse_json("[NaN, -Infinity, 1e400]", allow_nan=True)

    assert repr(value) == "[nan, -inf, inf]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "expected JSON", id="nothing"),
        pytest.param("{", "expected JSON", id="half an object"),
        pytest.param("1 2", "expected JSON", id="two values"),
        pytest.param(b"\xef\xbb\xbf1", "expected JSON", id="a byte order mark"),
        pytest.param(b"\xff", "expected UTF-8", id="bytes that are not UTF-8"),
        pytest.param("[1]".encode("utf-16"), "expected UTF-8", id="UTF-16"),
        pytest.param('"\ud800"', "expected UTF-8", id="a lone surrogate as it is"),
        pytest.param('"\\ud800"', "lone surrogate", id="a lone surrogate escaped"),
        pytest.param('{"\\udfff": 1}', "lone surrogate", id="a lone surrogate in a key"),
        pytest.param('"a\nb"', "expected JSON", id="a raw line end in a string"),
        pytest.param("NaN", "finite number, got NaN", id="NaN"),
        pytest.param("[-Infinity]", "finite number, got -Infinity", id="an infinity"),
        pytest.param("1e400", "finite number, got 1e400", id="a number past all floats"),
        pytest.param('{"a":1,"b":2,"a":3}', "each key once, got 'a' again", id="a repeated key"),
    ],
)
def test_a_text_that_is_not_strict_json_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('"1234567"', "at most 8 bytes of JSON, got 9", id="in characters"),
        pytest.param('"ééé1"', "at most 8 bytes of JSON, got 9", id="in bytes"),
    ],
)
def test_a_text_past_the_limit_is_refused(text: str, message: str) -> None:
    with pytest.raises(LimitError, match=message):
        parse_json(text, limit_bytes=8)
