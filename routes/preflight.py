"""Say what can be expected of a rerun of an image that a client sends; nothing is run."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ..adapter.preflight import preflight

_BAD_REQUEST = 400


async def read_preflight(request: web.Request) -> web.Response:
    """Answer with what is here and what is not for a rerun of an image file.

    The body is the file, bounded by the server's own limit on uploads; `?name=` is its file name.
    The answer has `expect`, `reasons`, `line` and the facts. While `pending` is not 0, files are
    being hashed and another question gets a better answer. A file that cannot be read is answered
    400 with `error`.
    """
    data = await request.read()
    name = request.query.get("name", "the file")
    # Looking for files takes time: not on the thread that serves every other client.
    answer = await asyncio.to_thread(preflight, data, name)
    return web.json_response(answer, status=_BAD_REQUEST if "error" in answer else 200)
