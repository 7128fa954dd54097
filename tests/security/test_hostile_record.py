"""Attack: a record made to break its reader: no canonical form, absurd slots, terminal codes.

A reader that raises what nobody catches takes the whole verdict with it, and a summary that
prints a stranger's bytes lets him write on the user's screen.
"""

from __future__ import annotations

import json

import pytest

from comfyui_provenance.errors import ProvenanceError, RecordError
from comfyui_provenance.record import failed_record, parse_record, summarise

from support.records import Edit, at, document_of, edited, record


def text_with(edit: Edit) -> str:
    document = json.loads(record().dump())
    edit(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(at("extra", value=2**60), "canonical form", id="an integer past 2^53"),
        pytest.param(at("extra", value=1e20), "canonical form", id="a whole float past 2^53"),
        pytest.param(at("output", "slot", value=10**6), "output: expected a slot", id="slot"),
        pytest.param(at("subject", "width", value=10**600), "canonical form", id="absurd width"),
    ],
)
def test_a_record_that_cannot_be_compared_is_refused_when_read(edit: Edit, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse_record(text_with(edit))


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(at("version", value="9" * 10**6), id="version"),
        pytest.param(at("record_error", value="x\x1b[2J" * 10**5), id="reason"),
        pytest.param(at("subject", "digest", value="sha256:" + "z" * 10**6), id="digest"),
    ],
)
def test_a_message_stays_short_and_steers_no_terminal(edit: Edit) -> None:
    with pytest.raises(RecordError) as caught:
        parse_record(text_with(edit))

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 5000


def test_an_output_of_a_long_name_gives_a_short_message() -> None:
    with pytest.raises(ProvenanceError, match="in the graph, found none") as caught:
        edited(at("output", "node_id", value="x" * 10**6)).prompt()

    assert len(str(caught.value)) < 200


def test_a_summary_steers_no_terminal_and_stays_short() -> None:
    hostile = "\x1b[2J\u202e\n" + "x" * 10**5
    document = document_of()
    document["tuple"] = {hostile: hostile}
    document["created"] = hostile
    document["warnings"] = [hostile]
    document["materials"] = [dict.fromkeys(["kind", "name", "node_id", "input", "status"], hostile)]
    forged = parse_record(json.dumps({**document, "digest": "x"}))

    summary = summarise(forged)

    assert all(line.isprintable() for line in summary.split("\n"))
    assert len(summary.split("\n")) == 6
    assert len(summary) < 20_000


@pytest.mark.parametrize(
    "reason",
    [
        pytest.param("\udcff.safetensors", id="a file name that is not Unicode"),
        pytest.param("x" * 10**6, id="very long"),
        pytest.param("\x00\x1b", id="controls"),
    ],
)
def test_any_reason_for_having_no_record_can_be_written(reason: str) -> None:
    text = failed_record(reason)

    assert text.isascii()
    assert len(text) < 10_000
    with pytest.raises(RecordError, match="saved without a record"):
        parse_record(text)
