"""Comparisons: a record with pixels, with files and with this machine; and the report.

Each function answers one question and gives checks (which decide the level) or causes
(which explain it). `judge` puts them into a report, the most likely cause first. A
difference is a value here, never an exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from .canonical import JsonValue
from .digest import Digest
from .environment import compare_environments, compare_fingerprints
from .integrity import MATERIAL_KINDS
from .pixels import Difference, Pixels, digest_pixels, measure_difference
from .record import JsonObject, Material
from .verdict import Cause, CauseKind, Check, Divergence, Level, Report

ROUNDING_LEVELS: Final = 1
"""The largest difference of an 8-bit sample that one rounding can make.

ComfyUI truncates when it saves, so the smallest change of a float can move a sample by
one level and no rounding moves it by two. Controls measured per model class and dtype
will replace this number; until then such a difference is `unknown`, never a match.
"""

_UNNAMED: Final = frozenset(
    {
        CauseKind.COMFYUI_VERSION,
        CauseKind.LIBRARY_VERSION,
        CauseKind.DEVICE,
        CauseKind.CPU_ISA,
        CauseKind.THREADS,
        CauseKind.PRECISION,
        CauseKind.ATTENTION,
        CauseKind.MEMORY,
        CauseKind.NODE_PACK,
        CauseKind.NUMERICS,
    }
)
"""Causes that can be rounding and nothing else."""


def compare_pixels(
    name: str,
    expected: Digest,
    found: Pixels,
    reference: Pixels | None,
    *,
    explained: bool,
    is_lossy: bool = False,
) -> tuple[Check, Difference | None]:
    """Compare pixels with a digest, and measure how far they are from a reference.

    Args:
        name: Of the check.
        expected: The digest that the pixels should have.
        found: The pixels in question.
        reference: Pixels to measure against; `None` if there are none.
        explained: Whether a change other than rounding is already known.
        is_lossy: Whether the reference is what a lossy format left of the pixels.
    """
    digest = digest_pixels(found)
    is_exact = reference is not None and digest_pixels(reference) == expected
    difference = None
    if reference is not None and str(reference) == str(found):
        difference = measure_difference(reference, found)
    if digest == expected:
        # How far a lossy file is from its own original is no finding about these pixels.
        difference = None if is_lossy else difference
        check = Check(
            name, Level.BITWISE, str(expected), str(digest), "the same pixels, bit for bit"
        )
        return check, difference
    level, message = Level.MISMATCH, "not the same pixels"
    if reference is not None and difference is None:
        message = "another size or number of channels"
    elif difference is not None:
        message = (
            f"{difference.differing_fraction:.2%} of the pixels differ, by up to "
            f"{difference.max_abs} of {difference.peak} levels"
        )
        message += "" if is_exact else "; measured against the file's own pixels, which are others"
        if is_exact and difference.max_abs <= ROUNDING_LEVELS and not explained:
            level = Level.UNKNOWN
            message += "; this can be rounding, for which no controls were measured here"
    return Check(name, level, str(expected), str(digest), message), difference


def compare_materials(recorded: Sequence[Material], present: Sequence[Material]) -> list[Cause]:
    """List the files that are not here as recorded.

    Args:
        recorded: From the record.
        present: The same graph's materials on this machine.
    """
    now: dict[tuple[str, ...], Material | None] = {}
    for material in present:
        place = material.node_id, material.input
        # One input may name several files: each is told by its name, too.
        now[place] = None if place in now else material
        now[*place, material.kind, material.name] = material
    causes: list[Cause] = []
    for material in recorded:
        place = material.node_id, material.input
        found = now.get((*place, material.kind, material.name)) or now.get(place)
        if found is None or material.sha256 is None or material.sha256 == found.sha256:
            continue
        state = found.sha256 or found.status
        causes.append(
            Cause(
                MATERIAL_KINDS.get(material.kind, CauseKind.MODEL_FILE),
                f"{material.kind} file {material.name!r} is not the one that was used; put the "
                "file with the recorded sha256 in its place",
                material.sha256,
                state,
                material.node_id,
            )
        )
    return causes


def compare_machines(recorded: JsonObject, now: JsonObject) -> list[Cause]:
    """List the differences between two environments, as possible causes."""
    return [
        Cause(
            difference.kind,
            f"{difference.name} is not what it was",
            difference.recorded,
            difference.now,
            None,
        )
        for difference in compare_environments(recorded, now)
    ]


def compare_numerics(recorded: JsonObject, now: JsonObject) -> list[Cause]:
    """List the devices that compute other bits than they did, as possible causes.

    Args:
        recorded: By type of device, its fingerprint; `{}` for a record without any.
        now: The same, on this machine.
    """
    families: dict[str, list[str]] = {}
    for name in compare_fingerprints(recorded, now):
        device, _, family = name.partition(".")
        families.setdefault(device, []).append(family)
    return [
        Cause(
            CauseKind.CPU_ISA if device == "cpu" else CauseKind.DEVICE,
            f"the {device} computes other bits than recorded in: {', '.join(differing)}",
            {family: _member(recorded, device, family) for family in differing},
            {family: _member(now, device, family) for family in differing},
            None,
        )
        # The CPU last: beside a GPU it makes only the noise and the schedule.
        for device, differing in sorted(families.items(), key=lambda item: item[0] == "cpu")
    ]


def _member(fingerprint: JsonObject, device: str, family: str) -> JsonValue:
    digests = fingerprint.get(device)
    return digests.get(family) if isinstance(digests, dict) else None


def judge(
    checks: Iterable[Check],
    causes: Iterable[Cause],
    difference: Difference | None,
    notes: Iterable[str] = (),
    *,
    exhaustive: bool = False,
    divergence: Divergence | None = None,
    details: Mapping[str, JsonValue] | None = None,
) -> Report:
    """Put findings into a report.

    Args:
        checks: What decides the level.
        causes: What explains it, most likely first.
        difference: How far the pixels differ, where they were compared.
        notes: Sentences for humans.
        exhaustive: Whether everything that a record holds was compared. Only then does a
            verdict that nothing explains get the honest last word, `numerics`.
        divergence: Where two runs part, if that was found.
        details: Further findings, by name.
    """
    found = tuple(checks)
    level = min((check.level for check in found), default=Level.UNKNOWN)
    explained = list(causes) if level is not Level.BITWISE else []
    if exhaustive and level < Level.BITWISE and found and not explained:
        explained = [
            Cause(
                CauseKind.NUMERICS,
                "everything that was recorded is equal, and the bits still differ"
                + (f": {divergence.message}" if divergence is not None else ""),
                None,
                None,
                None,
            )
        ]
    return Report(
        checks=found,
        causes=tuple(explained),
        pixels=difference.to_json() if difference is not None else None,
        notes=tuple(notes),
        divergence=divergence.to_json() if divergence is not None else None,
        details=details or {},
    )


def is_explained(causes: Iterable[Cause]) -> bool:
    """Tell whether a cause is known that is more than rounding."""
    return any(cause.kind not in _UNNAMED for cause in causes)
