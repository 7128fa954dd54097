"""What is known of the installed classes before any graph runs, for the page."""

from __future__ import annotations

import logging

import nodes as comfy_nodes

from ..src.comfyui_provenance.record import JsonObject, JsonValue
from ..src.comfyui_provenance.verdict import CauseKind
from .demotions import demotions_of_class

_log = logging.getLogger(__name__)


def describe_classes() -> JsonObject:
    """Name the installed classes that make an image depend on more than its graph.

    Returns:
        `unseeded`: those that draw random numbers without a seed, or run elsewhere; `unpinned`:
        those that divide their work by free memory. By class a sentence without a full stop.
    """
    unseeded: dict[str, JsonValue] = {}
    unpinned: dict[str, JsonValue] = {}
    for class_type in sorted(comfy_nodes.NODE_CLASS_MAPPINGS):
        try:
            found = [*demotions_of_class(class_type)]
        # A pack's own class, which may fail in its own way when it is asked.
        except Exception:  # noqa: BLE001
            _log.debug("could not ask the class %s", class_type, exc_info=True)
            continue
        for told, is_told_here in ((unseeded, True), (unpinned, False)):
            messages = [
                item.message
                for item in found
                if (item.kind is CauseKind.UNSEEDED_NODE) is is_told_here
            ]
            if messages:
                told[class_type] = "; ".join(messages)
    return {"unseeded": unseeded, "unpinned": unpinned}
