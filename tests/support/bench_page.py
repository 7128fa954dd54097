"""What the pack costs ComfyUI's page: bytes and time at its start, and the time from drop to card.

The page without the pack is the same page of the same server, told of no files of the pack.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, Route, sync_playwright

from support import prompts
from support.editor import CHROMIUM_ARGUMENTS, Editor
from support.server import PACK, ComfyServer

ROUNDS: Final = 10
DROPS: Final = 7
SIDE_PX: Final = 832
"""Of a square picture of noise that is about 2 MB as PNG."""

READY: Final = "() => window.app?.extensionManager && window.app.graph && window.app.canvas"
NOTE_TIMES: Final = """() => {
    window.times = {};
    addEventListener("drop", () => { window.times.drop = performance.now(); }, true);
    new MutationObserver(() => {
        const card = document.querySelector(".provenance-card");
        if (!card || !window.times.drop) return;
        window.times.card ??= performance.now() - window.times.drop;
        if (card.dataset.expect) window.times.ready ??= performance.now() - window.times.drop;
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""


def measure(server: ComfyServer) -> list[str]:
    """Measure on a server, and give lines for humans."""
    with _browser() as browser:
        return [*_start(browser, server), *_drop(browser, server)]


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=os.environ["PROVENANCE_CHROMIUM"], args=CHROMIUM_ARGUMENTS
        )
        yield opened
        opened.close()


def _start(browser: Browser, server: ComfyServer) -> list[str]:
    """Time the page's start with the pack and without it, in turn."""
    page = browser.new_context().new_page()
    loaded: dict[str, int] = {}
    page.on("response", lambda answer: loaded.update(_size(answer.url, answer)))
    _load(page, server)  # fills the browser's cache
    with_pack: list[float] = []
    without: list[float] = []
    for round_ in range(ROUNDS):
        turn = [(with_pack, "nothing"), (without, PACK)]
        # Each comes first in every second round: a page warms up what the next one uses.
        for times, left_out in turn if round_ % 2 else reversed(turn):
            # Both through Python, which takes its time.
            page.route("**/extensions", partial(_leave_out, left_out))
            times.append(_load(page, server))
            page.unroute("**/extensions")
    page.context.close()
    pairs = zip(with_pack, without, strict=True)
    added_ms = statistics.median(ours - others for ours, others in pairs)
    return [
        f"{'bytes that the page loads of the pack':<42} {sum(loaded.values())}",
        f"{'the page, start with the pack / without':<42} "
        f"{statistics.median(with_pack) / statistics.median(without):.3f}, {added_ms:+.0f} ms",
    ]


def _load(page: Page, server: ComfyServer) -> float:
    """Load the page and give the time until it has a graph, in ms."""
    page.goto(server.url)
    page.wait_for_function(READY)
    ms: float = page.evaluate("() => performance.now()")
    page.wait_for_timeout(500)
    return ms


def _leave_out(name: str, route: Route) -> None:
    paths = [path for path in route.fetch().json() if name not in path]
    route.fulfill(body=json.dumps(paths), content_type="application/json")


def _size(url: str, answer: object) -> dict[str, int]:
    """Give the bytes of an answer that is a file of the pack."""
    body = getattr(answer, "body", bytes)
    return {url: len(body())} if f"/extensions/{PACK}/" in url else {}


def _drop(browser: Browser, server: ComfyServer) -> list[str]:
    """Time from the drop of a large image to its card, and to what the card says."""
    editor = Editor(browser, server, vue_nodes=False)
    editor.page.evaluate(NOTE_TIMES)
    card_ms, ready_ms, size_mb = [], [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(DROPS):
            file = _noise(server, Path(folder) / f"noise{round_}.png", round_)
            editor.clear()
            editor.close_cards()
            editor.page.evaluate("() => { window.times = {}; }")
            editor.drop(file)
            editor.page.wait_for_function("() => window.times.ready")
            times = editor.page.evaluate("() => window.times")
            card_ms.append(times["card"])
            ready_ms.append(times["ready"])
            size_mb = file.stat().st_size / 1e6
    editor.close()
    return [
        f"{f'from the drop of {size_mb:.1f} MB to the card':<42} {_spread(card_ms)}",
        f"{'the same, to what can be expected':<42} {_spread(ready_ms)}",
    ]


def _noise(server: ComfyServer, file: Path, seed: int) -> Path:
    """Have the server save an image that compresses badly."""
    prompt = prompts.txt2img(seed=seed, steps=1, width=SIDE_PX, height=SIDE_PX)
    (path,) = server.images(server.run(prompt))
    file.write_bytes(path.read_bytes())
    return file


def _spread(times_ms: list[float]) -> str:
    return f"{statistics.median(times_ms):.0f} ms ({min(times_ms):.0f} to {max(times_ms):.0f})"
