"""A report says only what was checked: the weakest check is its level."""

from __future__ import annotations

import json
import math

import pytest

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.verdict import Cause, CauseKind, Check, Level, Report

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


def test_a_report_is_json_with_five_keys() -> None:
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
            }
        ],
        "pixels": {"max_abs": 3, "psnr_db": None},
        "notes": ["A note."],
    }


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
