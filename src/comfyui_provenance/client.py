"""A small client of a ComfyUI server, for asking about and reproducing an image from elsewhere.

Everything that matters happens on the server, in its `ProvenanceReproduce` node and its route
for preflights; this sends the file and brings back the answer.
"""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote, urlsplit

from . import limits
from .canonical import JsonValue, parse_json
from .errors import ProvenanceError
from .record import SIDECAR

_NODE: Final = "reproduce"
_POLL_S: Final = 0.2
_ASK_AGAIN_S: Final = 0.5
_ANSWER_S: Final = 60.0
_NAME_CHARS: Final = 255

JsonObject = dict[str, JsonValue]


class ServerError(ProvenanceError):
    """The server could not be reached, refused the image, or failed to run it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        state: `queued`, `running`, `done` or `unknown`.
        nodes_done: Nodes that have ended.
        nodes_total: Nodes known so far; it grows when a graph is expanded.
        node_id: The node at work, as in the image's graph.
        class_type: Its class.
        value: How far that node is.
        maximum: Of how much.
        text: All of it, for humans.
    """

    state: str
    nodes_done: int = 0
    nodes_total: int = 0
    node_id: str | None = None
    class_type: str | None = None
    value: float | None = None
    maximum: float | None = None
    text: str = ""


def reproduce(
    data: bytes,
    name: str,
    url: str,
    progress: Callable[[Progress], None] | None = None,
    sidecar: bytes | None = None,
) -> JsonObject:
    """Let a server reproduce an image, and give its report.

    When the user interrupts it, the server is asked to drop this run, and no other.

    Args:
        data: The image file.
        name: Its file name: of a stock graph that saves several images, it tells which this is.
        url: The server's address, as `http://127.0.0.1:8188`.
        progress: Called with each state that is not the last one told; never for a server
            whose pack cannot tell.
        sidecar: The file `STEM.provenance.json` that was saved beside the image, if it is needed.

    Raises:
        ServerError: There is no such server, it lacks this pack, it refused the image, or
            the run failed. The message is the server's.
    """
    uploaded = _upload_with_sidecar(url, data, name, sidecar)
    prompt: JsonObject = {
        _NODE: {"class_type": "ProvenanceReproduce", "inputs": {"image": uploaded}}
    }
    # Chosen here, so that a run is known by its name before the server has answered.
    prompt_id = str(uuid.uuid4())
    body = json.dumps({"prompt": prompt, "prompt_id": prompt_id}).encode()
    try:
        prompt_id = str(_post(url, "/prompt", body, "application/json")["prompt_id"])
        return _wait(url, prompt_id, progress)
    except KeyboardInterrupt:
        with suppress(ServerError):
            _cancel(url, prompt_id)
        raise


def preflight(data: bytes, name: str, url: str, wait_s: float = 0.0) -> JsonObject:
    """Ask a server what can be expected of a rerun of an image, without running it.

    Args:
        data: The image file.
        name: Its file name, as for `reproduce`.
        url: The server's address.
        wait_s: How long to ask again while the server still hashes files.

    Raises:
        ServerError: There is no such server, its pack is too old, or it cannot read the image.
    """
    path = f"/provenance/preflight?name={quote(name[:_NAME_CHARS], safe='', errors='replace')}"
    end = time.monotonic() + wait_s
    while True:
        answer = _post(url, path, data, "application/octet-stream")
        if not answer.get("pending") or time.monotonic() >= end:
            return answer
        time.sleep(_ASK_AGAIN_S)


def _wait(url: str, prompt_id: str, progress: Callable[[Progress], None] | None) -> JsonObject:
    """Wait for the end of a run and give its report."""
    was_gone, told = False, None
    while True:
        entry = _request(url, "GET", f"/history/{prompt_id}", None, {}).get(prompt_id)
        if isinstance(entry, dict):
            return _report(entry)
        # Twice: between leaving the queue and entering the history it is in neither.
        is_gone = not _is_queued(url, prompt_id)
        if is_gone and was_gone:
            raise ServerError("the server dropped the run: its queue was cleared or it restarted")
        was_gone = is_gone
        if progress is not None:
            now = _ask_progress(url, prompt_id)
            if now is None:
                progress = None
            elif now != told:
                progress(now)
                told = now
        time.sleep(_POLL_S)


def _ask_progress(url: str, prompt_id: str) -> Progress | None:
    """Ask how far a run is; `None` where the server's pack cannot tell."""
    try:
        answer = _request(url, "GET", f"/provenance/progress/{prompt_id}", None, {})
    except ServerError:
        return None
    return Progress(
        state=str(answer.get("state")),
        nodes_done=_count(answer.get("nodes_done")),
        nodes_total=_count(answer.get("nodes_total")),
        node_id=_text(answer.get("node_id")),
        class_type=_text(answer.get("class_type")),
        value=_number(answer.get("value")),
        maximum=_number(answer.get("max")),
        text=_text(answer.get("text")) or "",
    )


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: JsonValue) -> float | None:
    return value if isinstance(value, int | float) else None


def _cancel(url: str, prompt_id: str) -> None:
    """Ask a server to drop one run; in this order, since it may begin meanwhile."""
    for path, question in (
        ("/queue", {"delete": [prompt_id]}),
        ("/interrupt", {"prompt_id": prompt_id}),
    ):
        body = json.dumps(question).encode()
        _exchange(url, "POST", path, body, {"Content-Type": "application/json"})


def _is_queued(url: str, prompt_id: str) -> bool:
    queue = _request(url, "GET", "/queue", None, {})
    return any(
        isinstance(item, list) and prompt_id in item
        for items in queue.values()
        for item in (items if isinstance(items, list) else ())
    )


def _upload_with_sidecar(url: str, data: bytes, name: str, sidecar: bytes | None) -> str:
    """Send an image, and its sidecar beside it, and give the image's name on the server."""
    folder = f"provenance/{uuid.uuid4().hex}"
    uploaded = _upload(url, data, name, folder)
    if sidecar is not None:
        _upload(url, sidecar, PurePosixPath(uploaded).stem + SIDECAR, folder)
    return uploaded


def _upload(url: str, data: bytes, name: str, folder: str) -> str:
    """Send a file to a folder below the server's input folder, and give its name there."""
    boundary = uuid.uuid4().hex
    safe_name = "".join(char if char.isprintable() and char not in '"\\/' else "_" for char in name)
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="subfolder"\r\n\r\n'
        f"{folder}\r\n"
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
    answer = parse_json(_exchange(url, method, path, body, headers), allow_nan=True)
    if not isinstance(answer, dict):
        raise ServerError(f"{path}: expected an object, got {type(answer).__name__}")
    return answer


def _exchange(
    url: str, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> bytes:
    """Send a question and give the answer as it is."""
    with _connection(url) as (connection, root):
        connection.request(method, root + path, body, headers)
        response = connection.getresponse()
        text = response.read(limits.TEXT_BYTES)
    if response.status != http.client.OK:
        place = path.partition("?")[0]
        raise ServerError(f"{place}: expected status 200, got {response.status}: {_shown(text)}")
    return text


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
