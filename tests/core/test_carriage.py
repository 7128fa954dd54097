"""A file carries what it can hold; what gives way is named, and the whole record is at hand."""

from __future__ import annotations

import json

import pytest

from comfyui_provenance.carriage import plan_texts
from comfyui_provenance.containers import embed, extract
from comfyui_provenance.integrity import compare_integrity
from comfyui_provenance.pixels import encode_jpeg, encode_png, encode_webp
from comfyui_provenance.record import parse_record

from support.records import IMAGE, at, document_of

HOSTS = {"prompt": json.dumps({"1": {"class_type": "A", "inputs": {}}}), "workflow": "{}"}

FILES = {
    "png": encode_png(IMAGE),
    "webp": encode_webp(IMAGE, lossless=True, quality=80),
    "jpeg": encode_jpeg(IMAGE, quality=90),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_small_record_is_carried_whole_with_all_that_stands_beside_it(kind: str) -> None:
    carried = plan_texts(kind, HOSTS, document_of(), parameters=True)

    texts = extract(embed(FILES[kind], carried.texts))
    assert texts.keys() == {"prompt", "workflow", "provenance", "parameters"}
    assert texts["provenance"] == carried.whole
    assert (carried.left_out, carried.problem) == ((), None)


@pytest.mark.parametrize(
    ("sizes", "left_out"),
    [
        pytest.param({"workflow": 70_000}, ("workflow",), id="the workflow"),
        pytest.param({"workflow": 30_000, "note": 70_000}, ("note", "workflow"), id="other texts"),
        pytest.param(
            {"workflow": 1, "note": 1, "prompt": 70_000},
            ("note", "prompt", "workflow"),
            id="prompt",
        ),
    ],
)
def test_a_jpeg_leaves_out_first_what_tells_least(
    sizes: dict[str, int], left_out: tuple[str, ...]
) -> None:
    hosts = {name: "x" * size for name, size in sizes.items()}

    carried = plan_texts("jpeg", hosts, document_of(), parameters=True)

    record = parse_record(extract(embed(FILES["jpeg"], carried.texts))["provenance"])
    assert carried.left_out == left_out
    assert record.document["left_out"] == [*left_out]
    assert "left_out" not in parse_record(carried.whole or "").document


@pytest.mark.parametrize("keyword", ["a key", "Workflow", "third"])
def test_a_text_that_exif_has_no_place_for_costs_itself_alone(keyword: str) -> None:
    hosts = {**HOSTS, "first": "1", "second": "2", keyword: "3"}

    for kind in ("jpeg", "webp"):
        for document in (document_of(), "GraphError: no graph", None):
            carried = plan_texts(kind, hosts, document, parameters=True)
            texts = extract(embed(FILES[kind], carried.texts))
            assert {"first", "second", "prompt", "workflow"} <= texts.keys()
            assert keyword not in texts
    whole = plan_texts("jpeg", hosts, document_of(), parameters=True)
    assert whole.left_out == (keyword,)
    assert whole.problem is None


def test_words_that_no_format_holds_cost_the_a1111_text_alone() -> None:
    document = document_of()
    document["samplings"][0]["positive"][0]["text"] = "a fox\0"

    carried = plan_texts("webp", HOSTS, document, parameters=True)

    assert carried.left_out == ("parameters",)
    assert carried.problem is None


def test_png_and_webp_leave_nothing_out() -> None:
    hosts = {**HOSTS, "workflow": "x" * 300_000}

    for kind in ("png", "webp"):
        assert plan_texts(kind, hosts, document_of(), parameters=True).left_out == ()


def test_a_graph_too_large_for_a_jpeg_leaves_its_digest() -> None:
    document = document_of()
    document["graph"] = document["graph"].replace("a fox", "a fox" + "x" * 70_000)

    carried = plan_texts("jpeg", HOSTS, document, parameters=True)

    record = parse_record(carried.texts["provenance"])
    assert record.lacks_graph
    assert record.graph_sha256 == document["graph_sha256"]
    integrity = compare_integrity(record, None, None)
    assert {check.name: check.level.label for check in integrity.checks} == {
        "record": "bitwise",
        "tuple": "bitwise",
    }


def test_details_give_way_after_the_graph_and_then_there_is_an_error_that_says_so() -> None:
    document = document_of()
    document["trace"] = [{"node_id": "sampler", "format": "x", "steps": ["y" * 70_000]}]
    assert "trace" in plan_texts("jpeg", HOSTS, document, parameters=True).left_out
    document["warnings"] = ["z" * 70_000]

    carried = plan_texts("jpeg", HOSTS, document, parameters=True)

    assert "record_error" in carried.texts["provenance"]
    assert parse_record(carried.whole or "").document["warnings"] == document["warnings"]
    assert carried.problem == "the record is larger than a jpeg file can hold"


def test_without_a_record_the_reason_is_carried() -> None:
    carried = plan_texts("png", HOSTS, "GraphError: no graph", parameters=True)

    assert json.loads(carried.texts["provenance"])["record_error"] == "GraphError: no graph"
    assert carried.texts["prompt"] == HOSTS["prompt"]
    assert (carried.whole, carried.problem) == (None, "GraphError: no graph")


def test_a_document_that_is_no_record_costs_the_record_alone() -> None:
    document = document_of()
    at("subject", "digest", value="no digest")(document)

    carried = plan_texts("png", HOSTS, document, parameters=False)

    assert "expected a digest" in str(carried.problem)
    assert carried.texts.keys() == {"prompt", "workflow", "provenance"}


def test_with_metadata_switched_off_nothing_is_carried() -> None:
    assert plan_texts("png", {}, None, parameters=True).texts == {}
