"""Attack: a record whose digests all fit, made again after a false claim was written into it.

Nothing is signed, so a forger can seal what he likes; but what a record claims must follow
from the graph that it carries. The worst was a graph that only loads the image back: it
reproduces bit for bit, whatever seed, model and words the tuple beside it tells of.
"""

from __future__ import annotations

import copy
import json

import pytest

from comfyui_provenance.integrity import Integrity, compare_integrity
from comfyui_provenance.verdict import Level

from support.records import IMAGE, Document, Edit, at, edited


def judged(edit: Edit) -> Integrity:
    return compare_integrity(edited(edit, resealed=True), IMAGE, None)


def load_the_image_back(document: Document) -> None:
    graph = {"decode": {"class_type": "LoadImage", "inputs": {"image": "fox.png"}}}
    document["graph"] = json.dumps(graph)
    document["materials"] = []
    document["tuple"]["seed"] = "42"


def keep_only_the_tuple(document: Document) -> None:
    load_the_image_back(document)
    document["samplings"] = []


def add_a_sampling(document: Document) -> None:
    document["samplings"].append({**document["samplings"][0], "node_id": "another"})


def add_a_second_entry(document: Document) -> None:
    document["samplings"].insert(0, {**copy.deepcopy(document["samplings"][0]), "seed": "42"})


def rename_the_class(document: Document) -> None:
    document["samplings"][0]["class_type"] = "KSampler"


def unname_the_node(document: Document) -> None:
    document["samplings"][0]["node_id"] = ["sampler"]


def hide_another_model(document: Document) -> None:
    graph = json.loads(document["graph"])
    graph["loader"]["inputs"]["ckpt_name"] = "b.safetensors"
    document["graph"] = json.dumps(graph)
    del document["materials"][0]


def link_the_model(document: Document) -> None:
    graph = json.loads(document["graph"])
    graph["name"] = {"class_type": "PrimitiveString", "inputs": {"value": "b.safetensors"}}
    graph["loader"]["inputs"]["ckpt_name"] = ["name", 0]
    document["graph"] = json.dumps(graph)


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        pytest.param(load_the_image_back, "record_edited", id="the image loaded back"),
        pytest.param(keep_only_the_tuple, "record_edited", id="a tuple without samplings"),
        pytest.param(add_a_sampling, "record_edited", id="a sampling of no node"),
        pytest.param(add_a_second_entry, "seed", id="two entries of one node"),
        pytest.param(rename_the_class, "record_edited", id="another class"),
        pytest.param(unname_the_node, "record_edited", id="a list as node id"),
        pytest.param(hide_another_model, "model_file", id="a model that is not listed"),
        pytest.param(link_the_model, "model_file", id="a name through a link"),
        pytest.param(
            at("tuple", "prompt_sha256", value="0" * 64), "prompt_text", id="digest of the words"
        ),
        pytest.param(
            at("tuple", "negative_prompt_sha256", value="0" * 64),
            "negative_text",
            id="digest of the negative words",
        ),
        pytest.param(
            at("tuple", "model_version", value="0" * 64), "model_file", id="digest of the model"
        ),
        pytest.param(
            at("materials", 0, "sha256", value="0" * 64), "model_file", id="digest of the file"
        ),
        pytest.param(
            at("tuple", "adapters", 0, "sha256", value="0" * 64), "adapter_file", id="adapter"
        ),
        pytest.param(at("tuple", "adapters", value=[]), "adapter_file", id="no adapter"),
        pytest.param(at("tuple", "adapters", value="none"), "adapter_file", id="text as adapters"),
        pytest.param(
            at("samplings", 0, "positive", 0, "text", value="a dove"), "prompt_text", id="words"
        ),
        pytest.param(at("samplings", 0, "cfg", value=1), "cfg", id="a sampling's cfg"),
        pytest.param(at("tuple", "seed", value="42"), "seed", id="seed of the tuple"),
        pytest.param(at("subject", "width", value=4096), "record_edited", id="size of the image"),
    ],
)
def test_a_sealed_false_claim_is_a_mismatch_and_named(edit: Edit, kind: str) -> None:
    integrity = judged(edit)

    assert min(check.level for check in integrity.checks) is Level.MISMATCH
    assert integrity.causes[0].kind == kind
    json.dumps([cause.to_json() for cause in integrity.causes], allow_nan=False)


def test_a_record_of_a_graph_that_samples_nothing_claims_nothing() -> None:
    def edit(document: Document) -> None:
        keep_only_the_tuple(document)
        document["tuple"] = {}

    assert judged(edit).causes == ()
