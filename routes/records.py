"""Read the record of an image that a client sends; nothing is stored and nothing is run."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ..adapter.reading import inspect_image

_BAD_REQUEST = 400


async def read_record(request: web.Request) -> web.Response:
    """Answer with the record of an image file and what it says about itself.

    The body is the file, bounded by the server's own limit on uploads. The answer has
    `record` (`null` if the file carries none), `report` and `summary`; a file that cannot be
    read is answered 400 with `error`.
    """
    data = await request.read()
    # Decoding a large image takes seconds: not on the thread that serves every other client.
    answer = await asyncio.to_thread(inspect_image, data)
    return web.json_response(answer, status=_BAD_REQUEST if "error" in answer else 200)
