"""A report says only what was checked: the weakest check is its level."""

from __future__ import annotations

import json
import math
from typing import cast

import pytest

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.verdict import (
    Cause,
    CauseKind,
    Check,
    Divergence,
    Level,
    Report,
    parse_report,
)

from support.builders import check_of


def cause_of(recorded: JsonValue = 7, now: JsonValue = 8, node_id: str | None = "3") -> Cause:
    return Cause(CauseKind.CFG, "The CFG scale was changed.", recorded, now, node_id)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        pytest.param([], Level.UNKNOWN, id="nothing checked"),
        pytest.param([Level.BITWISE, Level.UNKNOWN], Level.UNKNOWN, id="one unknown"),
        pytest.param([Level.UNKNOWN, Level.MISMATCH], Level.MISMATCH, id="one mismatch"),
        pytest.param(
            [Level.BITWISE, Level.WITHIN_TOLERANCE], Level.WITHIN_TOLERANCE, id="one tolerated"
        ),
        pytest.param([Level.BITWISE, Level.BITWISE], Level.BITWISE, id="all bitwise"),
    ],
)
def test_the_level_is_that_of_the_weakest_check(levels: list[Level], expected: Level) -> None:
    report = Report(tuple(check_of(level) for level in levels))

    assert report.level is expected


@pytest.mark.parametrize("level", Level)
def test_bitwise_alone_is_a_match(level: Level) -> None:
    assert Report((check_of(level),)).match is (level is Level.BITWISE)


def test_causes_and_notes_do_not_change_the_level() -> None:
    report = Report((check_of(Level.BITWISE),), (cause_of(),), None, ("Another GPU.",))

    assert report.level is Level.BITWISE


def test_labels_are_those_of_the_format() -> None:
    assert [level.label for level in Level] == [
        "mismatch",
        "unknown",
        "within_tolerance",
        "bitwise",
    ]


def test_a_report_is_json_of_a_fixed_form() -> None:
    check = Check("pixels", Level.MISMATCH, "sha256:a", "sha256:b", "Pixels differ.")
    report = Report((check,), (cause_of(),), {"max_abs": 3, "psnr_db": None}, ("A note.",))

    assert report.to_json() == {
        "level": "mismatch",
        "checks": [
            {
                "name": "pixels",
                "level": "mismatch",
                "expected": "sha256:a",
                "found": "sha256:b",
                "message": "Pixels differ.",
            }
        ],
        "causes": [
            {
                "kind": "cfg",
                "message": "The CFG scale was changed.",
                "recorded": 7,
                "now": 8,
                "node_id": "3",
                "remedy": "set the recorded CFG",
            }
        ],
        "pixels": {"max_abs": 3, "psnr_db": None},
        "notes": ["A note."],
        "divergence": None,
    }


def test_a_report_survives_the_way_to_a_client_with_all_that_was_found() -> None:
    place = Divergence("step", "3", "KSampler", "they part", 2, 0.5).to_json()
    details: dict[str, JsonValue] = {"substitutions": [{"name": "a"}]}
    notes = ("they part", "another note")
    report = Report((check_of(Level.MISMATCH),), (cause_of(),), None, notes, place, details)

    read = parse_report(json.loads(json.dumps(report.to_json())))

    assert read.to_json() == report.to_json()
    lines = read.summary().splitlines()
    assert "Where: they part" in lines
    # Not twice, though the report has it as a note, too.
    assert [line for line in lines if line.startswith("Note")] == ["Note: another note"]


def test_an_older_servers_report_is_read_without_them() -> None:
    value = Report((check_of(Level.MISMATCH),), (cause_of(),)).to_json()
    del value["divergence"]
    for cause in cast("list[dict[str, JsonValue]]", value["causes"]):
        del cause["remedy"]

    read = parse_report(value)

    assert read.divergence is None
    assert read.causes[0].advice == "set the recorded CFG"


def test_numbers_that_json_readers_would_lose_are_made_safe() -> None:
    cause = cause_of([math.inf, {"nan": math.nan}], 2**64 - 1).to_json()

    assert json.dumps(cause["recorded"], allow_nan=False) == '[null, {"nan": null}]'
    assert cause["now"] == "18446744073709551615"


def test_truth_values_are_not_numbers() -> None:
    assert cause_of(True).to_json()["recorded"] is True


def test_the_summary_tells_level_cause_and_checks() -> None:
    others = (
        Cause(CauseKind.GRAPH_EDITED, "The graph was edited.", None, None),
        Cause(CauseKind.GRAPH_EDITED, "Again.", None, None),
    )
    report = Report((check_of(Level.MISMATCH),), (cause_of(), *others), None, ("A note.",))

    assert report.summary().splitlines() == [
        "Mismatch: what was found is not what was recorded.",
        'Most likely cause: The CFG scale was changed. (recorded 7, now 8, node "3")',
        "What to do: set the recorded CFG",
        "Also: graph_edited",
        "- pixels: mismatch. Compared.",
        "Note: A note.",
    ]


def test_the_summary_of_nothing_claims_nothing() -> None:
    assert Report(()).summary() == "Unknown: too little could be checked to tell."


def test_the_summary_steers_no_terminal_and_stays_short() -> None:
    hostile = "\x1b[2J\u202e\nok" + "x" * 10_000

    summary = Report((check_of(Level.MISMATCH),), (cause_of(hostile),)).summary()

    assert all(char.isprintable() for char in summary.replace("\n", ""))
    assert len(summary) < 500
