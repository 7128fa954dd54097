"""The recipe: what a record says of each sampling, and the tuple of the last one.

Both follow from the graph and its files; what a sampler saw from inside overrides what
the graph's widgets say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, cast

from .canonical import JsonValue
from .digest import digest_text, digest_value
from .graph.prompt import Link, NodeId, Prompt
from .graph.samplings import PromptText, Sampling
from .graph.trace import upstream
from .prompt_text import mark_characters
from .record import UNRESOLVED, JsonObject, Material
from .seeds import MAX_SEED

_EXACT: Final = 2**53
"""From here on a whole number has no canonical form."""

WEIGHT_KINDS: Final = ("checkpoints", "diffusion_models")
"""Folder types whose files are the weights that `tuple.model_version` names."""

FROM_WIDGETS: Final = (
    "seed",
    "sampler",
    "scheduler",
    "steps",
    "cfg",
    "denoise",
    "width",
    "height",
)
"""Fields of a `samplings` entry that come from the graph's widgets unless the sampling itself tells
them."""


def to_sampling_entry(sampling: Sampling) -> JsonObject:
    """Give the entry of `samplings` that the graph alone supports."""
    return {
        "node_id": sampling.node_id,
        "class_type": sampling.class_type,
        "source": "graph",
        "seed": str(sampling.seed) if _is_seed(sampling.seed) else UNRESOLVED,
        "sampler": _if(_is_text, sampling.sampler),
        "scheduler": _if(_is_text, sampling.scheduler),
        "steps": _if(_is_integer, sampling.steps),
        "cfg": _if(_is_number, sampling.cfg),
        "denoise": _if(_is_number, sampling.denoise),
        "width": _if(_is_integer, sampling.width),
        "height": _if(_is_integer, sampling.height),
        "positive": [_to_text_entry(text) for text in sampling.positive],
        "negative": [_to_text_entry(text) for text in sampling.negative],
    }


def to_tuple(
    entry: Mapping[str, JsonValue],
    prompt: Prompt,
    model: Link | None,
    materials: Sequence[Material],
) -> JsonObject:
    """Give a record's `tuple` for one sampling.

    Args:
        entry: The sampling, as `to_sampling_entry` gives it, overridden by what was seen
            from inside.
        prompt: The graph it stands in.
        model: Where that sampling's model comes from.
        materials: Of the whole graph.
    """
    used = _used_by(prompt, model, materials)
    return {
        "model_version": model_version(prompt, model, materials),
        "seed": entry["seed"],
        "sampler": entry["sampler"],
        "scheduler": entry["scheduler"],
        "steps": entry["steps"],
        "cfg": entry["cfg"],
        "denoise": entry["denoise"],
        "width": entry["width"],
        "height": entry["height"],
        "prompt_sha256": _one_digest(_text_digests(entry, "positive")),
        "negative_prompt_sha256": _one_digest(_text_digests(entry, "negative")),
        "adapters": [
            {
                "name": material.name,
                "sha256": material.sha256 or UNRESOLVED,
                "strengths": _strengths(prompt, material.node_id),
            }
            for material in used
            if material.kind == "loras"
        ],
    }


def model_version(prompt: Prompt, model: Link | None, materials: Sequence[Material]) -> str:
    """Give `tuple.model_version`: the digest of the weights behind a model; see `to_tuple`."""
    used = _used_by(prompt, model, materials)
    return _one_digest(material.sha256 for material in used if material.kind in WEIGHT_KINDS)


def _used_by(prompt: Prompt, model: Link | None, materials: Sequence[Material]) -> list[Material]:
    """Give the files behind a model, in order of execution."""
    nodes = upstream(prompt, model.node_id) if model is not None else []
    order = {node_id: position for position, node_id in enumerate(nodes)}
    return sorted(
        (material for material in materials if material.node_id in order),
        key=lambda material: order[material.node_id],
    )


def _to_text_entry(text: PromptText) -> JsonObject:
    entry: JsonObject = {"node_id": text.node_id, "input": text.input}
    if text.text is None:
        return {**entry, "sha256": UNRESOLVED}
    entry.update(text=text.text, sha256=digest_text(text.text).hex)
    characters = mark_characters(text.text)
    return {**entry, "characters": [*characters]} if characters else entry


def _text_digests(entry: Mapping[str, JsonValue], name: str) -> list[str | None]:
    texts = entry.get(name)
    if not isinstance(texts, list):
        return []
    return [
        digest
        for text in texts
        if isinstance(text, dict) and isinstance(digest := text.get("sha256"), str)
    ]


def _one_digest(digests: Iterable[str | None]) -> str:
    """Give one digest for several: itself alone, else that of their canonical list."""
    found = list(digests)
    if not found or any(digest in (None, UNRESOLVED) for digest in found):
        return UNRESOLVED
    if len(found) == 1:
        return cast("str", found[0])
    return digest_value([*found]).hex


def _strengths(prompt: Prompt, node_id: NodeId) -> JsonObject:
    inputs = prompt.nodes[node_id].inputs
    return {
        name: UNRESOLVED if isinstance(value, Link) else value
        for name, value in inputs.items()
        if name.startswith("strength")
    }


def _if(is_right: Callable[[JsonValue], bool], value: JsonValue) -> JsonValue:
    """Give a widget's value if it is of the type that the field has."""
    return value if is_right(value) else UNRESOLVED


def _is_seed(value: JsonValue) -> bool:
    """Tell a seed from a number that stands for one, as -1 does in several packs."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEED


def _is_text(value: JsonValue) -> bool:
    return isinstance(value, str)


def _is_integer(value: JsonValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _EXACT


def _is_number(value: JsonValue) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < _EXACT
