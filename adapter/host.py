"""ComfyUI's server, where the pack adds itself to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from server import PromptServer


def add_prompt_handler(handler: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Let a function see each prompt as it comes over HTTP, before core validates it."""
    PromptServer.instance.add_on_prompt_handler(handler)


def add_post_route(path: str, handler: Callable[[Any], Awaitable[Any]]) -> None:
    """Serve a path, and the same below `/api`, as core does with all of its own.

    It works while packs are loading: core adds its table to the application afterwards.
    """
    PromptServer.instance.routes.post(path)(handler)


def add_get_route(path: str, handler: Callable[[Any], Awaitable[Any]]) -> None:
    """Serve a path for reading; see `add_post_route`."""
    PromptServer.instance.routes.get(path)(handler)
