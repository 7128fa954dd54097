"""Fixtures that start a real ComfyUI, and the guard against a run in which nothing was tested."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from support.server import ComfyServer


class ServerWith(Protocol):
    """Gives the session's server of one configuration, started when it is first asked for."""

    def __call__(
        self, *arguments: str, environ: dict[str, str] | None = None, packs: tuple[Path, ...] = ()
    ) -> ComfyServer:
        """Find or start a server with these arguments of `main.py`, variables and packs."""
        ...


@pytest.fixture(scope="session")
def server_with() -> Iterator[ServerWith]:
    started: dict[object, ComfyServer] = {}
    with ExitStack() as stack:

        def find_or_start(
            *arguments: str, environ: dict[str, str] | None = None, packs: tuple[Path, ...] = ()
        ) -> ComfyServer:
            key = (arguments, tuple(sorted((environ or {}).items())), packs)
            if key not in started:
                server = ComfyServer(arguments=arguments, environ=environ, packs=packs)
                started[key] = stack.enter_context(server)
            return started[key]

        yield find_or_start


@pytest.fixture(scope="session")
def server(server_with: ServerWith) -> ComfyServer:
    return server_with()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long matrices without `--full`, and what this machine's processors lack."""
    left_out = [item for item in items if not _can_run(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _can_run(item: pytest.Item) -> bool:
    if item.get_closest_marker("full") and not os.environ.get("PROVENANCE_FULL"):
        return False
    if item.get_closest_marker("posix") and sys.platform == "win32":
        return False
    if item.get_closest_marker("linux") and sys.platform != "linux":
        return False
    if item.get_closest_marker("gpu"):
        import torch

        return torch.cuda.is_available()
    instructions = item.get_closest_marker("instructions")
    if instructions is not None:
        import torch

        return torch.backends.cpu.get_cpu_capability() in instructions.args
    return True


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # A run in which every test was skipped has shown nothing.
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == pytest.ExitCode.OK and reporter and not reporter.stats.get("passed"):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
