"""Laws of told differences: any two texts give one printable line, and equal ones alone say so."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from comfyui_provenance.text_difference import describe_text_difference, first_difference

SPECIAL = "\t\r\n\x1b\u00a0\u200b\u202e\u2019\u0430\u0301\ufe0f\U000e0041"

_any_char = st.characters(exclude_categories=())
_pieces = st.sampled_from(
    ["fox", " ", "  ", ", ", "a", "\r\n", "\n", "\u0301", "(a:1.2)", *SPECIAL]
)
_texts = st.text(_any_char, max_size=30) | st.lists(_pieces, max_size=12).map("".join)
_plain = st.text("abc ,.", max_size=30)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """Two texts; the second often is the first with a piece put in, out or in its place."""
    text = draw(_texts)
    if draw(st.booleans()):
        return text, draw(_texts)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(start + 3, len(text))))
    return text, text[:start] + draw(_texts) + text[end:]


@given(pairs(), st.sampled_from([1, 2, 7, 200]))
@example(("\ud800", "\udfff"), 1)
def test_any_two_texts_give_one_line_of_bounded_length(pair: tuple[str, str], times: int) -> None:
    recorded, now = pair[0] * times, pair[1] * times

    told = describe_text_difference(recorded, now)

    assert told.isprintable()
    assert len(told) <= 500
    assert (told == "the same text") == (recorded == now)


@given(pairs())
def test_the_first_difference_is_the_first(pair: tuple[str, str]) -> None:
    recorded, now = pair

    index = first_difference(recorded, now)

    assert (index is None) == (recorded == now)
    if index is not None:
        assert recorded[:index] == now[:index]
        assert recorded[index : index + 1] != now[index : index + 1]


@given(_plain, st.sampled_from(SPECIAL), st.data())
def test_what_does_not_show_is_named_wherever_it_was_put(
    text: str, special: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(text)))

    told = describe_text_difference(text, text[:at] + special + text[at:])

    assert f"U+{ord(special):04X} " in told
    assert f"at character {at + 1}" in told
    assert special.encode().hex(" ") in told
    assert ";" not in told


@given(_plain.filter(bool), st.sampled_from(SPECIAL), st.data())
def test_what_does_not_show_is_named_wherever_it_was_exchanged(
    text: str, special: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(text) - 1))

    told = describe_text_difference(text[:at] + special + text[at + 1 :], text)

    assert f"U+{ord(special):04X} " in told
    assert f"U+{ord(text[at]):04X} " in told
    assert f"at character {at + 1}: " in told
    assert ";" not in told
