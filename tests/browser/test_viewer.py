"""The verdict dialog shows images to the pixel, reports as text, and keeps its keys to itself."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from support.editor import CLASSIC, DROP_AT, Editor

Colour: TypeAlias = tuple[int, int, int]

RED: Colour = (200, 16, 32)
BLUE: Colour = (16, 32, 200)
DIFFERENCE: Colour = (3, 0, 2)
NAME = "fox_00001_.png"
HOSTILE = "<img src=x onerror=\"window.hacked = 'yes'\"><script>window.hacked = 'yes'</script>"
OPEN = """async ([content, name, report, images]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const data = new File([bytes], name, { type: "image/png" });
    const { openViewer } = await import("/extensions/comfyui-provenance/viewer.mjs");
    await openViewer({ source: { name, data }, report, images });
    return document.querySelector("dialog[open]").offsetWidth;
}"""
LOADED = """() => {
    const images = [...document.querySelectorAll(".provenance-viewer figure:not([hidden]) img")];
    return images.every((image) => image.naturalWidth > 0 && image.clientWidth > 0);
}"""
OVERFLOWS = """() => [...document.querySelectorAll(".provenance-viewer, .provenance-viewer *")]
    .filter((element) => !element.closest(".provenance-frame"))
    .filter((element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX))
    .filter((element) => element.scrollWidth > element.clientWidth)
    .map((element) => element.className)"""
OUT_OF_SIGHT = """() => [...document.querySelectorAll(".provenance-viewer :is(button, input)")]
    .filter((control) => control.checkVisibility())
    .filter((control) => {
        const { left, right, top, bottom } = control.getBoundingClientRect();
        return left < 0 || top < 0 || right > innerWidth || bottom > innerHeight;
    })
    .map((control) => control.textContent)"""


def png(colour: Colour, width: int = 64, height: int = 64) -> bytes:
    """Make an image of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def report_of(text: str = "changed", most: int = 3) -> dict[str, Any]:
    """Make a report whose every sentence and value is a text."""
    cause = {"kind": "cfg", "message": text, "node_id": "3", "remedy": f"{text} back"}
    check = {"name": "pixels", "level": "mismatch", "expected": "a", "found": "b", "message": text}
    return {
        "level": "mismatch",
        "checks": [check, {**check, "name": "record", "level": "bitwise"}],
        "causes": [
            {**cause, "recorded": f"{text} 7", "now": f"{text} 7.1"},
            {**cause, "kind": "seed", "recorded": "1", "now": "2"},
        ],
        "pixels": {"max_abs": most, "mean_abs": 0.5, "psnr_db": 41.0, "differing_fraction": 0.25},
        "divergence": {"phase": "step", "message": f"{text}: the runs part at step 1"},
        "notes": [f"noted {text}"],
    }


class Viewer:
    """The dialog, opened in a page."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.page = editor.page
        self.dialog = self.page.locator("dialog.provenance-viewer")
        self.divider = self.dialog.get_by_role("slider", name="Divider")
        self.images = self.dialog.get_by_role("tabpanel")
        self.zoom = self.dialog.locator(".provenance-zoom-shown")

    def open(
        self,
        *,
        original: bytes | None = None,
        report: object = None,
        name: str = NAME,
        **images: bytes,
    ) -> None:
        """Open the dialog for an original, red if not given, and the server's images by role."""
        places = {role: self._place(content) for role, content in images.items()}
        content = base64.b64encode(original or png(RED)).decode()
        self.page.evaluate(OPEN, [content, name, report or report_of(), places])
        self.page.wait_for_function(LOADED)

    def open_all(self) -> None:
        """Open the dialog for a red original and a blue reproduction."""
        self.open(reproduced=png(BLUE), difference=png(DIFFERENCE))

    def open_report(self, title: str, report: object) -> None:
        """Open the dialog without images."""
        self.page.evaluate(
            """async ([name, report]) => {
                const { openViewer } = await import("/extensions/comfyui-provenance/viewer.mjs");
                await openViewer({ source: { name, data: "a.png [output]" }, report, images: {} });
            }""",
            [title, report],
        )

    def choose(self, mode: str) -> None:
        """Choose a mode with the mouse."""
        self.dialog.get_by_role("tab", name=mode).click()
        self.page.wait_for_function(LOADED)

    def image(self, role: str) -> Locator:
        """Find one of the images."""
        return self.dialog.locator(f'[data-role="{role}"] img')

    def box(self, role: str) -> dict[str, float]:
        """Measure where an image is in the window, and how large, in CSS pixels."""
        box: dict[str, float] = self.image(role).evaluate(
            "(image) => image.getBoundingClientRect().toJSON()"
        )
        return box

    def colour_at(self, x: float, y: float) -> Colour:
        """Tell the colour of one pixel of the window, as it is drawn."""
        shot = self.page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
        with Image.open(io.BytesIO(shot)) as pixel:
            red, green, blue = pixel.convert("RGB").tobytes()
        return red, green, blue

    def colour_in(self, role: str, part: float = 0.25) -> Colour:
        """Tell the colour that is drawn at a part of an image's width, below its divider's knob."""
        box = self.box(role)
        return self.colour_at(box["x"] + part * box["width"], box["y"] + 0.9 * box["height"])

    def _place(self, content: bytes) -> dict[str, str]:
        return {"filename": self.editor.server.upload(content), "subfolder": "", "type": "input"}


@pytest.fixture
def viewer(editor: Editor) -> Iterator[Viewer]:
    """Opens the dialog, and closes it in the end."""
    yield from closed_after(editor)


@pytest.fixture
def any_viewer(any_editor: Editor) -> Iterator[Viewer]:
    """Opens the dialog in every supported frontend."""
    yield from closed_after(any_editor)


def closed_after(editor: Editor) -> Iterator[Viewer]:
    """Give the dialog, and close it."""
    yield Viewer(editor)
    editor.page.evaluate("() => document.querySelector('dialog[open]')?.close()")


@pytest.fixture
def resize(editor: Editor) -> Iterator[Callable[[int, int], None]]:
    """Gives the window another size for one test."""
    before = editor.page.viewport_size
    yield lambda width, height: editor.page.set_viewport_size({"width": width, "height": height})
    assert before is not None
    editor.page.set_viewport_size(before)


# --- the report ---


@CLASSIC
def test_the_verdict_its_cause_and_what_to_do_are_told(viewer: Viewer) -> None:
    viewer.open_all()

    expect(viewer.dialog).to_have_role("dialog")
    expect(viewer.dialog).to_have_accessible_name(
        f"Mismatch What was found is not what was recorded. {NAME}"
    )
    expect(viewer.dialog.locator(".provenance-kind")).to_have_text("cfg")
    expect(viewer.dialog.locator(".provenance-recorded")).to_have_text("changed 7")
    expect(viewer.dialog.locator(".provenance-now")).to_have_text("changed 7.1")
    for words in ("What to do: changed back", "25.00 % of the pixels", "noted changed"):
        expect(viewer.dialog).to_contain_text(words)
    checks = viewer.dialog.locator(".provenance-checks strong")
    expect(checks).to_have_text(["pixels", "record"])


@CLASSIC
def test_markup_in_a_report_and_a_name_is_text(viewer: Viewer) -> None:
    viewer.open(name=HOSTILE, report=report_of(HOSTILE), reproduced=png(BLUE))

    expect(viewer.dialog.locator(".provenance-viewer-name")).to_have_text(HOSTILE)
    expect(viewer.dialog.locator(".provenance-recorded")).to_contain_text("<script>")
    assert viewer.dialog.locator("img").count() == 2
    assert viewer.dialog.locator("script").count() == 0
    assert viewer.page.evaluate("() => window.hacked") is None


@CLASSIC
def test_a_report_without_images_stands_alone(viewer: Viewer) -> None:
    viewer.open()
    expect(viewer.dialog).to_contain_text("What to do")
    expect(viewer.dialog.get_by_role("region", name="Report")).to_be_focused()
    assert viewer.dialog.locator("img, [role=tab]").count() == 0

    viewer.open_report("two images", report_of())

    expect(viewer.dialog).to_have_count(1)
    expect(viewer.dialog.locator(".provenance-viewer-name")).to_have_text("two images")
    assert viewer.dialog.locator("img, [role=tab]").count() == 0


@CLASSIC
def test_whatever_is_no_report_is_shown_as_unknown(viewer: Viewer) -> None:
    values: list[object] = ["words", 7, [], {"level": "splendid"}]
    for value in values:
        viewer.open_report("a", value)

        expect(viewer.dialog.locator(".provenance-title")).to_have_text("Unknown")


@CLASSIC
def test_the_report_is_downloaded_as_it_came(viewer: Viewer) -> None:
    report = {**report_of(), "unknown_field": {"seed": "18446744073709551615"}}
    viewer.open_report(f"sub/{NAME}", report)

    with viewer.page.expect_download() as download:
        viewer.dialog.get_by_role("button", name="Download report").click()

    assert download.value.suggested_filename == "fox_00001_.report.json"
    assert json.loads(download.value.path().read_text("utf-8")) == report


@CLASSIC
@pytest.mark.parametrize("is_secure", [True, False], ids=["secure page", "plain HTTP"])
def test_the_report_is_copied(viewer: Viewer, is_secure: bool) -> None:
    page, report = viewer.page, report_of()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("() => navigator.clipboard.writeText('before')")
    viewer.open_report("a", report)
    if not is_secure:
        page.evaluate(
            "() => Object.defineProperty(navigator, 'clipboard', "
            "{ value: undefined, configurable: true })"
        )

    viewer.dialog.get_by_role("button", name="Copy report").click()

    expect(viewer.dialog.get_by_role("status")).to_have_text("Copied")
    page.evaluate("() => { delete navigator.clipboard; }")
    assert json.loads(page.evaluate("() => navigator.clipboard.readText()")) == report
    expect(viewer.dialog.get_by_role("button", name="Copy report")).to_be_focused()


# --- keys and focus ---


def test_no_key_reaches_the_page_behind(any_viewer: Viewer) -> None:
    viewer, page = any_viewer, any_viewer.page
    for left in (40, 400):
        node_id = viewer.editor.add_node("EmptyImage", (left, 60))
        # The page notes what an undo would take back when the mouse is let go.
        page.mouse.click(left, DROP_AT[1])
    page.evaluate("(id) => app.canvas.select(app.graph.getNodeById(id))", node_id)
    page.evaluate(
        """() => {
            window.heard = [];
            for (const name of ["keydown", "paste"]) {
                document.addEventListener(name, (event) => window.heard.push(event.key ?? name));
            }
        }"""
    )
    queued: list[str] = []
    page.on("request", lambda request: queued.append(request.method + request.url))
    viewer.open_all()

    for key in ("Control+Enter", "Control+z", "Control+b", "Control+v", "Delete", "q", "w", "Tab"):
        page.keyboard.press(key)
    page.wait_for_timeout(500)

    assert [place for place in queued if place.startswith("POST") and "/prompt" in place] == []
    assert page.evaluate("() => window.heard") == []
    assert viewer.editor.node_types() == ["EmptyImage", "EmptyImage"]
    assert all(not node["mode"] for node in viewer.editor.workflow()["nodes"])
    expect(viewer.dialog).to_be_visible()


@CLASSIC
def test_escape_closes_it_and_the_focus_goes_back(viewer: Viewer) -> None:
    page = viewer.page
    page.evaluate(
        """() => {
            const button = document.createElement("button");
            button.id = "opener";
            document.body.append(button);
            button.focus();
        }"""
    )
    viewer.open_all()
    address = viewer.image("original").get_attribute("src")

    page.keyboard.press("Escape")

    expect(viewer.dialog).to_have_count(0)
    expect(page.locator("#opener")).to_be_focused()
    page.evaluate("() => document.querySelector('#opener').remove()")
    gone = "(address) => fetch(address).then(() => false, () => true)"
    assert address is not None
    assert address.startswith("blob:")
    assert page.evaluate(gone, address)


@CLASSIC
def test_every_control_is_reached_with_tab_and_none_outside(viewer: Viewer) -> None:
    viewer.open_all()
    viewer.dialog.get_by_role("button", name="Copy report").focus()
    reached = set()

    for _ in range(20):
        viewer.page.keyboard.press("Tab")
        reached.add(
            viewer.page.evaluate(
                """() => {
                    const dialog = document.querySelector("dialog[open]");
                    const element = document.activeElement;
                    if (element === document.body || element === dialog) return "";
                    if (!dialog.contains(element)) return "outside";
                    return element.getAttribute("aria-label") ?? element.textContent ?? "";
                }"""
            )
        )

    assert "outside" not in reached
    for name in ("Slider", "Zoom in", "Divider", "Fit", "Report", "Close", "Download report"):
        assert any(name in text for text in reached), name


@CLASSIC
def test_the_modes_are_chosen_with_the_arrow_keys(viewer: Viewer) -> None:
    viewer.open_all()
    expect(viewer.dialog.get_by_role("tab").first).to_be_focused()

    for key, chosen in (
        ("ArrowRight", "Side by side"),
        ("End", "Difference"),
        ("ArrowRight", "Slider"),
        ("ArrowLeft", "Difference"),
        ("Home", "Slider"),
    ):
        viewer.page.keyboard.press(key)

        selected = viewer.dialog.get_by_role("tab", selected=True)
        expect(selected).to_have_text(chosen)
        expect(selected).to_be_focused()
        expect(viewer.images).to_have_accessible_name(chosen)


@CLASSIC
def test_it_is_never_seen_without_its_style(viewer: Viewer) -> None:
    page = viewer.page
    page.evaluate("() => document.querySelector('link[href$=\"/viewer.css\"]')?.remove()")

    width_px = page.evaluate(OPEN, ["", NAME, report_of(), {}])

    assert width_px == 720


# --- the images ---


@CLASSIC
def test_the_divider_parts_original_and_reproduction_at_one_pixel(viewer: Viewer) -> None:
    viewer.open_all()
    box = viewer.box("original")
    assert box == viewer.box("reproduced")
    middle, y = box["x"] + box["width"] / 2, box["y"] + 0.9 * box["height"]

    assert viewer.colour_at(middle - 4, y) == RED
    assert viewer.colour_at(middle + 4, y) == BLUE

    viewer.divider.focus()
    viewer.page.keyboard.press("Home")
    assert viewer.colour_in("original", 0.02) == BLUE
    viewer.page.keyboard.press("End")
    assert viewer.colour_in("original", 0.98) == RED
    viewer.page.keyboard.press("ArrowLeft")
    viewer.page.keyboard.press("Shift+ArrowLeft")
    expect(viewer.divider).to_have_attribute("aria-valuenow", "89")
    expect(viewer.divider).to_have_attribute("aria-valuetext", "89 % original")


@CLASSIC
def test_the_divider_follows_the_mouse_and_the_images_stay(viewer: Viewer) -> None:
    viewer.open_all()
    before = viewer.box("original")
    frame = viewer.images.bounding_box()
    assert frame is not None
    x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2

    viewer.page.mouse.move(x, y)
    viewer.page.mouse.down()
    viewer.page.mouse.move(frame["x"] + 0.25 * frame["width"], y, steps=4)
    viewer.page.mouse.up()

    expect(viewer.divider).to_have_attribute("aria-valuenow", "25")
    assert viewer.box("original") == before


@CLASSIC
def test_side_by_side_both_are_seen_whole(viewer: Viewer) -> None:
    viewer.open_all()

    viewer.choose("Side by side")

    left, right = viewer.box("original"), viewer.box("reproduced")
    assert left["right"] <= right["left"]
    assert (left["width"], left["top"]) == (right["width"], right["top"])
    assert viewer.colour_in("original", 0.02) == viewer.colour_in("original", 0.98) == RED
    assert viewer.colour_in("reproduced", 0.02) == viewer.colour_in("reproduced", 0.98) == BLUE


@CLASSIC
def test_a_difference_is_multiplied_exactly(viewer: Viewer) -> None:
    viewer.open_all()
    viewer.choose("Difference")
    amplification = viewer.dialog.get_by_role("slider", name="Amplification")

    # Of the powers of two, the largest that leaves a difference of 3 below white.
    expect(viewer.dialog.locator(".provenance-times")).to_have_text("\u00d764")
    amplification.focus()
    viewer.page.keyboard.press("Home")
    for times in (1, 2, 4, 8, 16, 32, 64):
        expect(viewer.dialog.locator(".provenance-times")).to_have_text(f"\u00d7{times}")
        expect(amplification).to_have_attribute("aria-valuetext", f"{times} times")
        assert viewer.colour_in("difference") == tuple(times * part for part in DIFFERENCE)
        viewer.page.keyboard.press("ArrowRight")


@CLASSIC
def test_the_zoom_is_the_same_in_every_mode(viewer: Viewer) -> None:
    viewer.open_all()
    fitting = viewer.zoom.inner_text()

    viewer.page.keyboard.press("1")
    expect(viewer.zoom).to_have_text("100 %")
    assert viewer.box("original")["width"] == 64
    viewer.page.keyboard.press("+")
    viewer.page.keyboard.press("+")
    expect(viewer.zoom).to_have_text("200 %")
    for mode, role in (("Side by side", "reproduced"), ("Difference", "difference")):
        viewer.choose(mode)
        assert viewer.box(role)["width"] == 128
        rendering = viewer.image(role).evaluate("(image) => getComputedStyle(image).imageRendering")
        assert rendering == "pixelated"
    viewer.page.keyboard.press("-")
    expect(viewer.zoom).to_have_text("141 %")
    viewer.choose("Slider")
    viewer.page.keyboard.press("0")
    expect(viewer.zoom).to_have_text(fitting)


@CLASSIC
def test_the_wheel_zooms_about_the_pointer(viewer: Viewer) -> None:
    viewer.open_all()
    for _ in range(3):
        viewer.page.keyboard.press("+")
    before, frame = viewer.box("original"), viewer.images.bounding_box()
    assert frame is not None
    assert before["width"] > frame["width"]
    x, y = frame["x"] + 0.7 * frame["width"], frame["y"] + 0.3 * frame["height"]

    viewer.page.mouse.move(x, y)
    viewer.page.mouse.wheel(0, -100)
    grown = "(width) => document.querySelector('dialog img').clientWidth > 1.3 * width"
    viewer.page.wait_for_function(grown, arg=before["width"])

    after = viewer.box("original")
    for start, length, at in (("x", "width", x), ("y", "height", y)):
        under = (at - before[start]) / before[length]
        assert (at - after[start]) / after[length] == pytest.approx(under, abs=0.001)


@CLASSIC
def test_an_enlarged_image_is_moved_with_the_mouse_and_the_arrow_keys(viewer: Viewer) -> None:
    viewer.open_all()
    for _ in range(6):
        viewer.page.keyboard.press("+")
    start = viewer.box("original")
    frame = viewer.images.bounding_box()
    assert frame is not None

    viewer.page.mouse.move(frame["x"] + 60, frame["y"] + 60)
    viewer.page.mouse.down()
    viewer.page.mouse.move(frame["x"] + 90, frame["y"] + 40, steps=3)
    viewer.page.mouse.up()
    dragged = viewer.box("original")
    viewer.images.focus()
    viewer.page.keyboard.press("ArrowRight")
    viewer.page.keyboard.press("ArrowDown")
    moved = viewer.box("original")

    assert (dragged["x"] - start["x"], dragged["y"] - start["y"]) == (30, -20)
    assert (moved["x"] - dragged["x"], moved["y"] - dragged["y"]) == (-40, -40)


@CLASSIC
def test_images_of_different_sizes_are_shown_each_at_its_own(viewer: Viewer) -> None:
    viewer.open(original=png(RED, 64, 96), reproduced=png(BLUE, 128, 32))

    for mode in ("Slider", "Side by side"):
        viewer.choose(mode)
        first, second = viewer.box("original"), viewer.box("reproduced")
        assert (first["width"] / second["width"], first["height"] / second["height"]) == (0.5, 3)
    expect(viewer.dialog.locator("figcaption").first).to_contain_text("64 \u00d7 96")
    expect(viewer.dialog.get_by_role("tab")).to_have_count(2)


@CLASSIC
def test_an_image_that_is_gone_is_told(viewer: Viewer) -> None:
    places = {"reproduced": {"filename": "gone.png", "subfolder": "", "type": "temp"}}
    content = base64.b64encode(png(RED)).decode()

    viewer.page.evaluate(OPEN, [content, NAME, report_of(), places])

    expect(viewer.dialog).to_contain_text("This image cannot be shown.")
    viewer.choose("Side by side")
    assert viewer.colour_in("original") == RED


@CLASSIC
@pytest.mark.parametrize(("width", "height"), [(1400, 900), (900, 600), (480, 800)])
def test_everything_fits_the_window(
    viewer: Viewer, resize: Callable[[int, int], None], width: int, height: int
) -> None:
    long = "a-word-without-an-end-" * 20
    resize(width, height)

    viewer.open(
        name=f"{long}.png",
        report=report_of(long),
        reproduced=png(BLUE),
        difference=png(DIFFERENCE),
    )

    for mode in ("Slider", "Side by side", "Difference"):
        viewer.choose(mode)
        assert viewer.page.evaluate(OVERFLOWS) == []
        assert viewer.page.evaluate(OUT_OF_SIGHT) == []
        frame = viewer.images.bounding_box()
        assert frame is not None
        assert frame["height"] >= 160
