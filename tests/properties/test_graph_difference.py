"""Laws of compared graphs: silent where both compute the same, and only there."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.graph.difference import GraphDifference, compare_graphs
from comfyui_provenance.graph.prompt import Input, Link, Node, NodeId, Prompt
from comfyui_provenance.graph.trace import upstream

from support.strategies import prompts

HOLDER = "PrimitiveInt"

_literals: st.SearchStrategy[Input] = st.sampled_from(
    [None, 0, 1, 1.0, True, False, "1", [1], [True], {"b": 1, "a": 2}]
)
_names = st.sampled_from(["value", "image", "other"])


@st.composite
def nodes(draw: st.DrawFn, sources: list[NodeId]) -> Node:
    """Nodes of few classes and inputs, so that two drawn apart are often alike."""
    values = _literals
    if sources:
        links: st.SearchStrategy[Input] = st.builds(
            Link, st.sampled_from(sources), st.integers(0, 1)
        )
        values = links | _literals
    class_type = draw(st.sampled_from(["Load", "Sample", "Save", HOLDER]))
    return Node(class_type, draw(st.dictionaries(_names, values, max_size=3)))


@st.composite
def alike(draw: st.DrawFn) -> Prompt:
    """Prompts of up to eight nodes, the last of which is `7`."""
    built: dict[NodeId, Node] = {}
    for at in range(draw(st.integers(0, 7)), 8):
        built[NodeId(str(at))] = draw(nodes(list(built)))
    return Prompt(built)


@st.composite
def pairs_of_graphs(draw: st.DrawFn) -> tuple[Prompt, Prompt]:
    """Two prompts; the second often is the first with a node or two changed."""
    first = draw(alike())
    if draw(st.booleans()):
        return first, draw(alike())
    built = dict(first.nodes)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(list(built)))
        built[place] = draw(nodes([node_id for node_id in built if node_id < place]))
    return first, Prompt(built)


OUTPUT = Link(NodeId("7"), 0)


def compare(first: Prompt, second: Prompt) -> GraphDifference:
    return compare_graphs(first, OUTPUT, second, OUTPUT)


def computed(prompt: Prompt, value: Input) -> object:
    """Give what a value is computed from, as nested tuples that are equal where it is the same."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, list):
        return ("list", *(computed(prompt, item) for item in value))
    if isinstance(value, dict):
        return ("object", *((key, computed(prompt, value[key])) for key in sorted(value)))
    if not isinstance(value, Link):
        return type(value) is str, value
    node = prompt.nodes[value.node_id]
    held = computed(prompt, node.inputs.get("value"))
    if node.class_type == HOLDER and held != "None" and not is_node(held):
        return held
    inputs = sorted((name, computed(prompt, item)) for name, item in node.inputs.items())
    return "node", value.slot, node.class_type, *(item for item in inputs if item[1] != "None")


def is_node(value: object) -> bool:
    return isinstance(value, tuple) and value[0] == "node"


def image(prompt: Prompt) -> object:
    """Give what the image is computed from; its node counts as one, whatever its class."""
    node = prompt.nodes[OUTPUT.node_id]
    return node.class_type, {
        name: item
        for name, value in node.inputs.items()
        if (item := computed(prompt, value)) != "None"
    }


@given(pairs_of_graphs())
def test_nothing_is_told_exactly_where_both_compute_the_same(
    graphs: tuple[Prompt, Prompt],
) -> None:
    first, second = graphs

    found = compare(first, second)

    assert (found.changes == ()) == (image(first) == image(second))


@given(pairs_of_graphs())
def test_each_node_is_paired_once_and_told_once(graphs: tuple[Prompt, Prompt]) -> None:
    first, second = graphs

    found = compare(first, second)

    assert len(set(found.pairs.values())) == len(found.pairs)
    removed = [change.recorded_id for change in found.changes if change.kind == "removed"]
    added = [change.now_id for change in found.changes if change.kind == "added"]
    replaced = [change.recorded_id for change in found.changes if change.kind == "replaced"]
    inputs = [
        (change.now_id, change.input)
        for change in found.changes
        if change.kind in ("literal", "link")
    ]
    for ids in (removed, added, replaced, inputs):
        assert len(set(ids)) == len(ids)
    assert not found.pairs.keys() & set(removed)
    assert not set(found.pairs.values()) & set(added)
    for change in found.changes:
        if change.kind in ("literal", "link", "replaced"):
            assert change.recorded_id is not None
            assert found.pairs[change.recorded_id] == change.now_id
    assert found.pairs.keys() <= set(upstream(first, OUTPUT.node_id))
    assert set(found.pairs.values()) <= set(upstream(second, OUTPUT.node_id))


@given(pairs_of_graphs())
def test_changes_come_in_the_order_in_which_the_second_graph_runs(
    graphs: tuple[Prompt, Prompt],
) -> None:
    order = upstream(graphs[1], OUTPUT.node_id)

    found = compare(*graphs)

    places = [order.index(change.now_id) for change in found.changes if change.now_id is not None]
    assert places == sorted(places)


@given(prompts(), st.randoms(use_true_random=False), st.data())
def test_other_ids_and_another_order_change_nothing(
    prompt: Prompt, random: Random, data: st.DataObject
) -> None:
    node_id = data.draw(st.sampled_from(list(prompt.nodes)))
    ids = list(prompt.nodes)
    random.shuffle(ids)
    new_ids = dict(zip(prompt.nodes, ids, strict=True))
    shuffled = {new_ids[old]: renumbered(node, new_ids) for old, node in prompt.nodes.items()}
    reordered = Prompt({new: shuffled[new] for new in sorted(shuffled)})

    found = compare_graphs(prompt, Link(node_id, 0), reordered, Link(new_ids[node_id], 0))

    assert found.changes == ()
    assert found.pairs[node_id] == new_ids[node_id]
    assert found.pairs.keys() <= set(upstream(prompt, node_id))


def renumbered(node: Node, ids: dict[NodeId, NodeId]) -> Node:
    inputs = {
        name: Link(ids[value.node_id], value.slot) if isinstance(value, Link) else value
        for name, value in sorted(node.inputs.items())
    }
    return replace(node, inputs=inputs)
