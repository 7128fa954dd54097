"""What of a node's inputs reaches its code, as core will read it."""

from __future__ import annotations

import math
from typing import Any, Final

import nodes as comfy_nodes
from comfy_api.internal import _ComfyNodeInternal
from comfy_api.latest import _io

from ..src.comfyui_provenance.errors import PolicyError
from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt
from ..src.comfyui_provenance.graph.samplings import resolve

_WRAPPER: Final = "__value__"


class NodeInputs:
    """The inputs of one node that its class takes; core drops other literals.

    An input is also found by the last part of its name: `width` of `resize_type.width`.

    Attributes:
        class_type: The node's class.
        place: The node, for messages.
        links: Inputs that are linked, by name.
        unknown_links: Names of linked inputs that the class does not declare.
    """

    def __init__(self, prompt: Prompt, node_id: NodeId) -> None:
        node = prompt.nodes[node_id]
        taken = _taken(node)
        links = {name: value for name, value in node.inputs.items() if isinstance(value, Link)}
        self.class_type = node.class_type
        self.links = {name: link for name, link in links.items() if name in taken}
        self.unknown_links = [name for name in links if name not in taken]
        self.place = f"node {node_id}"
        self._values = {
            name: unwrapped(resolve(prompt, value))
            for name, value in node.inputs.items()
            if name in taken
        }

    def has(self, name: str) -> bool:
        """Tell whether the node is given an input."""
        return self._full(name) is not None

    def value(self, name: str) -> Any:
        """Give a literal, also through a node that only holds it; `None` where it is computed."""
        full = self._full(name)
        return self._values[full] if full is not None else None

    def number(self, name: str, default: float = 0.0, *, lowest: float = 0.0) -> float:
        """Give a number as core's coercion reads it.

        Raises:
            PolicyError: Another node computes it, or it is no number from `lowest`.
        """
        if not self.has(name):
            return default
        value = self.value(name)
        if value is None:
            raise PolicyError(
                f"{self.place}: {name} is computed by another node and cannot be bounded in a "
                "graph that this server has not run before; queue it once yourself"
            )
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        # Not `<`: NaN is no number of pixels either. Core's own bounds are looked at later.
        if not lowest <= number < math.inf:
            raise PolicyError(
                f"{self.place}: expected {name} to be a number from {lowest:g}, got "
                f"{ascii(value)[:80]}"
            )
        return number

    def text_chars(self) -> int:
        """Count the characters of all that core may turn into text."""
        texts = (value for value in self._values.values() if isinstance(value, (str, list, dict)))
        return sum(len(str(value)) for value in texts)

    def _full(self, name: str) -> str | None:
        return next((full for full in self._values if full.rpartition(".")[2] == name), None)


def unwrapped(value: Any) -> Any:
    """Take off the wrapper that core takes off once, before it looks at a value."""
    return value[_WRAPPER] if isinstance(value, dict) and _WRAPPER in value else value


def _taken(node: Node) -> set[str]:
    """Name the inputs that a node's class takes, those of dynamic inputs among them."""
    node_class = comfy_nodes.NODE_CLASS_MAPPINGS[node.class_type]
    if getattr(node_class, "ACCEPT_ALL_INPUTS", False):
        return set(node.inputs)
    declared = node_class.INPUT_TYPES()
    if issubclass(node_class, _ComfyNodeInternal):
        declared, _, _ = _io.get_finalized_class_inputs(declared, dict(node.inputs))
    parts = [declared.get("required", {}), declared.get("optional", {})]
    return {name for name in node.inputs if any(name in part for part in parts)}
