"""What two machines do not share is listed by name, each with the kind of cause it can be."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from comfyui_provenance.environment import (
    LAUNCH_FLAGS,
    VARIABLES,
    Difference,
    compare_environments,
    compare_fingerprints,
)
from comfyui_provenance.verdict import CauseKind

from support.records import ENVIRONMENT, Document


def test_equal_environments_have_no_differences() -> None:
    assert compare_environments(ENVIRONMENT, copy.deepcopy(ENVIRONMENT)) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("comfyui", CauseKind.COMFYUI_VERSION, id="ComfyUI"),
        pytest.param("device.name", CauseKind.DEVICE, id="device"),
        pytest.param("cpu.capability", CauseKind.CPU_ISA, id="instruction set"),
        pytest.param("cpu.threads", CauseKind.THREADS, id="threads"),
        pytest.param("cpu.interop_threads", CauseKind.THREADS, id="threads between operations"),
        pytest.param("cpu.name", CauseKind.DEVICE, id="processor"),
        pytest.param("attention", CauseKind.ATTENTION, id="attention"),
        pytest.param("precision.unet", CauseKind.PRECISION, id="precision"),
        pytest.param("node_packs.a.b", CauseKind.NODE_PACK, id="a pack with a dot in its name"),
        pytest.param("node_pack_commits.a.b", CauseKind.NODE_PACK, id="a pack's commit"),
        pytest.param("comfyui_commit", CauseKind.COMFYUI_VERSION, id="ComfyUI's commit"),
        pytest.param("device.driver", CauseKind.DEVICE, id="driver"),
        pytest.param("os_release", CauseKind.LIBRARY_VERSION, id="kernel"),
        pytest.param("variables.MKL_CBWR", CauseKind.CPU_ISA, id="variable"),
        pytest.param("launch.cpu", CauseKind.DEVICE, id="launch option"),
        pytest.param("launch.fp16_vae", CauseKind.PRECISION, id="launch option for a type"),
        pytest.param("packages.torch", CauseKind.LIBRARY_VERSION, id="package"),
        pytest.param("python", CauseKind.LIBRARY_VERSION, id="Python"),
        pytest.param("anything.new", CauseKind.LIBRARY_VERSION, id="an entry not known yet"),
    ],
)
def test_a_difference_is_of_the_kind_its_name_says(name: str, kind: CauseKind) -> None:
    outer, _, inner = name.partition(".")
    before: dict[str, Any] = {outer: {inner: "1"} if inner else "1"}
    after: dict[str, Any] = {outer: {inner: "2"} if inner else "2"}

    assert compare_environments(before, after) == [Difference(name, kind, "1", "2")]


def test_what_one_machine_lacks_is_none() -> None:
    differences = compare_environments(
        {"packages": {"torch": "2"}}, {"packages": {"xformers": "1"}}
    )

    assert [(item.name, item.recorded, item.now) for item in differences] == [
        ("packages.torch", "2", None),
        ("packages.xformers", None, "1"),
    ]


def test_recorded_entries_come_first_and_in_their_order() -> None:
    differences = compare_environments(
        {"packages": {"b": 1, "a": 1}}, {"packages": {"c": 1, "a": 2}}
    )

    assert [item.name for item in differences] == ["packages.b", "packages.a", "packages.c"]


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        pytest.param({}, {"os_release": "6.1"}, id="an entry the writer did not know"),
        pytest.param({"cpu": {}}, {"cpu": {"name": "A"}}, id="an entry in a group it knew"),
        pytest.param({}, {"launch": {"cpu": True}}, id="a list it did not know"),
        pytest.param({"new": "1"}, {}, id="an entry this pack does not know"),
        pytest.param({"node_packs": {"a": "unknown"}}, {"node_packs": {"a": "1"}}, id="unknown"),
        pytest.param({"libc": "glibc 2"}, {"libc": "unknown"}, id="unknown now"),
    ],
)
def test_what_was_not_probed_is_no_difference(recorded: Any, now: Any) -> None:  # noqa: ANN401
    assert compare_environments(recorded, now) == []


def test_an_option_or_variable_that_is_set_on_one_side_alone_is_a_difference() -> None:
    differences = compare_environments(
        {"launch": {}, "variables": {"MKL_CBWR": "AVX2"}},
        {"launch": {"cpu_vae": True}, "variables": {}},
    )

    assert differences == [
        Difference("variables.MKL_CBWR", CauseKind.CPU_ISA, "AVX2", None),
        Difference("launch.cpu_vae", CauseKind.DEVICE, None, True),
    ]


@pytest.mark.parametrize("name", LAUNCH_FLAGS)
def test_a_launch_option_has_its_own_kind_though_others_begin_alike(name: str) -> None:
    (difference,) = compare_environments({"launch": {}}, {"launch": {name: True}})

    assert difference.kind is LAUNCH_FLAGS[name]


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_has_its_own_kind(name: str) -> None:
    (difference,) = compare_environments({"variables": {name: "1"}}, {"variables": {name: "2"}})

    assert difference.kind is VARIABLES[name]


def test_equal_fingerprints_differ_in_no_family() -> None:
    fingerprint: Document = {"cpu": {"attention": "sha256-f32:1", "norms": "sha256-f32:2"}}

    assert compare_fingerprints(fingerprint, copy.deepcopy(fingerprint)) == []


def test_families_that_differ_are_named_with_their_device() -> None:
    recorded: Document = {"cpu": {"attention": "1", "norms": "2"}, "cuda": {"attention": "3"}}
    now: Document = {"cpu": {"attention": "1", "norms": "4"}, "cuda": {"attention": "5"}}

    assert compare_fingerprints(recorded, now) == ["cpu.norms", "cuda.attention"]


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        pytest.param({}, {"cpu": {"norms": "1"}}, id="an older record has none"),
        pytest.param({"cuda": {"norms": "1"}}, {"cpu": {"norms": "2"}}, id="another device"),
        pytest.param({"cpu": {"norms": "1"}}, {"cpu": {"norms_2": "2"}}, id="another computation"),
        pytest.param({"cpu": {"norms": "unknown"}}, {"cpu": {"norms": "2"}}, id="not measured"),
        pytest.param({"cpu": "nonsense"}, {"cpu": {"norms": "2"}}, id="nonsense"),
    ],
)
def test_fingerprints_are_compared_only_where_both_were_measured(
    recorded: Any,  # noqa: ANN401
    now: Any,  # noqa: ANN401
) -> None:
    assert compare_fingerprints(recorded, now) == []
