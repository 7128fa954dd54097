"""A stranger's image makes this server do nothing that it must not.

Each file is uploaded and reproduced on one server. It is refused with a reason or judged, it is not
called right unless it is, it writes nothing, runs no node that it may not, and takes neither long
nor much memory; and what reads files without running them answers, whatever the bytes. In between,
an honest image still comes out bit for bit.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped] # has no types
import pytest

from support import prompts
from support.builders import image_file
from support.hostile import Hostile
from support.hostile_files import FILES
from support.hostile_graphs import GRAPHS, LARGE, OUTSIDE, RECIPIENT
from support.hostile_numbers import NUMBERS
from support.hostile_work import WORK
from support.reports import Report, report_of
from support.server import ComfyServer, PromptFailed

THIRD_PARTY = Path(__file__).parents[1] / "packs" / "third_party"
HOSTILE = [*FILES, *GRAPHS, *NUMBERS, *WORK]
SECRET = "secret-canary-4711"  # noqa: S105  # a secret of the tests
ANSWER_S = 5.0
GROWTH_BYTES = 256 * 1024**2
HONEST_EVERY = 10
MESSAGE_CHARS = 5000
REPORT_CHARS = 256 * 1024
SAMPLING = "  0%|"
PICTURE = re.compile(r"[0-9a-f]{32}\.png")
ALLOWED = {
    "refused": {"refused"},
    "unrunnable": {"mismatch", "unknown"},
    "doubted": {"mismatch", "unknown"},
    "judged": {"mismatch", "unknown", "within_tolerance", "bitwise"},
    "right": {"bitwise"},
}

each_attack = pytest.mark.parametrize("attack", [pytest.param(a, id=a.name) for a in HOSTILE])


@pytest.fixture(scope="module")
def server(server_with: Any) -> ComfyServer:
    found: ComfyServer = server_with(packs=(THIRD_PARTY,))
    (found.base / OUTSIDE).write_bytes(image_file("PNG"))
    found.upload(LARGE, "large.png")
    return found


@pytest.fixture(scope="module")
def honest(server: ComfyServer) -> bytes:
    """An image of the server's own, which has been reproduced once."""
    prompt = prompts.txt2img(seed=4711, steps=1, width=64, height=64)
    (path,) = server.images(server.run(prompt))
    data = path.read_bytes()
    assert reproduce(server, data, "honest.png")["level"] == "bitwise"
    return data


@dataclass
class Spent:
    """What a server has spent on a file: seconds of its processors, and bytes at the most."""

    work_s: float = 0.0
    growth_bytes: int = 0


@contextmanager
def watched(server: ComfyServer) -> Iterator[Spent]:
    """Watch what a server spends; not the time of the clock, since others use the machine, too."""
    assert server._process is not None
    process = psutil.Process(server._process.pid)
    spent = Spent()
    held, before = process.memory_info().rss, process.cpu_times()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            spent.growth_bytes = max(spent.growth_bytes, process.memory_info().rss - held)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield spent
    finally:
        ended.set()
        thread.join()
        after = process.cpu_times()
        spent.work_s = after.user + after.system - before.user - before.system


def reproduce(server: ComfyServer, data: bytes, name: str) -> Report:
    """Reproduce a file for a user whose request holds secrets."""
    prompt = {RECIPIENT: prompts.node("ProvenanceReproduce", image=server.upload(data, name))}
    secrets = {"api_key_comfy_org": SECRET, "auth_token_comfy_org": SECRET}
    try:
        return report_of(server.run(prompt, timeout_s=60, extra_data=secrets))
    except TimeoutError:
        server.interrupt()
        raise


def files_of(server: ComfyServer) -> dict[Path, int]:
    """List what the server holds apart from uploads, its log and what this pack itself writes.

    That is its own records, and the pictures of a comparison, under names that no file chooses.
    """
    own = (server.input_folder, server.base / "user" / "__provenance", server.base / "comfyui.log")
    pictures = server.base / "temp" / "provenance"
    found = (path for path in server.base.rglob("*") if path.is_file())
    return {
        path: path.stat().st_mtime_ns
        for path in found
        if not any(path.is_relative_to(folder) for folder in own)
        and not (path.parent == pictures and PICTURE.fullmatch(path.name))
    }


def test_the_attacks_are_many_and_each_has_its_own_name() -> None:
    names = {attack.name for attack in HOSTILE}

    assert len(names) == len(HOSTILE) >= 60


def becomes(server: ComfyServer, data: bytes, attack: Hostile) -> str:
    """Reproduce a file; tell whether it was refused, or the level of its report."""
    samplings = server.log_text().count(SAMPLING)
    try:
        report = reproduce(server, data, attack.file_name)
    except PromptFailed as failure:
        message = str(failure.details["exception_message"])
        assert re.search(attack.message, message), message[:MESSAGE_CHARS]
        assert len(message) < MESSAGE_CHARS
        assert str(server.base) not in message
        assert server.log_text().count(SAMPLING) == samplings
        return "refused"
    assert len(json.dumps(report)) < REPORT_CHARS
    assert str(server.base) not in json.dumps(report)
    has_sampled = server.log_text().count(SAMPLING) > samplings
    assert has_sampled == (attack.outcome != "unrunnable")
    return str(report["level"])


@each_attack
def test_a_hostile_image_is_refused_or_judged_and_does_nothing_else(
    server: ComfyServer, honest: bytes, attack: Hostile
) -> None:
    data = attack.build(honest)
    before, uploads = files_of(server), set(server.input_folder.iterdir())

    with watched(server) as spent:
        outcome = becomes(server, data, attack)

    assert outcome in ALLOWED[attack.outcome]
    assert files_of(server) == before
    assert len(set(server.input_folder.iterdir()) - uploads) <= 1
    if attack.outcome in ("refused", "unrunnable"):
        assert spent.work_s < ANSWER_S
        assert spent.growth_bytes < GROWTH_BYTES
    if HOSTILE.index(attack) % HONEST_EVERY == 0:
        assert reproduce(server, honest, "honest.png")["level"] == "bitwise"


@each_attack
@pytest.mark.parametrize("route", ["record", "preflight"])
def test_a_hostile_image_that_is_only_read_gets_an_answer(
    server: ComfyServer, honest: bytes, attack: Hostile, route: str
) -> None:
    data = attack.build(honest)

    with watched(server) as spent:
        status, answer = server.request(
            f"/api/provenance/{route}", data, content_type="application/octet-stream"
        )

    assert status in (200, 400)
    assert json.loads(answer)
    assert str(server.base).encode() not in answer
    assert spent.work_s < ANSWER_S
    assert spent.growth_bytes < GROWTH_BYTES


def test_a_nonce_of_the_strangers_gives_no_cached_result(
    server: ComfyServer, honest: bytes
) -> None:
    (attack,) = [found for found in HOSTILE if found.name == "a nonce of the stranger's"]
    data = attack.build(honest)

    for _ in range(2):
        assert becomes(server, data, attack) == "bitwise"  # where it is seen to sample


def test_no_attack_has_learned_a_secret_of_the_request(server: ComfyServer, honest: bytes) -> None:
    status, history = server.request("/history")

    assert status == 200
    assert b"exception_message" in history
    assert SECRET.encode() not in history
    assert SECRET not in server.log_text()
    for path in files_of(server):
        assert SECRET.encode() not in path.read_bytes()


def test_a_node_that_the_user_runs_leaves_the_trace_that_no_attack_has_left(
    server: ComfyServer,
) -> None:
    trace = server.output_folder / "canary.txt"
    assert not trace.exists()
    prompt = {
        "canary": prompts.node("ThirdPartyCanary", word="user"),
        "show": prompts.node("PreviewImage", images=["canary", 0]),
    }

    server.run(prompt, extra_data={"api_key_comfy_org": SECRET})

    assert trace.read_text(encoding="utf-8") == f"user {SECRET}"
    trace.unlink()
