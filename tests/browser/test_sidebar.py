"""The sidebar tells what made an image; it loads and runs nothing, and words stay words."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Request, Route, expect

from support import prompts
from support.editor import CLASSIC, Editor
from support.server import ComfyServer
from support.tampering import Graph, edit_graph, edit_record, record_of, set_input

HOSTILE = "<img src=x onerror=\"window.hacked = 'yes'\"><script>window.hacked = 'yes'</script>"
TOGGLE = "Workspace.ToggleSidebarTab.provenance"
LARGEST_SEED = 2**64 - 1
NARROW_PX = 300
QUIET_MS = 2500
RUN_MS = 60_000


@pytest.fixture
def sidebar(editor: Editor) -> Iterator[Locator]:
    """The open tab, without an image and with nothing to compare."""
    yield from opened(editor)


@pytest.fixture
def any_sidebar(any_editor: Editor) -> Iterator[Locator]:
    """The same in every supported frontend."""
    yield from opened(any_editor)


def opened(editor: Editor) -> Iterator[Locator]:
    """Give the tab, and close it afterwards."""
    editor.command(TOGGLE)
    sidebar = editor.page.locator(".provenance-sidebar")
    expect(sidebar).to_be_visible()
    while sidebar.locator(".provenance-close").count():
        sidebar.locator(".provenance-close").first.click()
    yield sidebar
    editor.command(TOGGLE)
    expect(sidebar).to_have_count(0)


def write(folder: Path, name: str, data: bytes) -> Path:
    """Write an image file to be dropped."""
    file = folder / name
    file.write_bytes(data)
    return file


def drop(editor: Editor, target: Locator, *files: Path) -> None:
    """Drop files on an element."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box is not None
    editor.drop(*files, at=(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))


def look_at(editor: Editor, sidebar: Locator, file: Path) -> Locator:
    """Drop a file on the tab and wait until its record is shown."""
    drop(editor, sidebar.locator(".provenance-zone"), file)
    look = sidebar.locator(".provenance-look")
    expect(look.get_by_role("heading", name=file.name)).to_be_visible()
    expect(look.locator(".provenance-line")).not_to_have_text("Reading…")
    return look


def unfold(look: Locator) -> None:
    """Open every part."""
    look.evaluate("(look) => look.querySelectorAll('details').forEach((part) => part.open = true)")


def value_of(look: Locator, name: str) -> Locator:
    """Find the value beside a name."""
    labels = look.locator("dt").filter(has_text=re.compile(f"^{re.escape(name)}$"))
    return labels.first.locator("xpath=following-sibling::dd[1]")


def make(server: ComfyServer, **settings: object) -> bytes:
    """Make a small image with Save Image (Provenance)."""
    small: dict[str, object] = {"steps": 2, "width": 64, "height": 64, **settings}
    (path,) = server.images(server.run(prompts.txt2img(**small)))  # type: ignore[arg-type]
    return path.read_bytes()


def without_texts(data: bytes) -> bytes:
    """Save an image again as an editor does that keeps the pixels alone."""
    plain = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.save(plain, "PNG")
    return plain.getvalue()


def test_a_dropped_file_is_told_without_being_loaded(
    any_editor: Editor, any_sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    editor = any_editor

    look = look_at(editor, any_sidebar, write(tmp_path, "fox.png", saved))

    expect(look.locator(".provenance-line")).to_contain_text("ready")
    expect(value_of(look, "Seed")).to_have_text("5")
    expect(value_of(look, "Sampler")).to_have_text("euler")
    expect(value_of(look, "CFG")).to_have_text("7")
    expect(value_of(look, "Size")).to_have_text("64 \u00d7 64")
    expect(value_of(look, "Model")).to_contain_text(prompts.CHECKPOINT)
    expect(look.locator(".provenance-words").first).to_have_text(prompts.POSITIVE)
    expect(look.locator(".provenance-models li")).to_have_attribute("data-state", "here")
    assert editor.node_types() == []
    expect(editor.card()).to_have_count(0)


@CLASSIC
def test_every_part_of_a_record_can_be_read(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    record = record_of(saved)

    look = look_at(editor, sidebar, write(tmp_path, "fox.png", saved))
    unfold(look)

    expect(value_of(look, "comfyui")).to_have_text(record["environment"]["comfyui"])
    expect(value_of(look, "Deterministic Mode")).to_have_text("yes")
    expect(value_of(look, "deterministic_algorithms")).to_have_text("warn")
    expect(look.locator(".provenance-trace tbody tr")).to_have_count(
        sum(len(entry["steps"]) for entry in record["trace"])
    )
    expect(look.locator('.provenance-content[data-level="bitwise"]')).to_be_visible()
    digest = look.locator(f'.provenance-digest[title="{record["digest"]}"]')
    expect(digest).to_have_text(f"{record['digest'][7:15]}…{record['digest'][-6:]}")


@CLASSIC
def test_a_record_is_copied_whole(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    look = look_at(editor, sidebar, write(tmp_path, "fox.png", saved))
    editor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    look.get_by_role("button", name="Copy record").click()

    expect(sidebar.locator(".provenance-status")).to_have_text("Copied.")
    copied = editor.page.evaluate("() => navigator.clipboard.readText()")
    assert json.loads(copied) == record_of(saved)


@CLASSIC
def test_the_largest_seed_is_shown_to_its_last_digit(
    editor: Editor, sidebar: Locator, server: ComfyServer, tmp_path: Path
) -> None:
    image = make(server, seed=LARGEST_SEED)

    look = look_at(editor, sidebar, write(tmp_path, "large seed.png", image))

    expect(value_of(look, "Seed")).to_have_text(str(LARGEST_SEED))


@CLASSIC
def test_characters_that_cannot_be_told_by_sight_are_marked(
    editor: Editor, sidebar: Locator, server: ComfyServer, tmp_path: Path
) -> None:
    image = make(server, positive="a red\u200b f\u043ex\u2019s tail")

    look = look_at(editor, sidebar, write(tmp_path, "words.png", image))

    marks = look.locator(".provenance-words").first.locator("mark")
    expect(marks).to_have_text(["\\u200b", "\u043e", "\u2019"])
    expect(marks.nth(0)).to_have_attribute("title", "U+200B ZERO WIDTH SPACE: cannot be seen")
    expect(marks.nth(1)).to_have_attribute("title", "U+043E CYRILLIC SMALL LETTER O: looks like o")
    expect(look.locator(".provenance-legend li")).to_have_count(3)


@CLASSIC
def test_a_missing_model_is_told_before_anything_runs(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    def rename(record: Graph) -> None:
        record["materials"][0] |= {"name": "gone.safetensors", "sha256": "ab" * 32}

    gone = edit_graph(saved, set_input("loader", "ckpt_name", "gone.safetensors"))

    look = look_at(editor, sidebar, write(tmp_path, "gone.png", edit_record(gone, rename)))

    expect(look).to_have_attribute("data-state", "mismatch")
    expect(look.locator(".provenance-line")).to_contain_text("1 model missing: gone.safetensors")
    missing = look.locator('.provenance-models li[data-state="missing"]')
    expect(missing).to_contain_text("gone.safetensors")


@CLASSIC
def test_the_server_is_asked_again_while_it_hashes_and_has_the_file_by_then(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    asked: list[bool] = []

    def hash_at_first(route: Route) -> None:
        asked.append("image=provenance" in route.request.url)
        answer = route.fetch()
        preflight = answer.json()
        if len(asked) == 1:
            preflight |= {"pending": 1, "line": "ready: 1 file still to hash"}
            preflight["materials"][0] |= {"state": "unknown", "pending": True}
        route.fulfill(response=answer, json=preflight)

    editor.page.route("**/provenance/preflight*", hash_at_first)

    look = look_at(editor, sidebar, write(tmp_path, "fox.png", saved))

    file = look.locator(".provenance-models li")
    expect(file).to_have_attribute("data-state", "hashing")
    expect(file).to_have_attribute("data-state", "here")
    editor.page.unroute("**/provenance/preflight*")
    assert asked == [False, True]


@CLASSIC
def test_an_edited_file_says_so_first(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    edited = edit_graph(saved, set_input("sampler", "cfg", 7.1))

    look = look_at(editor, sidebar, write(tmp_path, "edited.png", edited))

    first = look.locator(".provenance-record > details").first
    expect(first.get_by_role("heading").first).to_have_text("File and record")
    expect(first.locator('.provenance-content[data-level="mismatch"]')).to_be_visible()
    expect(first.locator(".provenance-kind")).to_have_text("cfg")


@CLASSIC
def test_a_stock_image_is_told_to_have_a_graph_and_no_record(
    editor: Editor, sidebar: Locator, server: ComfyServer, tmp_path: Path
) -> None:
    stock = make(server, sampler_class="KSampler", save_class="SaveImage", seed=8)

    look = look_at(editor, sidebar, write(tmp_path, "stock.png", stock))

    expect(look).to_contain_text("no record of what made it")
    expect(look).to_contain_text("It carries a graph")
    expect(look.locator(".provenance-models")).to_contain_text(prompts.CHECKPOINT)


@CLASSIC
def test_an_image_that_carries_nothing_is_told_so(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    look = look_at(editor, sidebar, write(tmp_path, "plain.png", without_texts(saved)))

    expect(look).to_contain_text("no record of what made it")
    expect(look).to_contain_text("carries neither a record nor ComfyUI's prompt")
    expect(look).not_to_contain_text("It carries a graph")


@CLASSIC
def test_a_record_that_lies_beside_its_image_is_read(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    image = write(tmp_path, "beside.png", without_texts(saved))
    record = json.dumps(record_of(saved)).encode()

    drop(
        editor,
        sidebar.locator(".provenance-zone"),
        image,
        write(tmp_path, "beside.provenance.json", record),
    )

    look = sidebar.locator(".provenance-look")
    expect(look.get_by_role("heading", name="beside.png")).to_be_visible()
    expect(value_of(look, "Seed")).to_have_text("5")
    expect(look.locator(".provenance-line")).to_contain_text("ready")


@CLASSIC
def test_a_file_that_is_no_image_is_told_so(
    editor: Editor, sidebar: Locator, tmp_path: Path
) -> None:
    look = look_at(editor, sidebar, write(tmp_path, "broken.png", b"\x89PNG\r\n\x1a\nbroken"))

    expect(look.locator(".provenance-line")).to_contain_text("Not read:")


def hostile(record: Graph) -> None:
    """Write markup and odd values wherever a record is shown."""
    for name in ("sampler", "scheduler", "seed"):
        record["tuple"][name] = HOSTILE
    record["tuple"]["adapters"] = [{"name": HOSTILE, "strengths": {HOSTILE: HOSTILE}}]
    sampling = record["samplings"][0]
    sampling["positive"] = [{"node_id": HOSTILE, "text": HOSTILE, "sha256": HOSTILE}]
    sampling["positive"][0]["characters"] = [
        {"kind": "quote", "character": "U+003C", "name": HOSTILE, "looks_like": HOSTILE},
        {"kind": "homoglyph", "character": "U+00ED", "name": HOSTILE},
    ]
    for material in record["materials"]:
        material |= dict.fromkeys(("kind", "name", "input"), HOSTILE)
    record["environment"][HOSTILE] = {HOSTILE: HOSTILE}
    record["determinism"]["demotions"] = [
        {"node_id": HOSTILE, "class_type": HOSTILE, "message": HOSTILE, "kind": HOSTILE}
    ]
    record["warnings"] = [HOSTILE]
    record["trace"] = [{"node_id": HOSTILE, "format": HOSTILE, "steps": [[HOSTILE, HOSTILE]]}]


@CLASSIC
def test_markup_in_a_record_is_shown_as_text_and_does_nothing(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    file = write(tmp_path, "hostile.png", edit_record(saved, hostile))

    look = look_at(editor, sidebar, file)
    unfold(look)

    expect(look.locator(".provenance-words").first).to_have_text(HOSTILE)
    expect(value_of(look, "Sampler")).to_have_text(HOSTILE)
    assert look.locator("script, .provenance-record img").count() == 0
    assert editor.page.evaluate("() => window.hacked") is None


@CLASSIC
def test_a_record_of_many_entries_is_cut(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    def crowd(record: Graph) -> None:
        record["warnings"] = [f"warning {number}" for number in range(5000)]
        record["materials"] *= 5000
        record["environment"] = {f"name {number}": number for number in range(5000)}
        record["samplings"][0]["positive"] = [
            {"node_id": str(number), "text": f"\u200b{number}"} for number in range(5000)
        ]

    look = look_at(editor, sidebar, write(tmp_path, "crowd.png", edit_record(saved, crowd)))
    unfold(look)

    expect(look).to_contain_text("and 4960 more")
    assert look.evaluate("(look) => look.querySelectorAll('*').length") < 3000


def test_the_image_of_the_selected_node_is_offered(
    editor: Editor, sidebar: Locator, saved: bytes
) -> None:
    name = editor.server.upload(saved)
    node = editor.add_node("LoadImage", (300, 60), image=name)
    editor.page.wait_for_function("(id) => app.graph.getNodeById(id).imgs?.length", arg=node)
    expect(sidebar.locator(".provenance-selected")).to_be_hidden()

    editor.page.evaluate("(id) => app.canvas.selectNode(app.graph.getNodeById(id))", node)
    sidebar.get_by_role("button", name=f"Show what made {name}").click()

    look = sidebar.locator(".provenance-look")
    expect(look.get_by_role("heading", name=name)).to_be_visible()
    expect(value_of(look, "Seed")).to_have_text("5")
    editor.clear()
    expect(sidebar.locator(".provenance-selected")).to_be_hidden()


@CLASSIC
def test_the_last_images_of_the_server_are_listed_and_shown_by_keyboard(
    editor: Editor, sidebar: Locator, server: ComfyServer
) -> None:
    prompt = prompts.txt2img(seed=77, steps=2, width=64, height=64, filename_prefix="listed")
    (path,) = server.images(server.run(prompt))

    sidebar.get_by_role("button", name="Refresh").click()
    entry = sidebar.locator(".provenance-output").filter(has_text=path.name)
    expect(entry).to_contain_text("whole record")
    entry.focus()
    editor.page.keyboard.press("Enter")

    look = sidebar.locator(".provenance-look")
    expect(look.get_by_role("heading", name=path.name)).to_be_focused()
    expect(value_of(look, "Seed")).to_have_text("77")


@CLASSIC
def test_two_dropped_files_are_compared(
    editor: Editor, sidebar: Locator, server: ComfyServer, tmp_path: Path
) -> None:
    files = [write(tmp_path, f"cfg {cfg}.png", make(server, seed=9, cfg=cfg)) for cfg in (6.0, 6.5)]

    drop(editor, sidebar.locator(".provenance-zone"), *files)

    report = sidebar.locator(".provenance-compare .provenance-content")
    expect(report).to_have_attribute("data-level", "mismatch")
    expect(report.locator(".provenance-kind")).to_have_text("cfg")
    expect(sidebar.locator(".provenance-look h3")).to_have_text("cfg 6.0.png")


@CLASSIC
def test_two_images_are_compared_from_the_list_and_from_a_file(
    editor: Editor, sidebar: Locator, server: ComfyServer, tmp_path: Path
) -> None:
    prompt = prompts.txt2img(seed=78, steps=2, width=64, height=64, filename_prefix="compared")
    (path,) = server.images(server.run(prompt))
    sidebar.get_by_role("button", name="Refresh").click()

    sidebar.get_by_role("button", name=f"Compare {path.name}", exact=True).click()
    second = sidebar.locator(".provenance-slot").nth(1)
    drop(editor, second, write(tmp_path, "same.png", path.read_bytes()))

    report = sidebar.locator(".provenance-compare .provenance-content")
    expect(report).to_have_attribute("data-level", "bitwise")
    assert editor.node_types() == []


@CLASSIC
def test_a_rerun_begins_in_a_card(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    look = look_at(editor, sidebar, write(tmp_path, "again.png", saved))

    look.get_by_role("button", name="Reproduce and verify").click()

    card = editor.card("again.png")
    expect(card).to_have_attribute("data-level", "bitwise", timeout=RUN_MS)
    editor.close_cards()


@CLASSIC
def test_what_was_shown_is_there_when_the_tab_is_opened_again(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    look_at(editor, sidebar, write(tmp_path, "kept.png", saved))

    editor.command(TOGGLE)
    expect(sidebar).to_have_count(0)
    editor.command(TOGGLE)

    expect(sidebar.get_by_role("heading", name="kept.png")).to_be_visible()


@CLASSIC
def test_an_open_tab_asks_nothing_by_itself(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    look_at(editor, sidebar, write(tmp_path, "fox.png", saved))
    expect(sidebar.locator(".provenance-outputs")).not_to_have_attribute("aria-busy", "true")
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/provenance/" in request.url:
            asked.append(request.url)

    editor.page.on("request", note)
    editor.page.wait_for_timeout(QUIET_MS)
    editor.page.remove_listener("request", note)

    assert asked == []


@CLASSIC
def test_nothing_scrolls_sideways_in_a_narrow_tab(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    file = write(tmp_path, f"{'a_very_long_name_' * 6}.png", edit_record(saved, hostile))
    look = look_at(editor, sidebar, file)
    unfold(look)

    sidebar.evaluate("(root, width) => { root.style.width = `${width}px`; }", NARROW_PX)

    wide = sidebar.evaluate(
        """(root) => [root, ...root.querySelectorAll("*")]
            .filter((element) => element.scrollWidth > element.clientWidth + 1)
            .filter((element) => getComputedStyle(element).overflowX !== "hidden")
            .filter((element) => getComputedStyle(element).display !== "inline")
            .map((element) => `${element.tagName}.${element.className}`)"""
    )
    sidebar.evaluate("(root) => root.style.removeProperty('width')")
    assert wide == []


@CLASSIC
def test_a_server_that_fails_is_told_and_breaks_nothing(
    editor: Editor, sidebar: Locator, saved: bytes, tmp_path: Path
) -> None:
    editor.page.route("**/provenance/**", lambda route: route.fulfill(status=500, body="broken"))

    look = look_at(editor, sidebar, write(tmp_path, "fox.png", saved))
    sidebar.get_by_role("button", name="Refresh").click()

    expect(look.locator(".provenance-line")).to_contain_text("the server answered 500")
    expect(sidebar.locator(".provenance-outputs")).to_contain_text("the server answered 500")
    editor.page.unroute("**/provenance/**")
    look.get_by_role("button", name="Look again").click()
    expect(value_of(look, "Seed")).to_have_text("5")
    expect(look.locator(".provenance-line")).to_contain_text("ready")
    editor.problems = [text for text in editor.problems if "500" not in text]
