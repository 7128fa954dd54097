"""A dropped image opens as always, and a card beside it leads to the verdict.

In every supported frontend, on the classic canvas and in Nodes 2.0.
"""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from comfyui_provenance.containers import extract
from comfyui_provenance.containers.png import embed_text
from comfyui_provenance.digest import digest_text
from comfyui_provenance.record import KEYWORD, seal

from support import prompts
from support.editor import CLASSIC, Editor
from support.server import PACK, ComfyServer, PromptFailed
from support.tampering import Graph, edit_graph, edit_record, record_of, set_input

HOSTILE = "<img src=x onerror=\"window.hacked = 'yes'\"><script>window.hacked = 'yes'</script>"
TXT2IMG = sorted(node["class_type"] for node in prompts.txt2img().values())
RUN_MS = 60_000
LATE_MS = 400
"""In which a card would have come; most come within a tenth of it."""

READY = re.compile("^ready")
SLOW_SEEDS = itertools.count(70_000)
NOTE_EVENTS = """async () => {
    const { api } = await import("/scripts/api.js");
    window.events = [];
    for (const type of [
        "execution_start", "execution_cached", "executing", "progress_state", "executed",
        "execution_success",
    ]) {
        api.addEventListener(type, () => window.events.push(type));
    }
}"""


def write(folder: Path, name: str, data: bytes) -> Path:
    """Write an image file to be dropped."""
    file = folder / name
    file.write_bytes(data)
    return file


def saved_as(server: ComfyServer, **save: object) -> bytes:
    """Make an image with Save Image (Provenance)."""
    prompt = prompts.txt2img(seed=6, steps=2, width=64, height=64)
    prompt["save"]["inputs"] |= save
    (path,) = server.images(server.run(prompt))
    return path.read_bytes()


@pytest.fixture(scope="module")
def stock(server: ComfyServer) -> bytes:
    """An image of core's nodes alone."""
    prompt = prompts.txt2img(
        sampler_class="KSampler", save_class="SaveImage", seed=7, steps=2, width=64, height=64
    )
    (path,) = server.images(server.run(prompt))
    return path.read_bytes()


def reproduce(editor: Editor, name: str, level: str) -> str:
    """Press the card's button, and give what the card says when it has that verdict."""
    card = editor.card(name)
    expect(card.locator(".provenance-card-line")).to_have_text(READY)
    card.get_by_role("button", name="Reproduce and verify", exact=True).click()
    expect(card).to_have_attribute("data-level", level, timeout=RUN_MS)
    return card.inner_text()


def reproductions(server: ComfyServer) -> set[str]:
    """List the runs of cards that the server has run, runs, or is to run."""
    queue = server.get_json("/queue")
    waiting = [item[:3] for items in queue.values() for item in items]
    ended = [entry["prompt"][:3] for entry in server.get_json("/history").values()]
    return {name for _, name, prompt in (*waiting, *ended) if [*prompt] == ["reproduce"]}


def prompts_run(server: ComfyServer) -> int:
    """Count what the server has run."""
    return len(server.get_json("/history"))


def test_an_image_opens_and_is_reproduced_bitwise(
    any_editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    editor = any_editor

    editor.drop(write(tmp_path, "fox.png", saved))
    editor.wait_for_nodes(TXT2IMG)

    assert "Bitwise" in reproduce(editor, "fox.png", "bitwise")


def test_a_changed_graph_is_a_mismatch_with_its_cause(
    any_editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    editor = any_editor
    changed = edit_graph(saved, set_input("sampler", "cfg", 7.1))

    editor.drop(write(tmp_path, "changed.png", changed))
    editor.wait_for_nodes(TXT2IMG)

    text = reproduce(editor, "changed.png", "mismatch")
    assert "cfg" in text


def test_a_stock_image_is_reproduced_too(any_editor: Editor, stock: bytes, tmp_path: Path) -> None:
    editor = any_editor

    editor.drop(write(tmp_path, "stock.png", stock))

    reproduce(editor, "stock.png", "bitwise")


@pytest.mark.parametrize(
    "save",
    [{"format": "webp"}, {"format": "jpeg"}],
    ids=["webp", "jpeg"],
)
def test_other_formats_are_reproduced_too(
    any_editor: Editor, server: ComfyServer, tmp_path: Path, save: dict[str, Any]
) -> None:
    editor = any_editor
    suffix = {"webp": "webp", "jpeg": "jpg"}[save["format"]]

    editor.drop(write(tmp_path, f"other.{suffix}", saved_as(server, **save)))

    reproduce(editor, f"other.{suffix}", "bitwise")


def test_an_image_that_carries_nothing_opens_as_without_the_pack(
    any_editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    editor = any_editor
    plain = io.BytesIO()
    with Image.open(io.BytesIO(saved)) as image:
        image.save(plain, "PNG")

    editor.drop(write(tmp_path, "plain.png", plain.getvalue()))
    editor.wait_for_nodes(["LoadImage"])
    editor.page.wait_for_timeout(LATE_MS)

    expect(editor.card()).to_have_count(0)


def test_an_image_dropped_on_load_image_goes_there_and_nowhere_else(
    any_editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    editor = any_editor
    node = editor.add_node("LoadImage", (500, 300), size=(300, 300))
    value = "() => app.graph.nodes[0].widgets.find((w) => w.name === 'image').value"
    file = write(tmp_path, "onto a node.png", saved)
    editor.draw()

    editor.drop(file, at=editor.place_of(node))
    editor.page.wait_for_function(f"() => ({value})().includes('onto a node')")

    editor.page.wait_for_timeout(LATE_MS)

    assert editor.node_types() == ["LoadImage"]
    expect(editor.card()).to_have_count(0)


def test_markup_in_every_string_is_shown_as_text(
    any_editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    editor = any_editor
    texts = extract(saved)
    record = with_markup(json.loads(texts[KEYWORD]))
    texts[KEYWORD] = seal(record).dump()
    hostile = embed_text(saved, texts)

    editor.drop(write(tmp_path, "<b>hostile<b>.png", hostile))
    card = editor.card("<b>hostile<b>.png")
    expect(card.get_by_role("button", name="What made it")).to_be_visible()
    card.get_by_role("button", name="What made it").click()
    expect(editor.page.locator(".provenance-sidebar")).to_contain_text("<img src=x")

    assert card.locator("b, img, script").count() == 0
    assert (
        editor.page.locator(".provenance-sidebar script, .provenance-sidebar [onerror]").count()
        == 0
    )
    assert editor.page.evaluate("() => window.hacked") is None


def with_markup(value: Any, key: str = "") -> Any:
    """Put markup into every string of a record that is no graph, digest or seed."""
    if isinstance(value, dict):
        return {name: with_markup(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [with_markup(item, key) for item in value]
    is_form = key in ("graph", "graph_sha256", "digest", "seed", "status", "record_sha256")
    return HOSTILE if isinstance(value, str) and not is_form else value


def test_a_missing_model_is_told_before_anything_runs(
    any_editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    editor = any_editor
    before = prompts_run(editor.server)
    lost = "gone.safetensors"

    def lose(record: Graph) -> None:
        graph = json.loads(record["graph"])
        for node in graph.values():
            if "ckpt_name" in node["inputs"]:
                node["inputs"]["ckpt_name"] = lost
        record["graph"] = json.dumps(graph, separators=(",", ":"))
        record["graph_sha256"] = digest_text(record["graph"]).hex
        for material in record["materials"]:
            material |= {"name": lost, "sha256": "0" * 64}

    editor.drop(write(tmp_path, "lost.png", edit_record(saved, lose)))

    card = editor.card("lost.png")
    expect(card).to_have_attribute("data-expect", "cannot_run")
    expect(card).to_contain_text("missing")
    expect(card.get_by_role("button", name="Reproduce and verify", exact=True)).to_have_count(0)
    assert prompts_run(editor.server) == before


@pytest.mark.parametrize("seed", [2**60 + 1, 2**64 - 1])
def test_a_large_seed_survives_from_the_drop_to_the_verdict(
    any_editor: Editor, server: ComfyServer, tmp_path: Path, seed: int
) -> None:
    editor = any_editor
    prompt = prompts.txt2img(seed=seed, steps=2, width=64, height=64)
    (path,) = server.images(server.run(prompt))
    assert record_of(path.read_bytes())["tuple"]["seed"] == str(seed)

    editor.drop(write(tmp_path, f"{seed}.png", path.read_bytes()))
    reproduce(editor, f"{seed}.png", "bitwise")
    editor.card(f"{seed}.png").get_by_role("button", name="What made it").click()

    expect(editor.page.locator(".provenance-sidebar")).to_contain_text(str(seed))


@CLASSIC
def test_several_files_have_a_card_each_and_run_in_turn(
    editor: Editor, saved: bytes, stock: bytes, tmp_path: Path
) -> None:
    files = [write(tmp_path, "one.png", saved), write(tmp_path, "two.png", stock)]

    editor.drop(*files)
    for name in ("one.png", "two.png"):
        expect(editor.card(name).locator(".provenance-card-line")).to_have_text(READY)
    editor.page.get_by_role("button", name="Reproduce and verify all").click()

    for name in ("one.png", "two.png"):
        expect(editor.card(name)).to_have_attribute("data-level", "bitwise", timeout=RUN_MS)


@CLASSIC
def test_a_sidecar_is_read_with_the_image_beside_it(
    editor: Editor, server: ComfyServer, tmp_path: Path
) -> None:
    prompt = prompts.txt2img(seed=8, steps=2, width=64, height=64)
    prompt["save"]["inputs"] |= {"sidecar": True}
    (path,) = server.images(server.run(prompt))
    bare = io.BytesIO()
    with Image.open(path) as image:
        image.save(bare, "PNG")
    files = [
        write(tmp_path, "bare.png", bare.getvalue()),
        write(tmp_path, "bare.provenance.json", path.with_suffix(".provenance.json").read_bytes()),
    ]

    editor.drop(*files)

    reproduce(editor, "bare.png", "bitwise")


def test_a_file_from_the_open_dialog_has_a_card(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    editor.open(write(tmp_path, "opened.png", saved))
    editor.wait_for_nodes(TXT2IMG)

    expect(editor.card("opened.png").locator(".provenance-card-line")).to_have_text(READY)


def test_the_command_verifies_a_file_and_leaves_the_graph(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    with editor.page.expect_file_chooser() as chooser:
        editor.command("Provenance.VerifyFile")
    chooser.value.set_files(write(tmp_path, "chosen.png", saved))

    reproduce(editor, "chosen.png", "bitwise")
    assert editor.node_types() == []


def test_the_menu_of_a_node_offers_its_image(editor: Editor, saved: bytes) -> None:
    name = editor.server.upload(saved, "in a node.png")
    node = editor.add_node("LoadImage", (500, 300), size=(300, 300), image=name)
    editor.page.wait_for_function("() => app.graph.nodes[0].imgs?.length")
    x, y = editor.place_of(node)

    offered = editor.page.evaluate(
        """() => app.extensions ? app.extensions
            .filter((extension) => extension.name === "comfyui-provenance")
            .flatMap((extension) => extension.getNodeMenuItems(app.graph.nodes[0]))
            .map((item) => item.content) : []"""
    )
    editor.page.mouse.click(x, y - 100, button="right")
    editor.page.get_by_text("Provenance: reproduce and verify").first.click()

    assert offered == ["Provenance: reproduce and verify", "Provenance: what made it"]
    reproduce(editor, name, "bitwise")


@CLASSIC
def test_a_waiting_run_is_called_off_and_no_other(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    server = editor.server
    before = reproductions(server)
    others = [server.submit(prompts.txt2img(seed=next(SLOW_SEEDS), steps=n)) for n in (60, 1)]
    editor.drop(write(tmp_path, "waiting.png", saved))
    card = editor.card("waiting.png")
    card.get_by_role("button", name="Reproduce and verify", exact=True).click()
    expect(card).to_contain_text("queue")

    with editor.page.expect_response("**/interrupt"):
        card.get_by_role("button", name="Cancel").click()

    expect(card).to_contain_text("Cancelled")
    for other in others:
        assert server.wait_for(other).outputs["save"]["images"]
    assert reproductions(server) == before


@CLASSIC
def test_a_run_at_work_is_called_off_and_no_other(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    server = editor.server
    before = server.get_json("/history").keys()
    slow = edit_graph(saved, set_input("sampler", "steps", 1000), resealed=True)
    editor.drop(write(tmp_path, "slow.png", slow))
    card = editor.card("slow.png")
    card.get_by_role("button", name="Reproduce and verify", exact=True).click()
    expect(card).to_contain_text(re.compile(r"KSampler \d+ of 1000"), timeout=RUN_MS)
    other = server.submit(prompts.txt2img(seed=next(SLOW_SEEDS)))

    # While Python waits for the server, the page's requests wait for Python.
    with editor.page.expect_response("**/interrupt"):
        card.get_by_role("button", name="Cancel").click()

    expect(card).to_contain_text("Cancelled")
    assert server.wait_for(other).outputs["save"]["images"]
    (ours,) = (
        entry
        for prompt_id, entry in server.get_json("/history").items()
        if prompt_id not in before and prompt_id != other
    )
    assert list(ours["prompt"][2]) == ["reproduce"]
    assert "execution_interrupted" in dict(ours["status"]["messages"])


def test_neither_this_tab_nor_another_is_told_of_a_run(
    editor_of: Callable[[str], Editor], saved: bytes, tmp_path: Path
) -> None:
    first, second = editor_of("classic"), editor_of("vue")
    for tab in (first, second):
        tab.clear()
        tab.close_cards()
        tab.page.evaluate(NOTE_EVENTS)

    first.drop(write(tmp_path, "alone.png", saved))
    reproduce(first, "alone.png", "bitwise")

    assert [tab.page.evaluate("() => window.events") for tab in (first, second)] == [[], []]
    expect(second.card()).to_have_count(0)
    assert second.node_types() == []


@pytest.fixture(params=["500", "slow", "gone"])
def broken_editor(
    request: pytest.FixtureRequest, browser: Browser, server: ComfyServer
) -> Iterator[Editor]:
    """A page whose server's part of this pack fails from the start."""
    editor = Editor(browser, server, vue_nodes=False)

    def fail(route: Route) -> None:
        if request.param == "500":
            route.fulfill(status=500, body="<h1>Internal Server Error</h1>")
        elif request.param == "gone":
            route.abort()

    editor.page.route("**/provenance/**", fail)
    editor.page.reload()
    editor.wait_until_ready()
    yield editor
    problems = editor.problems
    editor.close()
    assert problems == []


def test_without_the_server_part_the_page_works_as_always(
    broken_editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    editor = broken_editor
    editor.clear()

    editor.drop(write(tmp_path, "fox.png", saved))
    editor.wait_for_nodes(TXT2IMG)
    seed = 2**40 + 77
    editor.set_widget("ProvenanceKSampler", "seed", seed)
    history = editor.run()

    (image,) = (entry for shown in history.outputs.values() for entry in shown.get("images", ()))
    assert record_of(editor.server.path_of(image).read_bytes())["tuple"]["seed"] == str(seed)


def test_with_a_server_part_that_fails_the_card_says_so(
    broken_editor: Editor, saved: bytes, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    editor = broken_editor
    editor.clear()

    editor.drop(write(tmp_path, "fox.png", saved))
    card = editor.card("fox.png")

    if "slow" in request.node.callspec.id:
        expect(card).to_contain_text("Looking")
    else:
        expect(card).to_contain_text("does not answer")
        expect(card.get_by_role("button", name="Look again")).to_be_visible()
    editor.close_cards()
    expect(card).to_have_count(0)


@CLASSIC
def test_a_verdict_comes_though_some_questions_go_unanswered(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    failures = [*range(4)]

    def fail_at_first(route: Route) -> None:
        if failures:
            failures.pop()
            route.abort()
        else:
            route.continue_()

    editor.page.route("**/history/*", fail_at_first)
    try:
        editor.drop(write(tmp_path, "fox.png", saved))
        reproduce(editor, "fox.png", "bitwise")
    finally:
        editor.page.unroute("**/history/*")
    assert failures == []


@CLASSIC
def test_a_run_of_which_nothing_is_heard_is_called_off(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    server = editor.server
    before = reproductions(server)
    slow = edit_graph(saved, set_input("sampler", "steps", 1000), resealed=True)
    editor.page.route("**/history/*", lambda route: route.abort())
    try:
        editor.drop(write(tmp_path, "lost.png", slow))
        card = editor.card("lost.png")
        card.get_by_role("button", name="Reproduce and verify", exact=True).click()
        expect(card).to_contain_text("Not reproduced", timeout=RUN_MS)
    finally:
        editor.page.unroute("**/history/*")

    expect(card.locator("progress")).to_be_hidden()
    (ours,) = reproductions(server) - before
    with pytest.raises(PromptFailed, match="interrupted"):
        server.wait_for(ours)


@CLASSIC
def test_a_card_is_used_with_the_keyboard_alone(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    for name in ("one.png", "two.png"):
        editor.drop(write(tmp_path, name, saved))
        editor.wait_for_nodes(TXT2IMG)
        expect(editor.card(name).locator(".provenance-card-line")).to_have_text(READY)
    card, other = editor.card("one.png"), editor.card("two.png")
    card.get_by_role("button", name="Reproduce and verify", exact=True).focus()

    editor.page.keyboard.press("Enter")
    expect(card.get_by_role("button", name="Cancel")).to_be_focused()
    editor.page.keyboard.press("Escape")  # ends no run by accident
    expect(card).to_have_attribute("data-level", "bitwise", timeout=RUN_MS)
    expect(card.get_by_role("button", name="Show images and report")).to_be_focused()
    editor.page.keyboard.press("Escape")

    expect(card).to_have_count(0)
    expect(other.locator(".provenance-close")).to_be_focused()


def test_the_page_loads_little_at_its_start(any_editor: Editor) -> None:
    sizes: dict[str, int] = {}
    asked: list[str] = []
    browser = any_editor.page.context.browser
    assert browser is not None
    page = browser.new_context().new_page()  # without the graph that the other had open
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: sizes.update(size_of(answer)))
    page.goto(any_editor.server.url)
    page.wait_for_selector("[data-testid=queue-button]", timeout=60_000)
    page.wait_for_timeout(1000)
    page.context.close()

    assert sum(sizes.values()) < 50_000, sizes
    # The page waits for these before it asks for the nodes; for the rest of the pack it does not.
    (nodes,) = (place for place, url in enumerate(asked) if url.endswith("/object_info"))
    waited = [url for url in asked[:nodes] if f"/{PACK}/" in url or "/scripts/" in url]
    assert {url.rsplit("/", 1)[1] for url in waited} == {"main.js", "settings.js", "comfy.js"}
    assert any(url.endswith("/page.mjs") for url in asked[nodes:])


def size_of(answer: Any) -> dict[str, int]:
    """Give the bytes of an answer that is a file of this pack."""
    if f"/extensions/{PACK}/" not in answer.url:
        return {}
    return {answer.url.rsplit("/extensions/", 1)[1]: len(answer.body())}
