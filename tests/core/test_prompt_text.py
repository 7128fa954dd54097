"""What a text encoder reads and a person does not see is told; a script's own is ordinary.

The names are those of Unicode, the look-alikes those of its table of confusables.
"""

from __future__ import annotations

import time
import unicodedata

import pytest

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.prompt_text import ENTRY_COUNT, TEXT_CHARS, mark_characters, show_text


def of_character(char: str, kind: str, first: int, looks_like: str | None = None) -> JsonValue:
    entry: dict[str, JsonValue] = {
        "kind": kind,
        "character": f"U+{ord(char):04X}",
        "name": unicodedata.name(char),
        "count": 1,
        "first": first,
    }
    return entry if looks_like is None else {**entry, "looks_like": looks_like}


@pytest.mark.parametrize(
    ("char", "kind", "looks_like"),
    [
        pytest.param("\u2018", "quote", "'", id="opening quote"),
        pytest.param("\u201d", "quote", '"', id="closing double quote"),
        pytest.param("\u2032", "quote", "'", id="prime"),
        pytest.param("\u2033", "quote", '"', id="double prime"),
        pytest.param("\u2011", "dash", "-", id="non-breaking hyphen"),
        pytest.param("\u2013", "dash", "-", id="en dash"),
        pytest.param("\u2014", "dash", "-", id="em dash"),
        pytest.param("\u2212", "dash", "-", id="minus"),
        pytest.param("\u00a0", "space", " ", id="no-break space"),
        pytest.param("\u202f", "space", " ", id="narrow no-break space"),
        pytest.param("\u3000", "space", " ", id="ideographic space"),
        pytest.param("\u2800", "space", " ", id="Braille blank"),
        pytest.param("\u200b", "zero_width", None, id="zero-width space"),
        pytest.param("\u200c", "zero_width", None, id="zero-width non-joiner"),
        pytest.param("\u200d", "zero_width", None, id="zero-width joiner"),
        pytest.param("\u2060", "zero_width", None, id="word joiner"),
        pytest.param("\ufeff", "zero_width", None, id="byte order mark"),
        pytest.param("\u00ad", "zero_width", None, id="soft hyphen"),
        pytest.param("\U000e0041", "zero_width", None, id="tag"),
        pytest.param("\u200f", "bidi", None, id="right-to-left mark"),
        pytest.param("\u202e", "bidi", None, id="right-to-left override"),
        pytest.param("\u2066", "bidi", None, id="left-to-right isolate"),
        pytest.param("\ufe0f", "variation", None, id="variation selector"),
        pytest.param("\U000e0100", "variation", None, id="supplementary variation selector"),
        pytest.param("\u2028", "control", None, id="line separator"),
        pytest.param("\uff21", "full_width", "A", id="full-width letter"),
        pytest.param("\uff0c", "full_width", ",", id="full-width comma"),
        pytest.param("\u0301", "combining", None, id="mark that has no letter with it"),
        pytest.param("\u0430", "homoglyph", "a", id="Cyrillic letter"),
        pytest.param("\u03bf", "homoglyph", "o", id="Greek letter"),
        pytest.param("\u2026", "homoglyph", "...", id="ellipsis"),
        pytest.param("\ufb01", "homoglyph", "fi", id="ligature"),
        pytest.param("\U0001d41b", "homoglyph", "b", id="letter of mathematics"),
        pytest.param("\u212a", "homoglyph", "K", id="kelvin"),
    ],
)
def test_a_character_that_is_not_what_it_seems_is_told(
    char: str, kind: str, looks_like: str | None
) -> None:
    assert mark_characters(f"box{char}box") == [of_character(char, kind, 3, looks_like)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("a red fox (in the snow:1.2), <lora:x_v2:0.8>", id="a prompt"),
        pytest.param("first line\nsecond line\n\n  indented", id="lines"),
        pytest.param("na\u00efve caf\u00e9, \u00c5ngstr\u00f6m, Vi\u1ec7t Nam", id="accents"),
        pytest.param(
            "\u041f\u0440\u0438\u0432\u0435\u0442, \u0440\u0430 \u043c\u0438\u0440", id="Russian"
        ),
        pytest.param("\u03b1\u03b2\u03b3 \u03bf\u03c1\u03bf\u03c2", id="Greek"),
        pytest.param("5 \u03bcm", id="Greek beside Latin"),
        pytest.param(
            "\u201c\u732b\u201d\uff0c\u5728\u2014\u2014\u6811\u2026\u2026\u3000\u597d\u3002",
            id="Chinese",
        ),
        pytest.param("\u30ad\u30e3\u30c3\u30c8\u3001\u732b\uff01\uff08\u9ed2\uff09", id="Japanese"),
        pytest.param("\ud55c\uad6d\uc5b4 \uace0\uc591\uc774", id="Korean"),
        pytest.param(
            "\u0928\u092e\u0938\u094d\u0924\u0947 \u0939\u093f\u0928\u094d\u0926\u0940", id="Hindi"
        ),
        pytest.param(
            "\u0627\u0644\u0639\u064e\u0631\u064e\u0628\u0650\u064a\u0651\u0629",
            id="Arabic with vowels",
        ),
        pytest.param("\u0e44\u0e17\u0e22\u0e08\u0e4b\u0e32", id="Thai"),
        pytest.param("\U0001f98a \U0001f1e9\U0001f1ea \u2744", id="emoji"),
    ],
)
def test_what_a_script_uses_as_its_own_is_ordinary(text: str) -> None:
    assert mark_characters(text) == []


def test_an_emoji_is_told_by_what_is_invisible_in_it_alone() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"

    (joiner,) = mark_characters(f"a {family}")
    (selector,) = mark_characters("a \u2764\ufe0f")

    assert (joiner["kind"], joiner["count"], joiner["first"]) == ("zero_width", 2, 3)
    assert (selector["kind"], selector["first"]) == ("variation", 3)


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        pytest.param(" \n fox", {"kind": "leading_blank", "count": 3, "first": 0}, id="leading"),
        pytest.param("fox \n", {"kind": "trailing_blank", "count": 2, "first": 3}, id="trailing"),
        pytest.param("a  b   c", {"kind": "double_blank", "count": 2, "first": 1}, id="doubled"),
        pytest.param("   ", {"kind": "leading_blank", "count": 3, "first": 0}, id="blanks alone"),
    ],
)
def test_blanks_that_change_tokens_are_told(text: str, entry: JsonValue) -> None:
    assert mark_characters(text) == [entry]


def test_a_tab_and_a_carriage_return_are_controls_and_a_line_feed_is_not() -> None:
    names = [entry["name"] for entry in mark_characters("a\tb\r\nc\x1bd")]

    assert names == ["CHARACTER TABULATION", "CARRIAGE RETURN", "CONTROL"]


@pytest.mark.parametrize("composed", ["\u00e9", "\u1ec7", "\u304c", "\uac00"])
def test_a_letter_in_parts_is_told_with_what_it_would_be_whole(composed: str) -> None:
    parts = unicodedata.normalize("NFD", composed)

    entries = mark_characters(f"x {parts}")

    assert {str(entry["kind"]) for entry in entries} == {"combining"}
    assert mark_characters(f"x {composed}") == []


def test_every_mark_on_a_letter_is_told() -> None:
    entries = mark_characters("c\u0323\u0302x\u0338")

    told = [(entry["character"], entry.get("looks_like")) for entry in entries]
    assert told == [("U+0323", None), ("U+0302", "\u0109"), ("U+0338", None)]


def test_a_whole_word_in_disguise_is_told_where_no_other_word_is_honest() -> None:
    disguised = "\u0441\u043e\u0440"  # Cyrillic, reads `cop`

    assert len(mark_characters(f"a {disguised} in the rain")) == 3
    assert mark_characters(f"a {disguised} \u0438 \u0434\u043e\u043c") == []
    assert mark_characters(disguised) == []


def test_a_character_is_counted_and_placed_in_code_points() -> None:
    entries = mark_characters("\U0001f98a it\u2019s a fox\u2019s \u201cden")

    assert [(entry["first"], entry["count"]) for entry in entries] == [(4, 2), (15, 1)]


def test_no_text_gives_more_than_the_limit_of_entries() -> None:
    text = "".join(f"{chr(code)}x" for code in range(0x1D400, 0x1D434)) * 2
    text += "".join(chr(code) for code in range(0xE0020, 0xE007F)) * 3

    entries = mark_characters(text)

    assert len(entries) == ENTRY_COUNT
    assert entries[-1]["kind"] == "more"
    told = [entry["count"] for entry in entries]
    assert sum(count for count in told if isinstance(count, int)) == 2 * 52 + 3 * 95


def test_the_end_of_an_endless_text_is_counted_and_not_read() -> None:
    text = "a" * TEXT_CHARS + "\u2019" * 900_000 + "  "

    assert mark_characters(text) == [{"kind": "unread", "count": 900_002, "first": TEXT_CHARS}]
    assert show_text(text).endswith("aa[900002 more characters]")


@pytest.mark.parametrize("piece", [" ", "a  ", " \n", "e\u0301", "\u0301", "p\u0430", "\uff0c"])
def test_a_hostile_text_takes_linear_time(piece: str) -> None:
    text = "x" + piece * (1_000_000 // len(piece)) + "x"

    began = time.perf_counter()
    mark_characters(text)
    show_text(text)

    # A second or two; one step for each pair of characters would take an hour.
    assert time.perf_counter() - began < 60


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(
            "a cat\u2019s hat  ",
            "a cat[U+2019 RIGHT SINGLE QUOTATION MARK]s hat[2 trailing spaces]",
            id="quote and blanks",
        ),
        pytest.param(
            " \n a  b\nc ",
            "[3 leading blanks]a[2 spaces]b[newline]c[1 trailing space]",
            id="blanks",
        ),
        pytest.param("p\u0430ge", "p[U+0430 CYRILLIC SMALL LETTER A]ge", id="homoglyph"),
        pytest.param("e\u0301", "e[U+0301 COMBINING ACUTE ACCENT]", id="combining"),
        pytest.param("\x1b[2J", "[U+001B CONTROL][2J", id="escape"),
        pytest.param("\ud800\uffff", "[U+D800 SURROGATE]\\uffff", id="no characters"),
        pytest.param("caf\u00e9 \u732b \U0001f98a", "caf\u00e9 \u732b \U0001f98a", id="ordinary"),
    ],
)
def test_a_text_is_shown_on_one_line_with_its_characters_named(text: str, shown: str) -> None:
    assert show_text(text) == shown
