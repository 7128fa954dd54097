"""Whatever a stranger writes into a record, two runs are compared without an error.

A run parts nowhere from itself.
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.differences import compare_records
from comfyui_provenance.errors import ProvenanceError
from comfyui_provenance.record import Record, parse_record, seal

from support.seen_runs import run
from support.strategies import nested

WHOLE = run()
VALUES = nested(st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5))


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths to everything in a document."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for key, item in enumerate(value):
            found += places(item, (*path, key))
    return found


PLACES = places(dict(WHOLE.document))


@st.composite
def damaged(draw: st.DrawFn) -> Record | None:
    """A record with some values replaced by others; none where it is no record any more."""
    document: Any = copy.deepcopy(dict(WHOLE.document))
    for path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        place = document
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = draw(VALUES)
        except (KeyError, IndexError, TypeError):
            continue
    try:
        return parse_record(seal(document).dump())
    except ProvenanceError:
        return None


@given(record=damaged())
def test_a_damaged_record_is_compared_without_an_error(record: Record | None) -> None:
    if record is not None:
        compare_records(record, WHOLE)
        compare_records(WHOLE, record)


@given(record=damaged())
def test_a_run_parts_nowhere_from_itself(record: Record | None) -> None:
    if record is not None:
        found = compare_records(record, record)

        assert found.causes == ()
        assert found.divergence is None
