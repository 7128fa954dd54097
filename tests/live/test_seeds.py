"""A seed is an integer from 0 to 2^64-1, whichever way it comes; anything else never samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support import prompts
from support.reports import reproduce
from support.server import ComfyServer, PromptFailed, PromptRefused
from support.tampering import edit_graph, record_of, set_input

THIRD_PARTY = Path(__file__).parents[1] / "packs" / "third_party"

BAD_SEEDS = [
    pytest.param("42", "'42' of type str", id="text"),
    pytest.param(42.0, "42.0 of type float", id="float"),
    pytest.param(42.7, "42.7 of type float", id="fraction"),
    pytest.param(True, "True of type bool", id="boolean"),
    pytest.param(None, "None of type NoneType", id="null"),
    pytest.param(-1, "-1 of type int", id="minus one"),
    pytest.param(2**64, "18446744073709551616 of type int", id="2 to the 64"),
]

SEED_INPUTS = [
    pytest.param("ProvenanceKSampler", "seed", id="sampler"),
    pytest.param("ProvenanceKSamplerAdvanced", "noise_seed", id="advanced sampler"),
    pytest.param("ProvenanceSeed", "seed", id="seed node"),
]


@pytest.fixture(scope="module")
def server(server_with: Any) -> ComfyServer:
    found: ComfyServer = server_with(packs=(THIRD_PARTY,))
    return found


def prompt_with_seed(class_type: str, name: str, seed: object) -> prompts.Prompt:
    """A graph that samples with a seed given to one of the pack's nodes."""
    prompt = prompts.txt2img(steps=1)
    if class_type == "ProvenanceSeed":
        prompt["seed"] = prompts.node("ProvenanceSeed", seed=seed)
        prompt["sampler"]["inputs"]["seed"] = ["seed", 0]
        return prompt
    inputs = prompt["sampler"]["inputs"]
    if class_type == "ProvenanceKSamplerAdvanced":
        del inputs["seed"], inputs["denoise"]
        inputs |= {"add_noise": "enable", "start_at_step": 0, "end_at_step": 1}
        inputs |= {"return_with_leftover_noise": "disable"}
    prompt["sampler"]["class_type"] = class_type
    inputs[name] = seed
    return prompt


@pytest.mark.parametrize(("class_type", "name"), SEED_INPUTS)
@pytest.mark.parametrize(("seed", "shown"), BAD_SEEDS)
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_a_bad_seed_in_an_api_prompt_is_refused_with_its_value_and_type(
    server: ComfyServer, class_type: str, name: str, seed: object, shown: str, wrapped: bool
) -> None:
    given = {"__value__": seed} if wrapped else seed

    with pytest.raises(PromptRefused) as refusal:
        server.submit(prompt_with_seed(class_type, name, given))

    answer = json.dumps(refusal.value.body)
    assert refusal.value.status == 400
    assert f"{name}: expected an integer from 0 to 18446744073709551615, got {shown}" in answer
    assert "connect an INT output" in answer


@pytest.mark.parametrize(("class_type", "name"), SEED_INPUTS)
@pytest.mark.parametrize(("seed", "shown"), BAD_SEEDS)
@pytest.mark.parametrize(
    "slot", range(5), ids=["as INT", "as FLOAT", "as STRING", "as BOOLEAN", "as any type"]
)
def test_a_bad_seed_over_a_link_of_any_type_is_refused_before_sampling(
    server: ComfyServer, class_type: str, name: str, seed: object, shown: str, slot: int
) -> None:
    prompt = prompt_with_seed(class_type, name, ["giver", slot])
    prompt["giver"] = prompts.node("ThirdPartyAnySeed", literal=repr(seed))
    bars_before = server.log_text().count("  0%|")

    with pytest.raises(PromptFailed) as failure:
        server.run(prompt)

    message = failure.value.details["exception_message"]
    assert f"expected an integer from 0 to 18446744073709551615, got {shown}" in message
    assert server.log_text().count("  0%|") == bars_before


@pytest.mark.parametrize("slot", [0, 2, 4], ids=["as INT", "as STRING", "as any type"])
def test_a_good_seed_over_a_link_works_and_is_recorded(server: ComfyServer, slot: int) -> None:
    prompt = prompt_with_seed("ProvenanceKSampler", "seed", ["giver", slot])
    prompt["giver"] = prompts.node("ThirdPartyAnySeed", literal="77")

    (path,) = server.images(server.run(prompt))

    assert record_of(path.read_bytes())["tuple"]["seed"] == "77"


def test_a_seed_wrapped_as_core_wraps_values_is_taken(server: ComfyServer) -> None:
    prompt = prompt_with_seed("ProvenanceKSampler", "seed", {"__value__": 78})

    (path,) = server.images(server.run(prompt))

    assert record_of(path.read_bytes())["tuple"]["seed"] == "78"


def test_a_link_of_a_wrong_type_to_another_input_is_still_refused(server: ComfyServer) -> None:
    prompt = prompts.txt2img()
    prompt["sampler"]["inputs"]["positive"] = ["loader", 2]

    with pytest.raises(PromptRefused, match=r"positive, received_type\(VAE\) mismatch"):
        server.submit(prompt)


def test_the_last_seed_is_taken_where_the_sampler_can(server: ComfyServer) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=2**64 - 1, steps=1)))

    record = record_of(path.read_bytes())
    assert record["tuple"]["seed"] == "18446744073709551615"
    assert any("above 2^53" in warning for warning in record["warnings"])
    assert reproduce(server, path.read_bytes())["level"] == "bitwise"


def test_the_last_seed_is_a_clear_error_where_the_sampler_cannot(server: ComfyServer) -> None:
    prompt = prompts.txt2img(seed=2**64 - 1, steps=2, sampler_name="euler_ancestral")

    with pytest.raises(PromptFailed, match=r"'euler_ancestral' uses seed \+ 1 here"):
        server.run(prompt)


def test_a_large_seed_is_warned_about_in_the_output_and_in_the_record(
    server: ComfyServer,
) -> None:
    small, large = 7, 2**54 + 7

    history = server.run(prompts.txt2img(seed=large, steps=1))

    warnings = history.outputs["sampler"]["provenance_warnings"]
    (path,) = server.images(history)
    record = record_of(path.read_bytes())
    assert warnings == record["samplings"][0]["warnings"] == record["warnings"]
    assert [("2^53" in warning, "2^32" in warning) for warning in warnings] == [
        (True, False),
        (False, True),
    ]
    (same,) = server.images(server.run(prompts.txt2img(seed=small, steps=1)))
    assert record_of(same.read_bytes())["subject"] == record["subject"]
    assert record_of(same.read_bytes())["warnings"] == []


@pytest.mark.parametrize(("seed", "shown"), BAD_SEEDS)
def test_a_bad_seed_in_a_graph_that_is_reproduced_is_refused(
    server: ComfyServer, seed: object, shown: str
) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=79, steps=1)))
    edited = edit_graph(path.read_bytes(), set_input("sampler", "seed", seed))

    with pytest.raises(PromptFailed) as failure:
        reproduce(server, edited)

    message = failure.value.details["exception_message"]
    assert "node sampler: seed: expected an integer from 0 to" in message
    assert f"got {shown}" in message
