"""JSON in and out: strict parsing, and the one byte form of a value.

Only our own documents are canonicalised. A prompt or a workflow may hold
integers past 2^53 or NaN, has no canonical form, and is kept as exact text.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, NoReturn, TypeAlias, cast

import rfc8785

from . import limits
from .errors import CanonicalError, LimitError, RecordError

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""What JSON can say, as Python's `json` module represents it."""

_STRING: Final = re.compile(r'"[^"]*+"?')
"""A whole string without escaped quotes, terminated or not: linear on any text."""

_BRACKET: Final = re.compile(r"[\[\]{}]")

_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
)

_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_NOT_PRINTABLE_ASCII: Final = re.compile(r"[^\x20-\x7e]")

_EXACT_INTEGER: Final = 2**53
_FIRST_EXPONENT: Final = 1e21
"""RFC 8785 3.2.2.3: from here on a whole number is written with an exponent."""


def dump_canonical(value: JsonValue) -> bytes:
    """Dump a value in its canonical form (RFC 8785).

    A float that would be written as an integer past 2^53-1 is refused like such
    an integer: reading it back would give a value without a canonical form.

    Raises:
        CanonicalError: The value holds something that is not JSON, NaN, an
            infinity, a lone surrogate, an integer past 2^53-1, or is nested
            deeper than `limits.JSON_DEPTH`.
    """
    is_plain = _refuse_uncanonical(value)
    try:
        if is_plain:
            return _ENCODER.encode(value).encode("utf-8")
        return rfc8785.dumps(value)
    # UnicodeEncodeError, a ValueError: rfc8785 does not guard its sorting of keys.
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CanonicalError(f"expected a value with a canonical form: {error}") from error


def dump_ascii(value: JsonValue) -> str:
    r"""Dump a value in canonical form with all but printable ASCII as `\uXXXX`.

    This is what image files carry: PNG readers disagree about the encoding of
    text, but not about ASCII. It parses back to the same value.

    Raises:
        CanonicalError: As for `dump_canonical`.
    """
    return _NOT_PRINTABLE_ASCII.sub(_to_escape, dump_canonical(value).decode("utf-8"))


def parse_json(
    text: str | bytes, *, limit_bytes: int = limits.TEXT_BYTES, allow_nan: bool = False
) -> JsonValue:
    """Parse JSON strictly: one text, at most one value.

    Args:
        text: JSON; bytes are UTF-8 without a byte order mark.
        limit_bytes: Largest size of the text, in UTF-8.
        allow_nan: Also read Python's `NaN`, `Infinity` and `-Infinity`, which
            ComfyUI writes, and numbers too large for a float.

    Raises:
        LimitError: The text is too large, too deep, or holds an integer of more
            than `limits.INTEGER_DIGITS` digits.
        RecordError: The text is not JSON, repeats a key within an object, or
            holds a lone surrogate.
    """
    text = _to_bounded_text(text, limit_bytes)
    _refuse_depth(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_to_object,
            parse_int=_to_integer,
            parse_float=None if allow_nan else _to_finite,
            parse_constant=None if allow_nan else _refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise RecordError(f"expected JSON, got {error}") from error
    except RecursionError as error:
        raise LimitError("expected JSON that fits the stack that is left") from error
    if _SURROGATE_ESCAPE.search(text):
        _refuse_lone_surrogates(value)
    return cast("JsonValue", value)


def _refuse_uncanonical(value: JsonValue) -> bool:
    """Refuse what rfc8785 would recurse into or write ambiguously.

    Returns:
        Whether Python's own encoder, ten times as fast, writes the same: there are no integers
        past 2^53-1, no keys that UTF-16 would sort otherwise, and no floats but those that Python
        and ECMAScript write alike.
    """
    is_plain = True
    # Explicit stack: a deep or cyclic value must not exhaust ours.
    pending: list[tuple[Iterable[object], int]] = [((value,), 0)]
    while pending:
        items, depth = pending.pop()
        for item in items:
            kind = type(item)
            if kind is str or item is None or kind is bool:
                continue
            if kind is int:
                is_plain = is_plain and -_EXACT_INTEGER < cast("int", item) < _EXACT_INTEGER
                continue
            if kind is float and _is_plain_float(cast("float", item)):
                continue
            is_plain = is_plain and (kind is list or (kind is dict and _has_plain_keys(item)))
            if isinstance(item, float):
                if item.is_integer() and _EXACT_INTEGER <= abs(item) < _FIRST_EXPONENT:
                    raise CanonicalError(f"expected a whole number below 2^53, got {item!r}")
            elif isinstance(item, (list, tuple, dict)):
                if depth == limits.JSON_DEPTH:
                    raise CanonicalError(
                        f"expected nesting of at most {limits.JSON_DEPTH}, got more"
                    )
                children = cast("object", item.values() if isinstance(item, dict) else item)
                pending.append((cast("Iterable[object]", children), depth + 1))
    return is_plain


def _is_plain_float(number: float) -> bool:
    """Tell whether a float has a fraction and no exponent: both write its shortest digits."""
    return 1e-4 <= abs(number) < 1e15 and not number.is_integer()


def _has_plain_keys(value: object) -> bool:
    keys = cast("dict[object, object]", value)
    return {*map(type, keys)} <= {str} and "".join(cast("dict[str, object]", keys)).isascii()


def _to_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _to_bounded_text(text: str | bytes, limit_bytes: int) -> str:
    try:
        encoded = text.encode("utf-8") if isinstance(text, str) else text
        if len(encoded) > limit_bytes:
            raise LimitError(f"expected at most {limit_bytes} bytes of JSON, got {len(encoded)}")
        return text if isinstance(text, str) else text.decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError) as error:
        raise RecordError(f"expected UTF-8, got {error.reason}") from error


def _refuse_depth(text: str) -> None:
    """Refuse deep nesting before the parser, which recurses, sees it."""
    # In this order: of an even number of backslashes none escapes the quote behind them.
    unescaped = text.replace("\\\\", "").replace('\\"', "")
    depth = 0
    for match in _BRACKET.finditer(_STRING.sub("", unescaped)):
        if match[0] in "[{":
            depth += 1
            if depth > limits.JSON_DEPTH:
                raise LimitError(f"expected nesting of at most {limits.JSON_DEPTH}, got more")
        else:
            depth -= 1


def _to_object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    # Of two equal keys one reader takes the first and another the last: a record
    # could show one seed to us and another to the page.
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = Counter(key for key, _ in pairs)
        repeated, _ = keys.most_common(1)[0]
        raise RecordError(f"expected each key once, got {repeated[:80]!r} again")
    return value


def _to_integer(literal: str) -> int:
    # The conversion takes time quadratic in the digits.
    digit_count = len(literal.removeprefix("-"))
    if digit_count > limits.INTEGER_DIGITS:
        raise LimitError(
            f"expected an integer of at most {limits.INTEGER_DIGITS} digits, got {digit_count}"
        )
    return int(literal)


def _to_finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise RecordError(f"expected a finite number, got {digits[:80]}")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise RecordError(f"expected a finite number, got {name}")


def _refuse_lone_surrogates(value: object) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            try:
                item.encode("utf-8")
            except UnicodeEncodeError as error:
                raise RecordError("expected Unicode text, got a lone surrogate") from error
        elif isinstance(item, dict):
            pending.extend(cast("dict[str, object]", item))
            pending.extend(cast("dict[str, object]", item).values())
        elif isinstance(item, list):
            pending.extend(cast("list[object]", item))
