"""Records of runs that were seen from inside, with digests of everything, for comparing two."""

from __future__ import annotations

from typing import Any, Final

from comfyui_provenance.digest import digest_text
from comfyui_provenance.graph.prompt import NodeId, dump_prompt, to_prompt
from comfyui_provenance.graph.samplings import read_samplings
from comfyui_provenance.recipe import to_sampling_entry, to_tuple
from comfyui_provenance.record import Record, seal

from .records import Document, Edit, document_of, graph_of, materials_of

SAME: Final = "sha256-f32:" + "0" * 64
OTHER: Final = "sha256-f32:" + "1" * 64
INSIDE: Final[Document] = {
    "source": "sampling",
    "noise": SAME,
    "latent_in": SAME,
    "sigmas": SAME,
    "latent_shape": [1, 4, 16, 16],
    "sampler_function": "sample_euler",
    "sampler_options": {},
    "conditionings": {"positive": [{"cross_attn": SAME}], "negative": [{"cross_attn": SAME}]},
    "conditionings_per_forward": {"1": 8},
    "patches": {"weights": 2, "digest": "sha256:" + "0" * 64, "objects": [], "wrappers": []},
    "weights_sample": "sha256-f32-sample32:" + "0" * 64,
    "model_dtype": "float16",
    "attention": "pytorch",
    "flags": {"float32_matmul_precision": "highest"},
    "mode": {"noise": "comfy", "cond_batch": "separate"},
}
STAGES: Final = (("latent", "LATENT"), ("sampler", "LATENT"), ("decode", "IMAGE"))


def nothing(_: Document) -> None:
    """Leave it as it is."""


def run(
    edit: Edit = nothing,
    inside: Edit = nothing,
    finish: Edit = nothing,
    *,
    output: str = "decode",
) -> Record:
    """Build a record of a run that was seen from inside.

    Args:
        edit: changes the graph.
        inside: changes what the sampling told.
        finish: changes the document.
        output: the node that gives the image.
    """
    document = document_of()
    graph = graph_of()
    edit(graph)
    document["output"] = {"node_id": output, "slot": 0}
    prompt = to_prompt(graph, needed=[NodeId(output)])
    sampling = read_samplings(prompt, NodeId("decode"))[-1]
    entry: Document = {**to_sampling_entry(sampling), **INSIDE}
    inside(entry)
    materials = [item for item in materials_of(graph_of()) if item.node_id in prompt.nodes]
    text = dump_prompt(prompt)
    document |= {
        "graph": text,
        "graph_sha256": digest_text(text).hex,
        "samplings": [entry],
        "tuple": to_tuple(entry, prompt, sampling.model, materials),
        "materials": [item.to_json() for item in materials],
        "stages": [
            {"node_id": node_id, "slot": 0, "class_type": "", "type": kind, "digests": [SAME]}
            for node_id, kind in STAGES
            if node_id in prompt.nodes
        ],
        "operations": [],
        "computed": [],
        "determinism": {"demotions": []},
    }
    finish(document)
    return seal(document)


def put(node_id: str, **values: Any) -> Edit:
    """Set inputs of a node."""

    def edit(graph: Document) -> None:
        graph[node_id]["inputs"].update(values)

    return edit


def told(**values: Any) -> Edit:
    """Set what a sampling told."""
    return lambda entry: entry.update(values)


def parted(*node_ids: str) -> Edit:
    """Let nodes give other images."""

    def edit(document: Document) -> None:
        for stage in document["stages"]:
            if stage["node_id"] in node_ids:
                stage["digests"] = [OTHER]

    return edit
