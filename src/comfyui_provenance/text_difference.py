"""How two prompt texts differ, to the character and the byte.

A text encoder reads code points, so two texts that look alike can make two images. The difference
is told with the name of every character that does not show itself, or is taken for another.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate
from typing import Final, Literal

from .plain_text import to_plain

_LINE_CHARS: Final = 400
"""Places are told while they fit; a first one alone can be a little longer."""

_PLACES: Final = 3
_SHOWN_CHARS: Final = 32
"""Of one side of a difference."""

_NAMED_CHARS: Final = 2
"""So many characters are told by their names; more are quoted."""

_NAME_CHARS: Final = 56
"""Of a character's name; the longest has 88, those of prompts under 50."""

_MATCHED_CHARS: Final = 4000
_MATCHED_PAIRS: Final = 20_000
"""Equal words, each with each. Of one word repeated 1300 times the matching took five minutes."""

_DIFFERING_PART: Final = 0.4
"""Of what differs more, whole words say more than characters."""

_NORMALISED_CHARS: Final = 10_000
"""Python sorts a run of combining marks in time with its square."""

_CONTROLS: Final = {"\t": "CHARACTER TABULATION", "\n": "LINE FEED", "\r": "CARRIAGE RETURN"}

_UNNAMED: Final = {"Cc": "CONTROL", "Cs": "SURROGATE", "Co": "PRIVATE USE"}

_WORDS: Final = re.compile(r"\d+\.\d+|\w+|\W")


@dataclass(frozen=True, slots=True)
class _Place:
    """What stands at one place of both texts; empty on the side that lacks it.

    Attributes:
        at: Index of its first code point in the recorded text.
        before: What the recorded text has.
        after: What the text has now.
    """

    at: int
    before: str
    after: str


def describe_text_difference(recorded: str, now: str) -> str:
    """Tell where and how two texts differ: one printable line of a few hundred characters.

    Places are counted in code points of the recorded text, from 1.
    """
    if recorded == now:
        return "the same text"
    places = _differing(recorded, now)
    hint = _hint(recorded, now)
    told = [_describe(places[0], recorded)]
    for place in places[1:_PLACES]:
        line = _describe(place, recorded)
        if len("; ".join([*told, line])) + len(hint) > _LINE_CHARS:
            break
        told.append(line)
    left = len(places) - len(told)
    if left:
        told.append(f"and {left} more {'place' if left == 1 else 'places'}")
    return "; ".join(told) + hint


def first_difference(recorded: str, now: str) -> int | None:
    """Give the index of the first code point that differs, from 0; `None` for equal texts."""
    return None if recorded == now else _common_start(recorded, now)


def _common_start(first: str, second: str) -> int:
    """Count the code points at the start of both that are the same."""
    start, end = 0, min(len(first), len(second))
    # Halving: slices are compared far faster than code points.
    while start < end:
        middle = (start + end + 1) // 2
        if first[start:middle] == second[start:middle]:
            start = middle
        else:
            end = middle - 1
    return start


def _trimmed(place: _Place) -> _Place:
    """Leave out what both sides begin and end with."""
    start = _common_start(place.before, place.after)
    before, after = place.before[start:], place.after[start:]
    end = _common_start(before[::-1], after[::-1])
    return _Place(place.at + start, before[: len(before) - end], after[: len(after) - end])


def _differing(recorded: str, now: str) -> list[_Place]:
    """List the differing places: of long texts one, from the first to the last difference."""
    whole = _trimmed(_Place(0, recorded, now))
    if max(len(whole.before), len(whole.after)) > _MATCHED_CHARS:
        return [whole]
    few = whole.before + whole.after
    if len(few) <= _NAMED_CHARS and not _is_plain(few):
        return [whole]  # the words around it would not show it
    # Back to the start of the word and on to its end, so that whole words are told.
    start, end = whole.at, whole.at + len(whole.before)
    first = start - _letters(recorded[max(start - _SHOWN_CHARS, 0) : start][::-1])
    last = end + _letters(recorded[end : end + _SHOWN_CHARS])
    before = recorded[first:last]
    after = recorded[first:start] + whole.after + recorded[end:last]
    words, words_now = _WORDS.findall(before), _WORDS.findall(after)
    if _equal_pairs(words, words_now) > _MATCHED_PAIRS:
        return [whole]
    places = _unmatched(_Place(first, before, after), words, words_now)
    return [exact for place in places for exact in _exact(place)]


def _exact(place: _Place) -> list[_Place]:
    """Take a place apart into its characters, where most are the same but do not show it."""
    before, after = [*place.before], [*place.after]
    if _is_plain(place.before + place.after) or _equal_pairs(before, after) > _MATCHED_PAIRS:
        return [place]
    places = list(_unmatched(place, before, after))
    differing = sum(len(exact.before) + len(exact.after) for exact in places)
    return places if differing < (len(before) + len(after)) * _DIFFERING_PART else [place]


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _letters(text: str) -> int:
    """Count what may belong to a word or a number at the start of a text."""
    return next(
        (at for at, char in enumerate(text) if not char.isalnum() and char not in "._"), len(text)
    )


def _equal_pairs(words: list[str], words_now: list[str]) -> int:
    now = Counter(words_now)
    counts = Counter(words).items()
    return sum(count * now[word] for word, count in counts if not _is_between(word))


def _is_between(word: str) -> bool:
    """Tell whether a word is a blank or a sign: there are too many to match each with each."""
    return not word[0].isalnum()


def _unmatched(whole: _Place, words: list[str], words_now: list[str]) -> Iterator[_Place]:
    """Yield what differs of the words, or characters, of which both sides of a place consist."""
    starts = [0, *accumulate(map(len, words))]
    # Blanks and signs are matched where the words beside them are.
    matcher = SequenceMatcher(_is_between, words, words_now, autojunk=False)
    for tag, first, last, first_now, last_now in matcher.get_opcodes():
        if tag != "equal":
            before, after = "".join(words[first:last]), "".join(words_now[first_now:last_now])
            yield _Place(whole.at + starts[first], before, after)


def _describe(place: _Place, recorded: str) -> str:
    is_short = max(len(place.before), len(place.after)) <= _SHOWN_CHARS
    is_plain = _is_plain(place.before + place.after)
    if not (is_short and is_plain and place.before and place.after):
        place = _trimmed(place)
    at = f"at character {place.at + 1}"
    if len(place.before) > _SHOWN_CHARS:
        at = f"from character {place.at + 1} to {place.at + len(place.before)}"
    if place.before and place.after:
        return f"{at}: {_became(place.before, place.after)}"
    text, verb = (place.after, "added") if place.after else (place.before, "taken out")
    name = _name(text)
    verb = f"were {verb}" if name is not None and len(text) > 1 else f"was {verb}"
    side = _side(place, text, len(recorded))
    if side is None:
        return f"{at}: {name or _quote(text)} {verb}"
    return f"{'a ' if len(text) == 1 else ''}{side} {name or _quote(text)} {verb} {at}"


def _side(place: _Place, text: str, length: int) -> str | None:
    """Tell on which side of the recorded text some white space stands, if on any."""
    if not text.isspace():
        return None
    if place.at + len(place.before) == length:
        return "trailing"
    return "leading" if place.at == 0 else None


def _became(before: str, after: str) -> str:
    """Tell what one text became; such as do not show themselves begin with a difference."""
    name, name_now = _name(before), _name(after)
    if before.isascii() and before.isalnum() and after.isascii() and after.isalnum():
        name = name_now = None
    if name is not None and name_now is not None:
        return f"{name} became {name_now}"
    quoted = f"{_quote(before)} became {_quote(after)}"
    if _is_plain(before + after):
        return quoted
    # What is quoted may look the same on both sides.
    return f"{quoted}, where {_character(before[0])} became {_character(after[0])}"


def _name(text: str) -> str | None:
    """Name a few characters one by one, or many of one kind at once; `None` for words."""
    if len(text) > 1 and text == text[0] * len(text) and not text.isalnum():
        return f"{len(text)} x {_character(text[0])}"
    if len(text) > _NAMED_CHARS or (len(text) > 1 and text.isascii() and text.isalnum()):
        return None
    return ", ".join(_character(char) for char in text)


def _character(char: str) -> str:
    code = f"U+{ord(char):04X}"
    unnamed = _UNNAMED.get(unicodedata.category(char), "UNASSIGNED")
    name = _CONTROLS.get(char) or unicodedata.name(char, unnamed)[:_NAME_CHARS]
    shows = char.isprintable() and not char.isspace() and not unicodedata.combining(char)
    shown = f" {char}" if shows else ""
    data = char.encode("utf-8", "surrogatepass")
    return f"{code} {name}{shown} ({'byte' if len(data) == 1 else 'bytes'} {data.hex(' ')})"


def _quote(text: str) -> str:
    """Quote the start of a text; what does not print takes the room of its escape."""
    ends = accumulate(len(to_plain(char)) for char in text[: _SHOWN_CHARS + 1])
    fitting = sum(end <= _SHOWN_CHARS for end in ends)
    return f'"{to_plain(text, fitting)}"'


def _hint(recorded: str, now: str) -> str:
    """Say what kind of difference it is, where all of it is of one kind."""
    if _with_line_feeds(recorded) == _with_line_feeds(now):
        return " (line ends alone)"
    if max(len(recorded), len(now)) <= _NORMALISED_CHARS:
        if _normal("NFC", recorded) == _normal("NFC", now):
            forms = f"{_form(recorded)} became {_form(now)}"
            return f" (the same text in Unicode's normal form NFC: {forms})"
        if _normal("NFKC", recorded) == _normal("NFKC", now):
            return " (the same text in Unicode's normal form NFKC)"
    if recorded.casefold() == now.casefold():
        return " (upper and lower case alone)"
    return " (white space alone)" if recorded.split() == now.split() else ""


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _normal(form: Literal["NFC", "NFKC"], text: str) -> str:
    return unicodedata.normalize(form, text)


def _form(text: str) -> str:
    """Name the normal form that a text has."""
    if unicodedata.is_normalized("NFC", text):
        return "NFC"
    return "NFD" if unicodedata.is_normalized("NFD", text) else "no normal form"
