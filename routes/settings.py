"""The settings of this server: anybody may read them, and only its owner can change them."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from ..adapter.private_files import reason
from ..adapter.setting_changes import Changes, Refused, has_console, tell_console
from ..adapter.settings import check_setting, read_settings, tell_change, write_setting
from ..src.comfyui_provenance.record import JsonObject
from .requests import read_question, refusal

_ACCEPTED: Final = 202

_changes: Final[Changes[bool | list[str]]] = Changes(tell_console)


async def read(request: web.Request) -> web.Response:
    """Answer with every setting, by name."""
    del request
    try:
        settings = await asyncio.to_thread(read_settings)
    except (OSError, ValueError) as error:
        raise refusal(reason(error), web.HTTPConflict) from error
    return web.json_response({"settings": settings})


async def change(request: web.Request) -> web.Response:
    """Change a setting, in two steps.

    `{"name", "value"}` writes a code to the server's console and is answered 202 with `confirm`, a
    sentence for the user. The same with `code` makes the change, and is answered with `settings`; a
    wrong code is answered 403 with `error`.
    """
    question = await read_question(request)
    name, code = question.get("name"), question.get("code")
    if not isinstance(name, str) or not isinstance(code, str | None):
        raise refusal("expected texts as 'name' and, where there is one, as 'code'")
    try:
        value = check_setting(name, question.get("value"))
    except ValueError as error:
        raise refusal(str(error)) from error
    if not has_console():
        raise refusal("this server has no console to show a code; edit its files", web.HTTPConflict)
    try:
        answer = await asyncio.to_thread(_change, name, value, code)
    except Refused as error:
        raise refusal(str(error), web.HTTPForbidden) from error
    except (OSError, ValueError) as error:
        raise refusal(reason(error), web.HTTPConflict) from error
    return web.json_response(answer, status=_ACCEPTED if code is None else 200)


def _change(name: str, value: bool | list[str], code: str | None) -> JsonObject:
    description = tell_change(name, value)
    if code is None:
        _changes.ask(name, value, description)
        return {
            "confirm": f"The server's console shows a code of six digits for this change "
            f"({description}). Type it here within five minutes."
        }
    _changes.confirm(name, value, code)
    write_setting(name, value)
    return {"settings": read_settings()}
