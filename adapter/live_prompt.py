"""The prompt that is running, also inside a node's expansion."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import nodes as comfy_nodes

from ..src.comfyui_provenance.errors import GraphError
from ..src.comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt, to_node
from ..src.comfyui_provenance.graph.trace import NodeDigests
from ..src.comfyui_provenance.record import JsonValue
from ..src.comfyui_provenance.redaction import Redacted, redact_prompt, redact_value
from .node_classes import is_unique
from .settings import REDACTION, is_on


class LivePrompt:
    """A prompt as ComfyUI holds it, each node parsed and digested once.

    It may grow, by expansions; a node that is there does not change.

    Args:
        nodes: Gives all nodes that can run now, by id.
        written: The ids of the prompt as it was queued.
    """

    def __init__(self, nodes: Callable[[], dict[str, Any]], written: Collection[str]) -> None:
        self._all = nodes
        self._written = written
        self._raw = nodes()
        self._parsed: dict[NodeId, Node] = {}
        self._prompts: dict[NodeId, Prompt] = {}
        self._nonce = secrets.token_hex(8)
        self._stateless: tuple[dict[str, Any], bool] | None = None
        self._redacted: tuple[int, Redacted] | None = None
        self._computations = NodeDigests(self._parsed)
        self._runs = NodeDigests(self._parsed, self._state)

    def adopt(self, other: LivePrompt) -> None:
        """Take over what was parsed and digested of a copy of this prompt, if it is one."""
        same = self._raw.keys() == other._raw.keys() and all(
            node["class_type"] == other._raw[name]["class_type"]
            and node["inputs"] == other._raw[name]["inputs"]
            for name, node in self._raw.items()
        )
        if same:
            self._parsed.update(other._parsed)
            self._computations.adopt(other._computations)

    def upstream(self, node_id: str) -> Prompt:
        """Give a node and what it depends on.

        Raises:
            GraphError: There is a dangling link.
        """
        known = self._prompts.get(NodeId(node_id))
        if known is None:
            self._parse(node_id)
            reached = self._reached(NodeId(node_id))
            known = Prompt(
                {NodeId(name): self._parsed[NodeId(name)] for name in self._raw if name in reached}
            )
            self._prompts[NodeId(node_id)] = known
        return known

    def digest_run(self, node_id: str) -> str:
        """Name what a node computes, whatever id it has.

        Two nodes of one name have the same inputs all the way up and read the same files, as
        far as their `IS_CHANGED` tells: it is what ComfyUI's own cache goes by.

        Raises:
            GraphError: There is a dangling link or a cycle.
        """
        self._parse(node_id)
        nodes = self._raw
        if self._stateless is None or self._stateless[0] is not nodes:
            self._stateless = nodes, not any(self._state(NodeId(name)) for name in nodes)
        # Without states it is the same digest, which may be known already.
        digests = self._computations if self._stateless[1] else self._runs
        return digests[NodeId(node_id)]

    def digest_computation(self, link: Link) -> str:
        """Digest the graph that gives the value at a link, as `digest_graph` does.

        Raises:
            GraphError: There is a dangling link or a cycle.
        """
        self._parse(link.node_id)
        return str(self._computations.at(link))

    def node(self, node_id: str) -> Node:
        """Give a node.

        Raises:
            GraphError: It, or something it depends on, is not there.
        """
        self._parse(node_id)
        return self._parsed[NodeId(node_id)]

    def redacted(self) -> Redacted:
        """Give all nodes without their secrets, as ComfyUI holds them.

        Where the owner has switched redaction off they keep them, and nothing counts as a secret.
        """
        nodes = self._grown()
        if self._redacted is None or self._redacted[0] != len(nodes):
            found = redact_prompt(nodes) if self.is_redacting else Redacted(nodes, (), frozenset())
            self._redacted = len(nodes), found
        return self._redacted[1]

    @cached_property
    def is_redacting(self) -> bool:
        """Whether secrets are taken out, for the whole of this prompt."""
        return is_on(REDACTION)

    def without_secrets(self, value: JsonValue, secrets: Collection[str] = ()) -> JsonValue:
        """Take the secrets out of what is written beside the graph; see `redact_value`."""
        return redact_value(value, secrets) if self.is_redacting else value

    def has(self, node_id: str) -> bool:
        """Tell whether there is such a node."""
        return node_id in self._raw or node_id in self._grown()

    def is_expanded(self, node_id: str) -> bool:
        """Tell whether a node came up while the prompt ran."""
        return node_id not in self._written

    def _grown(self) -> dict[str, Any]:
        self._raw = self._all()
        return self._raw

    def _reached(self, node_id: NodeId) -> set[NodeId]:
        reached: set[NodeId] = set()
        waiting = [node_id]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += _sources(self._parsed[name])
        return reached

    def _parse(self, node_id: str) -> None:
        """Parse a node and what it depends on, where that was not done before."""
        found: dict[NodeId, Node] = {}
        waiting = [NodeId(node_id)]
        while waiting:
            name = waiting.pop()
            if name in self._parsed or name in found:
                continue
            raw = self._raw.get(name) or self._grown().get(name)
            if raw is None:
                raise GraphError(f"expected a node {name[:80]!a} in the prompt, got none")
            found[name] = to_node(raw, name)
            waiting += _sources(found[name])
        # Only now: whatever is parsed has all that it depends on parsed, too.
        self._parsed.update(found)

    def _state(self, node_id: NodeId) -> str:
        """Tell what else decides what a node computes; nothing for most."""
        node = self._raw[node_id]
        changed = node.get("is_changed")
        if changed is None and not is_unique(_class_of(node)):
            return ""
        values = changed if isinstance(changed, list) else [changed]
        is_new = any(isinstance(value, float) and math.isnan(value) for value in values)
        if is_new:
            # Never the same, also not in the next prompt.
            return f"{node_id} {self._nonce}"
        return f"{changed!r} {node_id}" if is_unique(_class_of(node)) else repr(changed)


def _sources(node: Node) -> list[NodeId]:
    return [value.node_id for value in node.inputs.values() if isinstance(value, Link)]


def _class_of(node: dict[str, Any]) -> Any:
    return comfy_nodes.NODE_CLASS_MAPPINGS.get(node.get("class_type"))


_live: WeakKeyDictionary[Any, LivePrompt] = WeakKeyDictionary()
_queued: LivePrompt | None = None


def begin_prompt(nodes: dict[str, Any]) -> LivePrompt:
    """Read a prompt that is about to run, before ComfyUI made its `DynamicPrompt`.

    Args:
        nodes: The prompt, or a copy of it.
    """
    global _queued
    _queued = LivePrompt(lambda: nodes, nodes)
    return _queued


def end_prompt() -> None:
    """Forget the prompt that has run."""
    global _queued
    _queued = None


def live_prompt(dynprompt: Any) -> LivePrompt:
    """Give the prompt that is running, expansions included.

    Args:
        dynprompt: ComfyUI's `DynamicPrompt`, from `Hidden.dynprompt`.
    """
    known = _live.get(dynprompt)
    if known is None:
        known = LivePrompt(_NodesOf(dynprompt), dynprompt.get_original_prompt())
        if _queued is not None:
            known.adopt(_queued)
        _live[dynprompt] = known
    return known


class _NodesOf:
    """Gives the nodes of a `DynamicPrompt`, without keeping it."""

    def __init__(self, dynprompt: Any) -> None:
        self._written = dynprompt.get_original_prompt()
        self._expanded = dynprompt.ephemeral_prompt

    def __call__(self) -> dict[str, Any]:
        # In the order of their ids: an expansion of one graph gives one text in every process.
        return {**self._written, **{name: self._expanded[name] for name in sorted(self._expanded)}}
