"""An image depends on what is upstream of it, and on nothing else."""

from __future__ import annotations

import pytest

from comfyui_provenance.errors import GraphError
from comfyui_provenance.graph.prompt import Input, Link, Node, NodeId, Prompt
from comfyui_provenance.graph.trace import NodeDigests, digest_graph, prune, upstream

from support.builders import prompt_of

SAVE = NodeId("save")


def test_a_shared_input_is_listed_once() -> None:
    prompt = prompt_of(save=["left", "right"], left=["model"], right=["model"], model=[])

    assert upstream(prompt, SAVE) == ["model", "left", "right", "save"]


def test_inputs_come_before_users_whatever_the_path_to_them() -> None:
    prompt = prompt_of(save=["model", "late"], late=["middle"], middle=["model"], model=[])

    assert upstream(prompt, SAVE) == ["model", "middle", "late", "save"]


def test_what_is_downstream_or_beside_is_not_listed() -> None:
    prompt = prompt_of(preview=["sampler"], sampler=["model"], model=[], other=["model"])

    assert upstream(prompt, NodeId("sampler")) == ["model", "sampler"]


def test_a_cycle_beside_the_image_does_not_matter() -> None:
    prompt = prompt_of(save=["model"], model=[], a=["b"], b=["a"])

    assert upstream(prompt, SAVE) == ["model", "save"]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        pytest.param(prompt_of(save=["save"]), "cycle: 'save' <- 'save'$", id="itself"),
        pytest.param(
            prompt_of(save=["a"], a=["b"], b=["c"], c=["a"]),
            "cycle: 'a' <- 'b' <- 'c' <- 'a'$",
            id="three nodes upstream",
        ),
        pytest.param(
            prompt_of(save=["0"], **{str(at): [str((at + 1) % 9)] for at in range(9)}),
            "'6' <- 2 more <- '0'$",
            id="nine nodes",
        ),
    ],
)
def test_a_cycle_is_refused_by_name(prompt: Prompt, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        upstream(prompt, SAVE)


def test_a_node_that_is_not_there_has_no_trace() -> None:
    with pytest.raises(GraphError, match="expected a node 'save' in the prompt, got none"):
        upstream(prompt_of(model=[]), SAVE)


def test_pruning_keeps_the_order_of_the_prompt() -> None:
    prompt = prompt_of(save=["a"], other=["a"], b=[], preview=["b"], a=[])

    pruned = prune(prompt, [NodeId("preview"), SAVE])

    assert list(pruned.nodes) == ["save", "b", "preview", "a"]


def sampled(
    seed: Input = 7, *, slot: int = 0, source: str = "Loader", name: str = "seed"
) -> Prompt:
    inputs: dict[str, Input] = {name: seed, "model": Link(NodeId("1"), slot)}
    return Prompt({NodeId("1"): Node(source, {}), NodeId("2"): Node("KSampler", inputs)})


LATENT = Link(NodeId("2"), 0)


def test_ids_and_the_order_of_keys_do_not_change_the_digest() -> None:
    other = Prompt(
        {
            NodeId("b"): Node("KSampler", {"model": Link(NodeId("a"), 0), "seed": 7}),
            NodeId("a"): Node("Loader", {}),
        }
    )

    assert digest_graph(other, Link(NodeId("b"), 0)) == digest_graph(sampled(), LATENT)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(sampled(8), id="a literal"),
        pytest.param(sampled(7.0), id="a literal of another type"),
        pytest.param(sampled(True), id="a truth value"),
        pytest.param(sampled(2**64 - 1), id="a large seed"),
        pytest.param(sampled([7]), id="a list"),
        pytest.param(sampled(["1", 0]), id="a literal that looks like a link"),
        pytest.param(sampled(slot=1), id="the slot of a link"),
        pytest.param(sampled(source="Other"), id="the class of an upstream node"),
        pytest.param(sampled(name="noise_seed"), id="the name of an input"),
    ],
)
def test_any_change_upstream_changes_the_digest(other: Prompt) -> None:
    assert digest_graph(other, LATENT) != digest_graph(sampled(), LATENT)


def test_the_order_of_keys_within_a_literal_does_not_change_the_digest() -> None:
    first, second = sampled({"a": 1, "b": [2]}), sampled({"b": [2], "a": 1})

    assert digest_graph(first, LATENT) == digest_graph(second, LATENT)


def test_a_literal_that_is_not_a_number_has_a_digest() -> None:
    assert digest_graph(sampled(float("nan")), LATENT) == digest_graph(
        sampled(float("nan")), LATENT
    )


def test_another_slot_of_the_node_is_another_value() -> None:
    assert digest_graph(sampled(), Link(NodeId("2"), 1)) != digest_graph(sampled(), LATENT)


def test_large_seeds_that_differ_in_the_last_digit_differ() -> None:
    first, second = sampled(2**64 - 1), sampled(2**64 - 2)

    assert digest_graph(first, LATENT) != digest_graph(second, LATENT)


def test_nodes_beside_the_value_do_not_count() -> None:
    prompt = sampled()
    more = Prompt({**prompt.nodes, NodeId("3"): Node("Save", {"images": LATENT})})

    assert digest_graph(more, LATENT) == digest_graph(prompt, LATENT)


def test_a_graph_that_grows_keeps_the_digests_it_had() -> None:
    nodes = dict(prompt_of(sampler=["model"], model=[]).nodes)
    digests = NodeDigests(nodes)
    before = digests[NodeId("sampler")]

    nodes.update(prompt_of(save=["sampler"], sampler=["model"], model=[]).nodes)

    assert digests[NodeId("sampler")] == before
    assert digests.at(Link(SAVE, 0)) == digest_graph(Prompt(nodes), Link(SAVE, 0))


def test_nodes_of_different_states_and_what_depends_on_them_have_no_common_digest() -> None:
    prompt = prompt_of(save=["left", "right"], left=[], right=[])

    plain = NodeDigests(prompt.nodes)
    other = NodeDigests(prompt.nodes, lambda node_id: "new" if node_id == "left" else "")

    assert plain[NodeId("left")] != other[NodeId("left")]
    assert other[NodeId("left")] != other[NodeId("right")]
    assert other[SAVE] != plain[SAVE]


def test_each_node_is_asked_for_its_state_once() -> None:
    asked: list[NodeId] = []

    def state(node_id: NodeId) -> str:
        asked.append(node_id)
        return ""

    digests = NodeDigests(prompt_of(c=["b", "a"], b=["a"], a=[]).nodes, state)
    _ = digests[NodeId("b")], digests[NodeId("c")], digests[NodeId("c")]

    assert asked == ["a", "b", "c"]
