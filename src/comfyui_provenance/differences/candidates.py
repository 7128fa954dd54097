"""What may have made two runs differ: graph, files, and values that nodes computed.

Each candidate carries what the records show of its effect, so that a change which reached nothing
is not taken for the cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ..canonical import JsonValue
from ..graph.difference import GraphChange
from ..graph.prompt import Link, Node, NodeId
from ..graph.trace import upstream
from ..text_difference import describe_text_difference
from ..verdict import Cause, CauseKind
from .candidate import Candidate
from .files import find_files, tell_order
from .kinds import classes_of, kind_of_change, phase_of, text_kind
from .points import Phase
from .refutation import is_refuted, reaches_output
from .sides import Runs

_SHOWN_CHARS: Final = 80


def find_candidates(runs: Runs, equal: set[Link]) -> list[Candidate]:
    """List what somebody changed between two runs: widgets, wiring, files.

    Args:
        runs: Both, aligned.
        equal: Outputs of now whose values are shown to be the recorded ones.
    """
    inputs = {
        (runs.to_now.get(material.node_id), material.input)
        for material in runs.recorded.record.materials
    }
    graph = [
        candidate
        for change in _of_note(runs)
        if (candidate := _of_change(runs, change, equal, inputs)) is not None
    ]
    found = [*find_files(runs, equal), *graph, *_computed_candidates(runs)]
    return tell_order(runs, found)


def _of_note(runs: Runs) -> Iterator[GraphChange]:
    """Leave out nodes that came or went only because what they feed did."""
    now, recorded = runs.now.prompt.nodes, runs.recorded.prompt.nodes
    added = {change.now_id for change in runs.changes if change.kind == "added"}
    removed = {change.recorded_id for change in runs.changes if change.kind == "removed"}
    for change in runs.changes:
        users: set[NodeId] = set()
        if change.kind == "added":
            users = _users(now, change.now_id) - added
        elif change.kind == "removed":
            users = _users(recorded, change.recorded_id) - removed
        outputs = (runs.now.record.output.node_id, runs.recorded.record.output.node_id)
        is_last = change.now_id == outputs[0] or change.recorded_id == outputs[1]
        if users or is_last or change.kind not in ("added", "removed"):
            yield change


def _users(nodes: Mapping[NodeId, Node], node_id: NodeId | None) -> set[NodeId]:
    """Give the nodes that take something from a node."""
    return {
        user_id
        for user_id, node in nodes.items()
        if any(isinstance(v, Link) and v.node_id == node_id for v in node.inputs.values())
    }


def _of_change(
    runs: Runs,
    change: GraphChange,
    equal: set[Link],
    inputs: set[tuple[NodeId | None, str]],
) -> Candidate | None:
    """Name a change of the graph; nothing for the name of a file, which its digest tells."""
    node_id = change.now_id
    is_name = change.kind == "literal" and (node_id, change.input or "") in inputs
    if is_name and text_kind(runs, node_id, change.input) is None:
        return None
    kind = kind_of_change(runs, change)
    at = node_id if node_id is not None else _user_of_removed(runs, change)
    if at is None:
        refuted = False
    else:
        refuted = not reaches_output(runs, at, equal) or is_refuted(runs, kind, at)
    cause = Cause(kind, _tell_change(change, kind), change.recorded, change.now, at)
    if change.kind in ("added", "removed", "replaced"):
        cause = Cause(kind, _tell_change(change, kind), *classes_of(runs, change), at)
    return Candidate(_with_safe_seed(cause), phase_of(kind, at), at, refuted)


def _with_safe_seed(cause: Cause) -> Cause:
    """Show seeds as records do, as texts."""
    if cause.kind is not CauseKind.SEED:
        return cause
    recorded, now = (
        str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for value in (cause.recorded, cause.now)
    )
    return Cause(cause.kind, cause.message, recorded, now, cause.node_id, cause.remedy)


def _user_of_removed(runs: Runs, change: GraphChange) -> NodeId | None:
    """Find the node of now that took the place of a removed one's user."""
    for user_id in runs.recorded.order:
        node = runs.recorded.prompt.nodes[user_id]
        links = [value for value in node.inputs.values() if isinstance(value, Link)]
        if any(link.node_id == change.recorded_id for link in links) and user_id in runs.to_now:
            return runs.to_now[user_id]
    return None


def _tell_change(change: GraphChange, kind: CauseKind) -> str:
    place = f"node {change.now_id or change.recorded_id} ({change.class_type})"
    if kind in (CauseKind.PROMPT_TEXT, CauseKind.NEGATIVE_TEXT):
        before, after = change.recorded, change.now
        if isinstance(before, str) and isinstance(after, str):
            which = "prompt" if kind is CauseKind.PROMPT_TEXT else "negative prompt"
            return f"the {which} has other words: {describe_text_difference(before, after)}"
    if change.kind == "added":
        return f"{place} was added"
    if change.kind == "removed":
        return f"{place} was taken out"
    if change.kind == "replaced":
        return f"{place} took the place of a {_show(change.recorded)}"
    if change.kind == "link" and change.input is None:
        return f"the image is another output of {place}"
    if change.kind == "link":
        return f"{place}: {change.input} is wired otherwise"
    return (
        f"{change.input} of {place} was {_show(change.recorded)} when the image was made and is "
        f"{_show(change.now)}"
    )


def _show(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def _computed_candidates(runs: Runs) -> Iterator[Candidate]:
    """List the nodes that computed another value though nothing before them differs."""
    differing: set[NodeId] = set()
    for recorded_link, value in runs.recorded.computed.items():
        link = runs.link_now(recorded_link)
        if link is None or link not in runs.now.computed or runs.now.computed[link] == value:
            continue
        differing.add(link.node_id)
        changed = {change.now_id for change in runs.changes}
        above = set(upstream(runs.now.prompt, link.node_id))
        if above & changed or (differing - {link.node_id}) & above:
            continue
        cause = Cause(
            CauseKind.UNSEEDED_NODE,
            f"node {link.node_id} ({runs.now.prompt.nodes[link.node_id].class_type}) computed "
            "another value from the same inputs: no seed decides it, or it depends on something "
            "that is not recorded",
            _shown_value(value),
            _shown_value(runs.now.computed[link]),
            link.node_id,
        )
        yield Candidate(cause, Phase.INPUT, link.node_id)


def _shown_value(value: JsonValue) -> JsonValue:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
