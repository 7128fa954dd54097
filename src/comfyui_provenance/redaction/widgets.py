"""Nodes in the editor's form: which of the values of their widgets are secrets.

The editor writes the values as a list without names. Their names stand, in newer workflows, at
the node's inputs, but not those of widgets that no link can reach.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, cast

from .shapes import is_secret_name

AFTER_SEED: Final = frozenset(["decrement", "fixed", "increment", "increment-wrap", "randomize"])
"""Values of the widget that the page puts after a seed, and that no list of inputs names."""


def secret_places(
    node: Mapping[object, object], known: Collection[str]
) -> tuple[Sequence[int], bool]:
    """Tell where in a node's `widgets_values`, a list, secrets stand because of their names.

    Args:
        node: With `widgets_values`.
        known: Secrets, which may account for the named ones.

    Returns:
        The places, and whether they are certain. Where the named ones cannot be counted out, and
        are not among `known`, those are all there are.
    """
    values = cast("list[object]", node["widgets_values"])
    names = list(_widget_names(node.get("inputs")))
    secret = [index for index, name in enumerate(names) if is_secret_name(name)]
    # A primitive stands for the widget at the other end of its link, a subgraph for inner ones.
    others = [*_widget_names(node.get("outputs")), *_promoted_names(node)]
    if not secret and not any(map(is_secret_name, others)):
        return [], True
    counted = _named_places(values)
    if secret and len(names) == len(counted) and not _is_converted(node):
        places = [counted[index] for index in secret]
        if all(isinstance(values[place], (str, type(None))) for place in places):
            return places, True
    held = [value for value in values if isinstance(value, str) and value in known]
    if secret and len(held) >= len(secret):
        return [], True
    return range(len(values)), False


def _objects(value: object) -> Iterator[dict[object, object]]:
    """Yield the objects of a list."""
    for item in cast("list[object]", value) if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield cast("dict[object, object]", item)


def _widget_names(slots: object) -> Iterator[str]:
    """Yield the names of the widgets that a node's inputs or outputs stand for."""
    for slot in _objects(slots):
        widget = slot.get("widget")
        if isinstance(widget, dict):
            name = cast("dict[object, object]", widget).get("name", slot.get("name"))
            yield name if isinstance(name, str) else ""


def _promoted_names(node: Mapping[object, object]) -> Iterator[str]:
    """Yield the names of the widgets that a subgraph shows on its outside."""
    properties = node.get("properties")
    promoted = (
        cast("dict[object, object]", properties).get("proxyWidgets")
        if isinstance(properties, dict)
        else None
    )
    for entry in cast("list[object]", promoted) if isinstance(promoted, list) else ():
        # A pair of the inner node's id and the widget's name.
        for part in cast("list[object]", entry) if isinstance(entry, list) else ():
            if isinstance(part, str):
                yield part


def _named_places(values: list[object]) -> list[int]:
    """Give the places of a node's values that belong to a named widget, in order."""
    return [
        place
        for place, value in enumerate(values)
        if place == 0
        or not (isinstance(value, str) and value in AFTER_SEED)
        or not isinstance(values[place - 1], (int, float))
    ]


def _is_converted(node: Mapping[object, object]) -> bool:
    """Tell whether a node's widgets may be listed in another order than their values.

    Older pages list a widget only once it takes a link, in the order in which the user chose.
    """
    linked = [
        slot.get("link") is not None for slot in _objects(node.get("inputs")) if "widget" in slot
    ]
    return len(linked) > 1 and all(linked)
