"""A record compared with itself and with the file that carries it.

The record's digests, its tuple, its samplings, its graph, the file's prompt and the
file's pixels all say what made the image. Wherever two of them disagree something was
edited, and what they disagree about is the cause. Making all of them agree again takes a
forger who rewrites the whole record: an unsigned one proves no origin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from .canonical import JsonValue
from .digest import digest_text
from .errors import GraphError, ProvenanceError
from .graph.prompt import Link, NodeId, Prompt, dump_prompt, parse_prompt
from .graph.rebuild import with_values
from .graph.samplings import Sampling, read_samplings, resolve
from .graph.trace import digest_graph
from .pixels import Pixels, digest_pixels
from .recipe import to_sampling_entry, to_tuple
from .record import UNRESOLVED, JsonObject, Material, Record, Subject
from .verdict import Cause, CauseKind, Check, Level

_FIELD_KINDS: Final[Mapping[str, CauseKind]] = {
    "seed": CauseKind.SEED,
    "sampler": CauseKind.SAMPLER,
    "scheduler": CauseKind.SCHEDULER,
    "steps": CauseKind.STEPS,
    "cfg": CauseKind.CFG,
    "denoise": CauseKind.DENOISE,
    "width": CauseKind.SIZE,
    "height": CauseKind.SIZE,
}

_TEXT_KINDS: Final[Mapping[str, CauseKind]] = {
    "positive": CauseKind.PROMPT_TEXT,
    "negative": CauseKind.NEGATIVE_TEXT,
}

_DERIVED_KINDS: Final[Mapping[str, CauseKind]] = {
    "model_version": CauseKind.MODEL_FILE,
    "prompt_sha256": CauseKind.PROMPT_TEXT,
    "negative_prompt_sha256": CauseKind.NEGATIVE_TEXT,
}
"""Fields of the tuple that follow from the graph and the record's materials alone."""

MATERIAL_KINDS: Final[Mapping[str, CauseKind]] = {
    "loras": CauseKind.ADAPTER_FILE,
    "hypernetworks": CauseKind.ADAPTER_FILE,
    "embeddings": CauseKind.ADAPTER_FILE,
    "controlnet": CauseKind.CONTROLNET,
    "input": CauseKind.INPUT_IMAGE,
}

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
    record: Record, pixels: Pixels | None, prompt: str | None, workflow: str | None = None
) -> Integrity:
    """Compare a record with itself and with the file that carries it.

    Args:
        record: As read from the file.
        pixels: The file's decoded pixels; `None` for a record without its image.
        prompt: The file's `prompt` text, as ComfyUI writes it, if it has one.
        workflow: The file's `workflow` text, which ComfyUI's page shows, if it has one.
    """
    graphs = [*_graphs(record, prompt)]
    edits = _unique(cause for _, graph in graphs for cause in _parameter_causes(record, graph))
    own = [_check_record(record)]
    in_tuple = _check_tuple(record, dict(graphs).get(_OWN_GRAPH), edits)
    in_graph = _check_graph(record, graphs, prompt)
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
        image = _check_image(record.subject, pixels)
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


def _check_image(subject: Subject, pixels: Pixels) -> Check:
    """Compare a file's pixels with the record's digest and size."""
    found = digest_pixels(pixels)
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
    record: Record, graphs: Sequence[tuple[str, Prompt]], prompt: str | None
) -> Check | None:
    """Compare the record's graph with its digest and with the file's prompt.

    Returns:
        `None` where the file could hold no graph, and there is nothing to compare.
    """
    by_name = dict(graphs)
    own, other = by_name.get(_OWN_GRAPH), by_name.get(_FILE_GRAPH)
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
    if record.is_expanded:
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


def _check_tuple(record: Record, graph: Prompt | None, edits: Sequence[Cause]) -> Check:
    """Compare the tuple with its digest and with the graph."""
    found = str(record.actual_recipe())
    if found != record.recipe:
        message, level = "the tuple is not as it was written", Level.MISMATCH
    elif graph is not None and not _has_samplings(record, graph):
        # A graph that only loads the image back would reproduce it under any tuple.
        message, level = (
            "the record tells of a sampling that is not in its graph",
            Level.MISMATCH,
        )
    elif edits:
        message, level = "the tuple and the graph disagree", Level.MISMATCH
    else:
        message, level = "the tuple is as it was written", Level.BITWISE
        message += " and agrees with the graph" if graph is not None else ""
    return Check("tuple", level, record.recipe, found, message)


def _has_samplings(record: Record, prompt: Prompt) -> bool:
    """Tell whether every sampling that a record tells of is one that its graph makes."""
    samplings = _samplings(record, prompt)
    classes: dict[JsonValue, JsonValue] = {found.node_id: found.class_type for found in samplings}
    entries = [(entry.get("node_id"), entry.get("class_type")) for entry in record.samplings]
    # Texts, since a stranger may put a list there, which no dictionary takes as a key.
    known = all(
        isinstance(node_id, str) and node_id in classes and classes[node_id] == class_type
        for node_id, class_type in entries
    )
    return known and (bool(samplings) or not record.parameters)


def _samplings(record: Record, prompt: Prompt) -> list[Sampling]:
    """Read the samplings of a graph, with the values that its nodes computed."""
    try:
        return read_samplings(prompt, record.output.node_id, record.computed)
    except GraphError:
        return []


def _parameter_causes(record: Record, prompt: Prompt) -> list[Cause]:
    """List where a graph's widgets disagree with what the record says ran."""
    samplings = _samplings(record, prompt)
    prompt = with_values(prompt, record.computed)
    causes: list[Cause] = []
    for sampling in samplings:
        # All entries of a node: readers differ in which of two they take.
        for entry in record.samplings:
            if entry.get("node_id") == sampling.node_id:
                causes.extend(_sampling_causes(entry, sampling))
    causes.extend(_name_causes(record.materials, prompt))
    if samplings:
        causes.extend(_tuple_causes(record, prompt, samplings[-1]))
    return _unique(causes)


def _sampling_causes(recorded: JsonObject, sampling: Sampling) -> Iterator[Cause]:
    entry = to_sampling_entry(sampling)
    for field, kind in _FIELD_KINDS.items():
        if _disagree(recorded.get(field), entry[field]):
            yield _graph_cause(kind, field, recorded.get(field), entry[field], sampling.node_id)
    for field, kind in _TEXT_KINDS.items():
        if _text_digests(recorded, field) != _text_digests(entry, field):
            before, after = _texts(recorded, field), _texts(entry, field)
            yield _graph_cause(kind, f"{field} text", before, after, sampling.node_id)


def _text_digests(entry: Mapping[str, JsonValue], field: str) -> list[JsonValue]:
    """Give the digest of each of a sampling's texts, as written and as computed.

    Where the text itself was taken out of the record, its digest speaks for it.
    """
    texts = entry.get(field)
    digests: list[JsonValue] = []
    for item in texts if isinstance(texts, list) else ():
        written = item.get("sha256") if isinstance(item, dict) else None
        text = item.get("text") if isinstance(item, dict) else None
        digests += [written, digest_text(text).hex if isinstance(text, str) else written]
    return digests


def _texts(entry: Mapping[str, JsonValue], field: str) -> JsonValue:
    """Give a sampling's texts; alone if there is one."""
    texts = entry.get(field)
    if not isinstance(texts, list):
        return None
    values = [text.get("text") for text in texts if isinstance(text, dict)]
    return values[0] if len(values) == 1 else values


def _name_causes(materials: Iterable[Material], prompt: Prompt) -> Iterator[Cause]:
    for material in materials:
        node = prompt.nodes.get(material.node_id)
        if not material.input and node is not None:
            continue  # no input names it: its loader was seen reading it
        named = resolve(prompt, node.inputs.get(material.input)) if node is not None else None
        if not names_file(named, material):
            kind = MATERIAL_KINDS.get(material.kind, CauseKind.MODEL_FILE)
            yield _graph_cause(kind, material.kind, material.name, named, material.node_id)


def names_file(value: JsonValue, material: Material) -> bool:
    """Tell whether an input's value names a file.

    Prompt texts name textual inversions as `embedding:NAME`, with or without folder and suffix;
    some packs hold names inside a list or an object.
    """
    if isinstance(value, dict):
        return any(names_file(item, material) for item in value.values())
    if isinstance(value, list):
        return any(names_file(item, material) for item in value)
    if not isinstance(value, str):
        return False
    if material.kind == "embeddings":
        written = value.replace("\\(", "(").replace("\\)", ")")
        return PurePosixPath(material.name).stem in written
    return value == material.name


def _tuple_causes(record: Record, prompt: Prompt, sampling: Sampling) -> Iterator[Cause]:
    """Compare the record's tuple with the one that the graph gives."""
    entry = to_sampling_entry(sampling)
    given = to_tuple(entry, prompt, sampling.model, record.materials)
    recorded = record.parameters
    for field, kind in _DERIVED_KINDS.items():
        before, after = recorded.get(field), given[field]
        if before not in (None, UNRESOLVED) and before != after:
            yield _graph_cause(kind, field, before, after, sampling.node_id)
    for field, kind in _FIELD_KINDS.items():
        if _disagree(recorded.get(field), given[field]):
            yield _graph_cause(kind, field, recorded.get(field), given[field], sampling.node_id)
    before, after = recorded.get("adapters"), given["adapters"]
    if before is not None and before != after:
        same_files = _files(before) == _files(after)
        kind = CauseKind.ADAPTER_STRENGTH if same_files else CauseKind.ADAPTER_FILE
        yield _graph_cause(kind, "adapters", before, after, sampling.node_id)


def _files(adapters: JsonValue) -> JsonValue:
    """Give adapters without their strengths."""
    if not isinstance(adapters, list):
        return None
    return [
        [adapter.get("name"), adapter.get("sha256")] if isinstance(adapter, dict) else None
        for adapter in adapters
    ]


def _graph_cause(
    kind: CauseKind, what: str, recorded: JsonValue, now: JsonValue, node_id: NodeId
) -> Cause:
    message = (
        f"{what} was {_shown(recorded)} when the image was made; the graph now says {_shown(now)}"
    )
    return Cause(kind, message, recorded, now, node_id)


def _disagree(recorded: JsonValue, now: JsonValue) -> bool:
    """Tell whether two values are both known and not the same."""
    known = recorded not in (None, UNRESOLVED) and now not in (None, UNRESOLVED)
    return known and recorded != now


def _shown(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _unique(causes: Iterable[Cause]) -> list[Cause]:
    """Keep the first cause of each kind and node."""
    kept: dict[tuple[CauseKind, str | None], Cause] = {}
    for cause in causes:
        kept.setdefault((cause.kind, cause.node_id), cause)
    return list(kept.values())
