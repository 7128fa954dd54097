"""Whether a rerun is as close as rounding was measured to leave it, by the controls known here."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import folder_paths

from ..src.comfyui_provenance.control_files import dump_controls, parse_controls
from ..src.comfyui_provenance.controls import ControlSet, ControlSets
from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.pixels import Difference
from ..src.comfyui_provenance.record import Record
from ..src.comfyui_provenance.tolerance import (
    Tolerance,
    built_in_controls,
    judge_tolerance,
    key_of,
    measure,
)
from ..src.comfyui_provenance.trace import Step, parse_trace
from ..src.comfyui_provenance.verdict import CauseKind
from .reruns import Comparison

_log = logging.getLogger(__name__)

_FOLDER: Final = "provenance"
_NAME: Final = "controls.json"


def judge_rerun(comparison: Comparison, difference: Difference, bits: int) -> Tolerance | None:
    """Tell whether the difference of two runs is consistent with rounding.

    Args:
        comparison: Both runs.
        difference: Of the two images.
        bits: Of their samples.

    Returns:
        `None` where the steps of one of them were not followed.
    """
    recorded, now = comparison.recorded, comparison.now
    traces = _traces(recorded), _traces(now)
    if not all(traces) or not recorded.samplings or not now.samplings:
        return None
    keys = [
        key_of(record.samplings[-1], record.parameters.get("model_version"), record.environment)
        for record in (recorded, now)
    ]
    place = recorded.subject.batch_index
    images = [len(trace[0][0].sketches) for trace in traces]
    measurement = measure(
        *traces,
        difference,
        places=(place, place if images[1] > place else 0),
        bits=bits,
    )
    # Another model, type, device or sampler is no rounding.
    found = _known_controls().find(keys[0]) if keys[0] is not None and keys[0] == keys[1] else None
    return judge_tolerance(
        measurement, found, [cause.kind for cause in comparison.differences.causes]
    )


def has_controls(record: Record, axes: Iterable[CauseKind]) -> bool:
    """Tell whether controls are known that would hold for a rerun of an image.

    Args:
        record: Of the image.
        axes: The kinds of difference between the machine then and this one.
    """
    if not record.samplings:
        return False
    version = record.parameters.get("model_version")
    found = _known_controls().find(key_of(record.samplings[-1], version, record.environment))
    return found is not None and found.axes.issuperset(axes)


def _traces(record: Record) -> list[tuple[Step, ...]]:
    try:
        return [parse_trace(entry) for _, _, entry in record.traces]
    except ProvenanceError:
        return []


def controls_path() -> Path:
    """Give the file in which this server keeps the controls that it measured."""
    return Path(folder_paths.get_system_user_directory(_FOLDER)) / _NAME


def keep_controls(control_set: ControlSet) -> None:
    """Keep controls that were measured here, in the place of older ones of the same key.

    Raises:
        OSError: They cannot be written.
    """
    path = controls_path()
    try:
        sets = parse_controls(path.read_bytes())
    except (FileNotFoundError, ProvenanceError):
        sets = ControlSets()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(dump_controls(sets.with_set(control_set)), encoding="ascii")
    draft.replace(path)


def _known_controls() -> ControlSets:
    """Give the controls that come with the pack and those that were measured here."""
    try:
        measured = parse_controls(controls_path().read_bytes())
    except FileNotFoundError:
        return built_in_controls()
    except (OSError, ProvenanceError):
        _log.warning("the controls that were measured here cannot be read", exc_info=True)
        return built_in_controls()
    sets = built_in_controls()
    for item in measured.sets:
        sets = sets.with_set(item)
    return sets
