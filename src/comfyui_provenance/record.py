"""The record: one JSON document about how one image was generated.

`docs/record.md` is normative for the fields. A `Record` keeps its document whole, so
that unknown fields survive reading and writing; the properties give the parts that
this version understands. `seal` closes a document with the digest of its canonical
form, `parse_record` reads one back from a stranger's file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from .canonical import JsonValue, dump_ascii, parse_json
from .digest import Digest, digest_value, parse_digest
from .errors import CanonicalError, GraphError, NoRecordError, RecordError
from .graph.prompt import Link, NodeId, Prompt, parse_prompt
from .plain_text import to_plain

KEYWORD: Final = "provenance"
"""The keyword under which an image carries its record."""

SIDECAR: Final = ".provenance.json"
"""How the name of a sidecar goes on after that of the image, without the image's own suffix."""

VERSION: Final = 1
"""Raised when a reader of older records would misread a newer one."""

UNRESOLVED: Final = "unresolved"
"""Stands for what could not be established, so that nobody has to guess."""

_INTEGER: Final = re.compile(r"-?[0-9]{1,24}")

_MATERIAL_TEXTS: Final = ("sha256", "autov3", "blake3", "pixels", "on_disk")
"""Fields of a material that may be missing, besides its size."""

_SHOWN_CHARS: Final = 1000
"""Of one value, in messages and summaries: longer than any digest or file name."""

JsonObject: TypeAlias = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Material:
    """A file that the graph refers to.

    Attributes:
        kind: ComfyUI's folder type (`checkpoints`, `loras`, ...), or `input`.
        name: As the graph names it, below that folder; never an absolute path.
        node_id: The node that names it.
        input: The input of that node.
        status: `hashed`, `missing` or `unresolved`.
        size_bytes: Size of the file, where it was hashed.
        sha256: 64 hexadecimal digits, where it was hashed.
        autov3: Of an adapter, SHA-256 of its tensors' bytes alone, 64 hexadecimal digits.
        blake3: 64 hexadecimal digits, where ComfyUI's assets hold them.
        pixels: Pixel digest of an input image.
        on_disk: What became of the file since it was loaded: `replaced` or `missing`; `None`
            where it is the same.
    """

    kind: str
    name: str
    node_id: NodeId
    input: str
    status: str
    size_bytes: int | None = None
    sha256: str | None = None
    autov3: str | None = None
    blake3: str | None = None
    pixels: str | None = None
    on_disk: str | None = None

    def to_json(self) -> JsonObject:
        """Give the entry of a record's `materials`."""
        entry: JsonObject = {
            "kind": self.kind,
            "name": self.name,
            "node_id": self.node_id,
            "input": self.input,
            "status": self.status,
        }
        optional = ("size_bytes", *_MATERIAL_TEXTS)
        known = {name: getattr(self, name) for name in optional}
        return {**entry, **{name: value for name, value in known.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class Subject:
    """The image that a record is about.

    Attributes:
        digest: Pixel digest of the image, before a lossy format changed it.
        width: In pixels.
        height: In pixels.
        channels: 1 to 4.
        batch_index: Position in its batch, from 0.
        batch_size: Images in that batch.
        list_index: Position in a list of batches, from 0.
        stored: Pixel digest of what the file decodes to, where its format is lossy.
    """

    digest: Digest
    width: int
    height: int
    channels: int
    batch_index: int = 0
    batch_size: int = 1
    list_index: int = 0
    stored: Digest | None = None

    def to_json(self) -> JsonObject:
        """Give a record's `subject`."""
        entry: JsonObject = {
            "digest": str(self.digest),
            "width": self.width,
            "height": self.height,
            "channels": self.channels,
            "batch_index": self.batch_index,
            "batch_size": self.batch_size,
            "list_index": self.list_index,
        }
        return entry if self.stored is None else {**entry, "stored": str(self.stored)}

    @property
    def in_file(self) -> Digest:
        """What the pixels of the file itself should be."""
        return self.stored or self.digest


@dataclass(frozen=True, slots=True)
class Record:
    """A parsed record.

    Attributes:
        document: The whole JSON object, unknown fields included.
        place: Which image of its batch it is read for, where it is about all of them, as one
            that a stock node saved is.
    """

    document: Mapping[str, JsonValue]
    place: int = 0

    @property
    def subject(self) -> Subject:
        """The image it is about."""
        subject = _object(self.document, "subject")
        shared = _batch_digests(subject)
        return Subject(
            digest=shared[self.place] if shared else _digest(subject, "digest"),
            width=_integer(subject, "width"),
            height=_integer(subject, "height"),
            channels=_integer(subject, "channels"),
            batch_index=self.place if shared else _integer(subject, "batch_index", default=0),
            batch_size=_integer(subject, "batch_size", default=1),
            list_index=_integer(subject, "list_index", default=0),
            stored=_digest(subject, "stored") if "stored" in subject else None,
        )

    def read_for(self, pixels: Digest) -> Record:
        """Read it for one image of a batch that it is about: the one with these pixels.

        For any other image it is read for the first one, whose pixels these then are not.
        """
        shared = _batch_digests(_object(self.document, "subject"))
        return replace(self, place=shared.index(pixels)) if pixels in shared else self

    @property
    def graph(self) -> str:
        """The exact JSON text of the executed prompt, pruned to this image.

        Raises:
            NoRecordError: It was left out or redacted.
        """
        if self.is_redacted:
            raise NoRecordError("this record was redacted to be shown: its graph is not whole")
        if self.lacks_graph:
            raise NoRecordError(
                "the graph was left out of this file, which could not hold it; use the sidecar "
                "NAME.provenance.json that was saved beside it"
            )
        return _text(self.document, "graph")

    @property
    def lacks_graph(self) -> bool:
        """Whether the graph was left out, since the file could not hold it, or redacted."""
        left_out = self.document.get("left_out")
        is_left_out = isinstance(left_out, list) and "graph" in left_out
        return self.is_redacted or (is_left_out and "graph" not in self.document)

    @property
    def is_redacted(self) -> bool:
        """Whether it is a copy made to be shown."""
        return self.document.get("redacted") is True

    @property
    def is_expanded(self) -> bool:
        """Whether the image came from a node that came up while the prompt ran."""
        return _object(self.document, "output").get("expanded") is True

    @property
    def graph_sha256(self) -> str:
        """64 hexadecimal digits: what sha256 of `graph` should be."""
        return _text(self.document, "graph_sha256")

    @property
    def output(self) -> Link:
        """Where in the graph the image comes out."""
        output = _object(self.document, "output")
        node_id, slot = NodeId(_text(output, "node_id")), _integer(output, "slot")
        try:
            return Link(node_id, slot)
        except GraphError as error:
            raise RecordError(f"output: {error}") from error

    @property
    def workflow_sha256(self) -> str | None:
        """64 hexadecimal digits of the editor's workflow beside it, if it was saved with one."""
        value = self.document.get("workflow_sha256")
        return value if isinstance(value, str) else None

    @property
    def recipe(self) -> str:
        """The digest of the tuple, as written."""
        return _text(self.document, "recipe")

    @property
    def parameters(self) -> JsonObject:
        """The record's `tuple`: the parameters of the last sampling."""
        return _object(self.document, "tuple")

    @property
    def samplings(self) -> list[JsonObject]:
        """Every sampling upstream of the image, in order."""
        return _objects(self.document, "samplings")

    @property
    def traces(self) -> list[tuple[str, int, JsonObject]]:
        """The samplings that were followed: node, which of its samplings, entry of `trace`."""
        entries = self.document.get("trace")
        found: list[tuple[str, int, JsonObject]] = []
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                index = entry.get("index")
                place = index if isinstance(index, int) and not isinstance(index, bool) else 0
                found.append((str(entry.get("node_id")), place, entry))
        return found

    @property
    def materials(self) -> list[Material]:
        """Every file that the graph refers to."""
        return [
            Material(
                kind=_text(entry, "kind"),
                name=_text(entry, "name"),
                node_id=NodeId(_text(entry, "node_id")),
                input=_text(entry, "input"),
                status=_text(entry, "status"),
                size_bytes=_integer(entry, "size_bytes") if "size_bytes" in entry else None,
                **{name: _text(entry, name) for name in _MATERIAL_TEXTS if name in entry},
            )
            for entry in _objects(self.document, "materials")
        ]

    @property
    def computed(self) -> dict[Link, JsonValue]:
        """Plain values that nodes computed, by output; seeds among them as integers."""
        values: dict[Link, JsonValue] = {}
        entries = self.document.get("computed")
        for entry in entries if isinstance(entries, list) else ():
            if not isinstance(entry, dict):
                continue
            node_id, slot, value = entry.get("node_id"), entry.get("slot"), entry.get("value")
            if not isinstance(node_id, str) or not isinstance(slot, int):
                continue
            if entry.get("type") == "INT" and isinstance(value, str) and _INTEGER.fullmatch(value):
                value = int(value)
            with suppress(GraphError):
                values[Link(NodeId(node_id), slot)] = value
        return values

    @property
    def environment(self) -> JsonObject:
        """Versions, device and settings under which the image was made."""
        return _object(self.document, "environment")

    @property
    def fingerprint(self) -> JsonObject:
        """By type of device, digests of fixed computations; empty where none was measured."""
        value = self.document.get("fingerprint")
        return value if isinstance(value, dict) else {}

    @property
    def digest(self) -> str:
        """The digest of the rest of the document, as written."""
        return _text(self.document, "digest")

    def actual_digest(self) -> Digest:
        """Compute the digest of the document without its `digest`."""
        return _document_digest(self.document)

    def actual_recipe(self) -> Digest:
        """Compute the digest of the tuple."""
        return digest_value(self.parameters)

    def prompt(self) -> Prompt:
        """Parse the graph.

        Raises:
            GraphError: It is not a prompt, or lacks the node that gives the image.
        """
        prompt = parse_prompt(self.graph)
        if self.output.node_id not in prompt.nodes:
            raise GraphError(f"expected node {self.output.node_id[:80]!a} in the graph, found none")
        return prompt

    def dump(self) -> str:
        """Give the ASCII text that an image carries."""
        return dump_ascii(dict(self.document))


def seal(document: Mapping[str, JsonValue]) -> Record:
    """Close a document with the digest of its canonical form.

    Raises:
        CanonicalError: A value has no canonical form.
        RecordError: A field that every record has is missing or of the wrong type.
    """
    sealed = {**document, "digest": str(_document_digest(document))}
    return _checked(Record(sealed))


def parse_record(text: str | bytes) -> Record:
    """Read a record, from this version or an older one.

    Raises:
        NoRecordError: It says that there is no record, or is one of a newer format.
        RecordError: It is not a record.
        LimitError: It is larger or deeper than we agree to read.
    """
    document = parse_json(text)
    if not isinstance(document, dict):
        raise RecordError(f"expected a JSON object, got {type(document).__name__}")
    if "record_error" in document:
        reason = _plain(_text(document, "record_error"))
        raise NoRecordError(f"this image was saved without a record: {reason}")
    version = _integer(document, "version")
    if version > VERSION:
        raise NoRecordError(
            f"expected a record of version {VERSION} or older, got {version}: update the pack"
        )
    record = _checked(Record(document))
    try:
        record.actual_digest()
    except CanonicalError as error:
        raise RecordError(f"expected a record with a canonical form: {error}") from error
    return record


def failed_record(reason: str) -> str:
    """Give the ASCII text that an image carries where its record could not be made.

    Any reason will do, whole or not: it must not cost the image.
    """
    return dump_ascii({"version": VERSION, "record_error": _plain(reason)})


def _checked(record: Record) -> Record:
    """Touch every field that every record has."""
    _ = (record.subject, record.graph_sha256, record.output, record.recipe)
    _ = record.lacks_graph or record.graph
    _ = (record.parameters, record.samplings, record.materials, record.environment, record.digest)
    return record


def _document_digest(document: Mapping[str, JsonValue]) -> Digest:
    return digest_value({name: value for name, value in document.items() if name != "digest"})


def _object(document: Mapping[str, JsonValue], name: str) -> JsonObject:
    value = document.get(name)
    if not isinstance(value, dict):
        raise RecordError(f"{name}: expected an object, got {type(value).__name__}")
    return value


def _objects(document: Mapping[str, JsonValue], name: str) -> list[JsonObject]:
    value = document.get(name)
    if not isinstance(value, list):
        raise RecordError(f"{name}: expected a list, got {type(value).__name__}")
    entries: list[JsonObject] = []
    for entry in value:
        if not isinstance(entry, dict):
            raise RecordError(f"{name}: expected objects, got {type(entry).__name__}")
        entries.append(entry)
    return entries


def _text(document: Mapping[str, JsonValue], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise RecordError(f"{name}: expected a string, got {type(value).__name__}")
    return value


def _integer(document: Mapping[str, JsonValue], name: str, *, default: int | None = None) -> int:
    value = document.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RecordError(f"{name}: expected an integer from 0, got {_plain(json.dumps(value))}")
    return value


def _batch_digests(subject: JsonObject) -> list[Digest]:
    """Give the pixel digests of a whole batch, where a record is about all of it."""
    listed = subject.get("digests")
    if listed is None:
        return []
    if not isinstance(listed, list) or not listed:
        raise RecordError("digests: expected a list of digests, got none")
    return [_digest({"digests": digest}, "digests") for digest in listed]


def _digest(document: Mapping[str, JsonValue], name: str) -> Digest:
    return parse_digest(_text(document, name))


def summarise(record: Record) -> str:
    """Tell a record in a few plain lines.

    Names and values come from strangers: they are cut short, and whatever does not print
    is escaped.
    """
    subject = record.subject
    generator = record.document.get("generator")
    maker = generator if isinstance(generator, dict) else {}
    lines = [
        f"Image: {subject.width} x {subject.height}, {subject.digest}",
        f"Batch: image {subject.batch_index + 1} of {subject.batch_size}",
        f"Made: {_plain(record.document.get('created'))} "
        f"by {_plain(maker.get('name'))} {_plain(maker.get('version'))}",
    ]
    lines += [f"{_plain(name)}: {_plain(value)}" for name, value in record.parameters.items()]
    lines += [
        f"{_plain(material.kind)}: {_plain(material.name)} "
        f"{_plain(material.sha256 or material.status)}"
        for material in record.materials
    ]
    warnings = record.document.get("warnings")
    lines += [
        f"Warning: {_plain(text)}" for text in (warnings if isinstance(warnings, list) else [])
    ]
    return "\n".join(lines)


def _plain(value: JsonValue) -> str:
    """Show a value on one line: what does not print escaped, and cut short."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return to_plain(text, _SHOWN_CHARS)
