"""What the pack costs ComfyUI's page: bytes and time at its start, and the time from drop to card.

The page without the pack is that of a second server, which has none of its files.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from support import prompts
from support.editor import CHROMIUM_ARGUMENTS, Editor
from support.server import PACK, ComfyServer

ROUNDS: Final = 16
DROPS: Final = 7
SIDE_PX: Final = 832
"""Of a square picture of noise that is 1.4 MB as PNG."""

READY: Final = "() => window.app?.extensionManager && window.app.graph && window.app.canvas"
TIMES: Final = """() => {
    const [before, after] = ["comfy.templates.json", "/api/object_info"].map((name) =>
        performance.getEntriesByType("resource").find((entry) => entry.name.includes(name)));
    return [after.startTime - before.startTime, performance.now()];
}"""
"""What the page asks for just before and just after it loads extensions, in ComfyUI 0.30.0."""

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


def measure(server: ComfyServer, without: ComfyServer) -> list[str]:
    """Measure on a server with the pack and on one without it, and give lines for humans."""
    with _browser() as browser:
        return [*_start(browser, server, without), *_drop(browser, server)]


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=os.environ["PROVENANCE_CHROMIUM"], args=CHROMIUM_ARGUMENTS
        )
        yield opened
        opened.close()


def _start(browser: Browser, server: ComfyServer, without: ComfyServer) -> list[str]:
    """Time the page's start with the pack and without it, in turn."""
    context = browser.new_context()
    loaded: dict[str, int] = {}
    context.on("response", lambda answer: loaded.update(_size(answer.url, answer)))
    for server_ in (server, without):  # fills the browser's cache
        _load(context, server_)
    times: dict[ComfyServer, list[tuple[float, float]]] = {server: [], without: []}
    for round_ in range(ROUNDS):
        # Each comes first in every second round: a page warms up what the next one uses.
        for server_ in (server, without) if round_ % 2 else (without, server):
            times[server_].append(_load(context, server_))
    context.close()
    waits, starts = (
        [ours[which] - others[which] for ours, others in zip(*times.values(), strict=True)]
        for which in range(2)
    )
    ratio = statistics.median(
        ours / others for (_, ours), (_, others) in zip(*times.values(), strict=True)
    )
    return [
        f"{'bytes that the page loads of the pack':<42} {sum(loaded.values())}",
        f"{'the page waits for files of the pack':<42} {_spread(waits)}",
        f"{'the page, start with the pack / without':<42} {ratio:.3f}, {_spread(starts)}",
    ]


def _load(context: BrowserContext, server: ComfyServer) -> tuple[float, float]:
    """Load a new page.

    Returns:
        The times that loading extensions took and after which it had a graph, in ms.
    """
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_function(READY)
    times: list[float] = page.evaluate(TIMES)
    page.wait_for_timeout(500)
    page.close()
    return times[0], times[1]


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
