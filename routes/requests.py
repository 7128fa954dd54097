"""What clients send, read with bounds, and answers in one form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp import web

from ..adapter.reading import Reader, named_reader, sent_reader
from ..src.comfyui_provenance.canonical import parse_json
from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.record import JsonObject

_BAD_REQUEST: Final = 400

_JSON_BYTES: Final = 64 * 1024
"""Of a question in JSON: two names, or one setting."""

_UNNAMED: Final = "the file"

_threads: Final = ThreadPoolExecutor(4, "provenance-images")
"""So many images are decoded and hashed at once, whoever sends how many."""


async def read_source(request: web.Request) -> Reader:
    """Find the image file that a request is about.

    It is the part `image` of a form, with the part `sidecar` beside it if there is one; else the
    body; else, of an empty body, the file of this server that `?image=` names. The server's own
    limit on uploads bounds a body. `?name=` is the file name of what was sent.

    Raises:
        HTTPBadRequest: A form has no such part.
        HTTPForbidden: A page of another site asks.
    """
    _refuse_other_sites(request)
    name = request.query.get("name")
    if request.content_type == "multipart/form-data":
        form = await request.post()
        image, beside = form.get("image"), form.get("sidecar")
        if not isinstance(image, web.FileField):
            raise refusal("expected a part 'image' with a file, got none")
        name = name or image.filename or _UNNAMED
        # aiohttp keeps a large part in a file on the disk: it is read where there is time.
        read_beside = beside.file.read if isinstance(beside, web.FileField) else None
        return sent_reader(name, image.file.read, read_beside)
    data = await request.read()
    named = request.query.get("image")
    if named is not None and not data:
        return named_reader(named)
    return sent_reader(name or _UNNAMED, lambda: data)


async def read_question(request: web.Request) -> JsonObject:
    """Read a JSON object that a client sent.

    Another site's form cannot send the type of JSON, nor its script without asking first: so no
    page that a user merely visits gets an answer here.

    Raises:
        HTTPException: It is none, or larger than any question; or a page of another site asks.
    """
    _refuse_other_sites(request)
    if request.content_type != "application/json":
        got = f"expected application/json, got {request.content_type[:80]!a}"
        raise refusal(got, web.HTTPUnsupportedMediaType)
    # A body whose length is not told is bounded by the server's own limit on uploads.
    too_long = (request.content_length or 0) > _JSON_BYTES
    data = b"" if too_long else await request.read()
    if too_long or len(data) > _JSON_BYTES:
        raise refusal(f"expected at most {_JSON_BYTES} bytes")
    try:
        question = parse_json(data)
    except (ProvenanceError, RecursionError) as error:
        raise refusal(str(error)) from error
    if not isinstance(question, dict):
        raise refusal("expected a JSON object")
    return question


async def answer_with(work: Callable[[], JsonObject]) -> web.Response:
    """Answer with what some work on images gives, when it is its turn.

    Decoding a large image takes seconds: not on the thread that serves every other client, nor on
    those that ComfyUI needs for its files.
    """
    return answer(await asyncio.get_running_loop().run_in_executor(_threads, work))


def answer(result: JsonObject) -> web.Response:
    """Answer with JSON: 400 for an object with `error`."""
    return web.json_response(result, status=_BAD_REQUEST if "error" in result else 200)


def refusal(error: str, kind: type[web.HTTPClientError] = web.HTTPBadRequest) -> web.HTTPException:
    """Give what ends a request with an error in words."""
    return kind(text=json.dumps({"error": error}), content_type="application/json")


def _refuse_other_sites(request: web.Request) -> None:
    """Refuse what the page of another site lets the browser of a visitor send.

    ComfyUI refuses that, too, but not where it was started with `--enable-cors-header`.
    """
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise refusal("a page of another site cannot ask this server", web.HTTPForbidden)
