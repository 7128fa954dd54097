"""A preflight expects no more than its facts allow, and the worst fact decides."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.environment import Difference
from comfyui_provenance.graph.prompt import NodeId
from comfyui_provenance.preflight import (
    Expectation,
    MissingNode,
    PlacedMaterial,
    Preflight,
    State,
)
from comfyui_provenance.record import Material
from comfyui_provenance.verdict import CauseKind

SHA256 = "0123456789abcdef" * 4
READY = Preflight(fingerprint=())
OTHER_GPU = Difference("device.name", CauseKind.DEVICE, "GPU 1", "GPU 2")
OTHER_TORCH = Difference("packages.torch", CauseKind.LIBRARY_VERSION, "2.1", "2.2")
OTHER_COMFYUI = Difference("comfyui", CauseKind.COMFYUI_VERSION, "0.30.0", "0.31.0")


def placed(
    state: State, kind: str = "checkpoints", name: str = "a.safetensors", **options: object
) -> PlacedMaterial:
    material = Material(kind, name, NodeId("loader"), "ckpt_name", "hashed", 2_100_000_000, SHA256)
    return replace(PlacedMaterial(material, state), **options)  # type: ignore[arg-type]


def with_files(*files: PlacedMaterial) -> Preflight:
    return replace(READY, materials=files)


FACTS: dict[str, tuple[Preflight, Expectation]] = {
    "nothing at all": (READY, Expectation.BITWISE),
    "a file under its name": (with_files(placed(State.HERE)), Expectation.BITWISE),
    "a file under another name": (with_files(placed(State.ELSEWHERE)), Expectation.BITWISE),
    "a harmless difference": (
        replace(
            READY,
            environment=(Difference("os_release", CauseKind.LIBRARY_VERSION, "6.1", "6.2"),),
        ),
        Expectation.BITWISE,
    ),
    "another GPU within measured tolerance": (
        replace(READY, environment=(OTHER_GPU,), tolerance_known=True),
        Expectation.WITHIN_TOLERANCE,
    ),
    "other results within measured tolerance": (
        replace(READY, fingerprint=("cuda.matmul",), tolerance_known=True),
        Expectation.WITHIN_TOLERANCE,
    ),
    "another GPU": (replace(READY, environment=(OTHER_GPU,)), Expectation.UNKNOWN),
    "another ComfyUI, whatever the tolerance": (
        replace(READY, environment=(OTHER_COMFYUI,), tolerance_known=True),
        Expectation.UNKNOWN,
    ),
    "other results": (replace(READY, fingerprint=("cuda.matmul",)), Expectation.UNKNOWN),
    "no fingerprint": (replace(READY, fingerprint=None), Expectation.UNKNOWN),
    "a demotion": (replace(READY, unpinned=("the VAE was not pinned",)), Expectation.UNKNOWN),
    "a file that is being hashed": (
        with_files(placed(State.UNKNOWN, is_pending=True)),
        Expectation.UNKNOWN,
    ),
    "something not known": (replace(READY, unknown=("no record",)), Expectation.UNKNOWN),
    "another file of that name": (with_files(placed(State.OTHER)), Expectation.MISMATCH),
    "an edit": (replace(READY, edited=("the CFG was changed",)), Expectation.MISMATCH),
    "a textual inversion that is not here": (
        with_files(placed(State.MISSING, "embeddings")),
        Expectation.MISMATCH,
    ),
    "a file that is not here": (with_files(placed(State.MISSING)), Expectation.CANNOT_RUN),
    "a node that is not installed": (
        replace(READY, missing_nodes=(MissingNode("Odd", ("1",)),)),
        Expectation.CANNOT_RUN,
    ),
    "a graph that may not run": (replace(READY, refusal="not here"), Expectation.CANNOT_RUN),
    "no graph": (Preflight(problem="no graph"), Expectation.CANNOT_RUN),
}
WORST_FIRST = [
    Expectation.CANNOT_RUN,
    Expectation.MISMATCH,
    Expectation.UNKNOWN,
    Expectation.WITHIN_TOLERANCE,
    Expectation.BITWISE,
]


@pytest.mark.parametrize("name", FACTS)
def test_one_fact_gives_its_expectation_with_a_reason_unless_it_is_the_best(name: str) -> None:
    preflight, expected = FACTS[name]

    assert preflight.expectation is expected
    assert bool(preflight.reasons) == (expected is not Expectation.BITWISE)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(pair, id=" and ".join(pair))
        for pair in combinations(FACTS, 2)
        if not any("tolerance" in name for name in pair)
    ],
)
def test_of_two_facts_the_worse_one_decides(names: tuple[str, str]) -> None:
    (first, expected_of_first), (second, expected_of_second) = (FACTS[name] for name in names)
    both = Preflight(
        materials=first.materials + second.materials,
        missing_nodes=first.missing_nodes + second.missing_nodes,
        problem=first.problem or second.problem,
        refusal=first.refusal or second.refusal,
        edited=first.edited + second.edited,
        environment=first.environment + second.environment,
        fingerprint=None
        if first.fingerprint is None or second.fingerprint is None
        else first.fingerprint + second.fingerprint,
        unpinned=first.unpinned + second.unpinned,
        unknown=first.unknown + second.unknown,
    )

    worse = min(expected_of_first, expected_of_second, key=WORST_FIRST.index)
    assert both.expectation is worse


@pytest.mark.parametrize(
    ("preflight", "line"),
    [
        pytest.param(READY, "ready", id="ready"),
        pytest.param(
            with_files(placed(State.ELSEWHERE), placed(State.ELSEWHERE, "loras", "b")),
            "ready: 2 models under other names",
            id="other names",
        ),
        pytest.param(
            with_files(placed(State.ELSEWHERE, "input", "a.png")),
            "ready: 1 input file under another name",
            id="an input under another name",
        ),
        pytest.param(
            with_files(placed(State.MISSING)),
            "1 model missing: a.safetensors (sha256 0123456789ab..., 2.1 GB)",
            id="one model missing",
        ),
        pytest.param(
            with_files(*(placed(State.MISSING, name=f"{at}") for at in range(5))),
            "5 models missing: 0, 1, 2, 2 more",
            id="many models missing",
        ),
        pytest.param(
            with_files(placed(State.MISSING), placed(State.MISSING, "loras")),
            "1 model missing: a.safetensors (sha256 0123456789ab..., 2.1 GB)",
            id="one file that two nodes name",
        ),
        pytest.param(
            replace(READY, missing_nodes=(MissingNode("Odd", ("1", "2")),)),
            "1 node missing: Odd",
            id="one node missing",
        ),
        pytest.param(
            replace(with_files(placed(State.MISSING)), missing_nodes=(MissingNode("Odd", ("1",)),)),
            "1 node missing: Odd; 1 model missing: a.safetensors (sha256 0123456789ab..., 2.1 GB)",
            id="a node and a model missing",
        ),
        pytest.param(
            with_files(placed(State.OTHER)),
            "1 model with other content: a.safetensors (sha256 0123456789ab..., 2.1 GB)",
            id="another file",
        ),
        pytest.param(
            replace(READY, environment=(OTHER_GPU, OTHER_TORCH)),
            "ready: other GPU, other torch",
            id="another machine",
        ),
        pytest.param(replace(READY, unpinned=("a", "b")), "ready: not pinned", id="not pinned"),
        pytest.param(
            with_files(placed(State.UNKNOWN, is_pending=True)),
            "ready: 1 file still to hash",
            id="pending",
        ),
        pytest.param(replace(READY, refusal="a pack"), "not allowed: a pack", id="refused"),
        pytest.param(Preflight(problem="no graph"), "cannot run: no graph", id="no graph"),
    ],
)
def test_the_line_tells_the_most_important_thing(preflight: Preflight, line: str) -> None:
    assert preflight.line() == line


def test_what_is_to_be_fetched_is_each_lost_file_once() -> None:
    preflight = with_files(
        placed(State.MISSING),
        placed(State.MISSING),
        placed(State.OTHER, name="b"),
        placed(State.HERE, name="c"),
        placed(State.ELSEWHERE, name="d"),
    )

    assert [material.name for material in preflight.to_fetch] == ["a.safetensors", "b"]
    assert preflight.to_json()["to_fetch"] == [
        {"kind": "checkpoints", "name": name, "sha256": SHA256, "size_bytes": 2_100_000_000}
        for name in ("a.safetensors", "b")
    ]


def test_a_missing_file_that_no_input_names_is_a_doubt_and_no_obstacle() -> None:
    material = replace(placed(State.MISSING).material, input="")

    preflight = with_files(PlacedMaterial(material, State.MISSING))

    assert preflight.expectation is Expectation.UNKNOWN


def test_a_missing_node_names_the_packs_that_may_have_it() -> None:
    preflight = replace(READY, missing_nodes=(MissingNode("Odd", ("1",), ("one", "two")),))

    assert preflight.reasons == ("the node Odd (of one or two) is not installed",)


@given(st.text(min_size=1))
def test_names_of_strangers_never_steer_a_terminal(name: str) -> None:
    preflight = replace(
        with_files(placed(State.MISSING, name=name, note=name)),
        refusal=name,
        missing_nodes=(MissingNode(name, (name,), (name,)),),
        environment=(Difference(name, CauseKind.DEVICE, name, name),),
        unpinned=(name,),
    )

    lines = [preflight.line(), *preflight.summary().split("\n")]

    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 1000


@pytest.mark.parametrize("name", FACTS)
def test_the_json_is_plain_and_says_what_the_object_says(name: str) -> None:
    preflight, expected = FACTS[name]

    document = json.loads(json.dumps(preflight.to_json()))

    assert document["expect"] == expected.value
    assert document["reasons"] == [*preflight.reasons]
    assert document["line"] == preflight.line()
    assert document["pending"] == preflight.pending
    assert [(entry["state"], entry["pending"]) for entry in document["materials"]] == [
        (item.state.value, item.is_pending) for item in preflight.materials
    ]
