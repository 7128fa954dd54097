"""ComfyUI's server, where the pack adds itself to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from server import PromptServer

from ..src.comfyui_provenance.record import JsonObject

_EXTENSION: Final = f"/extensions/{Path(__file__).parents[1].name}/"
"""Where core serves this pack's part of the page."""


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


def keep_modules_fresh() -> None:
    """Let browsers ask whether the page's modules have changed; core says so of `.js` alone."""
    PromptServer.instance.app.on_response_prepare.append(_say_no_cache)


async def _say_no_cache(request: Any, response: Any) -> None:
    if request.path.startswith(_EXTENSION) and request.path.endswith(".mjs"):
        response.headers["Cache-Control"] = "no-cache"


def has_socket(client_id: str) -> bool:
    """Tell whether a client of the page is connected."""
    return client_id in PromptServer.instance.sockets


def send_event(name: str, content: JsonObject, client_id: str) -> None:
    """Send one client of the page an event, from any thread."""
    PromptServer.instance.send_sync(name, content, client_id)
