"""Pictures of the page for the documentation, taken as a user sees it.

They go to the folder that PROVENANCE_SCREENSHOTS names, else to a temporary one.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from support import prompts
from support.editor import Editor
from support.server import ROOT, ComfyServer
from support.tampering import edit_graph, set_input

EXAMPLE = ROOT / "example_workflows" / "txt2img_with_record.json"
WIDTH_PX = 1200
NOISY_WIDTH_PX = 1000
"""Of pictures that are full of the tiny model's noise, which compresses badly."""

STEPS = 2
"""Place of `steps` among the sampler's widgets."""

COLOURS = 256
FEWEST_COLOURS = 40
"""A page on which nothing was drawn has fewer."""

LARGEST_BYTES = 200_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = os.environ.get("PROVENANCE_SCREENSHOTS")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def sharp_editor(browser: Browser, server: ComfyServer) -> Iterator[Editor]:
    """A classic page with twice the pixels."""
    editor = Editor(browser, server, vue_nodes=False, scale=2.0)
    yield editor
    editor.close()


@pytest.fixture(scope="module")
def larger(server: ComfyServer) -> bytes:
    """An image of which something can be seen."""
    history = server.run(prompts.txt2img(seed=5, cfg=7.0, width=128, height=128))
    (path,) = server.images(history)
    return path.read_bytes()


def take(picture: bytes, file: Path, width_px: int = WIDTH_PX) -> None:
    """Save a picture with few enough colours to be small."""
    with Image.open(io.BytesIO(picture)) as shot:
        height_px = round(shot.height * width_px / shot.width)
        small = shot.convert("RGB").resize((width_px, height_px), Image.Resampling.LANCZOS)
    few = small.quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(file, optimize=True)

    used = few.getcolors()
    assert used is not None
    assert len(used) >= FEWEST_COLOURS
    assert file.stat().st_size < LARGEST_BYTES


def test_a_graph_that_has_saved_an_image(
    sharp_editor: Editor, folder: Path, tmp_path: Path
) -> None:
    editor = sharp_editor
    editor.clear()
    workflow = json.loads(EXAMPLE.read_text("utf-8"))
    for node in workflow["nodes"]:
        values = node.get("widgets_values", [])
        if node["type"] == "CheckpointLoaderSimple":
            values[0] = prompts.CHECKPOINT
        elif node["type"] == "EmptyLatentImage":
            values[:2] = (256, 256)
        elif node["type"] == "ProvenanceKSampler":
            values[STEPS] = 4
    file = tmp_path / "example.json"
    file.write_text(json.dumps(workflow), "utf-8")
    editor.open(file)
    editor.wait_for_nodes(sorted(node["type"] for node in workflow["nodes"]))

    editor.run()
    editor.page.wait_for_function(
        "() => app.graph.nodes.some((n) => n.type === 'ProvenanceSaveImage' && n.imgs?.length)"
    )

    take(editor.screenshot(), folder / "graph.png")


@pytest.mark.parametrize("level", ["bitwise", "mismatch"])
def test_a_verdict(sharp_editor: Editor, folder: Path, larger: bytes, level: str) -> None:
    editor = sharp_editor
    editor.clear()
    image = larger if level == "bitwise" else edit_graph(larger, set_input("sampler", "cfg", 7.1))
    name = editor.server.upload(image, f"fox-{level}.png")
    judge = editor.add_node("ProvenanceReproduce", (0, 0), size=(480, 300), image=name)
    for slot, (title, top) in enumerate((("Reproduced", 0), ("Original", 300))):
        shown = editor.add_node("PreviewImage", (540, top), size=(240, 250), title=title)
        editor.connect(judge, slot, shown, "images")

    editor.run()
    expect(editor.panel(level)).to_be_visible()
    editor.page.wait_for_function(
        "() => app.graph.nodes.filter((n) => n.type === 'PreviewImage').every((n) => n.imgs)"
    )

    take(editor.screenshot(), folder / f"verdict-{level}.png")


@pytest.fixture(params=["dark", "light"])
def theme(request: pytest.FixtureRequest, sharp_editor: Editor) -> Iterator[str]:
    """The page in one of ComfyUI's themes."""
    set_theme = "(theme) => app.extensionManager.setting.set('Comfy.ColorPalette', theme)"
    sharp_editor.page.evaluate(set_theme, request.param)
    sharp_editor.clear()
    sharp_editor.close_cards()
    yield request.param
    sharp_editor.page.keyboard.press("Escape")
    sharp_editor.page.evaluate(set_theme, "dark")


def test_from_the_drop_to_the_verdict(
    sharp_editor: Editor, folder: Path, larger: bytes, tmp_path: Path, theme: str
) -> None:
    editor, page = sharp_editor, sharp_editor.page
    file = tmp_path / "fox.png"
    file.write_bytes(edit_graph(larger, set_input("sampler", "cfg", 7.1)))

    editor.drop(file)
    card = editor.card("fox.png")
    expect(card).to_contain_text("ready")
    take(page.screenshot(), folder / f"card-{theme}.png")
    card.get_by_role("button", name="Reproduce and verify", exact=True).click()
    expect(card).to_have_attribute("data-level", "mismatch", timeout=60_000)
    card.get_by_role("button", name="Show images and report").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("img").first).to_be_visible()
    page.wait_for_timeout(300)
    take(page.screenshot(), folder / f"viewer-{theme}.png", NOISY_WIDTH_PX)
    dialog.get_by_text("Difference").first.click()
    page.wait_for_timeout(300)
    take(page.screenshot(), folder / f"difference-{theme}.png", NOISY_WIDTH_PX)


def test_what_made_an_image(
    sharp_editor: Editor, folder: Path, larger: bytes, tmp_path: Path, theme: str
) -> None:
    editor, page = sharp_editor, sharp_editor.page
    file = tmp_path / "fox.png"
    file.write_bytes(larger)

    editor.drop(file)
    editor.card("fox.png").get_by_role("button", name="What made it").click()
    expect(page.locator(".provenance-sidebar")).to_contain_text("euler")
    editor.close_cards()
    page.wait_for_timeout(500)

    take(page.screenshot(), folder / f"sidebar-{theme}.png")
