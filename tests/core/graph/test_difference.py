"""Graphs are compared from the image: numbering says nothing, and each edit is told once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.errors import GraphError
from comfyui_provenance.graph.difference import GraphChange, GraphDifference, compare_graphs
from comfyui_provenance.graph.prompt import Link, Node, NodeId, Prompt, to_prompt
from comfyui_provenance.graph.rebuild import rename

from support import prompts
from support.builders import chain_of, prompt_of
from support.prompts import node

Graph = dict[str, dict[str, Any]]
Edit = Callable[[Graph], str | None]
"""Changes a graph in place; gives the node of the image where it is another one."""


def graph() -> Graph:
    """Build a picture from words, without the node that saves it."""
    built = prompts.txt2img(sampler_class="KSampler")
    del built["save"]
    return built


def compare(
    before: Graph, after: Graph, output: str = "decode", now: str = "decode"
) -> GraphDifference:
    return compare_graphs(
        to_prompt(cast("JsonValue", before)),
        Link(NodeId(output), 0),
        to_prompt(cast("JsonValue", after)),
        Link(NodeId(now), 0),
    )


def changes(edit: Edit) -> list[tuple[Any, ...]]:
    """Edit a graph and give what is told of it, without the fields that are `None`."""
    after = graph()
    now = edit(after) or "decode"
    return [told(change) for change in compare(graph(), after, now=now).changes]


def told(change: GraphChange) -> tuple[Any, ...]:
    if change.kind in ("literal", "link"):
        return change.kind, change.now_id, change.input, change.recorded, change.now
    return change.kind, change.recorded_id, change.now_id, change.class_type


def insert_lora(after: Graph, node_id: str = "lora", name: str = "a.safetensors") -> None:
    """Put a LoRA between the loader, or the LoRAs that there are, and all its users."""
    source = after["sampler"]["inputs"]["model"][0]
    after[node_id] = node(
        "LoraLoader", lora_name=name, strength_model=1.0, model=[source, 0], clip=[source, 1]
    )
    after["sampler"]["inputs"]["model"] = [node_id, 0]
    for encoder in ("positive", "negative"):
        after[encoder]["inputs"]["clip"] = [node_id, 1]


def set_seed(after: Graph) -> None:
    after["sampler"]["inputs"]["seed"] = 2


def invert_and_set_seed(after: Graph) -> str:
    set_seed(after)
    return invert(after)


def set_widgets(after: Graph) -> None:
    after["latent"]["inputs"]["width"] = 256
    after["decode"]["inputs"]["tile"] = 64
    del after["sampler"]["inputs"]["denoise"]


def link_seed(after: Graph) -> None:
    after["seed"] = node("PrimitiveInt", value=1)
    after["sampler"]["inputs"]["seed"] = ["seed", 0]


def link_another_seed(after: Graph) -> None:
    after["seed"] = node("PrimitiveInt", value=9)
    after["sampler"]["inputs"]["seed"] = ["seed", 0]


def compute_seed(after: Graph) -> None:
    after["seed"] = node("StringLength", string="words")
    after["sampler"]["inputs"]["seed"] = ["seed", 0]


def equal_numbers(after: Graph) -> None:
    after["sampler"]["inputs"] |= {"cfg": 7, "steps": 4.0, "nothing": None}


def truth_for_one(after: Graph) -> None:
    after["latent"]["inputs"]["batch_size"] = True


def invert(after: Graph) -> str:
    after["invert"] = node("ImageInvert", image=["decode", 0])
    return "invert"


def invert_and_scale(after: Graph) -> str:
    after["scale"] = node("ImageScaleBy", image=["decode", 0], scale_by=2)
    after["invert"] = node("ImageInvert", image=["scale", 0])
    return "invert"


def add_controlnet(after: Graph) -> None:
    after["net"] = node("ControlNetLoader", control_net_name="n.safetensors")
    after["apply"] = node("ControlNetApply", conditioning=["positive", 0], control_net=["net", 0])
    after["sampler"]["inputs"]["positive"] = ["apply", 0]


def zero_other_words(after: Graph) -> None:
    after["positive"]["inputs"]["text"] = "a wolf"
    after["zero"] = node("ConditioningZeroOut", conditioning=["positive", 0])
    after["sampler"]["inputs"]["positive"] = ["zero", 0]


def start_from_image(after: Graph) -> None:
    after["image"] = node("LoadImage", image="a.png")
    after["encode"] = node("VAEEncode", pixels=["image", 0], vae=["loader", 2])
    after["sampler"]["inputs"]["latent_image"] = ["encode", 0]
    del after["latent"]


def swap_words(after: Graph) -> None:
    inputs = after["sampler"]["inputs"]
    inputs["positive"], inputs["negative"] = inputs["negative"], inputs["positive"]


def decode_in_tiles(after: Graph) -> None:
    after["decode"]["class_type"] = "VAEDecodeTiled"


def use_another_sampler(after: Graph) -> None:
    after["sampler"]["class_type"] = "ProvenanceKSampler"
    after["sampler"]["inputs"] |= {"seed": 2, "deterministic_mode": True}


def take_another_output(after: Graph) -> None:
    after["decode"]["inputs"]["vae"] = ["loader", 3]


def sample_twice(after: Graph) -> None:
    first = after["sampler"]["inputs"]
    after["second"] = node("KSampler", **{**first, "latent_image": ["sampler", 0], "denoise": 0.5})
    after["decode"]["inputs"]["samples"] = ["second", 0]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(lambda after: None, [], id="nothing"),
        pytest.param(set_seed, [("literal", "sampler", "seed", 1, 2)], id="a seed"),
        pytest.param(
            set_widgets,
            [
                ("literal", "latent", "width", 128, 256),
                ("literal", "sampler", "denoise", 1.0, None),
                ("literal", "decode", "tile", None, 64),
            ],
            id="widgets, in order of execution",
        ),
        pytest.param(link_seed, [], id="a seed from a node that holds the same one"),
        pytest.param(
            link_another_seed,
            [("literal", "sampler", "seed", 1, 9)],
            id="a seed from a node that holds another one",
        ),
        pytest.param(
            compute_seed,
            [("added", None, "seed", "StringLength"), ("link", "sampler", "seed", 1, ["seed", 0])],
            id="a seed that a node computes",
        ),
        pytest.param(equal_numbers, [], id="equal numbers, and null for an input that was not"),
        pytest.param(
            truth_for_one, [("literal", "latent", "batch_size", 1, True)], id="true for 1"
        ),
        pytest.param(invert, [("added", None, "invert", "ImageInvert")], id="a node at the end"),
        pytest.param(
            invert_and_scale,
            [("added", None, "scale", "ImageScaleBy"), ("added", None, "invert", "ImageInvert")],
            id="two nodes at the end",
        ),
        pytest.param(
            invert_and_set_seed,
            [("literal", "sampler", "seed", 1, 2), ("added", None, "invert", "ImageInvert")],
            id="a node at the end and a widget",
        ),
        pytest.param(
            insert_lora, [("added", None, "lora", "LoraLoader")], id="a node with three users"
        ),
        pytest.param(
            zero_other_words,
            [
                ("literal", "positive", "text", prompts.POSITIVE, "a wolf"),
                ("added", None, "zero", "ConditioningZeroOut"),
            ],
            id="a node after one with another widget",
        ),
        pytest.param(
            add_controlnet,
            [
                ("added", None, "net", "ControlNetLoader"),
                ("added", None, "apply", "ControlNetApply"),
            ],
            id="a node, and one that it needs",
        ),
        pytest.param(
            start_from_image,
            [
                ("added", None, "image", "LoadImage"),
                ("replaced", "latent", "encode", "VAEEncode"),
            ],
            id="a node replaced, and one that the new one needs",
        ),
        pytest.param(
            decode_in_tiles,
            [("replaced", "decode", "decode", "VAEDecodeTiled")],
            id="the last node replaced",
        ),
        pytest.param(
            use_another_sampler,
            [
                ("replaced", "sampler", "sampler", "ProvenanceKSampler"),
                ("literal", "sampler", "seed", 1, 2),
            ],
            id="a node replaced and a widget changed that both have",
        ),
        pytest.param(
            take_another_output,
            [("link", "decode", "vae", ["loader", 2], ["loader", 3])],
            id="another output of the same node",
        ),
        pytest.param(
            swap_words,
            [
                ("literal", "negative", "text", prompts.POSITIVE, prompts.NEGATIVE),
                ("literal", "positive", "text", prompts.NEGATIVE, prompts.POSITIVE),
            ],
            id="two of one class swapped",
        ),
        pytest.param(
            sample_twice, [("added", None, "second", "KSampler")], id="a second one of a class"
        ),
    ],
)
def test_an_edit_is_told_once(edit: Edit, expected: list[tuple[Any, ...]]) -> None:
    assert changes(edit) == expected


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(invert, [("removed", "invert", None, "ImageInvert")], id="a node at the end"),
        pytest.param(
            invert_and_scale,
            [
                ("removed", "scale", None, "ImageScaleBy"),
                ("removed", "invert", None, "ImageInvert"),
            ],
            id="two nodes at the end",
        ),
        pytest.param(insert_lora, [("removed", "lora", None, "LoraLoader")], id="three users"),
        pytest.param(
            compute_seed,
            [
                ("removed", "seed", None, "StringLength"),
                ("link", "sampler", "seed", ["seed", 0], 1),
            ],
            id="a node that computed a seed",
        ),
        pytest.param(
            sample_twice, [("removed", "second", None, "KSampler")], id="the second of a class"
        ),
    ],
)
def test_an_edit_undone_is_told_once(edit: Edit, expected: list[tuple[Any, ...]]) -> None:
    before = graph()
    output = edit(before) or "decode"

    found = compare(before, graph(), output=output)

    assert [told(change) for change in found.changes] == expected


def test_a_removed_node_is_told_before_what_followed_it() -> None:
    before, after = graph(), graph()
    insert_lora(before)
    after["loader"]["inputs"]["ckpt_name"] = "b.safetensors"
    after["sampler"]["inputs"]["seed"] = 2

    found = compare(before, after)

    assert [(change.kind, change.recorded_id) for change in found.changes] == [
        ("literal", "loader"),
        ("removed", "lora"),
        ("literal", "sampler"),
    ]
    assert found.changes[1].recorded == "LoraLoader"


@pytest.mark.parametrize("number", [str, lambda at: f"{at}:{at}"], ids=["numbers", "subgraphs"])
def test_a_node_put_before_another_of_its_class_is_told_under_any_numbering(
    number: Callable[[int], str],
) -> None:
    before, after = graph(), graph()
    insert_lora(before, "lora", "a.safetensors")
    insert_lora(after, "lora", "a.safetensors")
    insert_lora(after, "other", "b.safetensors")

    plain = compare(before, after)
    numbers = {node_id: number(at) for at, node_id in enumerate(after)}
    renumbered = compare(before, renamed(after, numbers), now=numbers["decode"])

    assert [told(change) for change in plain.changes] == [("added", None, "other", "LoraLoader")]
    assert [change.kind for change in renumbered.changes] == ["added"]
    assert renumbered.changes[0].now_id == numbers["other"]
    assert renumbered.pairs[NodeId("lora")] == numbers["lora"]


def test_two_nodes_of_a_class_in_another_order_are_told_by_their_values() -> None:
    before, after = graph(), graph()
    for built, names in ((before, "ab"), (after, "ba")):
        for name in names:
            insert_lora(built, f"lora_{name}", f"{name}.safetensors")

    found = compare(before, after)

    assert {change.input for change in found.changes} == {"lora_name"}
    assert sorted((change.recorded, change.now) for change in found.changes) == [
        ("a.safetensors", "b.safetensors"),
        ("b.safetensors", "a.safetensors"),
    ]


def test_two_nodes_of_two_classes_in_another_order_are_told_by_their_wiring() -> None:
    before = prompt_of(invert=["scale"], scale=["decode"], decode=[])
    after = prompt_of(scale=["invert"], invert=["decode"], decode=[])

    found = compare_graphs(before, Link(NodeId("invert"), 0), after, Link(NodeId("scale"), 0))

    assert [told(change)[:3] for change in found.changes] == [
        ("link", "invert", "input_0"),
        ("link", "scale", "input_0"),
    ]
    assert found.pairs == {node_id: node_id for node_id in before.nodes}


@pytest.mark.parametrize("prefix", ["", "1:"], ids=["the same ids", "other ids"])
def test_the_last_decoder_is_not_taken_for_an_earlier_one(prefix: str) -> None:
    before = graph()
    before["scale"] = node("ImageScaleBy", image=["decode", 0], scale_by=2)
    before["encode"] = node("VAEEncode", pixels=["scale", 0], vae=["loader", 2])
    before["second"] = node(
        "KSampler", **{**before["sampler"]["inputs"], "latent_image": ["encode", 0]}
    )
    before["last"] = node("VAEDecode", samples=["second", 0], vae=["loader", 2])
    after = {node_id: dict(item) for node_id, item in before.items()}
    after["last"]["class_type"] = "VAEDecodeTiled"
    after = renamed(after, {node_id: prefix + node_id for node_id in after})

    found = compare(before, after, output="last", now=f"{prefix}last")

    assert [told(change) for change in found.changes] == [
        ("replaced", "last", f"{prefix}last", "VAEDecodeTiled")
    ]


def test_a_node_of_the_same_id_is_not_taken_for_one_put_before_it() -> None:
    before, after = graph(), graph()
    before["last"] = node("ImageInvert", image=["decode", 0])
    after["last"] = node("ImageInvert", image=["new", 0])
    after["new"] = node("ImageInvert", image=["decode", 0])

    found = compare(before, after, output="last", now="last")

    assert [told(change) for change in found.changes] == [
        ("link", "last", "image", ["decode", 0], ["new", 0])
    ]
    assert found.pairs[NodeId("last")] == "last"


def test_of_two_changed_nodes_the_one_at_the_same_place_is_the_same() -> None:
    before, after = graph(), graph()
    before["last"] = node("ImageBlur", image=["decode", 0], sigma=1)
    after["upper"] = node("ImageBlur", image=["decode", 0], sigma=2)
    after["lower"] = node("ImageBlur", image=["upper", 0], sigma=3)

    found = compare(before, after, output="last", now="lower")

    assert [told(change) for change in found.changes] == [
        ("added", None, "upper", "ImageBlur"),
        ("literal", "lower", "sigma", 1, 3),
    ]


def test_a_node_with_a_place_of_its_own_is_not_taken_for_another_of_its_class() -> None:
    before, after = graph(), graph()
    after["zero"] = node("ConditioningZeroOut", conditioning=["positive", 0])
    for built, source in ((before, "negative"), (after, "zero")):
        inputs = built["sampler"]["inputs"]
        built["sampler"]["inputs"] = {"negative": [source, 0]} | inputs | {"negative": [source, 0]}
    del after["negative"]

    found = compare(before, after)

    assert [told(change) for change in found.changes] == [
        ("replaced", "negative", "zero", "ConditioningZeroOut")
    ]
    assert found.pairs[NodeId("positive")] == "positive"


@pytest.mark.parametrize("is_added", [True, False], ids=["added", "removed"])
def test_a_node_that_only_one_graph_has_is_not_taken_for_another_at_its_second_place(
    is_added: bool,
) -> None:
    def built(left: str, **scale: float) -> Graph:
        return {
            "blend": node("ImageBlend", image1=[left, 0], image2=["scale", 0]),
            "scale": node("ImageScaleBy", image=["decode", 0], **scale),
            "decode": node("VAEDecode"),
        }

    plain = built("decode", scale_by=2)
    twice = renamed(built("scale", scale_by=4), {"blend": "1", "scale": "2", "decode": "3"})
    if is_added:
        found = compare(plain, twice, output="blend", now="1")
    else:
        found = compare(twice, plain, output="1", now="blend")

    kinds = [change.kind for change in found.changes]
    assert sorted(kinds) == ["added", "link", "removed"]
    assert next(change.input for change in found.changes if change.input) == "image2"


def test_a_node_that_is_still_elsewhere_is_not_told_as_replaced() -> None:
    before = prompt_of(blend=["left", "right"], left=[], right=[])
    after = prompt_of(blend=["right", "left"], left=[], right=[])

    found = compare_graphs(before, Link(NodeId("blend"), 0), after, Link(NodeId("blend"), 0))

    assert [(change.kind, change.input) for change in found.changes] == [
        ("link", "input_0"),
        ("link", "input_1"),
    ]
    assert found.pairs == {NodeId(name): NodeId(name) for name in ("blend", "left", "right")}


def test_another_output_of_the_node_of_the_image_is_told() -> None:
    prompt = prompt_of(split=[])

    found = compare_graphs(prompt, Link(NodeId("split"), 0), prompt, Link(NodeId("split"), 1))

    assert [told(change) for change in found.changes] == [
        ("link", "split", None, ["split", 0], ["split", 1])
    ]


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "now"])
def test_a_twin_that_computes_the_same_makes_no_difference(is_first: bool) -> None:
    twins = prompt_of(blend=["one", "two"], one=[], two=[])
    two = Prompt({**twins.nodes, NodeId("two"): Node("one", {})})
    one = prompt_of(blend=["one", "one"], one=[])
    blend = Link(NodeId("blend"), 0)

    found = (
        compare_graphs(two, blend, one, blend)
        if is_first
        else compare_graphs(one, blend, two, blend)
    )

    assert found.changes == ()
    assert found.pairs == {NodeId(name): NodeId(name) for name in ("blend", "one")}


def test_nodes_that_are_no_longer_at_their_places_are_still_paired() -> None:
    before, after = graph(), graph()
    after["sampler"] = node(
        "SamplerCustom", guider=["guider", 0], latent=after["sampler"]["inputs"]["latent_image"]
    )
    after["guider"] = node("CFGGuider", plus=["positive", 0], minus=["negative", 0])
    numbers = {node_id: f"{node_id} now" for node_id in after}

    found = compare(before, renamed(after, numbers), now="decode now")

    assert [told(change) for change in found.changes] == [
        ("added", None, "guider now", "CFGGuider"),
        ("replaced", "sampler", "sampler now", "SamplerCustom"),
    ]
    assert found.pairs == {NodeId(node_id): NodeId(f"{node_id} now") for node_id in before}


def test_of_twins_that_moved_those_with_one_id_are_paired() -> None:
    twins = {NodeId(name): Node("twin", {}) for name in ("one", "two")}
    before = Prompt({**prompt_of(blend=["top"], top=["sum"], sum=[]).nodes, **twins})
    nodes = dict(before.nodes)
    links = [Link(NodeId(name), 0) for name in ("one", "two")]
    nodes[NodeId("sum")] = Node("sum", dict(zip("ab", links, strict=True)))
    moved = {**nodes, NodeId("sum"): Node("mix", dict(zip("cd", reversed(links), strict=True)))}

    found = compare_graphs(
        Prompt(nodes), Link(NodeId("blend"), 0), Prompt(moved), Link(NodeId("blend"), 0)
    )

    assert found.pairs[NodeId("one")] == "one"
    assert found.pairs[NodeId("two")] == "two"


def test_a_renumbered_graph_is_the_same_also_in_the_nodes_that_hold_values() -> None:
    before = graph()
    before["seed"] = node("PrimitiveInt", value=["number", 0])
    before["number"] = node("PrimitiveInt", value=5)
    before["sampler"]["inputs"]["seed"] = ["seed", 0]
    prompt = to_prompt(cast("JsonValue", before))

    found = compare_graphs(
        prompt, Link(NodeId("decode"), 0), rename(prompt, "1:"), Link(NodeId("1:decode"), 0)
    )

    assert found == GraphDifference({NodeId(name): NodeId(f"1:{name}") for name in before}, ())


def test_what_does_not_lead_to_the_image_is_not_compared() -> None:
    after = graph()
    after["preview"] = node("PreviewImage", images=["decode", 0])
    after["broken"] = node("Loop", of=["broken", 0])

    assert compare(graph(), after).changes == ()


@pytest.mark.parametrize("is_first", [True, False], ids=["the first", "the second"])
def test_a_cycle_in_either_graph_is_refused(is_first: bool) -> None:
    good, bad = prompt_of(a=["b"], b=[]), prompt_of(a=["b"], b=["a"])
    pair = (bad, good) if is_first else (good, bad)

    with pytest.raises(GraphError, match="cycle: 'a' <- 'b' <- 'a'"):
        compare_graphs(pair[0], Link(NodeId("a"), 0), pair[1], Link(NodeId("a"), 0))


def test_an_output_that_is_not_there_is_refused() -> None:
    with pytest.raises(GraphError, match="expected a node 'gone' in the prompt, got none"):
        compare(graph(), graph(), now="gone")


def test_a_long_chain_that_differs_everywhere_is_compared_within_seconds() -> None:
    before = chain_of(10_000)
    other = {
        NodeId(f"n{node_id}"): Node(
            f"Other{int(node_id) % 7}",
            {name: Link(NodeId(f"n{link.node_id}"), 0) for name, link in links_of(item)},
        )
        for node_id, item in before.nodes.items()
    }
    started = time.process_time()

    found = compare_graphs(before, Link(NodeId("9999"), 0), Prompt(other), Link(NodeId("n9999"), 0))

    assert time.process_time() - started < 10
    assert {change.kind for change in found.changes} == {"replaced"}
    assert len(found.changes) == 10_000


def test_many_links_that_lead_elsewhere_are_compared_within_seconds() -> None:
    count = 50_000
    chain = [
        (NodeId(f"{side}{at}"), Node(f"{side}{at}", {"a": Link(NodeId(f"{side}{at - 1}"), 0)}))
        for side in "bn"
        for at in range(1, 600)
    ]
    ends = [(NodeId(f"{side}0"), Node(f"{side}0", {})) for side in "bn"]
    link = Link(NodeId("b599"), 0)
    top = {
        NodeId("b"): Node("Top", dict.fromkeys(map(str, range(count)), link)),
        NodeId("n"): Node(
            "Top", {str(at): Link(NodeId(f"n{599 - at % 300}"), 0) for at in range(count)}
        ),
    }
    prompt = Prompt({**top, **dict(chain), **dict(ends)})
    started = time.process_time()

    found = compare_graphs(prompt, Link(NodeId("b"), 0), prompt, Link(NodeId("n"), 0))

    assert time.process_time() - started < 5
    assert len(found.changes) > count // 2


def links_of(item: Node) -> list[tuple[str, Link]]:
    return [(name, value) for name, value in item.inputs.items() if isinstance(value, Link)]


def renamed(built: Graph, names: dict[str, str]) -> Graph:
    """Give every node another id, and turn their order round."""
    return {
        names[node_id]: node(
            item["class_type"],
            **{
                name: [names[value[0]], value[1]] if isinstance(value, list) else value
                for name, value in item["inputs"].items()
            },
        )
        for node_id, item in reversed(built.items())
    }
