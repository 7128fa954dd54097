"""ComfyUI's page in a real browser, for the browser tests.

Everything a user would do goes through the page: files are dropped with trusted events, graphs
are run by the page's own button. What the page holds is read with small pieces of JavaScript.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, Page, Route

from .server import PACK, ComfyServer, History

SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.ConfirmClear": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.ColorPalette": "dark",
}
CHROMIUM_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
LOAD_TIMEOUT_MS = 120_000
CLASSIC = pytest.mark.parametrize("editor", ["classic"], indirect=True)
"""For tests of what lies beside the nodes, and so is the same however those are drawn."""

DROP_AT = (700, 640)
"""A place of the canvas that the tests keep free of nodes."""


class Editor:
    """One page of ComfyUI.

    Attributes:
        page: the page, in a browser context of its own.
        server: the ComfyUI that it shows.
        problems: uncaught exceptions, and console errors that name this pack.
    """

    def __init__(
        self, browser: Browser, server: ComfyServer, *, vue_nodes: bool, scale: float = 1.0
    ) -> None:
        """Open the page and wait until it has a graph.

        Args:
            browser: the browser.
            server: the ComfyUI to show.
            vue_nodes: whether nodes are drawn by Nodes 2.0 or on the classic canvas.
            scale: device pixels to a CSS pixel.
        """
        self.server = server
        self.problems: list[str] = []
        self._vue_nodes = vue_nodes
        self._choose_settings()
        context = browser.new_context(
            viewport={"width": 1400, "height": 900}, device_scale_factor=scale
        )
        self.page: Page = context.new_page()
        self.page.on("pageerror", self._note_exception)
        self.page.on("console", self._note_console)
        self.page.route("**/*", self._stay_here)
        self._devtools = context.new_cdp_session(self.page)
        self.page.goto(server.url, timeout=LOAD_TIMEOUT_MS)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until a page that was loaded has a graph."""
        ready = "() => window.app?.extensionManager && window.app.graph && window.app.canvas"
        self.page.wait_for_function(ready, timeout=LOAD_TIMEOUT_MS)
        self.page.wait_for_selector("[data-testid=queue-button]", timeout=LOAD_TIMEOUT_MS)
        self._wait_for_mask()
        # The last that this pack does when it starts.
        tab = "() => app.extensionManager.getSidebarTabs().some(({ id }) => id === 'provenance')"
        self.page.wait_for_function(tab, timeout=LOAD_TIMEOUT_MS)

    def _wait_for_mask(self) -> None:
        """Wait until the page takes files: while it or a workflow loads, a mask lies over it."""
        mask = ".p-blockui-mask-document"
        self.page.wait_for_selector(mask, state="detached", timeout=LOAD_TIMEOUT_MS)

    def reload(self) -> None:
        """Load the page anew, so that it remembers nothing."""
        self._choose_settings()
        self.page.reload()
        self.wait_until_ready()

    def _choose_settings(self) -> None:
        """Set this page's settings; another page of the server may have set others since."""
        for name, value in {**SETTINGS, "Comfy.VueNodes.Enabled": self._vue_nodes}.items():
            self.server.post_json(f"/settings/{name}", value)

    def close(self) -> None:
        """Close the page."""
        self.page.context.close()

    # --- the graph ---

    def clear(self) -> None:
        """Empty the graph, and forget what nodes showed."""
        self.command("Comfy.ClearWorkflow")

    def add_node(
        self,
        class_type: str,
        at: tuple[int, int],
        *,
        size: tuple[int, int] | None = None,
        title: str | None = None,
        **values: object,
    ) -> str:
        """Put a node on the canvas.

        Args:
            class_type: as in ComfyUI.
            at: the place of its upper left corner.
            size: width and height, in the graph's pixels.
            title: in place of the class's own.
            **values: of its widgets.

        Returns:
            The node's id.
        """
        node_id: str = self.page.evaluate(
            """([type, at, size, title, values]) => {
                const node = LiteGraph.createNode(type);
                app.graph.add(node);
                node.pos = at;
                if (size) node.setSize(size);
                if (title) node.title = title;
                for (const [name, value] of Object.entries(values)) {
                    node.widgets.find((widget) => widget.name === name).value = value;
                }
                return String(node.id);
            }""",
            [class_type, list(at), size and list(size), title, values],
        )
        return node_id

    def connect(self, source: str, slot: int, target: str, name: str) -> None:
        """Link an output to an input, given by its name."""
        self.page.evaluate(
            """([source, slot, target, name]) => {
                const [from, to] = [source, target].map((id) => app.graph.getNodeById(id));
                from.connect(slot, to, to.inputs.findIndex((input) => input.name === name));
            }""",
            [source, slot, target, name],
        )

    def set_widget(self, class_type: str, name: str, value: object) -> None:
        """Set a widget of the only node of a class, as the page does for a user."""
        self.page.evaluate(
            """([type, name, value]) => {
                const node = app.graph.nodes.find((node) => node.type === type);
                const widget = node.widgets.find((widget) => widget.name === name);
                widget.value = value;
                widget.callback?.(value, app.canvas, node);
            }""",
            [class_type, name, value],
        )

    def wait_for_nodes(self, types: list[str]) -> None:
        """Wait until the graph has exactly nodes of these classes, given sorted."""
        same = "(types) => app.graph.nodes.map((node) => node.type).sort().join() === types.join()"
        self.page.wait_for_function(same, arg=types)

    def unknown_nodes(self) -> list[str]:
        """List the classes of the graph's nodes that the page does not know."""
        unknown: list[str] = self.page.evaluate(
            """() => app.graph.nodes.map((node) => node.type)
                .filter((type) => !(type in LiteGraph.registered_node_types))"""
        )
        return unknown

    def node_types(self) -> list[str]:
        """List the classes of the graph's nodes, sorted."""
        types: list[str] = self.page.evaluate("() => app.graph.nodes.map((node) => node.type)")
        return sorted(types)

    def prompt(self) -> dict[str, Any]:
        """Give the prompt that the page would queue now."""
        return self._serialised("output")

    def workflow(self) -> dict[str, Any]:
        """Give the workflow that the page would save now."""
        return self._serialised("workflow")

    def _serialised(self, part: str) -> dict[str, Any]:
        # As text: what is undefined is left out, as it is when the page queues or saves.
        text = "async (part) => JSON.stringify((await app.graphToPrompt())[part])"
        value: dict[str, Any] = json.loads(self.page.evaluate(text, part))
        return value

    # --- what a user does ---

    def run(self) -> History:
        """Press Run and wait until ComfyUI has finished; raises as `ComfyServer.run`."""
        with self.page.expect_response(
            lambda answer: (
                answer.request.method == "POST" and urlsplit(answer.url).path == "/api/prompt"
            )
        ) as answer:
            self.page.get_by_test_id("queue-button").click()
        return self.server.wait_for(answer.value.json()["prompt_id"])

    def command(self, command_id: str) -> None:
        """Run a command of the page's menus."""
        self.page.evaluate("(id) => app.extensionManager.command.execute(id)", command_id)

    def open(self, file: Path) -> None:
        """Open a file with the page's own Open."""
        self.page.set_input_files("#comfy-file-input", file)

    def drop(self, *files: Path, at: tuple[float, float] = DROP_AT) -> None:
        """Drop files on a place of the page, with events that the browser trusts.

        Args:
            *files: as they lie on the disk.
            at: in CSS pixels; a place of the canvas that has no node if not given.
        """
        dragged = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        x, y = at
        self._wait_for_mask()
        for kind in ("dragEnter", "dragOver", "drop"):
            event = {"type": kind, "x": x, "y": y, "data": dragged}
            self._devtools.send("Input.dispatchDragEvent", event)

    # --- what a user sees ---

    def panel(self, level: str | None = None) -> Locator:
        """Find what a node of this pack shows in itself."""
        attribute = f'[data-level="{level}"]' if level else ""
        return self.page.locator(f".provenance-content{attribute}")

    def card(self, name: str | None = None) -> Locator:
        """Find the card of a file, or every card."""
        cards = self.page.locator(".provenance-card")
        return cards if name is None else cards.filter(has_text=name)

    def close_cards(self) -> None:
        """Take every card away, as a user does."""
        close = self.card().locator(".provenance-close")
        while close.count():
            close.first.click()

    def close_sidebar(self) -> None:
        """Close this pack's tab of the sidebar if it is open."""
        if self.page.locator(".provenance-sidebar").count():
            self.command("Workspace.ToggleSidebarTab.provenance")
            self.page.wait_for_selector(".provenance-sidebar", state="detached")

    def draw(self) -> None:
        """Wait until the canvas was drawn, and knows which nodes can be seen where."""
        frame = "() => new Promise((resolve) => requestAnimationFrame(resolve))"
        for _ in range(10):
            self.page.evaluate(frame)

    def place_of(self, node_id: str) -> tuple[float, float]:
        """Give the middle of a node, in CSS pixels of the page."""
        x, y = self.page.evaluate(
            """(id) => {
                const node = app.graph.getNodeById(id);
                const { canvas, ds } = app.canvas;
                const frame = canvas.getBoundingClientRect();
                const [x, y] = [0, 1].map((at) => node.pos[at] + node.size[at] / 2);
                return [
                    (x + ds.offset[0]) * ds.scale + frame.x,
                    (y + ds.offset[1]) * ds.scale + frame.y,
                ];
            }""",
            node_id,
        )
        return x, y

    def screenshot(self) -> bytes:
        """Take a picture of the whole graph and nothing else of the page, as PNG."""
        area: dict[str, float] = self.page.evaluate(
            """async () => {
                const { canvas, ds } = app.canvas;
                const boxes = app.graph.nodes.map((node) => Array.from(node.getBounding()));
                const left = Math.min(...boxes.map(([x]) => x)) - 30;
                const top = Math.min(...boxes.map(([, y]) => y)) - 40;
                const width = Math.max(...boxes.map(([x, , w]) => x + w)) + 30 - left;
                const height = Math.max(...boxes.map(([, y, , h]) => y + h)) + 30 - top;
                const frame = canvas.getBoundingClientRect();
                ds.scale = Math.min((frame.width - 80) / width, (frame.height - 110) / height);
                ds.offset = [70 / ds.scale - left, 100 / ds.scale - top];
                app.canvas.deselectAll?.();
                app.canvas.setDirty(true, true);
                for (let frames = 0; frames < 10; frames += 1) {
                    await new Promise((resolve) => requestAnimationFrame(resolve));
                }
                const scale = ds.scale;
                return { x: 70, y: 100, width: width * scale, height: height * scale };
            }"""
        )
        hidden = ".comfyui-body-top, [role=status], .p-toast { display: none !important }"
        return self.page.screenshot(clip=area, style=hidden)  # type: ignore[arg-type]

    def toasts(self) -> Locator:
        """Find the page's messages."""
        return self.page.locator(".p-toast-message, [data-testid=toast]")

    def _stay_here(self, route: Route) -> None:
        if urlsplit(route.request.url).hostname in ("127.0.0.1", None):
            route.continue_()
        else:
            route.abort()

    def _note_exception(self, error: Error) -> None:
        self.problems.append(f"{error.message}\n{error.stack}")

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and PACK in f"{message.text} {message.location}":
            self.problems.append(message.text)
