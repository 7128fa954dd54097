"""Attack: an object with one key twice, of which two readers take different values.

Python keeps the last, other parsers the first: a record could verify with one
seed and show another.
"""

from __future__ import annotations

import pytest

from comfyui_provenance.canonical import parse_json
from comfyui_provenance.errors import RecordError
from comfyui_provenance.graph.prompt import parse_prompt


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"seed":"1","seed":"2"}', id="at the top"),
        pytest.param('[{"a":{"seed":"1","seed":"2"}}]', id="further down"),
        pytest.param('{"seed":"1","seed":"1"}', id="with one value"),
        pytest.param('{"seed":"1","\\u0073eed":"2"}', id="spelt with an escape"),
    ],
)
def test_a_repeated_key_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="expected each key once, got 'seed' again"):
        parse_json(text)


def test_a_prompt_with_a_repeated_input_is_refused() -> None:
    with pytest.raises(RecordError, match="got 'seed' again"):
        parse_prompt('{"1":{"class_type":"KSampler","inputs":{"seed":1,"seed":2}}}')


def test_the_message_does_not_carry_a_long_key() -> None:
    key = "k" * 100_000

    with pytest.raises(RecordError) as caught:
        parse_json(f'{{"{key}":1,"{key}":2}}')

    assert len(str(caught.value)) < 200
