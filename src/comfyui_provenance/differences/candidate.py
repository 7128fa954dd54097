"""A difference of two runs that may be a cause, and how directly it tells one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..graph.prompt import NodeId
from ..verdict import Cause
from .points import Phase

CHOSEN: Final = 0
"""A widget, the wiring or a file."""

DID: Final = 1
"""Something that a run did otherwise inside."""

WHERE: Final = 2
"""Machine or software."""

FOLLOWS: Final = 3
"""Something that follows from another difference, if there is one that it can follow from."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A difference that may be a cause.

    Attributes:
        cause: What it would be told as.
        phase: The first thing of a run that it can change; `None` for anything.
        node_id: The node of now from which it acts; `None` where it acts everywhere.
        is_refuted: Whether the records show that it changed nothing.
        tier: How directly it tells a cause: `CHOSEN`, `DID`, `WHERE` or `FOLLOWS`.
    """

    cause: Cause
    phase: Phase | None
    node_id: NodeId | None
    is_refuted: bool = False
    tier: int = CHOSEN
