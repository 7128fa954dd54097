"""ComfyUI's server, where the pack adds itself to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from server import PromptServer


def add_prompt_handler(handler: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Let a function see each prompt as it comes over HTTP, before core validates it."""
    PromptServer.instance.add_on_prompt_handler(handler)
