"""Attack: a graph of a hundred thousand nodes, in a file of a few megabytes.

Each of them is looked at before the graph is found too large; with the prompt beside the record
that was seconds for every file that is only asked about. Nodes are counted first.
"""

from __future__ import annotations

import json

import pytest

from comfyui_provenance import limits
from comfyui_provenance.errors import LimitError
from comfyui_provenance.graph.prompt import NodeId, parse_prompt

CROWD = limits.NODE_COUNT + 1


def crowd_of(count: int) -> str:
    """A chain of nodes without a class, so that whoever looks at one finds that out."""
    nodes = {str(at): {"inputs": {"before": [str(at - 1), 0]} if at else {}} for at in range(count)}
    return json.dumps(nodes)


def test_nodes_are_counted_before_they_are_looked_at() -> None:
    with pytest.raises(LimitError, match=rf"at most {limits.NODE_COUNT} nodes, got {CROWD}"):
        parse_prompt(crowd_of(CROWD))


def test_only_those_that_matter_are_counted() -> None:
    with pytest.raises(LimitError, match=rf"got {CROWD}"):
        parse_prompt(crowd_of(CROWD), needed=[NodeId(str(CROWD - 1))])

    text = json.dumps({**json.loads(crowd_of(CROWD)), "one": {"class_type": "A", "inputs": {}}})
    assert list(parse_prompt(text, needed=[NodeId("one")]).nodes) == ["one"]
