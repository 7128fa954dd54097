"""What this server has: the newest images it saved, and what is known of its classes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp import web

from ..adapter.class_notes import describe_classes
from ..adapter.listing import LARGEST_COUNT, list_outputs
from .requests import answer, refusal

_COUNT: Final = "24"

_thread: Final = ThreadPoolExecutor(1, "provenance-outputs")
"""One listing at a time, and none on the threads that answer other questions."""


async def read_outputs(request: web.Request) -> web.Response:
    """Answer with the newest images of the output folder; `?count=` says how many."""
    text = request.query.get("count", _COUNT)
    count = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    if not 1 <= count <= LARGEST_COUNT:
        raise refusal(f"count: expected 1 to {LARGEST_COUNT}, got {text[:20]!a}")
    loop = asyncio.get_running_loop()
    return answer(await loop.run_in_executor(_thread, list_outputs, count))


async def read_classes(request: web.Request) -> web.Response:
    """Answer with the installed classes that make an image depend on more than its graph."""
    del request
    return answer(await asyncio.to_thread(describe_classes))
