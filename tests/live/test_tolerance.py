"""A rerun is within tolerance only where rounding was measured on this model; it says its limit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import prompts
from support.prompts import Prompt, node
from support.reports import Report, kinds, report_of, reproduce
from support.server import ComfyServer

PACKS = Path(__file__).parents[1] / "packs"


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyServer]:
    """A server of its own: controls that are measured stay with it."""
    packs = [PACKS / name for name in ("scarce_memory", "faults")]
    with ComfyServer(packs=packs) as started:
        yield started


def loose(**options: Any) -> Prompt:
    """Build a graph outside Deterministic Mode, whose bits free memory decides."""
    # A sampler of which no controls come with the pack.
    prompt = prompts.txt2img(width=128, height=64, steps=3, sampler_name="uni_pc", **options)
    prompt["sampler"]["inputs"]["deterministic_mode"] = False
    return prompt


def under_pressure(server: ComfyServer, data: bytes) -> Report:
    """Reproduce an image while little memory is free."""
    server.post_json("/test/free_memory", {"bytes": 2**20})
    try:
        return reproduce(server, data)
    finally:
        server.post_json("/test/free_memory", {"bytes": None})


def measured(server: ComfyServer) -> Report:
    """Let Self Test measure the controls of this model."""
    prompt = loose(seed=400)
    del prompt["decode"], prompt["save"]
    inputs = prompt.pop("sampler")["inputs"]
    inputs["deterministic_mode"] = True
    prompt["test"] = node("ProvenanceSelfTest", **inputs, vae=["loader", 2], measure_controls=True)
    return report_of(server.run(prompt, timeout_s=600))


def test_a_tolerant_verdict_needs_controls_and_states_its_limit(server: ComfyServer) -> None:
    (path,) = server.images(server.run(loose(seed=91)))
    data = path.read_bytes()

    before = under_pressure(server, data)
    test = measured(server)
    after = under_pressure(server, data)

    assert before["level"] in ("mismatch", "unknown")
    assert before["tolerance"]["standing"] == "unknown"
    assert "no controls were measured" in before["tolerance"]["message"]
    assert test["level"] == "bitwise", test
    assert any("pairs are kept for these weights" in note for note in test["notes"]), test["notes"]
    assert after["level"] == "within_tolerance", after
    assert kinds(after)[0] == "memory"
    tolerance = after["tolerance"]
    assert 0 < tolerance["false_alarm_bound"] <= 0.06
    assert len(tolerance["measured"]["samplings"][0]) == 4
    assert {"CFG +0.01", "one step fewer"} <= {*tolerance["seen"], *tolerance["unseen"]}


def test_a_small_change_is_never_within_tolerance(server: ComfyServer) -> None:
    (path,) = server.images(server.run(loose(seed=92)))
    changed = copy.deepcopy(loose(seed=92, cfg=7.01))
    images = changed.pop("save")["inputs"]["images"]
    reference = server.upload(path.read_bytes())
    changed["verify"] = node("ProvenanceVerify", images=images, reference=reference)

    report = report_of(server.run(changed))

    assert report["level"] in ("mismatch", "unknown"), report
    assert kinds(report)[0] == "cfg"
    assert report["tolerance"]["standing"] != "within"


def test_weights_that_were_changed_in_memory_are_never_within_tolerance(
    server: ComfyServer,
) -> None:
    (path,) = server.images(server.run(loose(seed=93)))
    server.post_json("/test/weights", {"factor": 1.0005})
    try:
        report = reproduce(server, path.read_bytes())
    finally:
        server.free()

    assert report["level"] in ("mismatch", "unknown"), report
    assert kinds(report)[0] == "node_pack"
