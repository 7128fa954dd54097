"""Where an image was made: versions, device and settings that can change its bits.

An environment is a plain JSON object, gathered by `adapter/probes.py` and carried in
the record. It never holds a path, a host name or a user name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from .canonical import JsonValue
from .verdict import CauseKind

_KINDS: Final[tuple[tuple[str, CauseKind], ...]] = (
    ("comfyui", CauseKind.COMFYUI_VERSION),
    ("device.", CauseKind.DEVICE),
    ("cpu.capability", CauseKind.CPU_ISA),
    ("cpu.threads", CauseKind.THREADS),
    ("cpu.", CauseKind.DEVICE),
    ("attention", CauseKind.ATTENTION),
    ("precision.", CauseKind.PRECISION),
    ("node_packs.", CauseKind.NODE_PACK),
    ("", CauseKind.LIBRARY_VERSION),
)
"""Which kind of cause a difference is, by the start of its dotted name; first match."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One entry that two environments do not share.

    Attributes:
        name: Dotted name, as `packages.torch`.
        kind: What kind of cause it can be.
        recorded: The recorded value, `None` where there was none.
        now: The present value, `None` where there is none.
    """

    name: str
    kind: CauseKind
    recorded: JsonValue
    now: JsonValue


def compare_environments(
    recorded: Mapping[str, JsonValue], now: Mapping[str, JsonValue]
) -> list[Difference]:
    """List the entries that differ, the recorded ones first and in their order."""
    before = dict(_flatten(recorded))
    after = dict(_flatten(now))
    return [
        Difference(name, _kind(name), before.get(name), after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def _flatten(value: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    for name, entry in value.items():
        if isinstance(entry, dict):
            yield from _flatten(entry, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", entry


def _kind(name: str) -> CauseKind:
    return next(kind for start, kind in _KINDS if name.startswith(start))
