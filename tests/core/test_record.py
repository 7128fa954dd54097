"""A record is read as it was written, sealed by its digest, and refused where it is none."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.digest import digest_text, digest_value
from comfyui_provenance.errors import (
    CanonicalError,
    GraphError,
    LimitError,
    NoRecordError,
    RecordError,
)
from comfyui_provenance.graph.prompt import Link, NodeId, to_prompt
from comfyui_provenance.graph.samplings import read_samplings
from comfyui_provenance.pixels import digest_pixels
from comfyui_provenance.recipe import to_sampling_entry, to_tuple
from comfyui_provenance.record import (
    Material,
    Subject,
    failed_record,
    parse_record,
    seal,
    summarise,
)

from support.builders import gradient
from support.records import (
    IMAGE,
    LORA_SHA256,
    MODEL_SHA256,
    OUTPUT,
    Edit,
    at,
    document_of,
    edited,
    graph_of,
    materials_of,
    record,
)


def test_the_parts_of_a_record_are_read() -> None:
    read = parse_record(record().dump())

    assert read.subject == Subject(digest_pixels(IMAGE), 8, 8, 3, 0, 1, 0)
    assert read.prompt() == to_prompt(graph_of())
    assert read.graph_sha256 == digest_text(read.graph).hex
    assert read.output == Link(NodeId("decode"), 0)
    assert read.recipe == str(read.actual_recipe())
    assert read.digest == str(read.actual_digest())
    assert read.materials == materials_of(graph_of())
    assert read.environment["comfyui"] == "0.30.0"


def test_what_is_dumped_is_ascii_and_parses_to_the_same_document() -> None:
    dumped = record().dump()

    assert dumped.isascii()
    assert parse_record(dumped) == record()
    assert parse_record(dumped.encode()).dump() == dumped


def test_places_in_batches_are_optional_and_first_by_default() -> None:
    def edit(document: dict[str, Any]) -> None:
        for name in ("batch_index", "batch_size", "list_index"):
            del document["subject"][name]

    subject = edited(edit).subject

    assert (subject.batch_index, subject.batch_size, subject.list_index) == (0, 1, 0)


def test_a_material_that_was_not_hashed_has_neither_size_nor_digest() -> None:
    missing = Material("loras", "a", NodeId("1"), "lora_name", "missing")

    read = edited(at("materials", value=[missing.to_json()]))

    assert missing.to_json().keys() == {"kind", "name", "node_id", "input", "status"}
    assert read.materials == [missing]


def test_any_edit_changes_the_actual_digest() -> None:
    forged = edited(at("created", value="1999"))

    assert forged.digest == record().digest
    assert str(forged.actual_digest()) != forged.digest


def test_sealing_again_gives_the_same_record() -> None:
    assert seal(record().document) == record()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        pytest.param("", RecordError, "expected JSON", id="nothing"),
        pytest.param("[]", RecordError, "expected a JSON object, got list", id="a list"),
        pytest.param(b"\xff", RecordError, "expected UTF-8", id="no text"),
        pytest.param("{}", RecordError, "version: expected an integer from 0, got null", id="{}"),
        pytest.param('{"version":2}', RecordError, "got 2: update the pack", id="a newer version"),
        pytest.param('{"version":true}', RecordError, "got true", id="a truth value as version"),
        pytest.param('{"version":-1}', RecordError, "got -1", id="a version below 0"),
        pytest.param('{"version":1}', RecordError, "subject: expected an object", id="no subject"),
        pytest.param("[" * 65 + "]" * 65, LimitError, "nesting", id="too deep"),
        pytest.param(failed_record("full"), RecordError, "without a record: full", id="failed"),
    ],
)
def test_what_is_no_record_is_refused(
    text: str | bytes, error: type[RecordError], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_record(text)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(at("subject", "digest", value="x"), "algorithm:hex", id="no digest"),
        pytest.param(at("subject", "width", value=-1), "width: expected an integer", id="width"),
        pytest.param(at("subject", "height", value=1.5), "got 1.5", id="height"),
        pytest.param(at("graph", value={}), "graph: expected a string, got dict", id="graph"),
        pytest.param(at("graph_sha256", value=None), "graph_sha256: .* NoneType", id="its digest"),
        pytest.param(at("output", value=["decode", 0]), "output: expected an object", id="output"),
        pytest.param(at("output", "slot", value="0"), 'slot: .* got "?0', id="slot"),
        pytest.param(at("tuple", value=[]), "tuple: expected an object, got list", id="tuple"),
        pytest.param(at("recipe", value=1), "recipe: expected a string", id="recipe"),
        pytest.param(at("samplings", value={}), "samplings: expected a list", id="samplings"),
        pytest.param(at("samplings", value=[1]), "expected objects, got int", id="a sampling"),
        pytest.param(at("materials", 0, "name", value=1), "name: expected a string", id="name"),
        pytest.param(at("materials", 0, "sha256", value=None), "sha256: expected", id="sha256"),
        pytest.param(at("environment", value="x"), "environment: expected", id="environment"),
        pytest.param(at("digest", value=0), "digest: expected a string", id="digest"),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_when_read(edit: Edit, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        edited(edit)


@pytest.mark.parametrize("name", sorted({*document_of()} - {"created", "generator", "warnings"}))
def test_a_record_lacks_no_field_that_readers_need(name: str) -> None:
    document = document_of()
    del document[name]

    with pytest.raises(RecordError, match=name):
        parse_record(json.dumps({**document, "digest": "x"}))


def test_what_cannot_be_sealed_is_refused() -> None:
    with pytest.raises(RecordError, match="graph"):
        seal({**document_of(), "graph": None})
    with pytest.raises(CanonicalError):
        seal({**document_of(), "extra": float("nan")})


def test_a_graph_without_the_output_is_no_prompt_of_this_record() -> None:
    with pytest.raises(GraphError, match="expected node 'gone' in the graph, found none"):
        edited(at("output", "node_id", value="gone")).prompt()


def entry_of(graph: dict[str, Any]) -> dict[str, Any]:
    prompt = to_prompt(graph)
    return to_sampling_entry(read_samplings(prompt, OUTPUT.node_id)[-1])


def tuple_of(graph: dict[str, Any], materials: list[Material]) -> dict[str, Any]:
    prompt = to_prompt(graph)
    sampling = read_samplings(prompt, OUTPUT.node_id)[-1]
    return to_tuple(to_sampling_entry(sampling), prompt, sampling.model, materials)


def test_a_tuple_is_the_parameters_and_digests_of_a_sampling() -> None:
    graph = graph_of()

    assert tuple_of(graph, materials_of(graph)) == {
        "model_version": MODEL_SHA256,
        "seed": str(2**60),
        "sampler": "euler",
        "scheduler": "normal",
        "steps": 4,
        "cfg": 7.0,
        "denoise": 1.0,
        "width": 128,
        "height": 128,
        "prompt_sha256": digest_text("a fox's den").hex,
        "negative_prompt_sha256": digest_text("blurry").hex,
        "adapters": [
            {
                "name": "provenance_tiny_lora.safetensors",
                "sha256": LORA_SHA256,
                "strengths": {"strength_model": 1.0, "strength_clip": 1.0},
            }
        ],
    }


def test_what_the_graph_does_not_say_is_unresolved() -> None:
    graph = graph_of()
    graph["computed"] = {"class_type": "Compute", "inputs": {}}
    for name in ("seed", "cfg"):
        graph["sampler"]["inputs"][name] = ["computed", 0]
    graph["positive"]["inputs"]["text"] = ["computed", 0]
    graph["lora"]["inputs"]["strength_model"] = ["computed", 0]

    parameters = tuple_of(graph, materials_of(graph_of()))

    unresolved = {name for name, value in parameters.items() if value == "unresolved"}
    assert unresolved == {"seed", "cfg", "prompt_sha256"}
    assert parameters["adapters"][0]["strengths"]["strength_model"] == "unresolved"


@pytest.mark.parametrize("seed", ["42", 42.0, True, None])
def test_a_seed_that_is_no_integer_is_unresolved(seed: JsonValue) -> None:
    graph = graph_of()
    graph["sampler"]["inputs"]["seed"] = seed

    assert entry_of(graph)["seed"] == "unresolved"


def test_a_model_that_was_not_hashed_makes_the_version_unresolved() -> None:
    graph = graph_of()
    (_, adapter) = materials_of(graph)
    missing = Material("checkpoints", "a", NodeId("loader"), "ckpt_name", "missing")

    assert tuple_of(graph, [missing, adapter])["model_version"] == "unresolved"
    assert tuple_of(graph, [])["model_version"] == "unresolved"


def test_several_models_are_one_digest_of_their_list_in_order() -> None:
    graph = graph_of()
    model, adapter = materials_of(graph)
    second = Material("diffusion_models", "b", NodeId("lora"), "unet", "hashed", 9, "c" * 64)

    version = tuple_of(graph, [second, adapter, model])["model_version"]

    assert version == digest_value([MODEL_SHA256, "c" * 64]).hex


def test_only_what_the_sampled_model_depends_on_counts() -> None:
    graph = graph_of()
    graph["sampler"]["inputs"]["model"] = ["loader", 0]

    assert tuple_of(graph, materials_of(graph))["adapters"] == []


def test_a_summary_tells_image_parameters_and_files() -> None:
    lines = summarise(edited(at("warnings", value=["a large seed"]))).splitlines()

    assert lines[0] == f"Image: 8 x 8, {digest_pixels(IMAGE)}"
    assert lines[1] == "Batch: image 1 of 1"
    assert f"seed: {2**60}" in lines
    assert f"checkpoints: provenance_tiny.safetensors {MODEL_SHA256}" in lines
    assert lines[-1] == "Warning: a large seed"


def test_an_unknown_field_is_kept() -> None:
    read = edited(at("future", value={"a": [1, {"b": None}]}), resealed=True)

    again = parse_record(read.dump())

    assert cast("dict[str, Any]", again.document["future"]) == {"a": [1, {"b": None}]}
    assert again.digest == str(again.actual_digest()) == read.digest


def test_a_record_about_a_batch_is_read_for_the_image_whose_pixels_it_names() -> None:
    first, second = digest_pixels(IMAGE), digest_pixels(gradient(4, 4))
    document = document_of()
    subject = document["subject"]
    del subject["digest"], subject["batch_index"]
    subject.update(digests=[str(first), str(second)], batch_size=2)
    both = seal(document)

    assert both.read_for(second).subject.batch_index == 1
    assert both.read_for(second).subject.digest == second
    assert both.read_for(digest_pixels(gradient(2, 2))).subject.digest == first
    assert both.read_for(second).dump() == both.dump()


@pytest.mark.parametrize("digests", [[], "x", [7], ["sha256-rgb8:00"]])
def test_a_batch_without_digests_is_refused(digests: object) -> None:
    document = document_of()
    document["subject"]["digests"] = digests

    with pytest.raises(RecordError, match=r"digest|hex"):
        seal(document)


def test_computed_values_are_read_by_output_and_seeds_as_integers() -> None:
    document = document_of()
    document["computed"] = [
        {"node_id": "7", "slot": 0, "type": "INT", "value": str(2**64 - 1)},
        {"node_id": "8", "slot": 1, "type": "STRING", "value": "12"},
        {"node_id": "9", "slot": -1, "type": "STRING", "value": "no such output"},
        {"node_id": 7, "slot": 0},
        "no object",
    ]

    assert seal(document).computed == {
        Link(NodeId("7"), 0): 2**64 - 1,
        Link(NodeId("8"), 1): "12",
    }


def test_a_redacted_record_has_no_graph_to_run() -> None:
    redacted = seal({**document_of(), "redacted": True})

    assert redacted.lacks_graph
    with pytest.raises(NoRecordError, match="redacted"):
        redacted.prompt()


def test_a_graph_that_is_missing_without_a_word_is_refused() -> None:
    document = document_of()
    del document["graph"]

    with pytest.raises(RecordError, match="graph: expected a string"):
        seal(document)


def test_the_optional_parts_of_a_material_survive() -> None:
    material = Material(
        "loras",
        "a.safetensors",
        NodeId("lora"),
        "lora_name",
        "hashed",
        9,
        "b" * 64,
        autov3="c" * 64,
        blake3="d" * 64,
        on_disk="replaced",
    )
    document = document_of()
    document["materials"] = [material.to_json()]

    assert seal(document).materials == [material]
    assert "pixels" not in material.to_json()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("seed", -1, "unresolved"),
        ("seed", 2**64, "unresolved"),
        ("seed", 2**64 - 1, str(2**64 - 1)),
        ("seed", "7", "unresolved"),
        ("steps", "20", "unresolved"),
        ("steps", 2**60, "unresolved"),
        ("cfg", float("nan"), "unresolved"),
        ("cfg", True, "unresolved"),
        ("sampler_name", 3, "unresolved"),
    ],
)
def test_a_widget_of_another_type_or_range_is_unresolved(
    name: str, value: JsonValue, told: str
) -> None:
    graph = graph_of()
    graph["sampler"]["inputs"][name] = value

    (sampling,) = read_samplings(to_prompt(graph), OUTPUT.node_id)

    field = {"sampler_name": "sampler"}.get(name, name)
    assert to_sampling_entry(sampling)[field] == told
