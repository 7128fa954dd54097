"""Say how far a prompt is, for clients without a WebSocket."""

from __future__ import annotations

from aiohttp import web

from ..adapter.progress import progress_of


async def read_progress(request: web.Request) -> web.Response:
    """Answer with the state of the prompt whose id is in the path, and the node at work."""
    return web.json_response(progress_of(request.match_info["prompt_id"]))
