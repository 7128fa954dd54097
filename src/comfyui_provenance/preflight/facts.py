"""Facts about a rerun that has not run: where its files are, and which nodes are not installed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..record import JsonObject, Material


class State(StrEnum):
    """Where a recorded file is now."""

    HERE = "here"
    """Under its name, with the recorded digest."""

    ELSEWHERE = "elsewhere"
    """Under another name, with the recorded digest."""

    OTHER = "other"
    """Another file has its name."""

    MISSING = "missing"
    """Neither its name nor its digest is here."""

    UNKNOWN = "unknown"
    """Not hashed yet, or the record does not tell its digest."""


@dataclass(frozen=True, slots=True)
class PlacedMaterial:
    """A recorded file, and where it is now.

    Attributes:
        material: As recorded; of a file without a record, as its prompt names it.
        state: Where it is.
        name_here: Its name now, where that is another one.
        note: A sentence for humans, where there is more to say.
        is_pending: Whether files are being hashed on which the state depends.
    """

    material: Material
    state: State
    name_here: str | None = None
    note: str = ""
    is_pending: bool = False

    def to_json(self) -> JsonObject:
        """Give the entry of a preflight's `materials`."""
        material = self.material
        return {
            "state": self.state.value,
            "kind": material.kind,
            "name": material.name,
            "node_id": material.node_id,
            "input": material.input,
            "sha256": material.sha256,
            "size_bytes": material.size_bytes,
            "name_here": self.name_here,
            "note": self.note,
            "pending": self.is_pending,
        }


@dataclass(frozen=True, slots=True)
class MissingNode:
    """A class of the graph that is not installed.

    Attributes:
        class_type: The class.
        node_ids: The nodes of that class.
        packs: Node packs of the record that are not here; one of them has it.
    """

    class_type: str
    node_ids: tuple[str, ...]
    packs: tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        """Give the attributes under their names."""
        return {
            "class_type": self.class_type,
            "node_ids": [*self.node_ids],
            "packs": [*self.packs],
        }
