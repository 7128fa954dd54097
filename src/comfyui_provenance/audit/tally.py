"""What an audit amounts to: counts, and files that are about each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..canonical import JsonValue
from ..record import JsonObject
from .judging import Audited, State


@dataclass(slots=True)
class Tally:
    """Counts of an audit, kept while it runs.

    Of each file only its path and its digests stay in memory.

    Attributes:
        states: Files in each state.
        causes: Files by the kind of their first cause.
    """

    states: Counter[State] = field(default_factory=Counter[State])
    causes: Counter[str] = field(default_factory=Counter[str])
    _first: dict[str, tuple[str, str | None]] = field(
        default_factory=dict[str, tuple[str, str | None]]
    )
    _same: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    _foreign: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def add(self, found: Audited) -> None:
        """Count one file."""
        self.states[found.state] += 1
        if found.cause is not None:
            self.causes[found.cause] += 1
        if found.pixels is None or found.record is None:
            return
        file, record = self._first.setdefault(found.pixels, (found.file, found.record))
        if record != found.record:
            self._same.setdefault(found.pixels, [file]).append(found.file)
        if found.expected is not None and found.expected != found.pixels:
            self._foreign.append((found.file, found.expected))

    @property
    def count(self) -> int:
        """All files."""
        return self.states.total()

    @property
    def duplicates(self) -> list[list[str]]:
        """Files with the same pixels whose records are not the same, in groups."""
        return list(self._same.values())

    @property
    def foreign(self) -> list[tuple[str, str]]:
        """Files whose record is about the pixels of another file here, and that file."""
        return [
            (file, self._first[expected][0])
            for file, expected in self._foreign
            if expected in self._first
        ]

    def to_json(self) -> JsonObject:
        """Give the counts and the groups."""
        duplicates: list[JsonValue] = [[*group] for group in self.duplicates]
        return {
            "files": self.count,
            "states": {state.value: self.states[state] for state in State if self.states[state]},
            "causes": dict(self.causes.most_common()),
            "duplicates": duplicates,
            "foreign_records": [{"file": file, "record_of": other} for file, other in self.foreign],
        }
