"""Answers of an audit kept on the disk, to be told again once all are known."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from .judging import Audited, State


class Spool:
    """Answers in the order in which they were added, in a temporary file without a name."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `__exit__`

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, found: Audited) -> None:
        """Keep one more."""
        picture = None
        if found.thumbnail is not None:
            picture = base64.b64encode(found.thumbnail).decode("ascii")
        entry = {**found.to_json(), "expected": found.expected, "thumbnail": picture}
        self._file.write(json.dumps(entry).encode("ascii") + b"\n")

    def __iter__(self) -> Iterator[Audited]:
        """Give them all, from the first on."""
        self._file.seek(0)
        for line in self._file:
            entry: dict[str, Any] = json.loads(line)
            picture = entry["thumbnail"]
            entry["state"] = State(entry["state"])
            entry["thumbnail"] = base64.b64decode(picture) if picture is not None else None
            yield Audited(**entry)
