"""Say what images carry and what tells two apart; nothing is stored and nothing is run."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from ..adapter.comparing import compare_named
from ..adapter.reading import inspect_image
from .requests import answer_with, read_question, read_source, refusal


async def read_record(request: web.Request) -> web.Response:
    """Answer with the record of an image file and what it says about itself.

    `read_source` says where the file is from. The answer has `record` (`null` if the file carries
    none), `report` and `summary`; a file that cannot be read is answered 400 with `error`.
    """
    return await answer_with(partial(inspect_image, await read_source(request)))


async def compare(request: web.Request) -> web.Response:
    """Answer with what tells two image files of this server apart, as the node of that name does.

    The body is `{"first": NAME, "second": NAME}`, named as ComfyUI names uploads. The answer has
    `report`; files that cannot be compared are answered 400 with `error`.
    """
    question = await read_question(request)
    first, second = question.get("first"), question.get("second")
    if not isinstance(first, str) or not isinstance(second, str):
        raise refusal("expected the names of two images as 'first' and 'second'")
    return await answer_with(partial(compare_named, first, second))
