"""Text from strangers is shown on one line, within a bound, and steers nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.plain_text import to_plain

LONGEST_ESCAPE = len("\\U0010ffff")


@given(st.text(), st.integers(0, 50))
def test_what_is_shown_prints_and_is_bounded(text: str, limit: int) -> None:
    shown = to_plain(text, limit)

    assert shown.isprintable()
    assert len(shown) <= limit * LONGEST_ESCAPE + len("...")


@given(st.text(alphabet=st.characters(exclude_categories=("C", "Z"))))
def test_what_prints_is_shown_as_it_is(text: str) -> None:
    assert to_plain(text, len(text)) == text
