"""Files of control sets: what `controls` makes, written down and read back.

A set that a user measured lies on a disk that others may write to, so reading is bounded and strict
like that of a record.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Final

from .canonical import JsonValue, dump_ascii, parse_json
from .controls import ControlSet, ControlSets, Key, Positive, Thresholds
from .errors import LimitError, RecordError
from .limits import NAME_CHARS
from .trace import STEP_COUNT
from .verdict import CauseKind

VERSION: Final = 1

SET_COUNT: Final = 4096
"""Sets of one file: models times samplers."""

CONTROL_SETS_BYTES: Final = 16 * 1024**2
"""One file. A set of the library's own has about 1 KB."""

_POSITIVE_COUNT: Final = 64


def parse_controls(text: str | bytes) -> ControlSets:
    """Parse control sets, as `dump_controls` gives them.

    Raises:
        LimitError: There is more than we agree to read.
        RecordError: It is not a file of control sets.
    """
    document = parse_json(text, limit_bytes=CONTROL_SETS_BYTES)
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise RecordError(f"controls: expected an object of version {VERSION}")
    entries = document.get("sets")
    if not isinstance(entries, list) or len(entries) > SET_COUNT:
        raise RecordError(f"controls: expected a list of at most {SET_COUNT} sets")
    try:
        found = ControlSets(tuple(_parse_set(entry) for entry in entries))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RecordError(f"controls: expected a control set: {error!r:.200}") from error
    if len({item.key for item in found.sets}) != len(found.sets):
        raise RecordError("controls: expected one set for each key")
    return found


def dump_controls(sets: ControlSets) -> str:
    """Dump control sets as ASCII, a line for each."""
    lines = [dump_ascii(_dump_set(item)) for item in sets.sets]
    return f'{{"version":{VERSION},"sets":[\n' + ",\n".join(lines) + "\n]}\n"


def _dump_set(item: ControlSet) -> dict[str, JsonValue]:
    return {
        "key": asdict(item.key),
        "axes": [*sorted(item.axes)],
        "negatives": item.negatives,
        "heights": item.heights,
        "thresholds": {
            "steps": [*item.thresholds.steps],
            "max_abs": item.thresholds.max_abs,
            "mean_abs": item.thresholds.mean_abs,
        },
        "positives": [
            {
                "name": positive.name,
                "runs": positive.runs,
                "least": _finite(positive.least),
                "least_any_steps": _finite(positive.least_any_steps),
            }
            for positive in item.positives
        ],
        "conditions": item.conditions,
    }


def _finite(number: float) -> float | None:
    return None if math.isinf(number) else number


def _parse_set(entry: JsonValue) -> ControlSet:
    """Parse a set.

    Raises:
        LimitError: It has more steps or positives than we agree to read.
        KeyError: A field is missing.
        TypeError: A field has another type.
        ValueError: A field has another value.
    """
    fields = _fields(entry)
    key, thresholds = _fields(fields["key"]), _fields(fields["thresholds"])
    steps = [_positive_number(number) for number in _items(thresholds["steps"], STEP_COUNT)]
    if not steps:
        raise ValueError("expected thresholds of at least one step")
    return ControlSet(
        key=Key(**{name: _text(key[name]) for name in Key.__dataclass_fields__}),
        axes=frozenset(CauseKind(_text(axis)) for axis in _items(fields["axes"], len(CauseKind))),
        negatives=_count(fields["negatives"]),
        heights=_count(fields["heights"]),
        thresholds=Thresholds(
            tuple(steps),
            _positive_number(thresholds["max_abs"]),
            _positive_number(thresholds["mean_abs"]),
        ),
        positives=tuple(
            _parse_positive(_fields(positive))
            for positive in _items(fields["positives"], _POSITIVE_COUNT)
        ),
        conditions=_text(fields["conditions"]),
    )


def _parse_positive(fields: dict[str, JsonValue]) -> Positive:
    return Positive(
        _text(fields["name"]),
        _count(fields["runs"]),
        _excess(fields["least"]),
        _excess(fields["least_any_steps"]),
    )


def _fields(value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return value


def _items(value: JsonValue, limit: int) -> list[JsonValue]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    if len(value) > limit:
        raise LimitError(f"controls: expected at most {limit} items, got {len(value)}")
    return value


def _text(value: JsonValue) -> str:
    if not isinstance(value, str) or len(value) > NAME_CHARS:
        raise TypeError(f"expected a text of at most {NAME_CHARS} characters")
    return value


def _count(value: JsonValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError(f"expected a number from 1, got {value!r:.40}")
    return value


def _number(value: JsonValue) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"expected a number, got {type(value).__name__}")
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"expected a finite number from 0, got {number}")
    return number


def _positive_number(value: JsonValue) -> float:
    number = _number(value)
    if number == 0:
        raise ValueError("expected a threshold above 0")
    return number


def _excess(value: JsonValue) -> float:
    return math.inf if value is None else _number(value)
