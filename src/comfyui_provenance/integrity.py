"""A record compared with itself and with the file that carries it.

The record's digests, its tuple, its samplings, its graph, the file's prompt and the
file's pixels all say what made the image. Wherever two of them disagree something was
edited, and what they disagree about is the cause. Making all of them agree again takes a
forger who rewrites the whole record: an unsigned one proves no origin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from .canonical import JsonValue
from .digest import Digest, digest_text
from .edits import MATERIAL_KINDS, names_file, parameter_causes, samplings_of, unique_causes
from .errors import GraphError, ProvenanceError
from .graph.prompt import Link, Prompt, dump_prompt, parse_prompt
from .graph.samplings import Sampling
from .graph.trace import digest_graph, upstream
from .pixels import Pixels, digest_pixels
from .record import Record, Subject
from .verdict import Cause, CauseKind, Check, Level

__all__ = ["MATERIAL_KINDS", "Integrity", "compare_integrity", "names_file"]

_OWN_GRAPH: Final = "the record's graph"
_FILE_GRAPH: Final = "the file's prompt"


@dataclass(frozen=True, slots=True)
class Integrity:
    """What a file says about itself.

    Attributes:
        checks: Of the record's own digests, its graph, its tuple and the file's pixels.
        causes: What was edited since the image was saved, parameters first.
    """

    checks: tuple[Check, ...]
    causes: tuple[Cause, ...]


def compare_integrity(
    record: Record,
    pixels: Pixels | None,
    prompt: str | None,
    workflow: str | None = None,
    *,
    digest: Digest | None = None,
) -> Integrity:
    """Compare a record with itself and with the file that carries it.

    Args:
        record: As read from the file.
        pixels: The file's decoded pixels; `None` for a record without its image.
        prompt: The file's `prompt` text, as ComfyUI writes it, if it has one.
        workflow: The file's `workflow` text, which ComfyUI's page shows, if it has one.
        digest: Of the pixels, where it is known.
    """
    graphs = dict(_graphs(record, prompt))
    is_copy = _is_copy(record, graphs)
    samplings = {
        name: samplings_of(record, graph)
        for name, graph in graphs.items()
        if name == _OWN_GRAPH or not is_copy
    }
    edits = unique_causes(
        cause
        for name, found in samplings.items()
        for cause in parameter_causes(record, graphs[name], found)
    )
    own = [_check_record(record)]
    in_tuple = _check_tuple(record, samplings.get(_OWN_GRAPH), edits)
    in_graph = _check_graph(record, graphs, prompt, is_copy=is_copy)
    checks = [*own, *([in_graph] if in_graph is not None else []), in_tuple]
    causes = list(edits)
    if in_graph is not None and in_graph.level is Level.MISMATCH:
        message = "the graph in this file is not the one that made the image"
        causes.append(_edited(CauseKind.GRAPH_EDITED, message, in_graph))
    if workflow is not None:
        shown = _check_workflow(record, workflow)
        checks.append(shown)
        if shown.level is Level.MISMATCH:
            causes.append(_edited(CauseKind.GRAPH_EDITED, shown.message, shown))
    own += [] if edits else [in_tuple]
    if pixels is not None:
        image = _check_image(record.subject, pixels, digest or digest_pixels(pixels))
        # The record's own word about its image's size; a re-sized file is an edited image.
        own += [image] if image.name == "subject" else []
        checks.append(image)
    edited = [check for check in own if check.level is Level.MISMATCH]
    if edited:
        message = "the record was changed after it was written"
        causes.append(_edited(CauseKind.RECORD_EDITED, message, edited[0]))
    if checks[-1].name == "image" and checks[-1].level is Level.MISMATCH:
        message = "the file's pixels are not the ones that were saved"
        causes.append(_edited(CauseKind.IMAGE_EDITED, message, checks[-1]))
    return Integrity(tuple(checks), tuple(causes))


def _edited(kind: CauseKind, message: str, check: Check) -> Cause:
    return Cause(kind, message, check.expected, check.found, None)


def _graphs(record: Record, prompt: str | None) -> Iterator[tuple[str, Prompt]]:
    """Yield the graphs that a file carries, each pruned to the image.

    The prompt as it was queued does not hold a node that came up while it ran.
    """
    with suppress(ProvenanceError):
        yield _OWN_GRAPH, record.prompt()
    if prompt is not None and not record.is_expanded:
        with suppress(ProvenanceError):
            yield _FILE_GRAPH, parse_prompt(prompt, needed=[record.output.node_id])


def _is_copy(record: Record, graphs: Mapping[str, Prompt]) -> bool:
    """Tell whether the file's prompt is the record's graph to the letter, and says nothing new."""
    own, other = graphs.get(_OWN_GRAPH), graphs.get(_FILE_GRAPH)
    if own is None or other is None or dump_prompt(other) != record.graph:
        return False
    try:
        upstream(own, record.output.node_id)
    except GraphError:  # a cycle is the same as nothing
        return False
    return True


def _check_digest(name: str, expected: str, found: str, same: str, other: str) -> Check:
    """Compare two digests, with a message for either outcome."""
    if expected == found:
        return Check(name, Level.BITWISE, expected, found, same)
    return Check(name, Level.MISMATCH, expected, found, other)


def _check_record(record: Record) -> Check:
    """Compare the record with its own digest."""
    return _check_digest(
        "record",
        record.digest,
        str(record.actual_digest()),
        "the record is as it was written",
        "the record is not as it was written",
    )


def _check_image(subject: Subject, pixels: Pixels, found: Digest) -> Check:
    """Compare a file's pixels, of this digest, with the record's digest and size."""
    expected = subject.in_file
    size = [subject.width, subject.height, subject.channels]
    found_size = [pixels.width, pixels.height, pixels.channels]
    if found == expected and size != found_size:
        message = "the image does not have the recorded size"
        return Check("subject", Level.MISMATCH, [*size], [*found_size], message)
    return _check_digest(
        "image",
        str(expected),
        str(found),
        "the file's pixels are the ones that were saved",
        "the file's pixels are not the ones that were saved",
    )


def _check_graph(
    record: Record, graphs: Mapping[str, Prompt], prompt: str | None, *, is_copy: bool
) -> Check | None:
    """Compare the record's graph with its digest and with the file's prompt.

    Returns:
        `None` where the file could hold no graph, and there is nothing to compare.
    """
    own, other = graphs.get(_OWN_GRAPH), graphs.get(_FILE_GRAPH)
    if record.lacks_graph:
        if prompt is None or record.is_redacted:
            return None
        found = digest_text(dump_prompt(other) if other is not None else prompt).hex
        return _check_digest(
            "graph",
            record.graph_sha256,
            found,
            "the file's prompt is the graph that was left out of the record",
            "the file's prompt is not the graph that was left out of the record",
        )
    found = digest_text(record.graph).hex
    if record.is_expanded or is_copy:
        prompt = None
    if found != record.graph_sha256 or own is None:
        message = "the record's graph is not as it was written"
    elif prompt is not None and (other is None or not _same_graph(own, other, record.output)):
        message = "the file's prompt is not the record's graph"
        found = digest_text(prompt).hex
    else:
        message = "the graph is as it was written"
        return Check("graph", Level.BITWISE, record.graph_sha256, found, message)
    return Check("graph", Level.MISMATCH, record.graph_sha256, found, message)


def _check_workflow(record: Record, workflow: str) -> Check:
    """Compare what the page shows with what was saved; it is never what runs."""
    found = digest_text(workflow).hex
    same = found == record.workflow_sha256
    return Check(
        "workflow",
        Level.BITWISE if same else Level.MISMATCH,
        record.workflow_sha256,
        found,
        "the workflow that the page shows is "
        + ("the one that was saved" if same else "not the one that was saved with the image"),
    )


def _same_graph(first: Prompt, second: Prompt, output: Link) -> bool:
    try:
        return digest_graph(first, output) == digest_graph(second, output)
    except GraphError:
        return False


def _check_tuple(
    record: Record, samplings: Sequence[Sampling] | None, edits: Sequence[Cause]
) -> Check:
    """Compare the tuple with its digest and with the graph's samplings, if there is a graph."""
    found = str(record.actual_recipe())
    if found != record.recipe:
        message, level = "the tuple is not as it was written", Level.MISMATCH
    elif samplings is not None and not _has_samplings(record, samplings):
        # A graph that only loads the image back would reproduce it under any tuple.
        message, level = (
            "the record tells of a sampling that is not in its graph",
            Level.MISMATCH,
        )
    elif edits:
        message, level = "the tuple and the graph disagree", Level.MISMATCH
    else:
        message, level = "the tuple is as it was written", Level.BITWISE
        message += " and agrees with the graph" if samplings is not None else ""
    return Check("tuple", level, record.recipe, found, message)


def _has_samplings(record: Record, samplings: Sequence[Sampling]) -> bool:
    """Tell whether every sampling that a record tells of is one that its graph makes."""
    classes: dict[JsonValue, JsonValue] = {found.node_id: found.class_type for found in samplings}
    entries = [(entry.get("node_id"), entry.get("class_type")) for entry in record.samplings]
    # Texts, since a stranger may put a list there, which no dictionary takes as a key.
    known = all(
        isinstance(node_id, str) and node_id in classes and classes[node_id] == class_type
        for node_id, class_type in entries
    )
    return known and (bool(samplings) or not record.parameters)
