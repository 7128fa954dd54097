"""Nodes show how their last run went, and what keeps a graph from repeating itself is told early.

In every supported frontend, on the classic canvas and in Nodes 2.0. Nothing of it changes the
prompt or the workflow, and nothing that the user does is prevented.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Route, expect

from support import prompts
from support.editor import Editor
from support.server import ComfyServer

TXT2IMG = sorted(node["class_type"] for node in prompts.txt2img().values())
SAMPLER = "ProvenanceKSampler"
UNSEEDED = "SVD_img2vid_Conditioning"
UNPINNED = "ImageUpscaleWithModel"
MESSAGES = ".p-toast-message, [data-testid=toast]"
TOLD_MS = 15_000
QUIET_MS = 2500
# A prompt that has run before would be answered from the cache, and a text is told once.
NEW_SEEDS = itertools.count(50_000)
NEW_LARGE = itertools.count(2**60 + 1, 256)


def open_graph(editor: Editor, saved: bytes, folder: Path) -> None:
    """Drop the image of a small graph, and wait until it is open."""
    file = folder / "made.png"
    file.write_bytes(saved)
    editor.drop(file)
    editor.wait_for_nodes(TXT2IMG)
    editor.close_cards()
    editor.set_widget(SAMPLER, "seed", next(NEW_SEEDS))


def mark(editor: Editor, state: str | None = None) -> Locator:
    """Find the marks of nodes, or those of one state."""
    attribute = f'[data-state="{state}"]' if state else ""
    return editor.page.locator(f".provenance-run-state{attribute}")


def toast(editor: Editor, text: str) -> Locator:
    """Find the messages that hold a text."""
    return editor.page.locator(MESSAGES).filter(has_text=text)


def open_field(editor: Editor, node_id: str, name: str) -> None:
    """Click on a node's number, as a user does who wants to type another."""
    x, y = editor.page.evaluate(
        """async ([id, name]) => {
            const node = app.graph.getNodeById(id);
            const { canvas, ds } = app.canvas;
            ds.scale = 1;
            app.canvas.centerOnNode(node);
            app.canvas.setDirty(true, true);
            for (let frames = 0; frames < 10; frames += 1) {
                await new Promise((resolve) => requestAnimationFrame(resolve));
            }
            const frame = canvas.getBoundingClientRect();
            const widget = node.widgets.find((widget) => widget.name === name);
            const at = [node.pos[0] + node.size[0] / 2, node.pos[1] + widget.y + 10];
            return [0, 1].map((i) => (at[i] + ds.offset[i]) * ds.scale + [frame.x, frame.y][i]);
        }""",
        [node_id, name],
    )
    node = editor.page.locator(f'[data-node-id="{node_id}"]')
    if node.count():
        # What is above the field takes the click, and gives the field the focus.
        node.get_by_label(name, exact=True).first.locator("input").click(force=True)
    else:
        editor.page.mouse.click(x, y)
        editor.page.locator(".graphdialog input").wait_for()
        editor.page.wait_for_timeout(200)  # it takes the focus a moment later


def type_number(editor: Editor, node_id: str, name: str, text: str) -> None:
    """Type a number into a node's field, key by key, and enter it."""
    open_field(editor, node_id, name)
    editor.page.keyboard.press("ControlOrMeta+a")
    editor.page.keyboard.type(text)
    editor.page.keyboard.press("Enter")


def widget_value(editor: Editor, node_id: str, name: str) -> object:
    """Give what the page holds."""
    value: object = editor.page.evaluate(
        "([id, name]) => app.graph.getNodeById(id).widgets.find((w) => w.name === name).value",
        [node_id, name],
    )
    return value


def add_primitive(editor: Editor, target: str, name: str) -> str:
    """Put a primitive node before a widget, as the page's menu does, and give the node's id."""
    primitive: str = editor.page.evaluate(
        """([target, name]) => {
            const node = LiteGraph.createNode("PrimitiveNode");
            app.graph.add(node);
            node.pos = [60, 120];
            const to = app.graph.getNodeById(target);
            node.connect(0, to, to.inputs.findIndex((input) => input.name === name));
            return String(node.id);
        }""",
        [target, name],
    )
    return primitive


def test_a_sampler_tells_that_its_run_was_deterministic(
    any_editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    editor = any_editor
    open_graph(editor, saved, tmp_path)

    editor.run()

    expect(mark(editor)).to_have_count(1)
    expect(mark(editor, "pinned")).to_be_visible()
    expect(mark(editor, "pinned")).to_contain_text("deterministic")
    assert "pinned" in str(mark(editor).get_attribute("title"))


def test_a_sampler_tells_that_the_mode_was_off(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    open_graph(editor, saved, tmp_path)
    editor.set_widget(SAMPLER, "deterministic_mode", False)

    editor.run()

    expect(mark(editor, "off")).to_contain_text("off")


def test_a_mark_fits_its_node(editor: Editor, saved: bytes, tmp_path: Path) -> None:
    open_graph(editor, saved, tmp_path)

    editor.run()
    expect(mark(editor, "pinned")).to_be_visible()

    editor.page.wait_for_function(
        """() => {
            const node = app.graph.nodes.find((node) => node.type === "ProvenanceKSampler");
            const { ds, canvas } = app.canvas;
            const frame = canvas.getBoundingClientRect();
            const place = (at, i) => (at + ds.offset[i]) * ds.scale + [frame.x, frame.y][i];
            const box = document.querySelector(".provenance-run-state").getBoundingClientRect();
            return box.height > 10
                && box.left >= place(node.pos[0], 0)
                && box.right <= place(node.pos[0] + node.size[0], 0) + 1
                && box.bottom <= place(node.pos[1] + node.size[1], 1) + 1;
        }"""
    )


def test_a_mark_adds_nothing_to_the_prompt_or_the_workflow(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    open_graph(editor, saved, tmp_path)
    editor.set_widget(SAMPLER, "control_after_generate", "fixed")
    prompt, workflow = editor.prompt(), editor.workflow()

    editor.run()
    expect(mark(editor)).to_be_visible()

    nodes = [{**node, "size": 0} for node in editor.workflow()["nodes"]]
    assert editor.prompt() == prompt
    assert nodes == [{**node, "size": 0} for node in workflow["nodes"]]


def test_a_mark_is_of_an_earlier_run_once_the_user_changes_the_node(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    open_graph(editor, saved, tmp_path)
    editor.set_widget(SAMPLER, "control_after_generate", "fixed")
    editor.run()
    expect(mark(editor, "pinned")).to_be_visible()
    fresh = mark(editor).inner_text()

    type_number(editor, sampler_id(editor), "steps", "1")
    expect(mark(editor)).to_contain_text("earlier", use_inner_text=True)
    editor.run()

    assert "earlier" not in fresh
    expect(mark(editor)).not_to_contain_text("earlier", use_inner_text=True)


def sampler_id(editor: Editor) -> str:
    """Give the id of the only sampler."""
    node_id: str = editor.page.evaluate(
        "(type) => String(app.graph.nodes.find((node) => node.type === type).id)", SAMPLER
    )
    return node_id


def test_a_sampler_in_a_subgraph_is_marked_there(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    open_graph(editor, saved, tmp_path)
    editor.page.evaluate(
        """() => {
            const node = app.graph.nodes.find((node) => node.type === "ProvenanceKSampler");
            app.graph.convertToSubgraph(new Set([node]));
        }"""
    )

    history = editor.run()

    assert any(":" in node_id for node_id in history.entry["prompt"][2])
    editor.page.wait_for_function(
        """() => [...app.rootGraph.subgraphs.values()][0].nodes
            .some((node) => node.widgets?.some(({ name }) => name === "provenance_state"))"""
    )
    editor.page.evaluate("() => app.canvas.setGraph([...app.rootGraph.subgraphs.values()][0])")
    expect(mark(editor, "pinned")).to_be_visible()
    editor.page.evaluate("() => app.canvas.setGraph(app.rootGraph)")


def test_a_run_of_another_tab_marks_nothing_here(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    open_graph(editor, saved, tmp_path)
    editor.page.evaluate(
        """async () => {
            const { api } = await import("/scripts/api.js");
            const id = app.graph.nodes.find((node) => node.type === "ProvenanceKSampler").id;
            const state = { class_type: "ProvenanceKSampler", state: "pinned", messages: [] };
            const detail = { workflow_id: "another", nodes: { [id]: state } };
            api.dispatchEvent(new CustomEvent("provenance.states", { detail }));
        }"""
    )
    editor.page.wait_for_timeout(QUIET_MS)

    expect(mark(editor)).to_have_count(0)


def test_a_seed_that_the_page_would_round_is_told_before_it_is(any_editor: Editor) -> None:
    editor = any_editor
    sampler = editor.add_node(SAMPLER, (400, 120))
    typed = next(NEW_LARGE)

    type_number(editor, sampler, "seed", str(typed))

    told = toast(editor, f"You typed {typed}")
    expect(told).to_have_count(1)
    sent = editor.prompt()[sampler]["inputs"]["seed"]
    expect(told).to_contain_text(f"would send {sent}")
    assert sent != typed
    assert float(str(widget_value(editor, sampler, "seed"))) == float(typed)


def test_a_seed_of_a_primitive_node_is_looked_at_too(editor: Editor) -> None:
    sampler = editor.add_node(SAMPLER, (500, 120))
    primitive = add_primitive(editor, sampler, "seed")
    name = editor.page.evaluate("(id) => app.graph.getNodeById(id).widgets[0].name", primitive)
    typed = next(NEW_LARGE)

    type_number(editor, primitive, name, str(typed))

    told = toast(editor, f"You typed {typed}")
    expect(told).to_have_count(1)
    expect(told).to_contain_text(f"would send {editor.prompt()[sampler]['inputs']['seed']}")


def test_a_seed_that_the_page_holds_is_entered_without_a_word(editor: Editor) -> None:
    sampler = editor.add_node(SAMPLER, (400, 120))
    before = toast(editor, "You typed").count()

    type_number(editor, sampler, "seed", str(2**53 - 1))
    editor.page.wait_for_timeout(QUIET_MS)

    assert widget_value(editor, sampler, "seed") == 2**53 - 1
    assert toast(editor, "You typed").count() == before


def test_digits_in_a_field_for_words_are_not_a_number(editor: Editor) -> None:
    save = editor.add_node("SaveImage", (400, 120))
    before = toast(editor, "You typed").count()

    if editor.page.locator(f'[data-node-id="{save}"]').count():
        field = editor.page.locator(f'[data-node-id="{save}"] input[type=text]').first
        field.fill(str(next(NEW_LARGE)))
        field.press("Enter")
    else:
        type_number(editor, save, "filename_prefix", str(next(NEW_LARGE)))
    editor.page.wait_for_timeout(QUIET_MS)

    assert toast(editor, "You typed").count() == before


def test_a_seed_that_the_page_has_rounded_is_told_when_the_graph_opens(
    editor: Editor, tmp_path: Path
) -> None:
    seed = next(NEW_LARGE)
    prompt = prompts.txt2img(seed=seed, steps=1, width=64, height=64)
    (made,) = editor.server.images(editor.server.run(prompt))
    file = tmp_path / "large seed.png"
    file.write_bytes(made.read_bytes())

    editor.drop(file)
    editor.wait_for_nodes(TXT2IMG)

    sent = next(
        node["inputs"]["seed"] for node in editor.prompt().values() if node["class_type"] == SAMPLER
    )
    assert sent != seed
    expect(toast(editor, f"would be sent {sent}")).to_have_count(1, timeout=TOLD_MS)


def test_a_seed_from_another_node_is_told_when_the_graph_opens(
    editor: Editor, tmp_path: Path
) -> None:
    prompt = prompts.txt2img(steps=1, width=64, height=64)
    prompt["number"] = {"class_type": "PrimitiveInt", "inputs": {"value": next(NEW_LARGE)}}
    prompt["sampler"]["inputs"]["seed"] = ["number", 0]
    (made,) = editor.server.images(editor.server.run(prompt))
    file = tmp_path / "large number.png"
    file.write_bytes(made.read_bytes())

    editor.drop(file)
    editor.wait_for_nodes(sorted([*TXT2IMG, "PrimitiveInt"]))

    sent = next(
        node["inputs"]["value"]
        for node in editor.prompt().values()
        if node["class_type"] == "PrimitiveInt"
    )
    told = toast(editor, f"would be sent {sent}")
    expect(told).to_have_count(1, timeout=TOLD_MS)
    expect(told).to_contain_text(f"node {sampler_id(editor)} ")


def test_a_seed_from_a_primitive_node_is_told_when_the_graph_opens(
    editor: Editor, tmp_path: Path
) -> None:
    sampler = editor.add_node(SAMPLER, (500, 120))
    primitive = add_primitive(editor, sampler, "seed")
    value = float(next(NEW_LARGE))
    editor.page.evaluate(
        "([id, value]) => (app.graph.getNodeById(id).widgets[0].value = value)", [primitive, value]
    )
    file = tmp_path / "primitive.json"
    file.write_text(json.dumps(editor.workflow()))
    editor.clear()

    editor.drop(file)
    editor.wait_for_nodes(["PrimitiveNode", SAMPLER])

    sent = next(iter(editor.prompt().values()))["inputs"]["seed"]
    assert float(sent) == value
    expect(toast(editor, f"would be sent {sent}")).to_have_count(1, timeout=TOLD_MS)


@pytest.mark.parametrize(
    ("class_type", "words"),
    [
        (UNSEEDED, "cannot repeat itself bit for bit"),
        (UNPINNED, "may not repeat itself bit for bit"),
    ],
)
def test_a_node_that_nothing_can_pin_is_told_before_anything_is_queued(
    editor: Editor, class_type: str, words: str
) -> None:
    queued: list[str] = []
    editor.page.on("request", lambda request: queued.append(request.url))
    editor.add_node(SAMPLER, (400, 120))

    title = f"odd {next(NEW_SEEDS)}"
    node = editor.add_node(class_type, (60, 120), title=title)

    expect(toast(editor, f"node {node} ({title})")).to_contain_text(words, timeout=TOLD_MS)
    assert not any(url.endswith("/prompt") for url in queued)


@pytest.mark.parametrize("mode", [2, 4], ids=["never", "bypassed"])
def test_a_node_that_does_not_run_is_not_told(editor: Editor, mode: int) -> None:
    editor.add_node(SAMPLER, (400, 120))
    node = editor.add_node(UNSEEDED, (60, 120), title=f"off {next(NEW_SEEDS)}")
    editor.page.evaluate("([id, m]) => (app.graph.getNodeById(id).mode = m)", [node, mode])

    editor.page.wait_for_timeout(QUIET_MS)

    expect(toast(editor, f"node {node} (off")).to_have_count(0)


def test_a_graph_without_this_pack_is_left_alone(editor: Editor) -> None:
    node = editor.add_node(UNSEEDED, (60, 120), title=f"alone {next(NEW_SEEDS)}")

    editor.page.wait_for_timeout(QUIET_MS)

    expect(toast(editor, f"node {node} (alone")).to_have_count(0)


@pytest.fixture(params=["failing", "gone", "silent"])
def untold(
    request: pytest.FixtureRequest, browser: Browser, server: ComfyServer
) -> Iterator[tuple[Editor, list[str]]]:
    """A page of its own whose server does not tell its classes, and what that page asked.

    A page asks once for all graphs, so one that has the answer would not notice.
    """
    editor = Editor(browser, server, vue_nodes=False)
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        if request.param == "failing":
            route.fulfill(status=500)
        elif request.param == "gone":
            route.abort()

    editor.page.route("**/provenance/classes", refuse)
    yield editor, asked
    problems = editor.problems
    editor.close()
    assert problems == []


def test_a_server_that_does_not_tell_its_classes_costs_nothing(
    untold: tuple[Editor, list[str]], saved: bytes, tmp_path: Path
) -> None:
    editor, asked = untold
    editor.clear()

    open_graph(editor, saved, tmp_path)
    editor.page.wait_for_timeout(QUIET_MS)
    editor.run()

    expect(mark(editor, "pinned")).to_be_visible()
    assert asked
