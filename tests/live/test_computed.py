"""What nodes computed is told as it ran, and every stage has its digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comfyui_provenance.digest import digest_text

from support import prompts
from support.reports import reproduce
from support.server import ComfyServer
from support.tampering import record_of

PACK = Path(__file__).parents[1] / "packs" / "third_party"


@pytest.fixture(scope="module")
def server(server_with: Any) -> ComfyServer:
    return server_with(packs=(PACK,))


def test_a_prompt_and_a_seed_that_other_nodes_compute_are_told(server: ComfyServer) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=1, steps=2))
    prompt["words"] = prompts.node(
        "StringConcatenate", string_a="a red", string_b="fox", delimiter=" "
    )
    prompt["positive"]["inputs"]["text"] = ["words", 0]
    prompt["number"] = prompts.node("ThirdPartyAnySeed", literal=str(2**63 + 5))
    prompt["sampler"]["inputs"]["seed"] = ["number", 0]

    (path,) = server.images(server.run(prompt))

    record = record_of(path.read_bytes())
    assert record["tuple"]["seed"] == str(2**63 + 5)
    assert record["tuple"]["prompt_sha256"] == digest_text("a red fox").hex
    assert record["samplings"][0]["positive"][0]["text"] == "a red fox"
    computed = {entry["node_id"]: (entry["type"], entry["value"]) for entry in record["computed"]}
    assert computed == {"words": ("STRING", "a red fox"), "number": ("INT", str(2**63 + 5))}
    assert '"text":["words",0]' in record["graph"]


def test_a_stock_sampler_with_a_computed_seed_is_told_too(server: ComfyServer) -> None:
    prompt = prompts.txt2img(seed=1, steps=1, sampler_class="KSampler")
    prompt["number"] = prompts.node("ThirdPartyAnySeed", literal="77")
    prompt["sampler"]["inputs"]["seed"] = ["number", 0]

    (path,) = server.images(server.run(prompt))

    record = record_of(path.read_bytes())
    assert (record["samplings"][0]["source"], record["tuple"]["seed"]) == ("graph", "77")


def test_every_image_and_latent_on_the_way_has_a_digest_for_each_image(
    server: ComfyServer,
) -> None:
    prompt = prompts.in_mode(prompts.two_samplers(seed=5, steps=1, batch_size=2))

    paths = server.images(server.run(prompt))

    stages = record_of(paths[0].read_bytes())["stages"]
    assert [stage["node_id"] for stage in stages] == [
        "latent",
        "sampler",
        "upscale",
        "second",
        "decode",
    ]
    assert {len(stage["digests"]) for stage in stages} == {2}
    by_node = {stage["node_id"]: stage["digests"] for stage in stages}
    assert by_node["sampler"][0] != by_node["sampler"][1]
    assert by_node["sampler"] != by_node["second"]


def test_stages_are_the_same_when_nothing_changed_and_differ_from_the_change_on(
    server: ComfyServer,
) -> None:
    def stages(**options: float) -> dict[str, list[str]]:
        server.free()
        prompt = prompts.in_mode(prompts.two_samplers(seed=6, steps=1, **options))
        (path,) = server.images(server.run(prompt))
        return {s["node_id"]: s["digests"] for s in record_of(path.read_bytes())["stages"]}

    first, same, other = stages(), stages(), stages(second_denoise=0.6)

    assert first == same
    assert first["upscale"] == other["upscale"]
    assert first["second"] != other["second"]


def test_a_computed_text_survives_reproduction(server: ComfyServer) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=7, steps=1))
    prompt["words"] = prompts.node(
        "StringConcatenate", string_a="a blue", string_b="owl", delimiter=" "
    )
    prompt["positive"]["inputs"]["text"] = ["words", 0]
    (path,) = server.images(server.run(prompt))

    report = reproduce(server, path.read_bytes())

    assert report["level"] == "bitwise"


def test_words_that_are_never_the_same_are_told_as_they_were_each_time(
    server: ComfyServer,
) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=8, steps=1))
    prompt["words"] = prompts.node("ThirdPartyRandomWords")
    prompt["positive"]["inputs"]["text"] = ["words", 0]

    told = [record_of(server.images(server.run(prompt))[0].read_bytes()) for _ in range(2)]

    words = [record["computed"][0]["value"] for record in told]
    assert words[0] != words[1]
    for record, text in zip(told, words, strict=True):
        assert text.startswith("a fox and a ")
        assert record["tuple"]["prompt_sha256"] == digest_text(text).hex
    images = [record["subject"]["digest"] for record in told]
    assert images[0] != images[1]


def test_words_from_an_expansion_are_told(server: ComfyServer) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=9, steps=1))
    prompt["words"] = prompts.node("ThirdPartyExpandedWords", first="a grey", second="wolf")
    prompt["positive"]["inputs"]["text"] = ["words", 0]

    (path,) = server.images(server.run(prompt))

    record = record_of(path.read_bytes())
    assert record["tuple"]["prompt_sha256"] == digest_text("a grey wolf").hex
    assert [stage["node_id"] for stage in record["stages"]] == ["latent", "sampler", "decode"]


@pytest.mark.parametrize("cache", ["--cache-classic", "--cache-lru=10"])
def test_another_cache_of_comfyui_tells_what_ordinary_nodes_gave(
    server_with: Any, cache: str
) -> None:
    other = server_with(*cache.split("="))
    prompt = prompts.in_mode(prompts.txt2img(seed=10, steps=1))
    prompt["words"] = prompts.node(
        "StringConcatenate", string_a="a red", string_b="fox", delimiter=" "
    )
    prompt["positive"]["inputs"]["text"] = ["words", 0]

    (path,) = other.images(other.run(prompt))

    record = record_of(path.read_bytes())
    assert record["computed"][0]["value"] == "a red fox"
    assert [stage["node_id"] for stage in record["stages"]] == ["latent", "sampler", "decode"]


def test_a_model_behind_a_switch_of_any_type_is_listed_once(server: ComfyServer) -> None:
    prompt = prompts.lora(seed=11, steps=1)
    prompt["switch"] = prompts.node("ThirdPartySwitch", value=["loader", 0])
    prompt["lora"]["inputs"]["model"] = ["switch", 0]

    (path,) = server.images(server.run(prompt))

    record = record_of(path.read_bytes())
    listed = [(material["kind"], material["node_id"]) for material in record["materials"]]
    assert sorted(listed) == [("checkpoints", "loader"), ("loras", "lora")]


def test_a_key_that_a_node_computes_for_a_secrets_input_is_not_written(
    server: ComfyServer,
) -> None:
    prompt = prompts.txt2img(seed=12, steps=1)
    prompt["key"] = prompts.node("ThirdPartyReadsKey")
    prompt["ask"] = prompts.node("ThirdPartyAsks", api_key=["key", 0])
    prompt["positive"]["inputs"]["text"] = ["ask", 0]

    (path,) = server.images(server.run(prompt))

    data = path.read_bytes()
    computed = {e["node_id"]: e["value"] for e in record_of(data)["computed"]}
    assert computed == {"key": "[redacted]", "ask": "a fox in the rain"}
    assert b"plain-words-8842" not in data


def test_an_image_picked_from_a_list_is_not_told_with_another_ones_seed(
    server: ComfyServer,
) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=1, steps=1))
    prompt["seeds"] = prompts.node("ThirdPartySeeds", first=500)
    prompt["sampler"]["inputs"]["seed"] = ["seeds", 0]
    every = [record_of(path.read_bytes()) for path in server.images(server.run(prompt))]
    prompt["pick"] = prompts.node("ThirdPartyPick", images=["decode", 0], place=2)
    prompt["save"]["inputs"]["images"] = ["pick", 0]

    (path,) = server.images(server.run(prompt))

    # Saved one by one each has its own; of the picked one nobody told which it was.
    assert [record["tuple"]["seed"] for record in every] == ["500", "501", "502"]
    picked = record_of(path.read_bytes())
    assert picked["subject"]["digest"] == every[2]["subject"]["digest"]
    assert picked["tuple"]["seed"] == "unresolved"
    assert picked["samplings"][0]["source"] == "graph"
