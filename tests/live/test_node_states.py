"""The page that queued a prompt is told what became of this pack's nodes in it, and nobody else."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

import pytest

from support import prompts
from support.events import Events
from support.prompts import node
from support.server import ComfyServer, PromptFailed

Document = dict[str, Any]


def states_of(server: ComfyServer, prompt: prompts.Prompt, **extra: Any) -> Document:
    """Run a prompt as a page does, and give the one event about its nodes."""
    with Events(server, uuid.uuid4().hex) as page:
        prompt_id = server.submit(prompt, client_id=page.client_id, **extra)
        with suppress(PromptFailed):
            server.wait_for(prompt_id)
        (event,) = page.wait_for("provenance.states")
    assert event["prompt_id"] == prompt_id
    nodes: Document = event["nodes"]
    return nodes


def test_pinned_nodes_are_told_and_again_when_they_come_from_the_cache(
    server: ComfyServer,
) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=641, steps=1))

    first = states_of(server, prompt)
    prompt["save"]["inputs"]["filename_prefix"] = "cached"
    second = states_of(server, prompt)

    assert first == second
    assert first == {
        "mode": {"class_type": "ProvenanceDeterministicMode", "state": "pinned", "messages": []},
        "sampler": {"class_type": "ProvenanceKSampler", "state": "pinned", "messages": []},
    }


def test_what_the_mode_did_not_reach_downstream_is_told_at_its_node(server: ComfyServer) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=642, steps=1, sampler_class="KSampler"))
    prompt["decode"]["inputs"]["vae"] = ["loader", 2]
    refine = dict(prompt["sampler"]["inputs"], latent_image=["sampler", 0], denoise=0.5)
    prompt["refine"] = prompts.node("KSampler", **refine)
    prompt["refine"]["inputs"]["model"] = ["loader", 0]
    prompt["decode"]["inputs"]["samples"] = ["refine", 0]

    found = states_of(server, prompt)

    assert found.keys() == {"mode"}
    assert found["mode"]["state"] == "demoted"
    assert set(found["mode"]["messages"]) == {
        "VAEDecode (node decode): uses its vae outside Deterministic Mode",
        "KSampler (node refine): a sampler outside Deterministic Mode",
    }


def test_switched_off_nodes_are_told_as_such(server: ComfyServer) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=643, steps=1), enabled=False)
    prompt["sampler"]["inputs"]["deterministic_mode"] = False

    found = states_of(server, prompt)

    assert {node_id: state["state"] for node_id, state in found.items()} == {
        "mode": "off",
        "sampler": "off",
    }


def test_what_ran_before_a_prompt_failed_is_told(server: ComfyServer) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=644, steps=1))
    prompt["save"]["inputs"]["filename_prefix"] = "../../outside"

    found = states_of(server, prompt)

    assert found["sampler"]["state"] == "pinned"


def test_nobody_else_is_told_and_other_prompts_tell_nothing(server: ComfyServer) -> None:
    with Events(server, uuid.uuid4().hex) as page:
        server.run(prompts.in_mode(prompts.txt2img(seed=645, steps=1)))
        other = prompts.in_mode(prompts.txt2img(seed=646, steps=1))
        server.run(other, client_id=uuid.uuid4().hex)
        stock = prompts.txt2img(seed=647, steps=1, sampler_class="KSampler")
        server.run(stock, client_id=page.client_id)

        assert page.wait_for("provenance.states", timeout_s=1) == []


def test_nodes_of_a_reproduction_are_not_told(server: ComfyServer) -> None:
    (path,) = server.images(server.run(prompts.in_mode(prompts.txt2img(seed=648, steps=1))))
    reproduce = {"reproduce": node("ProvenanceReproduce", image=server.upload(path))}

    with Events(server, uuid.uuid4().hex) as page:
        server.run(reproduce, client_id=page.client_id)

        assert page.wait_for("provenance.states", timeout_s=1) == []


@pytest.mark.parametrize(
    ("workflow", "expected"), [({"id": "a tab"}, "a tab"), ({"id": 1}, None), ([1], None)]
)
def test_the_workflow_is_told_by_its_id(
    server: ComfyServer, workflow: object, expected: str | None
) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=649, steps=1))
    extra_data = {"extra_pnginfo": {"workflow": workflow}}

    with Events(server, uuid.uuid4().hex) as page:
        server.run(prompt, client_id=page.client_id, extra_data=extra_data)
        (event,) = page.wait_for("provenance.states")

    assert event["workflow_id"] == expected
