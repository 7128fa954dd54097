"""Where a graph's widgets disagree with what its record says ran: each a cause, by its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from .canonical import JsonValue
from .digest import digest_text
from .errors import GraphError
from .graph.prompt import NodeId, Prompt
from .graph.rebuild import with_values
from .graph.samplings import Sampling, read_samplings, resolve
from .recipe import to_sampling_entry, to_tuple
from .record import UNRESOLVED, JsonObject, Material, Record
from .verdict import Cause, CauseKind

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


def samplings_of(record: Record, prompt: Prompt) -> list[Sampling]:
    """Read the samplings of a graph, with the values that its nodes computed."""
    try:
        return read_samplings(prompt, record.output.node_id, record.computed)
    except GraphError:
        return []


def parameter_causes(record: Record, prompt: Prompt, samplings: Sequence[Sampling]) -> list[Cause]:
    """List where a graph's widgets disagree with what the record says ran.

    Args:
        record: The record.
        prompt: The graph.
        samplings: Those of the graph, as `samplings_of` gives them.
    """
    prompt = with_values(prompt, record.computed)
    entries = [to_sampling_entry(sampling) for sampling in samplings]
    causes: list[Cause] = []
    for sampling, entry in zip(samplings, entries, strict=True):
        # All entries of a node: readers differ in which of two they take.
        for recorded in record.samplings:
            if recorded.get("node_id") == sampling.node_id:
                causes.extend(_sampling_causes(recorded, entry, sampling))
    causes.extend(_name_causes(record.materials, prompt))
    if samplings:
        causes.extend(_tuple_causes(record, prompt, entries[-1], samplings[-1]))
    return unique_causes(causes)


def _sampling_causes(
    recorded: JsonObject, entry: JsonObject, sampling: Sampling
) -> Iterator[Cause]:
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


def _tuple_causes(
    record: Record, prompt: Prompt, entry: JsonObject, sampling: Sampling
) -> Iterator[Cause]:
    """Compare the record's tuple with the one that the graph gives."""
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


def unique_causes(causes: Iterable[Cause]) -> list[Cause]:
    """Keep the first cause of each kind and node."""
    kept: dict[tuple[CauseKind, str | None], Cause] = {}
    for cause in causes:
        kept.setdefault((cause.kind, cause.node_id), cause)
    return list(kept.values())
