"""What two machines do not share is listed by name, each with the kind of cause it can be."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from comfyui_provenance.environment import Difference, compare_environments
from comfyui_provenance.verdict import CauseKind

from support.records import ENVIRONMENT


def test_equal_environments_have_no_differences() -> None:
    assert compare_environments(ENVIRONMENT, copy.deepcopy(ENVIRONMENT)) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("comfyui", CauseKind.COMFYUI_VERSION, id="ComfyUI"),
        pytest.param("device.name", CauseKind.DEVICE, id="device"),
        pytest.param("cpu.capability", CauseKind.CPU_ISA, id="instruction set"),
        pytest.param("cpu.threads", CauseKind.THREADS, id="threads"),
        pytest.param("cpu.name", CauseKind.DEVICE, id="processor"),
        pytest.param("attention", CauseKind.ATTENTION, id="attention"),
        pytest.param("precision.unet", CauseKind.PRECISION, id="precision"),
        pytest.param("node_packs.a.b", CauseKind.NODE_PACK, id="a pack with a dot in its name"),
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
    names = [item.name for item in compare_environments({"b": 1, "a": 1}, {"c": 1, "a": 2})]

    assert names == ["b", "a", "c"]
