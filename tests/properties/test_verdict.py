"""Laws of verdicts: more evidence never makes a report claim more."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.verdict import Check, Level, Report

from support.strategies import checks


@given(st.lists(checks, min_size=1), checks)
def test_another_check_never_raises_a_level(made: list[Check], another: Check) -> None:
    before = Report(tuple(made)).level

    assert Report((*made, another)).level <= before


@given(st.lists(checks))
def test_a_report_matches_only_if_every_check_is_bitwise(made: list[Check]) -> None:
    is_bitwise = bool(made) and all(check.level is Level.BITWISE for check in made)

    assert Report(tuple(made)).match == is_bitwise


@given(st.lists(checks), st.floats(), st.integers())
def test_a_report_is_json_that_any_parser_reads_back(
    made: list[Check], number: float, integer: int
) -> None:
    report = Report(tuple(made), pixels={"psnr_db": number, "max_abs": integer}).to_json()

    assert json.loads(json.dumps(report, allow_nan=False)) == report


@given(st.lists(checks))
def test_a_summary_has_a_line_for_each_check(made: list[Check]) -> None:
    assert len(Report(tuple(made)).summary().split("\n")) == 1 + len(made)
