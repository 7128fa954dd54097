"""A real browser with ComfyUI's page: one page for each way of drawing nodes, for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from support import prompts
from support.editor import Editor
from support.server import ComfyServer

HERE = Path(__file__).parent
CHROMIUM_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = os.environ.get("PROVENANCE_CHROMIUM")
    assert chromium, "expected PROVENANCE_CHROMIUM to name a browser: run `python dev.py test`"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def editor_of(browser: Browser, server: ComfyServer) -> Iterator[Callable[[str], Editor]]:
    """Gives the session's page of one mode, opened when it is first asked for."""
    opened: dict[str, Editor] = {}
    with ExitStack() as stack:

        def find_or_open(mode: str) -> Editor:
            if mode not in opened:
                opened[mode] = Editor(browser, server, vue_nodes=mode == "vue")
                stack.callback(opened[mode].close)
            return opened[mode]

        yield find_or_open


@pytest.fixture(params=["classic", "vue"])
def editor(request: pytest.FixtureRequest, editor_of: Callable[[str], Editor]) -> Iterator[Editor]:
    """An empty graph; the test fails if the page threw anything meanwhile."""
    editor = editor_of(request.param)
    editor.clear()
    yield editor
    problems, editor.problems = editor.problems, []
    assert problems == []


@pytest.fixture(scope="session")
def saved(server: ComfyServer) -> bytes:
    """An image that was made through the API, so that it carries a prompt and no workflow."""
    history = server.run(prompts.txt2img(seed=5, cfg=7.0, steps=2, width=64, height=64))
    (path,) = server.images(history)
    return path.read_bytes()
