"""`docs/record.md` describes the fields that real records and the schema have, and no other.

Real records are the kept ones, whose origin `tests/vectors/records/README.md` tells; one of
them is the example that the page shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from comfyui_provenance.digest import digest_text
from comfyui_provenance.record import KEYWORD, VERSION, parse_record

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "record.schema.json").read_text("utf-8"))
RECORDS = ROOT / "tests" / "vectors" / "records"
TEXT = (RECORDS / "docs-example.json").read_text(encoding="ascii")

Document = dict[str, Any]


def _texts(record: Document) -> Iterator[Document]:
    for sampling in record["samplings"]:
        yield from (*sampling["positive"], *sampling["negative"])


SECTIONS: dict[str, tuple[str, Callable[[Document], Iterator[Document]]]] = {
    "Top-level fields": ("record", lambda record: iter([record])),
    "`subject`": ("subject", lambda record: iter([record["subject"]])),
    "`tuple`": ("tuple", lambda record: iter([record["tuple"]])),
    "`samplings`": ("sampling", lambda record: iter(record["samplings"])),
    "Prompt texts": ("prompt_text", _texts),
    "Characters of a text": (
        "character",
        lambda record: (found for text in _texts(record) for found in text.get("characters", [])),
    ),
    "`operations`": ("operation", lambda record: iter(record.get("operations", []))),
    "`computed`": ("computed_value", lambda record: iter(record.get("computed", []))),
    "`stages`": ("stage", lambda record: iter(record.get("stages", []))),
    "`trace`": ("trace", lambda record: iter(record.get("trace", []))),
    "`materials`": ("material", lambda record: iter(record["materials"])),
    "`environment`": ("environment", lambda record: iter([record["environment"]])),
    "`determinism`": ("determinism", lambda record: iter([record["determinism"]])),
}
"""By heading, the schema's name for what its table describes, and where records have it."""

OPTIONAL = ("issing in", "issing where", "nly where", "nly in")
"""How a table without a column `when` says that a record may lack a field."""


def rows_of(heading: str) -> Iterator[tuple[list[str], str, str]]:
    """Give the rows of the table below a heading: names, the column `when`, the whole row."""
    _, found, rest = PAGE.partition(f"# {heading}\n")
    assert found, f"no section {heading}"
    section = re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]
    has_when = "| when |" in section
    for row in re.findall(r"^\|.*\|$", section, flags=re.MULTILINE):
        cells = row.strip("|").split(" | ")
        names = re.findall(r"`([^`]+)`", cells[0])
        if names:
            yield names, cells[2] if has_when else "", row


def fields_of(heading: str) -> list[str]:
    return sorted(name for names, _, _ in rows_of(heading) for name in names)


def schema_of(heading: str) -> Document:
    definition: Document = SCHEMA["$defs"][SECTIONS[heading][0]]
    return definition


def kept_records() -> Iterator[Document]:
    for path in sorted(RECORDS.rglob("*.json")):
        document = json.loads(path.read_text(encoding="ascii"))
        if "record_error" not in document:
            yield document


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_describes_the_fields_of_real_records_and_no_others(heading: str) -> None:
    parts = [part for record in kept_records() for part in SECTIONS[heading][1](record)]

    found = {name for part in parts for name in part}

    assert sorted(found) == fields_of(heading)


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_and_the_schema_name_the_same_fields(heading: str) -> None:
    assert sorted(schema_of(heading)["properties"]) == fields_of(heading)


# Of an environment a reader takes whatever there is.
@pytest.mark.parametrize("heading", [name for name in SECTIONS if name != "`environment`"])
def test_the_schema_requires_the_fields_that_the_page_says_are_always_there(heading: str) -> None:
    definition = schema_of(heading)
    always = [
        name
        for names, when, row in rows_of(heading)
        for name in names
        if when == "always" or (not when and not any(words in row for words in OPTIONAL))
    ]

    # An empty tuple is one, too.
    required = definition.get("required") or definition["then"]["required"]

    assert sorted(required) == sorted(always)


def test_the_page_names_every_field_of_the_schema_outside_its_tables_too() -> None:
    def names(schema: object) -> Iterator[str]:
        if isinstance(schema, dict):
            yield from schema.get("properties", {})
            for part in schema.values():
                yield from names(part)
        elif isinstance(schema, list):
            for part in schema:
                yield from names(part)

    described = set(re.findall(r"`([^`]+)`", PAGE)) | {"record_error"}

    assert set(names(SCHEMA)) - described == set()


def test_the_pages_example_is_the_record_with_shortened_digests() -> None:
    shown = re.search(r"```json\n(.*?)\n```", PAGE, flags=re.DOTALL)

    assert shown is not None
    shortened = re.sub(r"([0-9a-f]{8})[0-9a-f]{56}", r"\1...", TEXT)
    assert json.loads(shown[1]) == json.loads(shortened)


def test_the_example_is_a_record_in_canonical_form_whose_digests_hold() -> None:
    record = parse_record(TEXT)

    assert record.dump() == TEXT
    assert record.digest == str(record.actual_digest())
    assert record.recipe == str(record.actual_recipe())
    assert record.graph_sha256 == digest_text(record.graph).hex
    assert record.output.node_id in record.prompt().nodes


def test_the_page_names_the_version_and_the_keyword_of_the_code() -> None:
    assert PAGE.startswith(f"# The record, version {VERSION}\n")
    assert f"keyword `{KEYWORD}`" in PAGE
