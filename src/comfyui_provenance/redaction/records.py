"""Records made fit to be shown: without what is private, though it is no secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias, cast

from ..canonical import JsonValue
from ..errors import ProvenanceError
from ..graph.prompt import Input, Link, Node, NodeId, Prompt, dump_prompt, parse_prompt, to_prompt
from .search import Search, redact_prompt, redact_value
from .shapes import MARK

_JsonObject: TypeAlias = "dict[str, JsonValue]"

_CHOICE: Final = re.compile(r"[A-Za-z0-9_.+-]{1,40}")
"""One word, as samplers, schedulers and modes have it."""

_DIGEST: Final = re.compile(r"[a-z0-9-]{1,40}:[0-9a-f]{64}")

_SIDES: Final = ("positive", "negative")
_FOREIGN: Final = ("log", "conditionings", "sampler_options")
_MESSAGES: Final = ("warnings", "demotions", "message")

_TELLING_INPUTS: Final = [
    "caption",
    "clip_",
    "description",
    "dir",
    "file",
    "folder",
    "image",
    "llama",
    "lyrics",
    "mask",
    "path",
    "prefix",
    "prompt",
    "string",
    "t5xxl",
    "tags",
    "text",
    "title",
    "url",
    "value",
    "video",
    "audio",
]
"""Parts of the names of inputs that hold words or the names of files; there even one word goes."""


def redact_record(document: Mapping[str, JsonValue], *, keep_graph: bool = True) -> _JsonObject:
    """Give a copy of a record's document that can be shown to others.

    Removed are:

    - `text` and `characters` of each prompt text of a sampling; its `sha256` stays;
    - texts among the values that nodes `computed`, but for a choice of another type than `STRING`;
    - `name` of a material of kind `input`: what users call their own pictures;
    - in `graph` every text but the names of the other materials and, at inputs that are not known
      to hold words or files, a choice: one word of at most 40 letters, digits and `_.+-`;
    - the messages of each `log`, and texts of more than a word in `conditionings` and
      `sampler_options`: other packs wrote them;
    - in every `warnings`, `demotions` and `message` the names and texts named above;
    - secrets, as `redact_value` finds them, from the whole document.

    Parameters, names of models, digests, the environment and node ids stay, and so does a field
    that this version does not know, but for secrets. The digest of a short text can be found by
    trying: this hides words from readers, not from someone who guesses them.

    The copy says `"redacted": true`. Its `digest` is the old one until the caller seals it anew;
    `graph_sha256` goes on naming the graph that ran, and so no longer names the `graph` it shows.

    Args:
        document: Of a record; what is not as the format says is only searched for secrets.
        keep_graph: Whether to keep the graph's structure; otherwise only `MARK` stands for it.
    """
    private = _private_texts(document)
    # Messages quote a name: so one too short to be sought in any word is found as well.
    search = Search(private | {repr(text) for text in private}, whole=True)
    text = document.get("graph")
    graph, secrets = _redact_graph(text, _public_places(document), private)
    cleaned = redact_value(dict(document), secrets)
    copy = {
        name: _redact_field(name, value, search)
        for name, value in cast("_JsonObject", cleaned).items()
    }
    if "computed" in copy:
        copy["computed"] = [
            _redact_computed(entry, private) for entry in _objects(copy["computed"])
        ]
    if isinstance(text, str):
        copy["graph"] = graph if keep_graph else MARK
    copy["redacted"] = True
    return copy


def _private_texts(document: Mapping[str, JsonValue]) -> set[str]:
    """List the prompt texts and the names of input files."""
    entries = [
        entry
        for sampling in _objects(document.get("samplings"))
        for side in _SIDES
        for entry in _objects(sampling.get(side))
    ]
    texts = [entry.get("text") for entry in entries]
    names = [
        material.get("name")
        for material in _objects(document.get("materials"))
        if material.get("kind") == "input"
    ]
    return {text for text in [*texts, *names] if isinstance(text, str)}


def _public_places(document: Mapping[str, JsonValue]) -> set[tuple[str, str, str]]:
    """List the node, input and name of each file that is no picture of the user's."""
    places: set[tuple[str, str, str]] = set()
    for material in _objects(document.get("materials")):
        place = material.get("node_id"), material.get("input"), material.get("name")
        if material.get("kind") != "input" and all(isinstance(part, str) for part in place):
            places.add(cast("tuple[str, str, str]", place))
    return places


def _redact_field(name: str, value: JsonValue, search: Search) -> JsonValue:
    """Redact the value of one field, wherever in the record it stands."""
    if name in _MESSAGES and isinstance(value, str):
        return search.redact_text(value)
    if name in _FOREIGN:
        return _keep_texts(value, _is_never if name == "log" else _is_word)
    if name == "materials":
        return [_redact_material(entry) for entry in value] if isinstance(value, list) else value
    if isinstance(value, list):
        # The texts of a list are of the kind that its name tells.
        entries = [_redact_field(name, item, search) for item in value]
        return [_without_text(entry) for entry in entries] if name in _SIDES else [*entries]
    if isinstance(value, dict):
        return {key: _redact_field(key, item, search) for key, item in value.items()}
    return value


def _redact_material(entry: JsonValue) -> JsonValue:
    is_private = isinstance(entry, dict) and entry.get("kind") == "input" and "name" in entry
    return {**cast("_JsonObject", entry), "name": MARK} if is_private else entry


def _without_text(entry: JsonValue) -> JsonValue:
    if not isinstance(entry, dict):
        return entry
    return {name: value for name, value in entry.items() if name not in ("text", "characters")}


def _redact_computed(entry: _JsonObject, private: Collection[str]) -> _JsonObject:
    is_words = entry.get("type") == "STRING"

    def is_kept(text: str) -> bool:
        is_number = text.removeprefix("-").isdecimal()
        return is_number or (not is_words and _is_word(text) and text not in private)

    return {**entry, "value": _keep_texts(entry.get("value"), is_kept)}


def _is_never(_text: str) -> bool:
    return False


def _is_word(text: str) -> bool:
    return bool(_CHOICE.fullmatch(text) or _DIGEST.fullmatch(text))


def _keep_texts(value: JsonValue, is_kept: Callable[[str], bool]) -> JsonValue:
    """Remove the texts of a value but for some."""
    if isinstance(value, str):
        return value if not value or is_kept(value) else MARK
    if isinstance(value, list):
        return [_keep_texts(item, is_kept) for item in value]
    if isinstance(value, dict):
        return {name: _keep_texts(item, is_kept) for name, item in value.items()}
    return value


def _redact_graph(
    text: JsonValue, public: Collection[tuple[str, str, str]], private: Collection[str]
) -> tuple[str, frozenset[str]]:
    """Give the text of a graph without its words, and the secrets that were in it."""
    secrets: frozenset[str] = frozenset()
    try:
        found = redact_prompt(parse_prompt(text if isinstance(text, str) else "").to_json())
        secrets = found.secrets
        prompt = to_prompt(found.nodes)
    except ProvenanceError:
        return MARK, secrets

    def is_kept(text: str) -> bool:
        return _is_word(text) and text not in private

    def redact_input(node_id: NodeId, name: str, value: Input) -> Input:
        if isinstance(value, Link):
            return value
        if isinstance(value, str) and (node_id, name, value) in public:
            return value
        is_telling = any(part in name.lower() for part in _TELLING_INPUTS)
        return _keep_texts(value, _is_never if is_telling else is_kept)

    nodes = {
        node_id: Node(
            node.class_type,
            {name: redact_input(node_id, name, value) for name, value in node.inputs.items()},
        )
        for node_id, node in prompt.nodes.items()
    }
    return dump_prompt(Prompt(nodes)), secrets


def _objects(value: JsonValue) -> list[_JsonObject]:
    """Give the objects of a list, whatever else may be in it."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
