"""A record is held against itself, its file, other files and machines, and the change is named.

Checks decide the level; causes explain it, parameters first and `numerics` last.
"""

from __future__ import annotations

import json

import pytest

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.compare import (
    compare_machines,
    compare_materials,
    compare_numerics,
    compare_pixels,
    is_explained,
    judge,
)
from comfyui_provenance.digest import digest_text
from comfyui_provenance.graph.prompt import NodeId
from comfyui_provenance.integrity import Integrity, compare_integrity, names_file
from comfyui_provenance.pixels import Difference, Pixels, digest_pixels
from comfyui_provenance.record import Material, seal
from comfyui_provenance.verdict import Cause, CauseKind, Check, Level

from support.builders import check_of, gradient, pixels_of
from support.records import (
    ENVIRONMENT,
    IMAGE,
    Document,
    at,
    document_of,
    edited,
    graph_of,
    in_graph,
    materials_of,
    record,
    replaced,
)


def levels(integrity: Integrity) -> dict[str, str]:
    return {check.name: check.level.label for check in integrity.checks}


def kinds(causes: tuple[Cause, ...] | list[Cause]) -> list[str]:
    return [cause.kind.value for cause in causes]


def cause_of(kind: CauseKind) -> Cause:
    return Cause(kind, "It changed.", 1, 2)


def altered(change: int) -> Pixels:
    samples = bytearray(IMAGE.samples)
    samples[100] = (samples[100] + change) % 256
    return Pixels(bytes(samples), IMAGE.height, IMAGE.width, IMAGE.channels)


def test_an_untouched_file_agrees_with_its_record() -> None:
    integrity = compare_integrity(record(), IMAGE, json.dumps(graph_of()))

    assert levels(integrity) == dict.fromkeys(["record", "graph", "tuple", "image"], "bitwise")
    assert integrity.causes == ()


def test_a_record_without_its_image_says_nothing_of_pixels() -> None:
    assert levels(compare_integrity(record(), None, None)).keys() == {"record", "graph", "tuple"}


EDITS = [
    pytest.param("sampler", "seed", 7, "seed", str(2**60), "7", id="seed"),
    pytest.param("sampler", "sampler_name", "ddim", "sampler", "euler", "ddim", id="sampler"),
    pytest.param("sampler", "scheduler", "beta", "scheduler", "normal", "beta", id="scheduler"),
    pytest.param("sampler", "steps", 5, "steps", 4, 5, id="steps"),
    pytest.param("sampler", "cfg", 7.1, "cfg", 7, 7.1, id="cfg"),
    pytest.param("sampler", "denoise", 0.9, "denoise", 1, 0.9, id="denoise"),
    pytest.param("latent", "width", 256, "size", 128, 256, id="width"),
    pytest.param("latent", "height", 64, "size", 128, 64, id="height"),
    pytest.param(
        "positive",
        "text",
        "a fox\u2019s den",
        "prompt_text",
        "a fox's den",
        "a fox\u2019s den",
        id="a curly quote",
    ),
    pytest.param("negative", "text", "", "negative_text", "blurry", "", id="negative text"),
    pytest.param(
        "loader",
        "ckpt_name",
        "b.safetensors",
        "model_file",
        "provenance_tiny.safetensors",
        "b.safetensors",
        id="name of the model",
    ),
    pytest.param(
        "lora",
        "lora_name",
        "b.safetensors",
        "adapter_file",
        "provenance_tiny_lora.safetensors",
        "b.safetensors",
        id="name of the adapter",
    ),
]

in_each_parameter = pytest.mark.parametrize(
    ("node_id", "name", "value", "kind", "before", "after"), EDITS
)


@in_each_parameter
def test_a_parameter_edited_in_the_record_is_named_before_the_edit(
    node_id: str, name: str, value: object, kind: str, before: JsonValue, after: JsonValue
) -> None:
    integrity = compare_integrity(edited(in_graph(node_id, name, value)), IMAGE, None)

    first = integrity.causes[0]
    assert kinds(integrity.causes) == [kind, "graph_edited", "record_edited"]
    assert (first.recorded, first.now) == (before, after)
    assert levels(integrity) == {
        "record": "mismatch",
        "graph": "mismatch",
        "tuple": "mismatch",
        "image": "bitwise",
    }


@in_each_parameter
def test_a_parameter_edited_in_the_files_prompt_is_named_before_the_edit(
    node_id: str, name: str, value: object, kind: str, before: JsonValue, after: JsonValue
) -> None:
    prompt = graph_of()
    prompt[node_id]["inputs"][name] = value

    integrity = compare_integrity(record(), IMAGE, json.dumps(prompt))

    first = integrity.causes[0]
    assert kinds(integrity.causes) == [kind, "graph_edited"]
    assert (first.recorded, first.now) == (before, after)
    assert levels(integrity)["record"] == "bitwise"
    assert levels(integrity)["graph"] == "mismatch"


@in_each_parameter
def test_a_resealed_edit_is_still_named(
    node_id: str, name: str, value: object, kind: str, before: JsonValue, after: JsonValue
) -> None:
    forged = edited(in_graph(node_id, name, value), resealed=True)

    integrity = compare_integrity(forged, IMAGE, None)

    assert kinds(integrity.causes) == [kind]
    assert (integrity.causes[0].recorded, integrity.causes[0].now) == (before, after)
    assert levels(integrity)["tuple"] == "mismatch"


def test_an_adapters_strength_is_named_with_both_values() -> None:
    integrity = compare_integrity(edited(in_graph("lora", "strength_model", 0.5)), IMAGE, None)

    first = integrity.causes[0]
    assert kinds(integrity.causes) == ["adapter_strength", "graph_edited", "record_edited"]
    assert isinstance(first.recorded, list)
    assert isinstance(first.now, list)
    assert json.loads(json.dumps(first.recorded))[0]["strengths"]["strength_model"] == 1
    assert json.loads(json.dumps(first.now))[0]["strengths"]["strength_model"] == 0.5


def test_an_adapter_taken_out_of_the_path_is_an_adapter_file() -> None:
    integrity = compare_integrity(edited(in_graph("sampler", "model", ["loader", 0])), IMAGE, None)

    assert kinds(integrity.causes) == ["adapter_file", "graph_edited", "record_edited"]


def test_several_edits_are_all_named_each_once() -> None:
    def edit(document: Document) -> None:
        in_graph("sampler", "cfg", 1.0)(document)
        in_graph("sampler", "steps", 1)(document)

    integrity = compare_integrity(edited(edit), IMAGE, None)

    assert kinds(integrity.causes) == ["steps", "cfg", "graph_edited", "record_edited"]


def test_any_other_edit_of_the_record_is_an_edited_record() -> None:
    integrity = compare_integrity(edited(at("created", value="1999")), IMAGE, None)

    assert kinds(integrity.causes) == ["record_edited"]
    assert levels(integrity)["record"] == "mismatch"


def test_an_edited_graph_without_known_parameters_is_an_edited_graph() -> None:
    integrity = compare_integrity(edited(in_graph("decode", "note", "x")), IMAGE, None)

    assert kinds(integrity.causes) == ["graph_edited", "record_edited"]


def test_a_prompt_that_is_no_prompt_is_an_edited_graph() -> None:
    integrity = compare_integrity(record(), IMAGE, "[]")

    assert kinds(integrity.causes) == ["graph_edited"]


def test_nodes_that_the_image_does_not_depend_on_do_not_matter() -> None:
    prompt = graph_of()
    prompt["save"] = {"class_type": "SaveImage", "inputs": {"images": ["decode", 0]}}
    prompt["broken"] = {"class_type": "Note", "inputs": {"at": ["gone", 0]}}

    assert compare_integrity(record(), IMAGE, json.dumps(prompt)).causes == ()


def test_an_altered_pixel_is_an_edited_image_and_comes_after_edited_records() -> None:
    integrity = compare_integrity(edited(at("created", value="1999")), altered(1), None)

    assert kinds(integrity.causes) == ["record_edited", "image_edited"]
    assert levels(integrity)["image"] == "mismatch"


def test_a_resized_file_is_an_edited_image() -> None:
    integrity = compare_integrity(record(), gradient(9, 9), None)

    assert kinds(integrity.causes) == ["image_edited"]


def test_the_same_pixels_are_bitwise() -> None:
    check, difference = compare_pixels(
        "pixels", digest_pixels(IMAGE), IMAGE, IMAGE, explained=False
    )

    assert check.level is Level.BITWISE
    assert difference is not None
    assert difference.max_abs == 0


@pytest.mark.parametrize(
    ("found", "reference", "explained", "level", "message"),
    [
        pytest.param(altered(1), IMAGE, False, Level.UNKNOWN, "can be rounding", id="rounding"),
        pytest.param(altered(1), IMAGE, True, Level.MISMATCH, "by up to 1", id="explained"),
        pytest.param(altered(2), IMAGE, False, Level.MISMATCH, "by up to 2", id="two levels"),
        pytest.param(altered(1), None, False, Level.MISMATCH, "not the same", id="no reference"),
        pytest.param(altered(1), altered(1), False, Level.MISMATCH, "0.00%", id="edited reference"),
        pytest.param(gradient(9, 9), IMAGE, False, Level.MISMATCH, "another size", id="size"),
        pytest.param(
            pixels_of(*range(64), height=8), IMAGE, False, Level.MISMATCH, "channels", id="gray"
        ),
    ],
)
def test_other_pixels_are_never_a_match(
    found: Pixels, reference: Pixels | None, explained: bool, level: Level, message: str
) -> None:
    check, _ = compare_pixels("pixels", digest_pixels(IMAGE), found, reference, explained=explained)

    assert check.level is level
    assert message in check.message


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("checkpoints", "model_file", id="checkpoint"),
        pytest.param("vae", "model_file", id="any other model"),
        pytest.param("loras", "adapter_file", id="lora"),
        pytest.param("hypernetworks", "adapter_file", id="hypernetwork"),
        pytest.param("embeddings", "adapter_file", id="embedding"),
        pytest.param("controlnet", "controlnet", id="controlnet"),
        pytest.param("input", "input_image", id="input"),
    ],
)
def test_a_replaced_file_is_named_by_its_kind(kind: str, expected: str) -> None:
    recorded = Material(kind, "a.bin", NodeId("loader"), "name", "hashed", 9, "a" * 64)

    (cause,) = compare_materials([recorded], [replaced(recorded, "c" * 64)])

    assert cause.kind == expected
    assert (cause.recorded, cause.now, cause.node_id) == ("a" * 64, "c" * 64, "loader")


def test_a_missing_file_is_named_and_an_equal_one_is_not() -> None:
    recorded = materials_of(graph_of())
    present = [recorded[0], replaced(recorded[1], None)]

    causes = compare_materials(recorded, present)

    assert [(cause.kind, cause.now) for cause in causes] == [(CauseKind.ADAPTER_FILE, "missing")]


def test_a_file_that_was_not_hashed_explains_nothing() -> None:
    recorded = materials_of(graph_of())

    assert compare_materials([replaced(recorded[0], None)], recorded) == []


def test_differences_of_machines_are_causes_in_the_order_of_the_record() -> None:
    now: Document = {
        **ENVIRONMENT,
        "packages": {"torch": "2.15.0"},
        "cpu": {"capability": "AVX2", "threads": 2},
    }

    causes = compare_machines(ENVIRONMENT, now)

    assert [(cause.kind, cause.recorded, cause.now) for cause in causes] == [
        (CauseKind.CPU_ISA, "AVX512", "AVX2"),
        (CauseKind.LIBRARY_VERSION, "2.14.1", "2.15.0"),
    ]


def test_a_fingerprint_that_differs_names_its_families_the_gpus_first() -> None:
    recorded: Document = {"cpu": {"norms": "1", "matmul": "2"}, "cuda": {"attention": "3"}}
    now: Document = {"cpu": {"norms": "4", "matmul": "5"}, "cuda": {"attention": "6"}}

    device, cpu = compare_numerics(recorded, now)

    assert (device.kind, cpu.kind) == (CauseKind.DEVICE, CauseKind.CPU_ISA)
    assert device.message == "the cuda computes other bits than recorded in: attention"
    assert cpu.message == "the cpu computes other bits than recorded in: norms, matmul"
    assert (cpu.recorded, cpu.now) == (
        {"norms": "1", "matmul": "2"},
        {"norms": "4", "matmul": "5"},
    )


def test_equal_fingerprints_and_missing_ones_are_no_cause() -> None:
    fingerprint: Document = {"cpu": {"norms": "1"}}

    assert compare_numerics(fingerprint, fingerprint) == []
    assert compare_numerics({}, fingerprint) == []


def test_what_nothing_explains_is_numerics_and_only_then() -> None:
    mismatch = [check_of(Level.MISMATCH)]

    assert kinds(judge(mismatch, [], None, exhaustive=True).causes) == ["numerics"]
    assert judge(mismatch, [], None).causes == ()
    cfg = [cause_of(CauseKind.CFG)]
    assert kinds(judge(mismatch, cfg, None, exhaustive=True).causes) == ["cfg"]
    assert judge([check_of(Level.BITWISE)], [], None, exhaustive=True).causes == ()
    assert judge([], [], None, exhaustive=True).causes == ()


def test_nothing_judged_is_unknown() -> None:
    assert judge([], [cause_of(CauseKind.CFG)], None).level is Level.UNKNOWN


def test_a_bitwise_verdict_has_no_causes() -> None:
    report = judge([check_of(Level.BITWISE)], [cause_of(CauseKind.DEVICE)], None, ["A note."])

    assert report.match
    assert report.causes == ()
    assert report.notes == ("A note.",)


@pytest.mark.parametrize("kind", CauseKind)
def test_rounding_is_excluded_by_every_cause_but_those_of_the_machine(kind: CauseKind) -> None:
    machine = "comfyui_version library_version device cpu_isa threads precision attention memory"

    assert is_explained([cause_of(kind)]) is (
        kind.value not in {*machine.split(), "node_pack", "numerics"}
    )


def test_checks_keep_their_order_in_the_report() -> None:
    checks: list[Check] = [check_of(Level.BITWISE, name) for name in ("b", "a")]

    assert [check.name for check in judge(checks, [], None).checks] == ["b", "a"]


def test_an_unread_value_disagrees_with_nothing() -> None:
    def unresolve(document: Document) -> None:
        for entry in (document["tuple"], document["samplings"][0]):
            entry["cfg"] = "unresolved"

    integrity = compare_integrity(edited(unresolve, resealed=True), IMAGE, None)

    assert integrity.causes == ()


def test_a_text_taken_out_of_the_record_is_no_edit_while_its_digest_stays() -> None:
    def redact(document: Document) -> None:
        del document["samplings"][0]["positive"][0]["text"]

    assert compare_integrity(edited(redact, resealed=True), IMAGE, None).causes == ()


def test_several_files_of_one_input_are_compared_each_with_itself() -> None:
    names = ("taesd_encoder.pth", "taesd_decoder.pth")
    files = [
        Material("vae_approx", name, NodeId("vae"), "vae_name", "hashed", 9, name[6] * 64)
        for name in names
    ]

    assert compare_materials(files, files) == []
    other = [files[0], replaced(files[1], "f" * 64)]
    assert [cause.recorded for cause in compare_materials(files, other)] == [files[1].sha256]


def test_a_prompt_beside_a_graph_that_was_left_out_must_be_that_graph() -> None:
    document = document_of()
    graph = document.pop("graph")
    left_out = seal({**document, "left_out": ["graph"]})

    assert levels(compare_integrity(left_out, None, graph))["graph"] == "bitwise"
    other = compare_integrity(left_out, None, graph.replace("KSampler", "Other"))
    assert levels(other)["graph"] == "mismatch"


def test_an_image_from_an_expansion_is_not_held_against_the_prompt_as_queued() -> None:
    document = document_of()
    document["output"]["expanded"] = True
    queued = json.dumps({"1": {"class_type": "Loop", "inputs": {}}})

    assert compare_integrity(seal(document), IMAGE, queued).causes == ()
    assert kinds(compare_integrity(record(), IMAGE, queued).causes)[-1] == "graph_edited"


def test_a_lossy_file_is_held_against_the_pixels_that_it_stored() -> None:
    stored = altered(9)
    document = document_of()
    document["subject"]["stored"] = str(digest_pixels(stored))
    lossy = seal(document)

    assert levels(compare_integrity(lossy, stored, None))["image"] == "bitwise"
    assert levels(compare_integrity(lossy, IMAGE, None))["image"] == "mismatch"


def test_a_reproduction_is_held_against_the_pixels_before_a_lossy_format_changed_them() -> None:
    expected = digest_pixels(IMAGE)

    def compare(found: Pixels) -> tuple[Check, Difference | None]:
        return compare_pixels("pixels", expected, found, altered(9), explained=False, is_lossy=True)

    same, no_difference = compare(IMAGE)
    other, difference = compare(altered(1))

    assert (same.level, no_difference) == (Level.BITWISE, None)
    assert other.level is Level.MISMATCH
    assert "the file's own pixels" in other.message
    assert difference is not None


def test_a_redacted_record_is_not_called_edited() -> None:
    document = document_of()
    document["redacted"] = True
    document["graph"] = "{}"
    for text in document["samplings"][0]["positive"]:
        del text["text"]

    integrity = compare_integrity(seal(document), IMAGE, None)

    assert levels(integrity) == dict.fromkeys(["record", "tuple", "image"], "bitwise")


def test_a_value_that_a_node_computed_is_no_edit() -> None:
    document = document_of()
    graph = json.loads(document["graph"])
    graph["sampler"]["inputs"]["seed"] = ["number", 0]
    graph["number"] = {"class_type": "Random", "inputs": {}}
    document["graph"] = json.dumps(graph)
    document["graph_sha256"] = digest_text(document["graph"]).hex
    seed = document["tuple"]["seed"]
    computed: Document = {"node_id": "number", "slot": 0, "type": "INT"}
    told = seal({**document, "computed": [{**computed, "value": seed}]})
    other = seal({**document, "computed": [{**computed, "value": "7"}]})

    assert compare_integrity(told, None, None).causes == ()
    assert kinds(compare_integrity(other, None, None).causes)[0] == "seed"


@pytest.mark.parametrize(
    ("kind", "name", "value", "named"),
    [
        ("loras", "a.safetensors", "a.safetensors", True),
        ("loras", "a.safetensors", {"on": True, "lora": "a.safetensors"}, True),
        ("loras", "a.safetensors", [["b.safetensors", 1], ["a.safetensors", 0.5]], True),
        ("loras", "a.safetensors", {"lora": "b.safetensors"}, False),
        ("embeddings", "sub/cat.pt", "a (embedding:cat:1.2), sitting", True),
        ("embeddings", "sub/cat.pt", "a dog", False),
        ("loras", "a.safetensors", 7, False),
    ],
)
def test_an_input_names_a_file_also_inside_a_text_or_a_list(
    kind: str, name: str, value: JsonValue, named: bool
) -> None:
    assert names_file(value, Material(kind, name, NodeId("1"), "x", "missing")) is named
