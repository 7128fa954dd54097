"""A server tells what a rerun of an image would lack, before anything runs and without waiting."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from comfyui_provenance import client
from comfyui_provenance.containers import extract
from comfyui_provenance.containers.png import embed_text
from comfyui_provenance.pixels import encode_png
from comfyui_provenance.record import KEYWORD, seal

from support import prompts
from support.builders import gradient
from support.prompts import node
from support.server import ComfyServer, PromptFailed
from support.tampering import edit_graph, edit_record, set_input

THIRD_PARTY = Path(__file__).parents[1] / "packs" / "third_party"

Document = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyServer]:
    """A server of its own, whose checkpoint is a file that may be changed."""
    with ComfyServer(packs=(THIRD_PARTY,)) as started:
        started.own_model(f"checkpoints/{prompts.CHECKPOINT}")
        started.own_model(f"loras/{prompts.LORA}")
        yield started


@pytest.fixture(scope="module")
def image(server: ComfyServer) -> bytes:
    (path,) = server.images(server.run(prompts.in_mode(prompts.lora(seed=31, steps=2))))
    return path.read_bytes()


def ask(server: ComfyServer, data: bytes, name: str = "fox.png") -> Document:
    status, answer = question(server, data, name)
    assert status == 200
    return answer


def question(server: ComfyServer, data: bytes, name: str = "fox.png") -> tuple[int, Document]:
    path = f"/provenance/preflight?name={quote(name)}"
    status, body = server.request(path, data, content_type="application/octet-stream")
    parsed: Document = json.loads(body)
    return status, parsed


def ask_until_hashed(server: ComfyServer, data: bytes) -> Document:
    """Ask again until no file waits for its digest."""
    return client.preflight(data, "fox.png", server.url, wait_s=60)


def resealed(data: bytes, edit: Callable[[Document], None]) -> bytes:
    """Change a record and let it agree with itself, as that of another machine does."""
    document = json.loads(extract(data)[KEYWORD])
    edit(document)
    return embed_text(data, {KEYWORD: seal(document).dump()})


def states(answer: Document) -> dict[str, str]:
    return {item["name"]: item["state"] for item in answer["materials"]}


def test_an_image_of_this_server_is_expected_to_come_out_bit_for_bit(
    server: ComfyServer, image: bytes
) -> None:
    answer = ask_until_hashed(server, image)

    assert (answer["expect"], answer["reasons"]) == ("bitwise", [])
    assert (answer["line"], answer["pending"], answer["to_fetch"]) == ("ready", 0, [])
    assert states(answer) == {prompts.CHECKPOINT: "here", prompts.LORA: "here"}


def test_nothing_runs_and_nothing_is_stored(server: ComfyServer, image: bytes) -> None:
    folders = [server.base / name for name in ("input", "output", "temp")]
    before = sorted(path for folder in folders for path in folder.rglob("*"))
    runs = len(server.get_json("/history"))

    ask(server, image)

    assert sorted(path for folder in folders for path in folder.rglob("*")) == before
    assert len(server.get_json("/history")) == runs


def test_a_file_that_is_not_hashed_yet_is_pending_and_then_known(
    server: ComfyServer, image: bytes
) -> None:
    checkpoint = server.base / "models" / "checkpoints" / prompts.CHECKPOINT
    checkpoint.touch()

    first = ask(server, image)
    last = ask_until_hashed(server, image)

    assert (first["pending"], first["expect"]) == (1, "unknown")
    assert first["line"] == "ready: 1 file still to hash"
    assert states(first)[prompts.CHECKPOINT] == "unknown"
    assert [item["name"] for item in first["materials"] if item["pending"]] == [prompts.CHECKPOINT]
    assert not any(item["pending"] for item in last["materials"])
    assert (last["pending"], last["expect"]) == (0, "bitwise")


def test_a_renamed_file_is_elsewhere(server: ComfyServer, image: bytes) -> None:
    file = server.base / "models" / "loras" / prompts.LORA
    moved = file.with_name("moved.safetensors")
    file.rename(moved)
    try:
        answer = ask_until_hashed(server, image)
    finally:
        moved.rename(file)

    (found,) = [item for item in answer["materials"] if item["state"] == "elsewhere"]
    assert (found["name"], found["name_here"]) == (prompts.LORA, moved.name)
    assert (answer["expect"], answer["line"]) == ("bitwise", "ready: 1 model under another name")


def test_a_missing_file_is_to_be_fetched_by_its_digest(server: ComfyServer, image: bytes) -> None:
    file = server.base / "models" / "loras" / prompts.LORA
    kept = server.base / "kept"
    file.rename(kept)
    try:
        answer = ask_until_hashed(server, image)
    finally:
        kept.rename(file)

    (wanted,) = answer["to_fetch"]
    assert answer["expect"] == "cannot_run"
    assert answer["line"].startswith(f"1 model missing: {prompts.LORA} (sha256 ")
    assert (wanted["kind"], wanted["name"]) == ("loras", prompts.LORA)
    assert (len(wanted["sha256"]), wanted["size_bytes"]) == (64, file.stat().st_size)


def test_another_file_of_the_name_is_expected_to_make_another_image(
    server: ComfyServer, image: bytes
) -> None:
    file = server.base / "models" / "loras" / prompts.LORA
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        answer = ask_until_hashed(server, image)
    finally:
        file.write_bytes(content)

    assert states(answer)[prompts.LORA] == "other"
    assert answer["expect"] == "mismatch"
    assert answer["line"].startswith(f"1 model with other content: {prompts.LORA}")


def test_a_node_that_is_not_installed_is_named_with_the_pack_that_may_have_it(
    server: ComfyServer, image: bytes
) -> None:
    def replace_class(graph: Document) -> None:
        graph["lora"]["class_type"] = "NowhereLoader"

    def name_pack(record: Document) -> None:
        record["environment"]["node_packs"]["nowhere-pack"] = "1.0"

    edited = edit_graph(image, replace_class, resealed=True)
    answer = ask(server, resealed(edited, name_pack))

    assert answer["expect"] == "cannot_run"
    assert answer["nodes_missing"] == [
        {"class_type": "NowhereLoader", "node_ids": ["lora"], "packs": ["nowhere-pack"]}
    ]
    assert "1 node missing: NowhereLoader" in answer["line"]


def test_a_graph_that_may_not_run_is_refused_in_the_words_of_the_policy(
    server: ComfyServer, image: bytes
) -> None:
    def add_mirror(document: Document) -> None:
        document["mirror"] = node("ThirdPartyMirror", image=["decode", 0])

    def take_mirror(record: Document) -> None:
        record["output"]["node_id"] = "mirror"

    stranger = resealed(edit_graph(image, add_mirror, resealed=True), take_mirror)
    answer = ask(server, stranger)

    assert (answer["allowed"], answer["expect"]) == (False, "cannot_run")
    assert "third_party" in answer["refusal"]
    assert answer["line"].startswith("not allowed: ")


@pytest.mark.parametrize(
    ("group", "name", "line", "expected"),
    [
        pytest.param("packages", "torch", "ready: other torch", "unknown", id="library"),
        # The controls that come with the pack were measured across instruction sets.
        pytest.param(
            "cpu", "capability", "ready: other processor", "within_tolerance", id="processor"
        ),
        pytest.param("device", "type", "ready: other device", "unknown", id="device"),
    ],
)
def test_another_machine_is_told_and_no_bits_are_promised(
    server: ComfyServer, image: bytes, group: str, name: str, line: str, expected: str
) -> None:
    def move(record: Document) -> None:
        record["environment"][group][name] = "another"

    answer = ask_until_hashed(server, resealed(image, move))

    assert answer["expect"] == expected
    assert [item["name"] for item in answer["environment"]] == [f"{group}.{name}"]
    assert answer["line"] == line


def test_what_was_not_pinned_is_said(server: ComfyServer) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=32, steps=1)))

    answer = ask_until_hashed(server, path.read_bytes())

    assert answer["expect"] == "unknown"
    assert answer["line"] == "ready: not pinned"
    assert any("decode" in text for text in answer["unpinned"])


def test_an_edited_file_is_not_expected_to_match(server: ComfyServer, image: bytes) -> None:
    answer = ask_until_hashed(server, edit_graph(image, set_input("sampler", "cfg", 7.1)))

    assert answer["expect"] == "mismatch"
    assert any("cfg" in reason for reason in answer["reasons"])


def test_a_file_without_a_record_tells_its_files_and_promises_nothing(server: ComfyServer) -> None:
    stock = prompts.txt2img(seed=33, steps=1, sampler_class="KSampler", save_class="SaveImage")
    (path,) = server.images(server.run(stock))

    answer = ask(server, path.read_bytes(), path.name)

    assert states(answer) == {prompts.CHECKPOINT: "unknown"}
    assert answer["expect"] == "unknown"


def test_what_is_not_an_image_is_refused(server: ComfyServer) -> None:
    status, answer = question(server, b"not an image")

    assert status == 400
    assert "expected a PNG, JPEG or WebP file" in answer["error"]


def test_a_file_without_a_graph_cannot_run(server: ComfyServer) -> None:
    answer = ask(server, encode_png(gradient()))

    assert answer["expect"] == "cannot_run"
    assert "carries neither a record nor" in answer["line"]


def test_a_record_of_a_newer_version_is_named_as_the_doubt(
    server: ComfyServer, image: bytes
) -> None:
    answer = ask(server, edit_record(image, lambda record: record.update(version=99)))

    assert answer["expect"] == "unknown"
    assert "update the pack" in answer["reasons"][0]


def test_an_answer_is_fast_when_the_digests_are_known(server: ComfyServer, image: bytes) -> None:
    ask_until_hashed(server, image)

    begin = time.monotonic()
    for _ in range(5):
        ask(server, image)

    assert (time.monotonic() - begin) / 5 < 0.5


# --- how far a run is ---


def long_run(seed: int) -> prompts.Prompt:
    return prompts.txt2img(seed=seed, steps=200)


def test_the_progress_of_a_run_is_told_to_clients_without_a_socket(
    server: ComfyServer, image: bytes
) -> None:
    told: list[client.Progress] = []

    report = client.reproduce(image, "fox.png", server.url, progress=told.append)

    assert report["level"] == "bitwise"
    assert {progress.state for progress in told} <= {"queued", "running", "done", "unknown"}
    assert all(progress.nodes_done <= progress.nodes_total for progress in told)


def test_the_state_of_a_prompt_goes_from_queued_to_done(server: ComfyServer) -> None:
    first = server.submit(long_run(34))
    second = server.submit(long_run(35))

    def state(prompt_id: str) -> Document:
        answer: Document = server.get_json(f"/api/provenance/progress/{prompt_id}")
        return answer

    deadline = time.monotonic() + 60
    while (running := state(first))["max"] != 200:
        assert time.monotonic() < deadline
    waiting = state(second)
    server.post_json("/queue", {"delete": [second]})
    server.interrupt()
    with pytest.raises(PromptFailed):
        server.wait_for(first)

    assert (running["state"], running["node_id"], running["max"]) == ("running", "sampler", 200)
    assert "ProvenanceKSampler" in running["text"]
    assert (waiting["state"], waiting["nodes_total"]) == ("queued", 0)
    assert state(first)["state"] == "done"
    assert state(second)["state"] == "unknown"


def test_an_interrupted_client_drops_its_own_run_and_no_other(
    server: ComfyServer, image: bytes
) -> None:
    def slow(graph: Document) -> None:
        graph["sampler"]["inputs"]["steps"] = 400

    data = edit_graph(image, slow, resealed=True)
    other: list[str] = []
    working: list[str | None] = []

    def interrupt_when_running(progress: client.Progress) -> None:
        if progress.class_type == "ProvenanceKSampler" and not other:
            working.append(progress.node_id)
            other.append(server.submit(prompts.txt2img(seed=36, steps=1)))
            threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT)).start()

    # A shell that starts us in the background has SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            client.reproduce(data, "fox.png", server.url, progress=interrupt_when_running)
    finally:
        signal.signal(signal.SIGINT, before)

    server.wait_for(other[0])
    assert working == ["sampler"]
    assert server.get_json("/queue")["queue_running"] == []
