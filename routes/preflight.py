"""Say what can be expected of a rerun of an image; nothing is run."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from ..adapter.preflight import preflight
from .requests import answer_with, read_source


async def read_preflight(request: web.Request) -> web.Response:
    """Answer with what is here and what is not for a rerun of an image file.

    `read_source` says where the file is from. The answer has `expect`, `reasons`, `line` and the
    facts. While `pending` is not 0, files are being hashed and another question gets a better
    answer. A file that cannot be read is answered 400 with `error`.
    """
    return await answer_with(partial(preflight, await read_source(request)))
