"""The client asks a server what it needs to know, and drops no run but its own.

The server here is a small one of our own, which answers as ComfyUI does and notes what it is asked.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from comfyui_provenance import client
from comfyui_provenance.client import Progress, ServerError

REPORT = {"level": "bitwise", "checks": []}
FINISHED = {"outputs": {"reproduce": {"provenance_report": [REPORT]}}}


@dataclass
class Double:
    """A server in the place of ComfyUI.

    Attributes:
        states: What the progress route answers, one after the other; `None` for no such route.
        pending: What a preflight answers as `pending`, one after the other.
        asked: Every question: method, path and body.
        runs: Ids of prompts, as the client chose them.
        polls: How many times the history is asked for before the run is in it.
        url: Its address.
    """

    states: list[dict[str, Any]] | None = field(default_factory=list[dict[str, Any]])
    pending: list[int] = field(default_factory=lambda: [0])
    asked: list[tuple[str, str, bytes]] = field(default_factory=list[tuple[str, str, bytes]])
    runs: list[str] = field(default_factory=list[str])
    polls: int = 3
    url: str = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """Answer a question."""
        self.asked.append((method, path, body))
        if path == "/upload/image":
            named = re.search(rb'filename="([^"]*)"', body)
            folder = re.search(rb"(provenance/[0-9a-f]+)", body)
            assert named is not None
            assert folder is not None
            return 200, {"name": named[1].decode(), "subfolder": folder[1].decode()}
        if path == "/prompt":
            self.runs.append(json.loads(body)["prompt_id"])
            return 200, {"prompt_id": self.runs[-1]}
        if path.startswith("/history/"):
            self.polls -= 1
            return 200, {self.runs[-1]: FINISHED} if self.polls <= 0 else {}
        if path == "/queue" and method == "GET":
            return 200, {"queue_running": [[0, self.runs[-1]]], "queue_pending": []}
        if path.startswith("/provenance/progress/") and self.states is not None:
            return 200, self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if path.startswith("/provenance/preflight"):
            return 200, {"pending": self.pending.pop(0)}
        if path in ("/queue", "/interrupt"):
            return 200, None
        return 404, {"error": "no such route"}

    def paths(self, method: str) -> list[str]:
        """Give the paths asked for in one way, in order."""
        return [path for asked, path, _ in self.asked if asked == method]

    def bodies(self, path: str) -> list[bytes]:
        """Give the bodies sent to a path, in order."""
        return [body for _, asked, body in self.asked if asked == path and body]


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    monkeypatch.setattr(client, "_POLL_S", 0.01)
    monkeypatch.setattr(client, "_ASK_AGAIN_S", 0.01)
    made = Double()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET", b"")

        def do_POST(self) -> None:
            self._answer("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, method: str, body: bytes) -> None:
            status, value = made.answer(method, self.path, body)
            text = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def state(value: float, state: str = "running") -> dict[str, Any]:
    return {
        "state": state,
        "nodes_done": 2,
        "nodes_total": 7,
        "node_id": "sampler",
        "class_type": "KSampler",
        "value": value,
        "max": 20,
        "text": f"KSampler {value:g} of 20",
    }


def test_the_report_of_the_run_is_given(double: Double) -> None:
    assert client.reproduce(b"image", "fox.png", double.url) == REPORT


def test_each_state_is_told_once(double: Double) -> None:
    double.states = [state(1), state(1), state(2)]
    double.polls = 5
    told: list[Progress] = []

    client.reproduce(b"image", "fox.png", double.url, progress=told.append)

    assert [progress.value for progress in told] == [1, 2]
    assert told[0] == Progress(
        "running", 2, 7, "sampler", "KSampler", 1.0, 20.0, "KSampler 1 of 20"
    )


def test_nobody_asks_for_progress_that_nobody_wants(double: Double) -> None:
    client.reproduce(b"image", "fox.png", double.url)

    assert not any("progress" in path for path in double.paths("GET"))


def test_a_server_that_cannot_tell_the_progress_is_asked_once(double: Double) -> None:
    double.states = None
    told: list[Progress] = []

    report = client.reproduce(b"image", "fox.png", double.url, progress=told.append)

    assert (report, told) == (REPORT, [])
    assert sum("progress" in path for path in double.paths("GET")) == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param({}, id="empty"),
        pytest.param({"state": 1, "nodes_done": "x", "value": "y", "text": 3}, id="other types"),
    ],
)
def test_nonsense_from_a_server_is_no_error(double: Double, nonsense: dict[str, Any]) -> None:
    double.states = [nonsense]
    told: list[Progress] = []

    client.reproduce(b"image", "fox.png", double.url, progress=told.append)

    assert (told[0].nodes_done, told[0].value, told[0].text) == (0, None, "")


def test_a_sidecar_goes_beside_its_image(double: Double) -> None:
    client.reproduce(b"image", "fox.jpg", double.url, sidecar=b"{}")

    first, second = double.bodies("/upload/image")
    folder = re.compile(rb"provenance/[0-9a-f]{32}")
    assert folder.findall(first) == folder.findall(second)
    assert b'filename="fox.jpg"' in first
    assert b'filename="fox.provenance.json"' in second
    prompt = json.loads(double.bodies("/prompt")[0])["prompt"]
    assert prompt["reproduce"]["inputs"]["image"].endswith("/fox.jpg")


def test_an_interrupted_client_drops_its_own_run(double: Double) -> None:
    double.states = [state(1)]

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.reproduce(b"image", "fox.png", double.url, progress=interrupt)

    (run,) = double.runs
    assert [json.loads(body) for body in double.bodies("/queue")] == [{"delete": [run]}]
    assert [json.loads(body) for body in double.bodies("/interrupt")] == [{"prompt_id": run}]
    assert double.paths("POST")[-2:] == ["/queue", "/interrupt"]


def test_an_interrupt_before_the_run_was_queued_leaves_the_server_alone(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "_upload", interrupt)

    with pytest.raises(KeyboardInterrupt):
        client.reproduce(b"image", "fox.png", double.url)

    assert double.asked == []


def test_a_preflight_is_asked_once_or_until_nothing_is_pending(double: Double) -> None:
    double.pending = [2, 2, 1, 0]

    assert client.preflight(b"image", "fox.png", double.url) == {"pending": 2}
    assert client.preflight(b"image", "fox.png", double.url, wait_s=60) == {"pending": 0}


@pytest.mark.parametrize("name", ["a fox & co.png", "füchse\n.png", "\ud800.png", "a" * 5000])
def test_any_name_reaches_a_preflight(double: Double, name: str) -> None:
    client.preflight(b"image", name, double.url)

    (path,) = double.paths("POST")
    assert path.isascii()
    assert " " not in path
    assert len(path) < 2000


def test_a_server_without_preflights_is_an_error_that_says_so(double: Double) -> None:
    with pytest.raises(ServerError, match=r"/provenance/preflight: .* 404"):
        client.preflight(b"image", "fox.png", f"{double.url}/elsewhere")
