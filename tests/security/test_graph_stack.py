"""Attack: a graph that is a chain of thousands of nodes, or a circle.

A recursive walk overflows on the first and never ends on the second. A ladder in
which each node uses the one before twice has 2^n paths: each node is visited once.
"""

from __future__ import annotations

import pytest

from comfyui_provenance import limits
from comfyui_provenance.errors import GraphError
from comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt, dump_prompt, parse_prompt
from comfyui_provenance.graph.rebuild import rename
from comfyui_provenance.graph.trace import digest_graph, prune, upstream

from support.builders import chain_of

LAST = NodeId(str(limits.NODE_COUNT - 1))


def test_the_longest_chain_is_traced() -> None:
    prompt = parse_prompt(dump_prompt(chain_of(limits.NODE_COUNT)))

    assert upstream(prompt, LAST) == [str(at) for at in range(limits.NODE_COUNT)]
    assert prune(prompt, [LAST]) == prompt


def test_the_longest_chain_has_a_digest() -> None:
    prompt = chain_of(limits.NODE_COUNT)

    assert digest_graph(prompt, Link(LAST, 0)) == digest_graph(
        rename(prompt, "x"), Link(NodeId("x" + LAST), 0)
    )


def test_the_longest_circle_is_refused_in_a_short_message() -> None:
    nodes = dict(chain_of(limits.NODE_COUNT).nodes)
    nodes[NodeId("0")] = Node("Step", {"before": Link(LAST, 0)})
    prompt = Prompt(nodes)

    with pytest.raises(GraphError, match=r"cycle: '9999' <- '9998' <- .* 9993 more <- '9999'$"):
        upstream(prompt, LAST)
    with pytest.raises(GraphError, match="cycle"):
        digest_graph(prompt, Link(LAST, 0))


def test_a_ladder_with_more_paths_than_atoms_is_linear() -> None:
    rungs = 2000
    nodes = {NodeId("0"): Node("Step", {})}
    for at in range(1, rungs):
        before = Link(NodeId(str(at - 1)), 0)
        nodes[NodeId(str(at))] = Node("Step", {"left": before, "right": before})
    prompt, last = Prompt(nodes), NodeId(str(rungs - 1))

    assert len(upstream(prompt, last)) == rungs
    assert len(digest_graph(prompt, Link(last, 0)).hex) == 64


def test_one_node_with_very_many_links_is_linear() -> None:
    links = {f"input_{at}": Link(NodeId("1"), at) for at in range(200_000)}
    prompt = Prompt({NodeId("1"): Node("Load", {}), NodeId("2"): Node("Save", links)})

    assert upstream(prompt, NodeId("2")) == ["1", "2"]
