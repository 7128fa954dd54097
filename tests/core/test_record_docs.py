"""`docs/record.md` describes every field of a real record, and no other.

The record is the one that the page shows: what ComfyUI's output file carried, kept as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfyui_provenance.digest import digest_text
from comfyui_provenance.record import KEYWORD, VERSION, parse_record

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
TEXT = (ROOT / "tests" / "vectors" / "records" / "docs-example.json").read_text(encoding="ascii")
EXAMPLE: dict[str, Any] = json.loads(TEXT)

SECTIONS = {
    "Top-level fields": EXAMPLE,
    "`subject`": EXAMPLE["subject"],
    "`tuple`": EXAMPLE["tuple"],
    "`samplings`": EXAMPLE["samplings"][0],
    "`materials`": EXAMPLE["materials"][0],
    "`environment`": EXAMPLE["environment"],
    "`determinism`": EXAMPLE["determinism"],
}


def fields_of(heading: str) -> Iterator[str]:
    """Give the names in the first column of the table below a heading."""
    _, found, rest = PAGE.partition(f" {heading}\n")
    assert found, f"no section {heading}"
    section = re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]
    for row in re.findall(r"^\|([^|]*)\|", section, flags=re.MULTILINE):
        yield from re.findall(r"`([^`]+)`", row)


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_describes_the_fields_of_a_real_record_and_no_others(heading: str) -> None:
    described = list(fields_of(heading))

    assert sorted(described) == sorted(SECTIONS[heading])


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
