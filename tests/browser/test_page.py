"""ComfyUI's page knows this pack's nodes, and images of this pack open as graphs that run."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from comfyui_provenance.containers import extract

from support import prompts
from support.editor import Editor
from support.server import PACK, History
from support.tampering import record_of

WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
ADDED_BY_THE_PAGE = {"control_after_generate", "upload"}
NODES = {
    "ProvenanceCompareRecords",
    "ProvenanceKSampler",
    "ProvenanceKSamplerAdvanced",
    "ProvenanceReadRecord",
    "ProvenanceReproduce",
    "ProvenanceReproduceResult",
    "ProvenanceSaveImage",
    "ProvenanceSeed",
    "ProvenanceVerify",
}
TXT2IMG = sorted(node["class_type"] for node in prompts.txt2img().values())
# A prompt that has run before would be answered with the old file.
NEW_SEEDS = itertools.count(1000)
MARK_A_PLACE = "() => { app.graph.nodes[0].pos = [123, 45]; }"


def widget_inputs(definition: dict[str, Any]) -> list[str]:
    """List the inputs that a node's schema gives a widget, in order."""
    specifications = {**definition["input"].get("required", {})}
    specifications |= definition["input"].get("optional", {})
    return [
        name
        for name, (kind, *_) in specifications.items()
        if isinstance(kind, list) or kind in WIDGET_TYPES
    ]


def image_of(editor: Editor, history: History) -> bytes:
    """Read the one image that a run saved."""
    (entry,) = (image for shown in history.outputs.values() for image in shown.get("images", ()))
    return editor.server.path_of(entry).read_bytes()


def test_every_node_is_there_with_the_widgets_of_its_schema(editor: Editor) -> None:
    definitions = {
        name: definition
        for name, definition in editor.server.get_json("/object_info").items()
        if name.startswith("Provenance")
    }

    for name, definition in definitions.items():
        editor.add_node(name, (100, 100))
        shown = editor.page.evaluate("() => app.graph.nodes.at(-1).widgets?.map((w) => w.name)")
        shown = [widget for widget in shown or [] if widget not in ADDED_BY_THE_PAGE]
        assert shown == widget_inputs(definition), name
    assert definitions.keys() >= NODES
    assert editor.node_types() == sorted(definitions)


def test_an_image_opens_as_its_graph_and_the_graph_runs(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "from api.png"
    file.write_bytes(saved)

    editor.drop(file)
    editor.wait_for_nodes(TXT2IMG)
    seed = next(NEW_SEEDS)
    editor.set_widget("ProvenanceKSampler", "seed", seed)
    history = editor.run()

    made = record_of(image_of(editor, history))
    assert made["tuple"] == {**record_of(saved)["tuple"], "seed": str(seed)}
    assert made["subject"]["digest"] != record_of(saved)["subject"]["digest"]


@pytest.mark.parametrize("lossless", [True, False], ids=["lossless", "lossy"])
def test_a_webp_opens_as_its_graph_with_its_seed(
    editor: Editor, tmp_path: Path, lossless: bool
) -> None:
    seed = 2**52 + next(NEW_SEEDS)
    prompt = prompts.txt2img(seed=seed, steps=1)
    prompt["save"]["inputs"] |= {"format": "webp", "lossless": lossless}
    (path,) = editor.server.images(editor.server.run(prompt))
    file = tmp_path / path.name
    file.write_bytes(path.read_bytes())

    editor.drop(file)
    editor.wait_for_nodes(TXT2IMG)

    (sampler,) = (
        node for node in editor.prompt().values() if node["class_type"] == "ProvenanceKSampler"
    )
    assert sampler["inputs"]["seed"] == seed


def test_an_image_made_on_the_page_opens_with_its_layout(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    first, second = tmp_path / "from api.png", tmp_path / "from page.png"
    first.write_bytes(saved)
    editor.drop(first)
    editor.wait_for_nodes(TXT2IMG)
    editor.set_widget("ProvenanceKSampler", "seed", next(NEW_SEEDS))
    editor.page.evaluate(MARK_A_PLACE)
    history = editor.run()
    second.write_bytes(image_of(editor, history))
    editor.clear()

    editor.drop(second)
    editor.wait_for_nodes(TXT2IMG)

    assert "workflow" in extract(second.read_bytes())
    places = [node["pos"] for node in editor.workflow()["nodes"]]
    assert [123, 45] in [[round(x) for x in place] for place in places]


@pytest.mark.parametrize("name", ["txt2img_with_record", "reproduce_and_verify"])
def test_an_example_is_offered_and_opens_with_every_node(
    editor: Editor, tmp_path: Path, name: str
) -> None:
    offered = editor.server.get_json("/api/workflow_templates")[PACK]
    thumbnail, _ = editor.server.request(f"/api/workflow_templates/{PACK}/{name}.jpg")
    status, example = editor.server.request(f"/api/workflow_templates/{PACK}/{name}.json")
    file = tmp_path / f"{name}.json"
    file.write_bytes(example)
    types = sorted(node["type"] for node in json.loads(example)["nodes"])

    editor.open(file)
    editor.wait_for_nodes(types)

    assert (status, thumbnail) == (200, 200)
    assert name in offered
    assert editor.unknown_nodes() == []
    assert any(kind.startswith("Provenance") for kind in types)
