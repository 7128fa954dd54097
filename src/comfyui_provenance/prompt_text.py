"""The characters of a prompt text: those that cannot be seen, or are taken for others.

A text encoder reads code points. A curly quote, a no-break space or a Cyrillic letter inside a
Latin word gives other tokens, and so another image, under words that look the same.

What a script uses as its own is not listed: accented letters, full-width punctuation beside
Chinese or Japanese. What is invisible always is, in an emoji as well: with and without its
variation selector a heart has other tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final

from .canonical import JsonValue
from .plain_text import to_plain

ENTRY_COUNT: Final = 64
"""Entries of one text at most; the last one sums up the rest. Ordinary prompts have under 5."""

TEXT_CHARS: Final = 100_000
"""Code points of one text that are looked at. Long prompts measure under 10 000."""

_QUOTES: Final = dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u2035\u02b9\u02bc\u00b4", "'") | (
    dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u2036", '"')
)
_DASHES: Final = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63", "-")
_BLANKS: Final = frozenset("\u2800\u3164\uffa0")
"""Letters and symbols without ink; the spaces are a category of Unicode."""

_ZERO_WIDTH: Final = frozenset(
    map(
        chr,
        chain(
            (0xAD, 0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0xFEFF),
            range(0x200B, 0x200E),
            range(0x2060, 0x2065),
            range(0x206A, 0x2070),
            range(0xFFF9, 0xFFFC),
            range(0xE0000, 0xE0080),  # tags: ASCII that no font shows
        ),
    )
)
_BIDI: Final = frozenset(
    map(chr, chain((0x61C, 0x200E, 0x200F), range(0x202A, 0x202F), range(0x2066, 0x206A)))
)
_VARIATION: Final = frozenset(
    map(chr, chain(range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)))
) - {"\u180e"}

_LATIN_LOOKS: Final = dict(
    zip(
        # Cyrillic, small and capital; then Greek.
        "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u04bb\u0501\u051b\u051d"
        "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408"
        "\u03bf\u03bd\u03c1\u03c5\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1"
        "\u03a4\u03a5\u03a7",
        "aeopcyxsijhdqwABEKMHOPCTYXSIJovpuABEZHIKMNOPTYX",
        strict=True,
    )
)
"""Cyrillic and Greek letters that most fonts draw like a Latin one."""

_WIDE: Final = range(0xFF01, 0xFF5F)
"""ASCII in full width, 0xFEE0 above it."""

_STYLED: Final = range(0x1D400, 0x1D800)
"""Letters of mathematics, which pages of fancy text use as fonts."""

_LIGATURES: Final = range(0xFB00, 0xFB07)

_CONTROL_NAMES: Final = {"\t": "CHARACTER TABULATION", "\r": "CARRIAGE RETURN"}

# Tried at the start of a run of blanks only: from each blank of a long one it would be quadratic.
_EDGES: Final = re.compile(r"\A[ \n]++|(?<![ \n])[ \n]++\Z")
_DOUBLE: Final = re.compile(r"(?<=[^ \n]) {2,}(?=[^ \n])")


@dataclass(frozen=True, slots=True)
class _Found:
    """One place in a text.

    Attributes:
        start: Index of its first code point.
        text: What stands there.
        kind: As in an entry of `mark_characters`.
        looks_like: What it is taken for, if anything.
    """

    start: int
    text: str
    kind: str
    looks_like: str | None = None


def mark_characters(text: str) -> list[dict[str, JsonValue]]:
    """List what a reader of a text cannot see, or takes for something else.

    Returns:
        Entries in the order in which they first occur, `ENTRY_COUNT` at most. Each has a `kind`,
        a `count` and, as `first`, the index of the first one in code points. Of a character it
        also has `character` (`U+2019`), its `name` in Unicode, and `looks_like`, where it is
        taken for something. The kinds are

        - of characters `quote`, `dash`, `space`, `zero_width`, `control` (tabs and carriage
          returns too; a line feed is ordinary), `bidi`, `variation`, `full_width`, `combining`
          (a mark that Unicode writes together with its letter, or any mark on a Latin, Greek or
          Cyrillic one), `homoglyph`;
        - `leading_blank` and `trailing_blank`, counting spaces and line feeds, and
          `double_blank`, counting the places with two or more spaces;
        - `more`, counting all that did not fit;
        - `unread`, last, counting the code points after the first `TEXT_CHARS`.
    """
    entries: dict[tuple[str, str], dict[str, JsonValue]] = {}
    counts: dict[tuple[str, str], int] = {}
    for found in _find(text):
        is_edge = found.kind in ("leading_blank", "trailing_blank")
        key = (found.kind, "" if found.kind.endswith("_blank") else found.text)
        counts[key] = counts.get(key, 0) + (len(found.text) if is_edge else 1)
        if key not in entries:
            entries[key] = _to_entry(found)
    complete: list[dict[str, JsonValue]] = [
        {**entry, "count": counts[key]} for key, entry in entries.items()
    ]
    room = ENTRY_COUNT - (len(text) > TEXT_CHARS)
    if len(complete) > room:
        rest = sum(list(counts.values())[room - 1 :])
        more: dict[str, JsonValue] = {"kind": "more", "first": complete[room - 1]["first"]}
        complete = [*complete[: room - 1], {**more, "count": rest}]
    if len(text) > TEXT_CHARS:
        unread = len(text) - TEXT_CHARS
        complete.append({"kind": "unread", "first": TEXT_CHARS, "count": unread})
    return complete


def show_text(text: str) -> str:
    """Give a text on one line, with what `mark_characters` lists named in brackets.

    Line feeds are `[newline]`, what a terminal might obey is escaped, and the end of a text longer
    than `TEXT_CHARS` is left out.
    """
    shown: list[str] = []
    end = 0
    for found in _find(text):
        shown += [_to_line(text[end : found.start]), f"[{_describe(found)}]"]
        end = found.start + len(found.text)
    shown.append(_to_line(text[end:TEXT_CHARS]))
    if len(text) > TEXT_CHARS:
        shown.append(f"[{len(text) - TEXT_CHARS} more characters]")
    return "".join(shown)


def _find(text: str) -> Iterator[_Found]:
    """Yield what is to be told of the first `TEXT_CHARS` of a text, in order; no two overlap."""
    blanks = {
        match.start(): match for match in chain(_EDGES.finditer(text), _DOUBLE.finditer(text))
    }
    length, text = len(text), text[:TEXT_CHARS]
    cjk = _beside_cjk(text)
    homoglyphs = _homoglyphs(text)
    base = ""
    for start, char in enumerate(text):
        if start in blanks:
            yield _to_blank(blanks[start], length)
        kind, looks_like = None, None
        if not char.isascii() or not char.isprintable():
            kind, looks_like = _classify(char, base, is_cjk=start in cjk)
        if start in homoglyphs:
            kind, looks_like = "homoglyph", homoglyphs[start]
        if kind is not None:
            yield _Found(start, char, kind, looks_like)
        if not unicodedata.combining(char):
            base = char


@lru_cache(maxsize=4096)
def _classify(char: str, base: str, *, is_cjk: bool) -> tuple[str | None, str | None]:
    """Tell the kind of a character by itself and the letter before it, and its look."""
    code, category = ord(char), unicodedata.category(char)
    if char in _ZERO_WIDTH:
        return "zero_width", None
    if char in _BIDI:
        return "bidi", None
    if char in _VARIATION:
        return "variation", None
    if category in ("Cc", "Cs", "Zl", "Zp"):
        return (None, None) if char == "\n" else ("control", None)
    # Chinese and Japanese write these as their own, with letters before or after them.
    if is_cjk and (
        char in "\u2018\u2019\u201c\u201d\u2014\u2015\u2026\u3000" or _is_wide_sign(char)
    ):
        return None, None
    if char in _QUOTES:
        return "quote", _QUOTES[char]
    if char in _DASHES:
        return "dash", _DASHES[char]
    if category == "Zs" or char in _BLANKS:
        return "space", " "
    if code in _WIDE:
        return "full_width", chr(code - 0xFEE0)
    composed = unicodedata.normalize("NFC", base + char) if base else base + char
    if category in ("Mn", "Lo", "Mc") and base and len(composed) == 1:
        return "combining", composed
    if category == "Mn" and _script(base) in ("LATIN", "GREEK", "CYRILLIC"):
        return "combining", None
    if char == "\u2026" or code in _LIGATURES or code in _STYLED:
        look = unicodedata.normalize("NFKC", char)
        return ("homoglyph", look) if look.isascii() else (None, None)
    single = unicodedata.normalize("NFC", char)
    return ("homoglyph", single) if single != char and len(single) == 1 else (None, None)


def _is_wide_sign(char: str) -> bool:
    return ord(char) in _WIDE and not char.isalnum()


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    return unicodedata.name(char, "").partition(" ")[0] if char.isalpha() else ""


def _is_cjk(char: str) -> bool:
    """Tell whether a character belongs to a script that is set in full width."""
    return not char.isascii() and _script(char) in (
        "CJK",
        "HIRAGANA",
        "KATAKANA",
        "HANGUL",
        "BOPOMOFO",
    )


def _beside_cjk(text: str) -> set[int]:
    """Give the places whose next letter, on either side, is of such a script."""
    if text.isascii():
        return set()
    places: set[int] = set()
    for order in (range(len(text)), range(len(text) - 1, -1, -1)):
        inside = False
        for place in order:
            char = text[place]
            if char.isalnum():
                inside = _is_cjk(char)
            elif inside:
                places.add(place)
    return places


def _homoglyphs(text: str) -> dict[int, str]:
    """Find the letters that look Latin in a Latin word, or make a word that looks Latin.

    The latter only where no other word tells that the text has Cyrillic or Greek in it.
    """
    if text.isascii() or _LATIN_LOOKS.keys().isdisjoint(text):
        return {}
    found: dict[int, str] = {}
    disguised: dict[int, str] = {}
    is_honest = False
    for match in re.finditer(r"[^\W\d_]+", text):
        word = match[0]
        looks = {
            match.start() + at: _LATIN_LOOKS[char]
            for at, char in enumerate(word)
            if char in _LATIN_LOOKS
        }
        if any(_script(char) == "LATIN" for char in word):
            found |= looks
        elif len(looks) == len(word):
            disguised |= looks
        elif any(_script(char) in ("GREEK", "CYRILLIC") for char in word):
            is_honest = True
    has_latin = any(char.isascii() and char.isalpha() for char in text)
    return found if is_honest or not has_latin else found | disguised


def _to_blank(match: re.Match[str], end: int) -> _Found:
    if match.start() == 0:
        return _Found(0, match[0], "leading_blank")
    kind = "trailing_blank" if match.end() == end else "double_blank"
    return _Found(match.start(), match[0], kind)


def _to_entry(found: _Found) -> dict[str, JsonValue]:
    entry: dict[str, JsonValue] = {"kind": found.kind, "first": found.start}
    if found.kind.endswith("_blank"):
        return entry
    entry |= {"character": f"U+{ord(found.text):04X}", "name": _name(found.text)}
    return entry if found.looks_like is None else {**entry, "looks_like": found.looks_like}


def _describe(found: _Found) -> str:
    if not found.kind.endswith("_blank"):
        return f"U+{ord(found.text):04X} {_name(found.text)}"
    where = found.kind.removesuffix("blank").replace("double_", "").replace("_", " ")
    what = "blank" if "\n" in found.text else "space"
    return f"{len(found.text)} {where}{what}{'s' if len(found.text) > 1 else ''}"


def _name(char: str) -> str:
    """Give the name of a character; one without has that of its category."""
    fallback = {"Cs": "SURROGATE"}.get(unicodedata.category(char), "CONTROL")
    return unicodedata.name(char, _CONTROL_NAMES.get(char, fallback))


def _to_line(text: str) -> str:
    return to_plain(text.replace("\n", "[newline]"), None)
