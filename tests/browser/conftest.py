"""A real browser with ComfyUI's page: one page for each way of drawing nodes, for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from support import prompts
from support.editor import CHROMIUM_ARGUMENTS, Editor
from support.server import ComfyServer, folder_from

OWN_FRONTEND = "1.47.12"
"""The one that ComfyUI's requirements name."""

FRONTENDS = ("1.45.21", OWN_FRONTEND, "1.58.1")
HERE = Path(__file__).parent


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
    yield from emptied(editor_of(request.param))


@pytest.fixture(
    scope="module",
    params=[(version, mode) for version in FRONTENDS for mode in ("classic", "vue")],
    ids=lambda param: "-".join(param),
)
def page_of_version(
    request: pytest.FixtureRequest,
    browser: Browser,
    server_with: Callable[..., ComfyServer],
    editor_of: Callable[[str], Editor],
) -> Iterator[Editor]:
    """The page of each version of the frontend that is supported, in each mode."""
    version, mode = request.param
    if version == OWN_FRONTEND:
        yield editor_of(mode)
        return
    root = folder_from("PROVENANCE_FRONTENDS") / version / "comfyui_frontend_package" / "static"
    server = server_with("--front-end-root", str(root))
    editor = Editor(browser, server, vue_nodes=mode == "vue")
    yield editor
    editor.close()


@pytest.fixture
def any_editor(page_of_version: Editor) -> Iterator[Editor]:
    """An empty graph, as `editor`, in every supported frontend."""
    yield from emptied(page_of_version)


def emptied(editor: Editor) -> Iterator[Editor]:
    """Give a page with an empty graph and nothing of this pack, and see that it threw nothing."""
    editor.clear()
    editor.close_cards()
    editor.close_sidebar()
    yield editor
    problems, editor.problems = editor.problems, []
    assert problems == []


@pytest.fixture(scope="session")
def saved(server: ComfyServer) -> bytes:
    """An image that was made through the API, so that it carries a prompt and no workflow."""
    history = server.run(prompts.txt2img(seed=5, cfg=7.0, steps=2, width=64, height=64))
    (path,) = server.images(history)
    return path.read_bytes()
