"""Laws of records: nothing in one is lost or changed, and anything else is an error of ours."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.compare import compare_machines, judge
from comfyui_provenance.errors import ProvenanceError
from comfyui_provenance.integrity import compare_integrity
from comfyui_provenance.record import Record, parse_record, seal, summarise
from comfyui_provenance.verdict import Check, Level

from support.records import IMAGE, document_of, graph_of, record
from support.strategies import canonical_values, checks, nested, prompt_scalars, text

TEXT = record().dump()
PLACES: list[tuple[str | int, ...]] = [
    (),
    ("subject",),
    ("output",),
    ("tuple",),
    ("tuple", "adapters", 0),
    ("samplings", 0),
    ("samplings", 0, "positive", 0),
    ("materials", 0),
    ("environment",),
    ("environment", "device"),
    ("generator",),
]
"""The objects of a record: in each a later version may have fields that we do not know."""


def at(document: Any, place: tuple[str | int, ...]) -> dict[str, Any]:  # noqa: ANN401 - JSON
    for key in place:
        document = document[key]
    found: dict[str, Any] = document
    return found


@given(st.sampled_from(PLACES), text, canonical_values)
def test_an_unknown_field_is_kept_at_every_level_and_the_digest_with_it(
    place: tuple[str | int, ...], name: str, value: JsonValue
) -> None:
    document = document_of()
    at(document, place).setdefault(f"x-{name}", value)
    sealed = seal(document)

    again = parse_record(sealed.dump())

    assert at(again.document, place)[f"x-{name}"] == value
    assert again.dump() == sealed.dump()
    assert again.digest == sealed.digest == str(again.actual_digest())


@st.composite
def damaged(draw: st.DrawFn) -> str | bytes:
    """Draw a record's text with characters cut out, put in or changed."""
    start = draw(st.integers(0, len(TEXT)))
    end = draw(st.integers(start, min(len(TEXT), start + 16)))
    return TEXT[:start] + draw(st.text(max_size=8)) + TEXT[end:]


@st.composite
def mistyped(draw: st.DrawFn) -> str:
    """Draw a record in which one value, anywhere, is any JSON."""
    document = json.loads(TEXT)
    place: Any = document
    for _ in range(draw(st.integers(0, 4))):
        inner = [
            key
            for key in (place if isinstance(place, dict) else range(len(place)))
            if isinstance(place[key], (dict, list)) and place[key]
        ]
        if not inner:
            break
        place = place[draw(st.sampled_from(inner))]
    key = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
    place[key] = draw(nested(prompt_scalars))
    return json.dumps(document)


@given(st.binary() | st.text() | damaged() | mistyped(), st.none() | st.text() | mistyped())
def test_any_bytes_give_a_record_that_can_be_judged_or_an_error_of_ours(
    data: str | bytes, prompt: str | None
) -> None:
    read: Record | None = None
    with suppress(ProvenanceError):
        read = parse_record(data)

    if read is not None:
        integrity = compare_integrity(read, IMAGE, prompt)
        summarise(read)
        json.dumps(judge(integrity.checks, integrity.causes, None).to_json(), allow_nan=False)
        assert parse_record(read.dump()).digest == read.digest


@given(st.binary() | st.text() | nested(prompt_scalars).map(json.dumps))
def test_any_prompt_beside_a_record_is_judged(prompt: str | bytes) -> None:
    text = prompt.decode("latin-1") if isinstance(prompt, bytes) else prompt

    assert compare_integrity(record(), IMAGE, text).causes


@given(mistyped())
def test_a_record_that_is_not_ours_to_the_letter_is_never_bitwise(data: str) -> None:
    with suppress(ProvenanceError):
        read = parse_record(data)
        found = compare_integrity(read, IMAGE, json.dumps(graph_of()))
        is_bitwise = all(check.level is Level.BITWISE for check in found.checks)
        assert is_bitwise == (read.dump() == TEXT)


environments = st.dictionaries(text, nested(prompt_scalars), max_size=4)


@given(st.lists(checks), environments, environments)
def test_no_difference_of_machines_changes_a_level(
    made: list[Check], before: dict[str, JsonValue], after: dict[str, JsonValue]
) -> None:
    differences = compare_machines(before, after)

    assert judge(made, differences, None).level is judge(made, [], None).level


@given(environments)
def test_a_machine_does_not_differ_from_itself(environment: dict[str, JsonValue]) -> None:
    assert compare_machines(environment, json.loads(json.dumps(environment))) == []
