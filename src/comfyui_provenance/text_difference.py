"""How two prompt texts differ, to the character and the byte.

A text encoder reads code points, so two texts that look alike can make two images. The difference
is told with the name of every character that does not show itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Final

_MATCHED_CHARS: Final = 4000
"""Longer texts are told by their first and last difference: matching takes time with the square."""

_PLACES: Final = 3
_SHOWN_CHARS: Final = 32
"""Of one side of a difference."""

_NAMED_CHARS: Final = 3
"""So many characters are told one by one; more are words."""

_CONTROLS: Final = {"\t": "CHARACTER TABULATION", "\n": "LINE FEED", "\r": "CARRIAGE RETURN"}

_WORDS: Final = re.compile(r"\w+|\W")

_FORMS: Final = ("NFC", "NFKC")


def describe_text_difference(recorded: str, now: str) -> str:
    """Tell where and how two texts differ: one printable line of a few hundred characters."""
    if recorded == now:
        return "the same text"
    places = list(_differing(recorded, now))
    told = [_describe(at, before, after) for at, before, after in places[:_PLACES]]
    if len(places) > _PLACES:
        told.append(f"and {len(places) - _PLACES} more places")
    return "; ".join(told) + _hint(recorded, now)


def first_difference(recorded: str, now: str) -> int | None:
    """Give the index of the first code point that differs, from 0; `None` for equal texts."""
    if recorded == now:
        return None
    shorter = min(len(recorded), len(now))
    return next((at for at in range(shorter) if recorded[at] != now[at]), shorter)


def _differing(recorded: str, now: str) -> Iterator[tuple[int, str, str]]:
    """Yield each differing place: index in the recorded text, what was there, what is there now."""
    start = first_difference(recorded, now) or 0
    end = 0
    shorter = min(len(recorded), len(now)) - start
    while end < shorter and recorded[-1 - end] == now[-1 - end]:
        end += 1
    before, after = recorded[start : len(recorded) - end], now[start : len(now) - end]
    if max(len(before), len(after)) > _MATCHED_CHARS:
        yield start, before, after
        return
    # Back to the start of the word, so that whole words are told.
    while start and recorded[start - 1].isalnum():
        start -= 1
    before, after = recorded[start : len(recorded) - end], now[start : len(now) - end]
    for at, first, second in _opcodes(_WORDS.findall(before), _WORDS.findall(after)):
        if first.isascii() and second.isascii():
            yield start + at, first, second
        else:
            for inner, one, other in _opcodes([*first], [*second]):
                yield start + at + inner, one, other


def _opcodes(before: list[str], after: list[str]) -> Iterator[tuple[int, str, str]]:
    """Yield what differs of two sequences of texts, each with its place in the first, joined."""
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for tag, first, last, first_now, last_now in matcher.get_opcodes():
        if tag != "equal":
            at = sum(map(len, before[:first]))
            yield at, "".join(before[first:last]), "".join(after[first_now:last_now])


def _describe(at: int, before: str, after: str) -> str:
    place = f"at character {at + 1}"
    if not before:
        return f"{place}: {_name(after)} was added"
    if not after:
        return f"{place}: {_name(before)} was taken out"
    return f"{place}: {_name(before)} became {_name(after)}"


def _name(text: str) -> str:
    """Name a few characters one by one where they are not plain letters; quote words."""
    if len(text) > _NAMED_CHARS or (text.isascii() and text.isalnum()):
        shown = text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."
        return f'"{_printable(shown)}"'
    return ", ".join(_character(char) for char in text)


def _character(char: str) -> str:
    code = f"U+{ord(char):04X}"
    name = _CONTROLS.get(char) or unicodedata.name(char, "an unnamed character")
    shows = char.isprintable() and not char.isspace() and not unicodedata.combining(char)
    shown = f" {char}" if shows else ""
    data = char.encode("utf-8", "surrogatepass").hex(" ")
    return f"{code} {name}{shown} (bytes {data})"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _hint(recorded: str, now: str) -> str:
    """Say what kind of difference it is, where all of it is of one kind."""
    if recorded.replace("\r\n", "\n") == now.replace("\r\n", "\n"):
        return " (line ends alone)"
    for form in _FORMS:
        if unicodedata.normalize(form, recorded) == unicodedata.normalize(form, now):
            return f" (the same text in Unicode's normal form {form})"
    if recorded.casefold() == now.casefold():
        return " (upper and lower case alone)"
    if recorded.split() == now.split():
        return " (white space alone)"
    return ""
