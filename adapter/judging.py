"""Judge images by a reference file: its record, or its own pixels if it has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ..src.comfyui_provenance.compare import (
    compare_materials,
    compare_pixels,
    is_explained,
    judge,
)
from ..src.comfyui_provenance.differences import Differences
from ..src.comfyui_provenance.digest import Digest
from ..src.comfyui_provenance.errors import GraphError, ProvenanceError
from ..src.comfyui_provenance.files import RecordedFile
from ..src.comfyui_provenance.graph.rebuild import with_values
from ..src.comfyui_provenance.pixels import Difference, Pixels, digest_pixels, measure_difference
from ..src.comfyui_provenance.record import JsonObject, JsonValue, Material, Record
from ..src.comfyui_provenance.redaction import redacted_inputs
from ..src.comfyui_provenance.tolerance import Standing
from ..src.comfyui_provenance.verdict import Cause, CauseKind, Check, Level, Report
from .digests import Patience, list_materials
from .reruns import Comparison
from .tolerances import judge_rerun

_TEXTS: Final = {"positive": CauseKind.PROMPT_TEXT, "negative": CauseKind.NEGATIVE_TEXT}


Details = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Rerun:
    """How a graph was run again.

    Attributes:
        anew: Number of nodes that were made to run again.
        loaders: Number of nodes that only load or patch models, and may be cached.
        doubt: Why the result need not have been made anew, if it need not.
        notes: Sentences for humans.
        details: Further findings, by name, for the report.
        is_alone: Whether only one image of a batch was made, as if alone.
        is_reconstruction: Whether the graph was only guessed from a text, which promises no bits.
    """

    anew: int
    loaders: int
    doubt: str | None
    notes: tuple[str, ...] = ()
    details: Details = field(default_factory=dict[str, JsonValue])
    is_alone: bool = False
    is_reconstruction: bool = False


def judge_images(
    image: RecordedFile,
    batches: Sequence[Sequence[Pixels]],
    rerun: Rerun | None,
    comparison: Comparison | None = None,
) -> tuple[Report, Pixels]:
    """Judge images by a reference file.

    Args:
        image: The reference.
        batches: What was made, quantised; one batch for each element of a list.
        rerun: How it was made, if by running the reference's graph again.
        comparison: The run that made them and the recorded one, where both are known.

    Returns:
        The report, and which of the images it is about.

    Raises:
        GraphError: There is no image, or none at the recorded place.
    """
    if not any(batches):
        raise GraphError("expected at least one image, got none")
    if image.record is None:
        return _judge_by_pixels(image, batches, rerun)
    return _judge_by_record(image, image.record, batches, rerun, comparison)


def judge_unrunnable(image: RecordedFile, causes: Sequence[Cause], details: Details) -> Report:
    """Judge a file whose graph cannot run here: what it says of itself, and what is missing.

    Args:
        image: The file.
        causes: What keeps its graph from running.
        details: Further findings, by name, for the report.
    """
    message = "; ".join(cause.message for cause in causes)
    checks = [Check("rerun", Level.UNKNOWN, "run anew", "cannot run here", message)]
    told: list[Cause] = [*causes]
    if image.record is not None:
        integrity = image.integrity()
        checks += integrity.checks
        told = [*integrity.causes, *causes]
    return judge(checks, told, None, details=details)


def expected_digest(image: RecordedFile) -> Digest:
    """Give the pixel digest that an image should have: recorded, or its own."""
    if image.record is not None:
        return image.record.subject.digest
    return digest_pixels(image.decoded())


def _judge_by_record(
    image: RecordedFile,
    record: Record,
    batches: Sequence[Sequence[Pixels]],
    rerun: Rerun | None,
    comparison: Comparison | None,
) -> tuple[Report, Pixels]:
    found = _at_place(batches, record.subject.list_index, record.subject.batch_index)
    integrity = image.integrity()
    known = comparison.differences if comparison is not None else Differences()
    elsewhere = [
        *(_place_causes(record, batches, found)),
        *(_redaction_causes(record) if rerun is not None else ()),
        *known.causes,
    ]
    if comparison is None:
        elsewhere += compare_materials(record.materials, _present_materials(record))
    check, difference = compare_pixels(
        "pixels" if rerun is None else "reproduction",
        record.subject.digest,
        found,
        image.pixels,
        explained=is_explained([*integrity.causes, *elsewhere]),
        is_lossy=record.subject.stored is not None,
    )
    check, tolerance = _with_tolerance(check, difference, found.bits, comparison)
    checks, causes, notes = _rerun_findings(rerun)
    causes.extend(integrity.causes)
    if check.level is Level.BITWISE:
        # They changed nothing here: worth knowing, but no cause of anything.
        notes.extend(
            f"without effect on the pixels: {cause.message}"
            for cause in [*elsewhere, *known.without_effect]
        )
    else:
        causes.extend(_not_told(elsewhere, integrity.causes))
        notes.extend(known.steps)
        notes.extend(known.notes)
    notes.extend(image.notes)
    if image.pixels is None:
        notes.append("a sidecar alone: there are no pixels of the file to compare")
    if not record.samplings:
        notes.append("this graph samples nothing: it only processes what it loads")
    report = judge(
        [*checks, check, *integrity.checks],
        causes,
        difference,
        notes,
        exhaustive=comparison is not None,
        divergence=known.divergence if check.level is not Level.BITWISE else None,
        details={**(rerun.details if rerun is not None else {}), **tolerance},
    )
    return report, found


def _with_tolerance(
    check: Check, difference: Difference | None, bits: int, comparison: Comparison | None
) -> tuple[Check, dict[str, JsonValue]]:
    """Hold pixels that differ against what rounding was measured to make.

    Returns:
        The check, within tolerance where that is so, and what there is to tell.
    """
    if check.level is Level.BITWISE or comparison is None or difference is None:
        return check, {}
    tolerance = judge_rerun(comparison, difference, bits)
    if tolerance is None:
        return check, {}
    if tolerance.standing is Standing.WITHIN:
        message = f"{check.message}; {tolerance.message}"
        check = replace(check, level=Level.WITHIN_TOLERANCE, message=message)
    return check, {"tolerance": tolerance.to_json()}


def _not_told(causes: Iterable[Cause], told: Sequence[Cause]) -> Iterator[Cause]:
    """Leave out what was told of the file itself: its graph ran, and so it differs likewise."""
    kinds = {(cause.kind, cause.node_id) for cause in told}
    return (cause for cause in causes if (cause.kind, cause.node_id) not in kinds)


def _place_causes(
    record: Record, batches: Sequence[Sequence[Pixels]], found: Pixels
) -> Iterator[Cause]:
    """Say so where another image of the batch is the recorded one."""
    expected = record.subject.digest
    if digest_pixels(found) == expected:
        return
    for batch in batches:
        for place, frame in enumerate(batch):
            if len(batch) > 1 and digest_pixels(frame) == expected:
                message = f"the recorded image is number {place + 1} of this batch"
                yield Cause(CauseKind.BATCH, message, record.subject.batch_index, place)
                return


def _redaction_causes(record: Record) -> Iterator[Cause]:
    """Name what is not in the graph since it was taken for a secret."""
    try:
        places = redacted_inputs(record.prompt())
    except ProvenanceError:
        return
    texts = {
        (text.get("node_id"), text.get("input")): kind
        for entry in record.samplings
        for side, kind in _TEXTS.items()
        for text in _objects(entry.get(side))
    }
    for node_id, name in places:
        yield Cause(
            texts.get((node_id, name), CauseKind.GRAPH_EDITED),
            f"input {name!r} of node {node_id} was redacted when the image was saved, so its graph "
            "ran without it; put it back into the workflow to make the image again",
            "redacted",
            None,
            node_id,
        )


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _present_materials(record: Record) -> list[Material]:
    """List the graph's files as they are here; none for a graph that is damaged."""
    try:
        return list_materials(with_values(record.prompt(), record.computed), Patience())
    except ProvenanceError:
        return []


def _excused(check: Check, image: RecordedFile, *, is_reconstruction: bool) -> Check:
    """Call a difference unknown where nothing promised that there would be none."""
    if check.level is not Level.MISMATCH:
        return check
    if is_reconstruction:
        reason = "the graph was built from an A1111 text, which tells too little for equal bits"
    elif not image.is_lossless:
        reason = "the file's format changed its pixels when it was saved"
    else:
        return check
    return replace(check, level=Level.UNKNOWN, message=f"{check.message}; {reason}")


def _judge_by_pixels(
    image: RecordedFile, batches: Sequence[Sequence[Pixels]], rerun: Rerun | None
) -> tuple[Report, Pixels]:
    """Judge by the file's own pixels; it does not say which image of a batch it is."""
    reference = image.decoded()
    found = _nearest([frame for batch in batches for frame in batch], reference)
    check, difference = compare_pixels(
        "pixels" if rerun is None else "reproduction",
        digest_pixels(reference),
        found,
        reference,
        explained=False,
    )
    is_reconstruction = rerun is not None and rerun.is_reconstruction
    checks, causes, notes = _rerun_findings(rerun)
    checks.append(_excused(check, image, is_reconstruction=is_reconstruction))
    if is_reconstruction:
        notes.insert(0, "a reconstruction from the file's A1111 text: no bits are promised")
    elif image.problem is None:
        notes.append("the file carries no record of this pack: its own pixels are the reference")
    elif image.is_damaged:
        message = f"the record cannot be read: {image.problem}"
        checks.append(Check("record", Level.MISMATCH, "a record", None, message))
        causes.append(Cause(CauseKind.RECORD_EDITED, message, None, None))
    else:
        checks.append(Check("record", Level.UNKNOWN, "a record", None, str(image.problem)))
    details = rerun.details if rerun is not None else {}
    return judge(checks, causes, difference, notes, details=details), found


def _rerun_findings(rerun: Rerun | None) -> tuple[list[Check], list[Cause], list[str]]:
    """Say whether the graph was really run again."""
    if rerun is None:
        return [], [], []
    notes = [*rerun.notes]
    if rerun.doubt is not None:
        check = Check("rerun", Level.UNKNOWN, "run anew", "not shown", rerun.doubt)
        return [check], [Cause(CauseKind.CACHED_RESULT, rerun.doubt, None, None)], notes
    message = (
        f"{rerun.anew} nodes ran under a fresh nonce, which no cached result matches; nodes that "
        f"only load models, which may be cached: {rerun.loaders}"
    )
    if rerun.is_alone:
        message += "; only this image of its batch was made, alone"
    return [Check("rerun", Level.BITWISE, "run anew", "run anew", message)], [], notes


def _at_place(batches: Sequence[Sequence[Pixels]], list_index: int, batch_index: int) -> Pixels:
    """Give the image at a place of a list of batches; a lone image is meant wherever it was."""
    batch = batches[min(list_index, len(batches) - 1)]
    if len(batch) == 1:
        return batch[0]
    if batch_index >= len(batch):
        raise GraphError(
            f"expected at least {batch_index + 1} images in the batch, got {len(batch)}"
        )
    return batch[batch_index]


def _nearest(frames: Sequence[Pixels], reference: Pixels) -> Pixels:
    """Give the image that differs least from a reference."""
    comparable = [frame for frame in frames if frame.layout == reference.layout]
    comparable = [
        frame
        for frame in comparable
        if (frame.height, frame.width) == (reference.height, reference.width)
    ]
    if not comparable:
        return frames[0]
    return min(comparable, key=lambda frame: measure_difference(frame, reference).mean_abs)
