"""Core's check of the types of links, for nodes that must accept one link of any type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_execution.validation import validate_node_input


def find_mismatch(received: Mapping[str, str], expected: Mapping[str, str]) -> str | None:
    """Say which link is of a type that its input does not take, in core's words.

    Args:
        received: Type of the connected output, by input.
        expected: Type of the input, by input; inputs not listed take any type.
    """
    for name, received_type in received.items():
        input_type = expected.get(name)
        if input_type is not None and not validate_node_input(received_type, input_type):
            return f"{name}, received_type({received_type}) mismatch input_type({input_type})"
    return None


def declared_types(inputs: list[Any], *, but: str) -> dict[str, str]:
    """Give the type of each input of a V3 schema except one."""
    return {declared.id: declared.get_io_type() for declared in inputs if declared.id != but}
