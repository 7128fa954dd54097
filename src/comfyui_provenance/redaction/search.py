"""Secrets sought in prompts, in the editor's workflows and in any other JSON.

What is handed in is never changed. A value without a secret comes back as the same object, so
that a caller can tell, and write exactly what it would have written anyway.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import Any, Final, cast

from .. import limits
from ..canonical import JsonValue
from ..graph.prompt import Link, NodeId, Prompt
from .shapes import MARK, has_no_shape, is_secret_name, is_secret_value, replace_shapes
from .widgets import AFTER_SEED, secret_places

_LONG_CHARS: Final = 6
"""From here on a secret is sought inside strings; a shorter one would be found in any word."""

_KNOWN_COUNT: Final = 1000
"""Secrets of one walk that are sought everywhere; a prompt has a few, a hostile file a million."""

_NAME_CHARS: Final = 48
"""Names, classes and ids are shorter, and the same ones stand in every prompt."""

_STRUCTURE: Final = frozenset(["class_type", "inputs"])
"""Keys that make a prompt one, and stay though a secret may be the same word."""

_HOLDER_INPUTS: Final = frozenset(["content", "string", "str", "text", "value"])
"""Inputs, in lower case, of nodes that only hold a text for another node."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A prompt without its secrets.

    Attributes:
        nodes: As ComfyUI holds a prompt; the same object as before where nothing was removed.
        places: The inputs that something was removed from, in the order of the prompt.
        secrets: What was removed. Never write it down.
    """

    nodes: dict[str, Any]
    places: tuple[tuple[NodeId, str], ...]
    secrets: frozenset[str]


def redact_prompt(nodes: dict[str, Any]) -> Redacted:
    """Take the secrets out of an API-format prompt.

    A text input with a secret's name is replaced whole, also where the name stands on a link and
    the text in a primitive before it. In any other text only what has the shape of a secret is
    replaced, and what the prompt holds under a secret's name elsewhere. Numbers, booleans and
    lists are no secrets, whatever their name.

    Args:
        nodes: By id an object with `class_type`, `inputs` and whatever else ComfyUI keeps there:
            anything that `json.dumps` takes, and other objects, which are left alone. What is
            nested deeper than `limits.JSON_DEPTH` is removed, since it was not searched.
    """
    held = _held_secrets(nodes)
    hidden = _hide_inputs(nodes, held.keys())
    found, redacted = _redact(hidden, frozenset(held.values()), whole=False)
    result = cast("dict[str, Any]", redacted)
    # Order and number of nodes and inputs are as before, even where a key held a secret.
    places = [
        (NodeId(node_id), str(name))
        for (node_id, after), before in zip(result.items(), nodes.values(), strict=True)
        if after is not before
        for (name, value), old in zip(
            _inputs(after).items(), _inputs(before).values(), strict=False
        )
        if value is not old
    ]
    return Redacted(result, tuple(places), found)


def redact_value(value: JsonValue, secrets: Collection[str] = ()) -> JsonValue:
    """Take the secrets out of JSON: a workflow, a record, whatever goes into a file.

    Texts under a key with a secret's name are replaced whole, and everywhere whatever has the
    shape of a secret or is one of `secrets`. One of those of less than six characters counts
    only where it is the whole text, and not at all if it is a number.

    The editor's workflow keeps the values of a node's widgets as a list. Where a widget has a
    secret's name its value is found by counting the widgets, if they and the values are equally
    many, the switch after a seed included. Otherwise every text of that node is replaced, since
    any could be the one. Nothing is known of the widgets of a workflow from before their names
    were written: of a node that did not run only shapes are found in it.

    Args:
        value: Anything that `json.dumps` takes. What is nested deeper than `limits.JSON_DEPTH`
            is removed, since it was not searched.
        secrets: As `Redacted.secrets` of the prompt gives them.
    """
    _, redacted = _redact(value, frozenset(secrets), whole=True)
    return cast("JsonValue", redacted)


def is_redacted(value: object) -> bool:
    """Tell whether the mark stands anywhere in a JSON value."""
    pending: list[object] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if MARK in item:
                return True
        elif isinstance(item, dict):
            pending.extend(cast("dict[object, object]", item))
            pending.extend(cast("dict[object, object]", item).values())
        elif isinstance(item, (list, tuple)):
            pending.extend(cast("Iterable[object]", item))
    return False


def redacted_inputs(prompt: Prompt) -> list[tuple[NodeId, str]]:
    """List the inputs of a prompt that something was removed from: it cannot run as it did."""
    return [
        (node_id, name)
        for node_id, node in prompt.nodes.items()
        for name, value in node.inputs.items()
        if not isinstance(value, Link) and is_redacted(value)
    ]


def _redact(
    value: object, secrets: frozenset[str], *, whole: bool
) -> tuple[frozenset[str], object]:
    """Redact a value, and once more where what was found may stand elsewhere in it, too.

    Args:
        value: Any.
        secrets: Known before.
        whole: Whether to look for short secrets that are a whole text, too. Not in a prompt,
            where the ids in links are texts.

    Returns:
        All secrets, those known before included; and the redacted value.
    """
    first = Search(secrets, whole=whole)
    redacted = first.redact(value)
    if first.found <= secrets:
        return secrets, redacted
    second = Search(secrets | first.found, whole=whole)
    redacted = second.redact(value)
    return secrets | first.found | second.found, redacted


class Search:
    """One walk through a value.

    Attributes:
        found: The secrets that were replaced because of their name or shape.
    """

    def __init__(self, secrets: Collection[str], *, whole: bool) -> None:
        """Prepare a walk.

        Args:
            secrets: Known ones, to be replaced wherever they stand.
            whole: Whether the short ones among them count where they are a whole text.
        """
        self.found: set[str] = set()
        self._known = frozenset(secrets)
        self._open: set[int] = set()
        self._short = {
            secret
            for secret in secrets
            if whole and len(secret) < _LONG_CHARS and not secret.isdecimal()
        }
        # As it stands in a text, and in JSON within a text.
        forms = {
            form
            for secret in secrets
            if len(secret) >= _LONG_CHARS and MARK not in secret
            for form in (
                secret,
                json.dumps(secret)[1:-1],
                json.dumps(secret, ensure_ascii=False)[1:-1],
            )
        }
        # The longest first, since one may hold another.
        self._long = sorted(forms, key=lambda form: (-len(form), form))[:_KNOWN_COUNT]

    def redact(self, value: object, name: str | None = None, depth: int = 0) -> object:
        """Give a value without secrets; the same object if it has none.

        Args:
            value: Any; what is no text, list or dictionary is left alone.
            name: The key that it stands under.
            depth: Of the containers around it.
        """
        if isinstance(value, str):
            if name is not None and is_secret_name(name) and is_secret_value(value):
                self.found.add(value)
                return MARK
            return self.redact_text(value)
        if not isinstance(value, (dict, list, tuple)):
            return value
        container = cast("dict[object, object] | list[object] | tuple[object, ...]", value)
        # A circle ends at once: through branches it would be walked 2^depth times.
        if depth == limits.JSON_DEPTH or id(container) in self._open:
            return MARK
        self._open.add(id(container))
        try:
            if isinstance(container, dict):
                return self._redact_object(container, depth)
            items = [self.redact(item, None, depth + 1) for item in container]
            changed = tuple(items) if isinstance(container, tuple) else items
            return container if _same(items, container) else changed
        finally:
            self._open.discard(id(container))

    def redact_text(self, text: str) -> str:
        """Give a text without what is known or has the shape of a secret."""
        if text in self._short:
            return MARK
        is_name = len(text) <= _NAME_CHARS and not self._long and MARK not in text
        if is_name and has_no_shape(text):
            return text
        # Until nothing changes: what stands beside a removed secret may be one, too.
        while True:
            changed = text
            for secret in self._long:
                if secret in changed:
                    changed = _between_marks(changed, methodcaller("replace", secret, MARK))
            changed = _between_marks(changed, partial(replace_shapes, replace=self._hide))
            if changed == text:
                return text
            text = changed

    def _hide(self, secret: str) -> str:
        if len(secret) >= _LONG_CHARS and MARK not in secret:
            self.found.add(secret)
        return MARK

    def _redact_object(self, value: dict[object, object], depth: int) -> dict[object, object]:
        source = value
        if isinstance(value.get("widgets_values"), list):
            widgets = self._redact_widgets(value)
            source = {**value, "widgets_values": widgets}
        keys = [
            self.redact_text(key) if isinstance(key, str) and key not in _STRUCTURE else key
            for key in source
        ]
        items = [
            self.redact(item, key if isinstance(key, str) else None, depth + 1)
            for key, item in source.items()
        ]
        if _same(keys, value) and _same(items, value.values()):
            return value
        return dict(zip(_distinct(keys), items, strict=True))

    def _redact_widgets(self, node: Mapping[object, object]) -> list[object]:
        """Give the `widgets_values` of a node in the editor's form, without named secrets."""
        values = cast("list[object]", node["widgets_values"])
        places, certain = secret_places(node, self._known)
        changed = list(values)
        for place in places:
            value = changed[place]
            if isinstance(value, str) and value not in AFTER_SEED and is_secret_value(value):
                changed[place] = MARK
                if certain:
                    self.found.add(value)
        return values if _same(changed, values) else changed


def _between_marks(text: str, change: Callable[[str], str]) -> str:
    """Change what stands between marks; a mark is not a text that a secret could be part of."""
    return MARK.join(map(change, text.split(MARK)))


def _same(first: Iterable[object], second: Iterable[object]) -> bool:
    """Tell whether two equally long rows hold the same objects."""
    return all(one is other for one, other in zip(first, second, strict=True))


def _distinct(keys: list[object]) -> list[object]:
    """Number the keys that redaction made equal, so that no entry is lost."""
    taken: set[object] = set()
    numbers: Counter[object] = Counter()
    for place, key in enumerate(keys):
        while keys[place] in taken:
            numbers[key] += 1
            keys[place] = f"{key} {numbers[key] + 1}"
        taken.add(keys[place])
    return keys


def _held_secrets(nodes: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Find the texts that a node holds for another one's input with a secret's name.

    Returns:
        The text by node and input.
    """
    held: dict[tuple[str, str], str] = {}
    waiting = [
        value[0]
        for node in nodes.values()
        for name, value in _inputs(node).items()
        if isinstance(name, str) and is_secret_name(name) and _is_link(value)
    ]
    seen: set[str] = set()
    while waiting:
        node_id = waiting.pop()
        if node_id in seen:
            continue
        seen.add(node_id)
        inputs = _inputs(nodes.get(node_id))
        texts = {
            (node_id, name): value
            for name, value in inputs.items()
            if isinstance(name, str) and name.lower() in _HOLDER_INPUTS and isinstance(value, str)
        }
        held.update((place, text) for place, text in texts.items() if is_secret_value(text))
        # One link and nothing else: a reroute, which hands on what it is given.
        if len(inputs) == 1:
            waiting += [value[0] for value in inputs.values() if _is_link(value)]
    return held


def _hide_inputs(nodes: dict[str, Any], held: Collection[tuple[str, str]]) -> dict[str, Any]:
    """Mark these inputs of a prompt."""
    changed = dict(nodes)
    for node_id, name in held:
        node = changed[node_id]
        changed[node_id] = {**node, "inputs": {**node["inputs"], name: MARK}}
    return changed if held else nodes


def _inputs(node: object) -> dict[object, Any]:
    inputs = cast("dict[object, object]", node).get("inputs") if isinstance(node, dict) else None
    return cast("dict[object, Any]", inputs) if isinstance(inputs, dict) else {}


def _is_link(value: object) -> bool:
    if not isinstance(value, list) or len(cast("list[object]", value)) != 2:
        return False
    node_id, slot = cast("list[object]", value)
    return isinstance(node_id, str) and isinstance(slot, int)
