"""What can be expected of a rerun before it runs: files, nodes, machine, and what is not pinned.

Nothing is looked up here: `adapter/preflight.py` finds the facts on a server, and this package
says what they amount to. An expectation is no verdict. It is as good as the facts, and whatever
could not be established makes it `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..environment import Difference
from ..record import JsonObject, Material
from ..verdict import CauseKind
from .facts import MissingNode, PlacedMaterial, State
from .words import (
    counted,
    cut,
    named,
    noun_for,
    tell_difference,
    tell_families,
    tell_materials,
    tell_nodes,
    tell_shortly,
    tell_state,
)

__all__ = ["Expectation", "MissingNode", "PlacedMaterial", "Preflight", "State"]

_HARMLESS: Final = frozenset({"os_release", "libc", "python"})
"""Entries of an environment that reach an image only through what a fingerprint shows."""

_ROUNDING: Final = frozenset(
    {
        CauseKind.DEVICE,
        CauseKind.CPU_ISA,
        CauseKind.THREADS,
        CauseKind.LIBRARY_VERSION,
        CauseKind.ATTENTION,
    }
)
"""Differences that change in which order numbers are rounded, and nothing else."""

_IGNORED_IF_MISSING: Final = frozenset({"embeddings"})
"""Kinds of files without which ComfyUI runs on, with a warning in its log."""


class Expectation(StrEnum):
    """How far a rerun is expected to agree with the image."""

    BITWISE = "bitwise"
    WITHIN_TOLERANCE = "within_tolerance"
    UNKNOWN = "unknown"
    MISMATCH = "mismatch"
    CANNOT_RUN = "cannot_run"


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is known before a rerun.

    Attributes:
        materials: Every file of the graph.
        missing_nodes: Classes that are not installed.
        problem: Why there is no graph to run, if there is none.
        refusal: Why the graph may not run here, in the policy's words.
        edited: What the file shows of edits since it was saved.
        environment: What this machine and the recorded one do not share.
        fingerprint: Families of computations that give other results here; `None` where they
            were not compared.
        unpinned: What the record says was not pinned.
        unknown: What else keeps an expectation from being stated.
        tolerance_known: Whether controls were measured that tell rounding from a change.
    """

    materials: tuple[PlacedMaterial, ...] = ()
    missing_nodes: tuple[MissingNode, ...] = ()
    problem: str | None = None
    refusal: str | None = None
    edited: tuple[str, ...] = ()
    environment: tuple[Difference, ...] = ()
    fingerprint: tuple[str, ...] | None = None
    unpinned: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    tolerance_known: bool = False

    @property
    def pending(self) -> int:
        """How many files wait for a digest; ask again while there are any."""
        return sum(placed.is_pending for placed in self.materials)

    @property
    def expectation(self) -> Expectation:
        """How far a rerun is expected to agree."""
        return self._grounds[0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why no better is expected; empty for `bitwise`."""
        return self._grounds[1]

    @property
    def to_fetch(self) -> list[Material]:
        """The recorded files that are not here, each once."""
        unique: dict[tuple[str, str | None], Material] = {}
        for material in self._in_state(State.MISSING, State.OTHER):
            unique.setdefault((material.name, material.sha256), material)
        return list(unique.values())

    def to_json(self) -> JsonObject:
        """Give everything as plain JSON, with the expectation, the line and the summary."""
        return {
            "expect": self.expectation.value,
            "reasons": [*self.reasons],
            "line": self.line(),
            "summary": self.summary(),
            "pending": self.pending,
            "allowed": self.refusal is None,
            "refusal": self.refusal,
            "problem": self.problem,
            "edited": [*self.edited],
            "nodes_missing": [node.to_json() for node in self.missing_nodes],
            "materials": [placed.to_json() for placed in self.materials],
            "to_fetch": [
                {
                    "kind": material.kind,
                    "name": material.name,
                    "sha256": material.sha256,
                    "size_bytes": material.size_bytes,
                }
                for material in self.to_fetch
            ],
            "environment": [
                {
                    "name": difference.name,
                    "kind": difference.kind.value,
                    "recorded": difference.recorded,
                    "now": difference.now,
                }
                for difference in self.environment
            ],
            "fingerprint": None if self.fingerprint is None else [*self.fingerprint],
            "unpinned": [*self.unpinned],
        }

    def line(self) -> str:
        """Tell the most important thing on one line, as for a card."""
        if self.problem is not None:
            return cut(f"cannot run: {self.problem}")
        blockers = [
            *tell_nodes(self.missing_nodes),
            *tell_materials(self._in_state(State.MISSING), "missing"),
            *([f"not allowed: {self.refusal}"] if self.refusal is not None else []),
            *tell_materials(self._in_state(State.OTHER), "with other content"),
        ]
        if blockers:
            return cut("; ".join(blockers))
        details = [*self._details()]
        return cut(f"ready: {', '.join(details)}" if details else "ready")

    def summary(self) -> str:
        """Tell everything in a few plain lines.

        Names and values come from strangers: they are cut short, and characters that could
        steer a terminal are escaped.
        """
        lines = [f"Expected: {self.expectation.value.replace('_', ' ')}. {self.line()}"]
        lines += [f"- {cut(reason)}" for reason in self.reasons]
        lines += [
            f"File: {named(placed.material)} is {tell_state(placed)}"
            for placed in self.materials
            if placed.state is not State.HERE
        ]
        lines += [f"To fetch: {named(material)}" for material in self.to_fetch]
        return "\n".join(lines)

    @property
    def _grounds(self) -> tuple[Expectation, tuple[str, ...]]:
        """The expectation and why it is no better; the first that has a reason."""
        grounds = (
            (Expectation.CANNOT_RUN, self._obstacles()),
            (Expectation.MISMATCH, self._changes()),
            (Expectation.UNKNOWN, self._doubts()),
            (Expectation.WITHIN_TOLERANCE, self._roundings()),
        )
        for expectation, found in grounds:
            reasons = tuple(found)
            if reasons:
                return expectation, reasons
        return Expectation.BITWISE, ()

    def _obstacles(self) -> Iterator[str]:
        if self.problem is not None:
            yield self.problem
        for node in self.missing_nodes:
            packs = f" (of {' or '.join(node.packs)})" if node.packs else ""
            yield f"the node {node.class_type}{packs} is not installed"
        for material in self._in_state(State.MISSING):
            if material.input and material.kind not in _IGNORED_IF_MISSING:
                yield f"{material.kind} file {material.name!r} is not here"
        if self.refusal is not None:
            yield self.refusal

    def _changes(self) -> Iterator[str]:
        yield from self.edited
        for material in self._in_state(State.OTHER):
            yield f"another {material.kind} file has the name {material.name!r}"
        for material in self._in_state(State.MISSING):
            if material.kind in _IGNORED_IF_MISSING:
                yield f"{material.kind} file {material.name!r} is not here; ComfyUI leaves it out"

    def _doubts(self) -> Iterator[str]:
        yield from self.unknown
        for placed in self.materials:
            material = placed.material
            if placed.state is State.UNKNOWN:
                what = "is still being hashed" if placed.is_pending else "has no known digest"
                yield f"{material.kind} file {material.name!r} {what}"
            elif placed.state is State.MISSING and not material.input:
                yield f"{material.kind} file {material.name!r}, which no input names, is not here"
        if self.fingerprint is None:
            yield "it was not compared what this device computes"
        for difference in self._deciding:
            if not (self.tolerance_known and difference.kind in _ROUNDING):
                yield tell_difference(difference)
        if self.fingerprint and not self.tolerance_known:
            yield tell_families(self.fingerprint)
        for message in self.unpinned:
            yield f"not pinned, so that free memory may decide: {message}"

    def _roundings(self) -> Iterator[str]:
        yield from map(tell_difference, self._deciding)
        if self.fingerprint:
            yield tell_families(self.fingerprint)

    def _details(self) -> Iterator[str]:
        """Yield what a card says beside `ready`."""
        if self.pending:
            yield counted(self.pending, "file", "still to hash")
        moved = self._in_state(State.ELSEWHERE)
        if moved:
            names = "another name" if len(moved) == 1 else "other names"
            yield counted(len(moved), noun_for(moved), f"under {names}")
        if self.edited:
            yield "edited since it was saved"
        yield from dict.fromkeys(map(tell_shortly, self._deciding))
        if self.fingerprint and not self._deciding:
            yield "this device computes otherwise"
        if self.unpinned:
            yield "not pinned"

    @property
    def _deciding(self) -> list[Difference]:
        return [item for item in self.environment if item.name not in _HARMLESS]

    def _in_state(self, *states: State) -> list[Material]:
        return [placed.material for placed in self.materials if placed.state in states]
