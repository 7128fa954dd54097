"""Laws of canonical JSON: one form per value, and the form is a fixed point."""

from __future__ import annotations

import json
from random import Random

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.canonical import JsonValue, dump_ascii, dump_canonical, parse_json
from comfyui_provenance.errors import CanonicalError, ProvenanceError

from support.strategies import canonical_values, nested, text


@given(canonical_values)
def test_the_canonical_form_parses_to_a_value_with_the_same_form(value: JsonValue) -> None:
    form = dump_canonical(value)

    assert dump_canonical(parse_json(form)) == form


@given(canonical_values)
def test_parsing_gives_the_value_back(value: JsonValue) -> None:
    assert parse_json(dump_canonical(value)) == value


@given(canonical_values)
def test_the_ascii_form_is_printable_and_the_same_value(value: JsonValue) -> None:
    form = dump_ascii(value)

    assert all(" " <= char <= "~" for char in form)
    assert parse_json(form) == value


@given(st.dictionaries(text, canonical_values, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, JsonValue], random: Random) -> None:
    entries = list(value.items())
    random.shuffle(entries)

    assert dump_canonical(dict(entries)) == dump_canonical(value)


@given(canonical_values)
def test_any_reader_of_json_reads_the_same_value(value: JsonValue) -> None:
    assert json.loads(dump_canonical(value)) == value


@given(st.recursive(st.floats() | st.integers() | st.text(), st.lists) | st.binary() | st.dates())
def test_any_value_is_dumped_or_refused(value: object) -> None:
    try:
        form = dump_canonical(value)  # type: ignore[arg-type]  # any value
    except ProvenanceError:
        return

    assert dump_canonical(parse_json(form)) == form


@given(canonical_values | nested(st.none() | st.booleans() | st.integers() | text))
def test_the_canonical_form_is_the_reference_implementations(value: JsonValue) -> None:
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        expected = None

    try:
        found = dump_canonical(value)
    except CanonicalError:
        found = None

    assert found == expected
