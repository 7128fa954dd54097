"""Laws of traces: topological order, and digests that only computation changes."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt
from comfyui_provenance.graph.rebuild import rename, set_input
from comfyui_provenance.graph.trace import digest_graph, prune, upstream

from support.strategies import prompts


@st.composite
def traced(draw: st.DrawFn) -> tuple[Prompt, NodeId]:
    """Draw a prompt and one of its nodes."""
    prompt = draw(prompts())
    return prompt, draw(st.sampled_from(list(prompt.nodes)))


def links_of(node: Node) -> list[Link]:
    return [value for value in node.inputs.values() if isinstance(value, Link)]


@given(traced())
def test_each_node_comes_once_and_after_its_inputs(case: tuple[Prompt, NodeId]) -> None:
    prompt, node_id = case

    order = upstream(prompt, node_id)

    assert len(set(order)) == len(order)
    assert order[-1] == node_id
    for at, item in enumerate(order):
        assert {link.node_id for link in links_of(prompt.nodes[item])} <= set(order[:at])


@given(traced())
def test_nothing_is_listed_without_a_use(case: tuple[Prompt, NodeId]) -> None:
    prompt, node_id = case

    order = upstream(prompt, node_id)

    used = {link.node_id for item in order for link in links_of(prompt.nodes[item])}
    assert set(order) == used | {node_id}


@given(traced())
def test_pruning_twice_prunes_nothing_more(case: tuple[Prompt, NodeId]) -> None:
    prompt, node_id = case

    pruned = prune(prompt, [node_id])

    assert set(pruned.nodes) == set(upstream(prompt, node_id))
    assert prune(pruned, [node_id]) == pruned


@given(traced(), st.randoms(use_true_random=False), st.text(max_size=4))
def test_ids_and_order_do_not_change_the_digest(
    case: tuple[Prompt, NodeId], random: Random, prefix: str
) -> None:
    prompt, node_id = case
    nodes = list(prompt.nodes.items())
    random.shuffle(nodes)
    reordered = {
        key: replace(node, inputs=dict(sorted(node.inputs.items()))) for key, node in nodes
    }

    renamed = rename(Prompt(reordered), prefix)

    assert digest_graph(renamed, Link(NodeId(prefix + node_id), 0)) == digest_graph(
        prompt, Link(node_id, 0)
    )


@given(traced(), st.data())
def test_a_changed_literal_anywhere_upstream_changes_the_digest(
    case: tuple[Prompt, NodeId], data: st.DataObject
) -> None:
    prompt, node_id = case
    place = data.draw(st.sampled_from(upstream(prompt, node_id)))
    marked = set_input(prompt, place, "mark", 1)

    changed = set_input(prompt, place, "mark", 2)

    link = Link(node_id, 0)
    assert digest_graph(changed, link) != digest_graph(marked, link)


@given(traced(), st.data())
def test_a_changed_slot_changes_the_digest(
    case: tuple[Prompt, NodeId], data: st.DataObject
) -> None:
    prompt, node_id = case
    more = Prompt({**prompt.nodes, NodeId("a source of its own"): Node("Load", {})})
    place = data.draw(st.sampled_from(upstream(prompt, node_id)))
    before, after = (
        set_input(more, place, "mark", Link(NodeId("a source of its own"), slot)) for slot in (0, 1)
    )

    link = Link(node_id, 0)

    assert digest_graph(before, link) != digest_graph(after, link)
