"""A difference of two texts is told so that it can be seen, also where it does not show."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from comfyui_provenance.text_difference import describe_text_difference, first_difference

APOSTROPHES = (
    "U+0027 APOSTROPHE ' (byte 27) became U+2019 RIGHT SINGLE QUOTATION MARK \u2019"
    " (bytes e2 80 99)"
)
LETTER_A = "U+0061 LATIN SMALL LETTER A a (byte 61) became U+0430 CYRILLIC SMALL LETTER A \u0430"
RETURN = "U+000D CARRIAGE RETURN (byte 0d) was taken out"


@pytest.mark.parametrize(
    ("recorded", "now", "told"),
    [
        pytest.param("a fox", "a fox", "the same text", id="none"),
        pytest.param(
            "a red fox's den",
            "a red fox\u2019s den",
            f"at character 10: {APOSTROPHES}",
            id="quotes",
        ),
        pytest.param(
            "a quick, fox", "a quick, wolf", 'at character 10: "fox" became "wolf"', id="words"
        ),
        pytest.param(
            "a red fox in the sno",
            "a red fox in the sno ",
            "a trailing U+0020 SPACE (byte 20) was added at character 21 (white space alone)",
            id="a space at the end",
        ),
        pytest.param(
            "  fox",
            "fox",
            "leading 2 x U+0020 SPACE (byte 20) were taken out at character 1 (white space alone)",
            id="spaces at the start",
        ),
        pytest.param(
            "a  fox",
            "a fox",
            "at character 3: U+0020 SPACE (byte 20) was taken out (white space alone)",
            id="a space within",
        ),
        pytest.param(
            "a fox",
            "a\tfox",
            "at character 2: U+0020 SPACE (byte 20) became U+0009 CHARACTER TABULATION (byte 09)"
            " (white space alone)",
            id="a tab",
        ),
        pytest.param(
            "fox",
            "fo\u200bx",
            "at character 3: U+200B ZERO WIDTH SPACE (bytes e2 80 8b) was added",
            id="a zero-width character",
        ),
        pytest.param(
            "fox", "fo\nx", "at character 3: U+000A LINE FEED (byte 0a) was added", id="line"
        ),
        pytest.param(
            "a\rb",
            "a\nb",
            "at character 2: U+000D CARRIAGE RETURN (byte 0d) became U+000A LINE FEED (byte 0a)"
            " (line ends alone)",
            id="an old line end",
        ),
        pytest.param(
            "a cat", "a c\u0430t", f"at character 4: {LETTER_A} (bytes d0 b0)", id="one letter"
        ),
        pytest.param(
            "cop",
            "\u0441\u043e\u0440",
            'at character 1: "cop" became "\u0441\u043e\u0440", where U+0063 LATIN SMALL LETTER C c'
            " (byte 63) became U+0441 CYRILLIC SMALL LETTER ES \u0441 (bytes d1 81)",
            id="a whole word that looks the same",
        ),
        pytest.param(
            "na\u00efve",
            "nai\u0308ve",
            "at character 3: U+00EF LATIN SMALL LETTER I WITH DIAERESIS \u00ef (bytes c3 af) became"
            " U+0069 LATIN SMALL LETTER I i (byte 69), U+0308 COMBINING DIAERESIS (bytes cc 88)"
            " (the same text in Unicode's normal form NFC: NFC became NFD)",
            id="normal forms",
        ),
        pytest.param(
            "\ufb01sh",
            "fish",
            'at character 1: "\ufb01" became "fi", where U+FB01 LATIN SMALL LIGATURE FI \ufb01'
            " (bytes ef ac 81) became U+0066 LATIN SMALL LETTER F f (byte 66)"
            " (the same text in Unicode's normal form NFKC)",
            id="a ligature",
        ),
        pytest.param(
            "A Fox",
            "A fox",
            'at character 3: "Fox" became "fox" (upper and lower case alone)',
            id="case",
        ),
        pytest.param(
            "a\r\nb", "a\nb", f"at character 2: {RETURN} (line ends alone)", id="one line end"
        ),
        pytest.param(
            "a\r\nb\r\nc\r\nd\r\ne",
            "a\nb\nc\nd\ne",
            f"at character 2: {RETURN}; at character 5: {RETURN}; at character 8: {RETURN};"
            " and 1 more place (line ends alone)",
            id="four line ends",
        ),
        pytest.param("(fox:1.2)", "(fox:1.3)", 'at character 6: "1.2" became "1.3"', id="a weight"),
        pytest.param(
            "a fox, a cat, a dog",
            "a wolf, a cat, a hen, an owl",
            'at character 3: "fox" became "wolf"; at character 17: "dog" became "hen, an owl"',
            id="two places",
        ),
        pytest.param(
            "best quality, fox",
            "fox",
            'at character 1: "best quality, " was taken out',
            id="words taken out",
        ),
        pytest.param("", "fox", 'at character 1: "fox" was added', id="from nothing"),
        pytest.param(
            "\ud800",
            "\U0010ffff",
            "at character 1: U+D800 SURROGATE (bytes ed a0 80) became U+10FFFF UNASSIGNED"
            " (bytes f4 8f bf bf)",
            id="no characters",
        ),
        pytest.param(
            "x",
            "\x1b[2J",
            'at character 1: "x" became "\\x1b[2J", where U+0078 LATIN SMALL LETTER X x (byte 78)'
            " became U+001B CONTROL (byte 1b)",
            id="what a terminal obeys",
        ),
        pytest.param(
            "x" * 40 + "b" + "y" * 40,
            "x" * 40 + "c" + "y" * 40,
            'at character 41: "b" became "c"',
            id="within a long word",
        ),
        pytest.param(
            "word " * 2000,
            "word " * 1000 + "words " + "word " * 998 + "word\u00a0",
            'from character 5005 to 10000: " word word word word word word w..." became '
            '"s word word word word word word ...", where U+0020 SPACE (byte 20) became '
            "U+0073 LATIN SMALL LETTER S s (byte 73)",
            id="a long text, from the first to the last difference",
        ),
    ],
)
def test_a_difference_is_told_where_and_how(recorded: str, now: str, told: str) -> None:
    assert describe_text_difference(recorded, now) == told


@pytest.mark.parametrize(
    ("recorded", "now", "index"),
    [
        ("", "", None),
        ("fox", "fox", None),
        ("fox", "fax", 1),
        ("fox", "foxes", 3),
        ("foxes", "fox", 3),
        ("", "fox", 0),
        ("\U0001f98a a", "\U0001f98a b", 2),
    ],
)
def test_the_first_difference_is_counted_in_code_points(
    recorded: str, now: str, index: int | None
) -> None:
    assert first_difference(recorded, now) == index


def test_places_that_do_not_fit_are_counted() -> None:
    told = describe_text_difference("na\u00efve " * 3, "nai\u0308ve " * 3)

    assert told.count(" became U+") == 2
    assert "; and 1 more place (" in told
    assert len(told) <= 420


def test_long_names_are_cut() -> None:
    told = describe_text_difference("\ufbf9\ufbfa", "\ufbfa\ufbf9")

    assert told.count("ARABIC LIGATURE UIGHUR KIRGHIZ YEH WITH HAMZA ABOVE WITH \ufbf9") == 2
    assert len(told) <= 420


def test_escapes_take_the_room_that_they_need() -> None:
    told = describe_text_difference("\U0001342f" * 40, "\U0001342e" * 40)

    assert told.count("\\U0001342f") == 3
    assert len(told) <= 420


def test_a_long_prompt_of_many_short_parts_is_told_word_by_word() -> None:
    parts = [f"part{at}" for at in range(300)]

    told = describe_text_difference(
        ", ".join(["fox", *parts, "cat"]), ", ".join(["a", *parts, "b"])
    )

    assert told == 'at character 1: "fox" became "a"; at character 2596: "cat" became "b"'


def of_kinds(kinds: int) -> str:
    """Build a text of so many different words, in no order."""
    return "".join(f"w{at * at * 7919 % 10_007 % kinds} " for at in range(900))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lambda: of_kinds(1), id="one word"),
        pytest.param(lambda: of_kinds(5), id="few words"),
        pytest.param(lambda: of_kinds(40), id="some words"),
        pytest.param(lambda: ",; " * 1300, id="signs"),
        pytest.param(lambda: "a" + "\u0301\u0323" * 1900, id="marks"),
        pytest.param(lambda: "a" + "\u0301\u0323" * 50_000, id="many marks"),
        pytest.param(lambda: "a" * 5_000_000, id="a long text"),
    ],
)
def test_no_text_takes_long(text: Callable[[], str]) -> None:
    recorded = text()
    now = f"x {recorded[40:]} y"
    started = time.monotonic()

    describe_text_difference(recorded, now)

    assert time.monotonic() - started < 5


def test_no_word_takes_long() -> None:
    started = time.monotonic()

    describe_text_difference("\u00e9" * 3900, ("\u00e9" * 100 + "\u00e8") * 38)

    assert time.monotonic() - started < 5
