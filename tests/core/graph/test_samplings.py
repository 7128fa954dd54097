"""Widgets are read as what they are, and what the graph does not say is not guessed."""

from __future__ import annotations

from typing import Any

import pytest

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.errors import GraphError
from comfyui_provenance.graph.prompt import Link, NodeId, to_prompt
from comfyui_provenance.graph.samplings import PromptText, Sampling, read_samplings, resolve

from support import prompts
from support.prompts import node

Graph = dict[str, Any]


def read(graph: Graph, at: str = "decode") -> list[Sampling]:
    return read_samplings(to_prompt(graph, needed=[NodeId(at)]), NodeId(at))


def only(graph: Graph) -> Sampling:
    (sampling,) = read(graph)
    return sampling


def words(texts: tuple[PromptText, ...]) -> list[str | None]:
    return [text.text for text in texts]


def custom() -> Graph:
    """Build the graph of `SamplerCustomAdvanced`, with a LoRA on the guider alone."""
    graph: Graph = prompts.lora()
    graph["sampler"] = node(
        "SamplerCustomAdvanced",
        noise=["noise", 0],
        guider=["guider", 0],
        sampler=["select", 0],
        sigmas=["sigmas", 0],
        latent_image=["latent", 0],
    )
    graph["noise"] = node("RandomNoise", noise_seed=5)
    graph["select"] = node("KSamplerSelect", sampler_name="ddim")
    graph["sigmas"] = node(
        "BasicScheduler", model=["loader", 0], scheduler="beta", steps=9, denoise=0.5
    )
    graph["guider"] = node(
        "CFGGuider", model=["lora", 0], positive=["positive", 0], negative=["negative", 0], cfg=2.5
    )
    return graph


def test_a_stock_sampler_is_read_from_its_widgets() -> None:
    sampling = only(prompts.txt2img(seed=2**64 - 1, sampler_class="KSampler"))

    assert sampling == Sampling(
        node_id=NodeId("sampler"),
        class_type="KSampler",
        seed=2**64 - 1,
        sampler="euler",
        scheduler="normal",
        steps=4,
        cfg=7.0,
        denoise=1.0,
        width=128,
        height=128,
        positive=(PromptText(NodeId("positive"), "text", prompts.POSITIVE),),
        negative=(PromptText(NodeId("negative"), "text", prompts.NEGATIVE),),
        model=Link(NodeId("loader"), 0),
    )


def test_an_advanced_sampler_is_read_from_the_nodes_that_hold_its_settings() -> None:
    sampling = only(custom())

    settings = (sampling.seed, sampling.sampler, sampling.scheduler, sampling.steps)
    assert settings == (5, "ddim", "beta", 9)
    assert (sampling.cfg, sampling.denoise) == (2.5, 0.5)
    assert words(sampling.positive) == [prompts.POSITIVE]
    assert words(sampling.negative) == [prompts.NEGATIVE]


def test_the_model_is_the_guiders_and_not_the_schedulers() -> None:
    assert only(custom()).model == Link(NodeId("lora"), 0)


def test_a_basic_guider_has_one_conditioning_and_no_scale() -> None:
    graph = custom()
    graph["guider"] = node("BasicGuider", model=["lora", 0], conditioning=["positive", 0])

    sampling = only(graph)

    assert words(sampling.positive) == [prompts.POSITIVE]
    assert (sampling.negative, sampling.cfg) == ((), None)


def test_a_sampler_without_noise_has_no_seed() -> None:
    graph = custom()
    graph["noise"] = node("DisableNoise")

    assert only(graph).seed is None


def test_samplings_are_in_order_of_execution() -> None:
    assert [sampling.node_id for sampling in read(prompts.two_samplers())] == ["sampler", "second"]


def test_a_sampler_of_images_is_a_sampling_without_a_size() -> None:
    graph: Graph = prompts.txt2img()
    graph["upscale"] = node(
        "UltimateSDUpscale",
        image=["decode", 0],
        **{name: ["loader", 0] for name in ("model", "vae")},
        **{name: [name, 0] for name in ("positive", "negative")},
        seed=3,
        steps=20,
        cfg=1.0,
        sampler_name="euler",
        scheduler="normal",
        denoise=0.2,
    )

    last = read(graph, "upscale")[-1]

    assert (last.node_id, last.seed, last.width, last.height) == ("upscale", 3, None, None)


def test_a_graph_without_a_sampler_has_no_samplings() -> None:
    assert read({"decode": node("LoadImage", image="fox.png")}) == []


def test_a_cycle_is_refused() -> None:
    graph: Graph = prompts.txt2img()
    graph["positive"]["inputs"]["clip"] = ["decode", 0]

    with pytest.raises(GraphError, match="cycle"):
        read(graph)


@pytest.mark.parametrize(
    ("holder", "value"),
    [
        pytest.param(node("PrimitiveInt", value=9), 9, id="core's integer"),
        pytest.param(node("SeedNode", seed=9), 9, id="core's seed"),
        pytest.param(node("ProvenanceSeed", seed=9), 9, id="this pack's seed"),
        pytest.param(node("StringLength", string="nine"), None, id="one input that is measured"),
        pytest.param(node("RandomSeed", maximum=9), None, id="one input of an unknown node"),
        pytest.param(node("PrimitiveInt", note=9), None, id="a holder without its value"),
        pytest.param(node("PrimitiveInt", value=["link", 0]), None, id="a holder of itself"),
    ],
)
def test_a_linked_value_is_read_from_nodes_that_only_hold_it(
    holder: dict[str, Any], value: JsonValue
) -> None:
    prompt = to_prompt({"link": holder})

    assert resolve(prompt, Link(NodeId("link"), 0)) == value


def test_a_value_held_twice_is_read() -> None:
    prompt = to_prompt(
        {"a": node("PrimitiveInt", value=["b", 0]), "b": node("PrimitiveInt", value=9)}
    )

    assert resolve(prompt, Link(NodeId("a"), 0)) == 9


def test_a_size_taken_from_an_image_is_not_the_images_name() -> None:
    graph: Graph = prompts.txt2img()
    graph["image"] = node("LoadImage", image="fox.png")
    graph["size"] = node("GetImageSize", image=["image", 0])
    graph["latent"]["inputs"] |= {"width": ["size", 0], "height": ["size", 1]}

    sampling = only(graph)

    assert (sampling.width, sampling.height) == (None, None)


@pytest.mark.parametrize(
    ("latent", "size"),
    [
        pytest.param(
            node("RepeatLatentBatch", samples=["latent", 0], amount=2), (128, 128), id="repeated"
        ),
        pytest.param(
            node("LatentUpscale", samples=["latent", 0], width=64, height=96), (64, 96), id="scaled"
        ),
        pytest.param(
            node("LatentUpscale", samples=["latent", 0], width=64, height=0),
            (None, None),
            id="scaled by one side",
        ),
        pytest.param(
            node("LatentUpscaleBy", samples=["latent", 0], scale_by=2), (None, None), id="by factor"
        ),
        pytest.param(node("VAEEncode", pixels=["latent", 0]), (None, None), id="encoded"),
    ],
)
def test_the_size_is_that_of_the_latent_that_is_sampled(
    latent: dict[str, Any], size: tuple[JsonValue, JsonValue]
) -> None:
    graph: Graph = prompts.txt2img()
    graph["changed"] = latent
    graph["sampler"]["inputs"]["latent_image"] = ["changed", 0]

    sampling = only(graph)

    assert (sampling.width, sampling.height) == size


P, N = ["positive", 0], ["negative", 0]


@pytest.mark.parametrize(
    ("between", "positive", "negative"),
    [
        pytest.param(
            node("ControlNetApplyAdvanced", positive=P, negative=N, control_net=["loader", 0]),
            [prompts.POSITIVE],
            [prompts.NEGATIVE],
            id="a controlnet on both",
        ),
        pytest.param(
            node("PairConditioningCombine", positive_A=P, negative_A=N, positive_B=P, negative_B=N),
            [prompts.POSITIVE],
            [prompts.NEGATIVE],
            id="pairs",
        ),
        pytest.param(
            node(
                "PairConditioningSetDefaultCombine",
                **{"positive": P, "negative": N, "positive_DEFAULT": N, "negative_DEFAULT": P},
            ),
            [prompts.POSITIVE, prompts.NEGATIVE],
            [prompts.NEGATIVE, prompts.POSITIVE],
            id="pairs with a default",
        ),
        pytest.param(
            node("ConditioningCombine", conditioning_1=P, conditioning_2=N),
            [prompts.POSITIVE, prompts.NEGATIVE],
            [prompts.POSITIVE, prompts.NEGATIVE],
            id="combined",
        ),
        pytest.param(node("ConditioningZeroOut", conditioning=P), [], [], id="zeroed"),
        pytest.param(
            node("GLIGENTextBoxApply", conditioning_to=P, clip=["loader", 1], text="a box"),
            ["a box", prompts.POSITIVE],
            ["a box", prompts.POSITIVE],
            id="a text added to another",
        ),
        pytest.param(
            node("CLIPTextEncodeSDXL", clip=["loader", 1], text_g="g", text_l="l", width=64),
            ["g", "l"],
            ["g", "l"],
            id="two texts",
        ),
        pytest.param(
            node("CLIPTextEncode", clip=["loader", 1], text=["words", 0]),
            ["held"],
            ["held"],
            id="text through a link",
        ),
        pytest.param(
            node("CLIPTextEncode", clip=["loader", 1], text=["joined", 0]),
            [None],
            [None],
            id="text that is computed",
        ),
    ],
)
def test_texts_are_followed_through_conditionings(
    between: dict[str, Any], positive: list[str | None], negative: list[str | None]
) -> None:
    graph: Graph = prompts.txt2img()
    graph["between"] = between
    graph["words"] = node("PrimitiveString", value="held")
    graph["joined"] = node("StringConcatenate", string_a="a", string_b="b")
    graph["sampler"]["inputs"] |= {"positive": ["between", 0], "negative": ["between", 1]}

    sampling = only(graph)

    assert (words(sampling.positive), words(sampling.negative)) == (positive, negative)


def test_conditionings_that_form_a_diamond_are_read_once() -> None:
    graph: Graph = prompts.txt2img()
    before = "positive"
    for at in range(40):
        graph[f"c{at}"] = node(
            "ConditioningConcat", conditioning_to=[before, 0], conditioning_from=[before, 0]
        )
        before = f"c{at}"
    graph["sampler"]["inputs"]["positive"] = [before, 0]

    assert words(only(graph).positive) == [prompts.POSITIVE]


def test_a_prompt_keeps_its_nodes() -> None:
    graph: Graph = prompts.txt2img()
    prompt = to_prompt(graph)

    read_samplings(prompt, NodeId("decode"))

    assert prompt == to_prompt(graph)
