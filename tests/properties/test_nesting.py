"""The depth of a text is that of its brackets outside strings, whatever stands inside them."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comfyui_provenance import limits
from comfyui_provenance.canonical import parse_json
from comfyui_provenance.errors import LimitError

# Backslashes and quotes in every order decide where a string ends.
strings = st.text(alphabet='\\"[]{}a,\n\u20ac', max_size=30)


@given(strings, st.integers(0, limits.JSON_DEPTH))
@example("\\", limits.JSON_DEPTH)
@example('\\"', limits.JSON_DEPTH)
@example("[" * 100, limits.JSON_DEPTH)
def test_brackets_in_a_string_are_no_nesting(content: str, depth: int) -> None:
    text = "[" * depth + json.dumps(content, ensure_ascii=False) + "]" * depth

    value = parse_json(text)

    assert json.dumps(value).count(json.dumps(content)) == 1


@given(strings, st.sampled_from(["[", '{"a":']))
def test_nesting_past_the_limit_is_refused_beside_any_string(content: str, opening: str) -> None:
    count = limits.JSON_DEPTH + 1
    closing = "]" if opening == "[" else "}"
    deep = opening * count + "1" + closing * count

    with pytest.raises(LimitError, match="nesting"):
        parse_json(f"[{json.dumps(content)},{deep}]")
