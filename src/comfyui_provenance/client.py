"""A small client of a ComfyUI server, for reproducing an image from the command line.

Everything that matters happens in the server's `ProvenanceReproduce` node; this sends
the file and brings back the report.
"""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from . import limits
from .canonical import JsonValue, parse_json
from .errors import ProvenanceError

_NODE: Final = "reproduce"
_POLL_S: Final = 0.2
_ANSWER_S: Final = 60.0

JsonObject = dict[str, JsonValue]


class ServerError(ProvenanceError):
    """The server could not be reached, refused the image, or failed to run it."""


def reproduce(data: bytes, name: str, url: str) -> JsonObject:
    """Let a server reproduce an image, and give its report.

    Args:
        data: The image file.
        name: Its file name: of a stock graph that saves several images, it tells which this is.
        url: The server's address, as `http://127.0.0.1:8188`.

    Raises:
        ServerError: There is no such server, it lacks this pack, it refused the image, or
            the run failed. The message is the server's.
    """
    uploaded = _upload(url, data, name)
    prompt: JsonObject = {
        _NODE: {"class_type": "ProvenanceReproduce", "inputs": {"image": uploaded}}
    }
    answer = _post(url, "/prompt", json.dumps({"prompt": prompt}).encode(), "application/json")
    prompt_id = str(answer["prompt_id"])
    was_gone = False
    while True:
        entry = _request(url, "GET", f"/history/{prompt_id}", None, {}).get(prompt_id)
        if isinstance(entry, dict):
            return _report(entry)
        # Twice: between leaving the queue and entering the history it is in neither.
        is_gone = not _is_queued(url, prompt_id)
        if is_gone and was_gone:
            raise ServerError("the server dropped the run: its queue was cleared or it restarted")
        was_gone = is_gone
        time.sleep(_POLL_S)


def _is_queued(url: str, prompt_id: str) -> bool:
    queue = _request(url, "GET", "/queue", None, {})
    return any(
        isinstance(item, list) and prompt_id in item
        for items in queue.values()
        for item in (items if isinstance(items, list) else ())
    )


def _upload(url: str, data: bytes, name: str) -> str:
    """Send an image to a new folder below the server's input folder, and give its name there."""
    boundary = uuid.uuid4().hex
    safe_name = "".join(char if char.isprintable() and char not in '"\\/' else "_" for char in name)
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="subfolder"\r\n\r\n'
        f"provenance/{uuid.uuid4().hex}\r\n"
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="image"; filename="{safe_name}"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    answer = _post(url, "/upload/image", body, f"multipart/form-data; boundary={boundary}")
    return f"{answer['subfolder']}/{answer['name']}"


def _report(entry: JsonObject) -> JsonObject:
    """Find the report in a finished prompt, or raise what went wrong."""
    outputs = entry.get("outputs")
    for output in outputs.values() if isinstance(outputs, dict) else ():
        reports = output.get("provenance_report") if isinstance(output, dict) else None
        if isinstance(reports, list) and reports and isinstance(reports[0], dict):
            return reports[0]
    raise ServerError(_failure(entry))


def _failure(entry: JsonObject) -> str:
    status = entry.get("status")
    messages = status.get("messages") if isinstance(status, dict) else None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict):
            text = message[1].get("exception_message")
            if message[0] == "execution_error" and isinstance(text, str):
                return text.strip()
    return "the run ended without a report"


def _post(url: str, path: str, body: bytes, content_type: str) -> JsonObject:
    return _request(url, "POST", path, body, {"Content-Type": content_type})


def _request(
    url: str, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> JsonObject:
    with _connection(url) as (connection, root):
        connection.request(method, root + path, body, headers)
        response = connection.getresponse()
        text = response.read(limits.TEXT_BYTES)
    if response.status != http.client.OK:
        raise ServerError(f"{path}: expected status 200, got {response.status}: {_shown(text)}")
    answer = parse_json(text, allow_nan=True)
    if not isinstance(answer, dict):
        raise ServerError(f"{path}: expected an object, got {type(answer).__name__}")
    return answer


@contextmanager
def _connection(url: str) -> Generator[tuple[http.client.HTTPConnection, str]]:
    parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServerError(f"expected an address as http://127.0.0.1:8188, got {url!r}")
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_ANSWER_S)
    try:
        yield connection, parts.path.rstrip("/")
    except (OSError, http.client.HTTPException) as error:
        raise ServerError(f"no ComfyUI server answers at {url}: {error}") from error
    finally:
        connection.close()


def _shown(text: bytes) -> str:
    return text[:2000].decode("utf-8", "replace")
