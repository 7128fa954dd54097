"""Large files are hashed beside the work; a save that waits for them can be stopped waiting."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from blake3 import blake3

from comfyui_provenance.digest import digest_bytes, digest_file
from comfyui_provenance.pixels import digest_pixels, encode_png

from support import prompts
from support.builders import gradient
from support.server import ComfyServer
from support.tampering import record_of

LARGE = "large_lora.safetensors"
LARGE_BYTES = 3 * 1024**3
"""Sparse: it takes seconds to hash and no room on the disk."""


def make_large_lora(path: Path) -> None:
    """Write a LoRA whose one tensor belongs to no model: zeros that are never loaded."""
    tensor = {"dtype": "F16", "shape": [LARGE_BYTES // 2], "data_offsets": [0, LARGE_BYTES]}
    header = json.dumps({"of_no_model": tensor}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + LARGE_BYTES)


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyServer]:
    with ComfyServer() as started:
        make_large_lora(started.base / "models" / "loras" / LARGE)
        time.sleep(2.5)  # a file that changed just now may change again: its digest is not kept
        yield started


class Listener:
    """Collects what ComfyUI tells its page while something runs."""

    def __init__(self, server: ComfyServer, client_id: str) -> None:
        self._url = f"{server.url}/ws?clientId={client_id}"
        self.texts: list[str] = []
        self.progress: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()))

    def __enter__(self) -> Listener:
        self._thread.start()
        time.sleep(0.5)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(self._url) as socket:
            while not self._stop.is_set():
                try:
                    message = await socket.receive(timeout=0.2)
                except TimeoutError:
                    continue
                if message.type is aiohttp.WSMsgType.BINARY:
                    self.texts.append(message.data.decode("utf-8", "replace"))
                elif message.type is aiohttp.WSMsgType.TEXT:
                    event = json.loads(message.data)
                    if event["type"] == "progress":
                        self.progress.append(event["data"])


def with_large_lora(prefix: str) -> prompts.Prompt:
    prompt = prompts.lora(seed=95, steps=1, filename_prefix=prefix)
    prompt["lora"]["inputs"]["lora_name"] = LARGE
    return prompt


def test_an_interrupted_wait_saves_the_image_and_the_next_save_completes_the_record(
    server: ComfyServer,
) -> None:
    with Listener(server, "tests") as page:
        prompt_id = server.submit(with_large_lora("first"), client_id="tests")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not page.texts:
            time.sleep(0.05)

        server.interrupt()
        history = server.wait_for(prompt_id)

    (path,) = server.images(history)
    (lora,) = (m for m in record_of(path.read_bytes())["materials"] if m["kind"] == "loras")
    assert lora["status"] == "unresolved"
    assert "sha256" not in lora
    assert any("was not hashed" in text for text in history.outputs["save"]["provenance_warnings"])
    assert any("hashing files" in text for text in page.texts)
    assert any(p["node"] == "save" and 0 < p["value"] < p["max"] for p in page.progress)

    (again,) = server.images(server.run(with_large_lora("second")))

    (lora,) = (m for m in record_of(again.read_bytes())["materials"] if m["kind"] == "loras")
    assert lora["status"] == "hashed"
    assert lora["size_bytes"] > LARGE_BYTES
    assert lora["sha256"] == digest_file(server.base / "models" / "loras" / LARGE).hex


def test_an_input_image_has_the_digest_of_its_pixels_and_that_of_comfyuis_assets(
    server_with: Any,
) -> None:
    server = server_with("--enable-assets", "--enable-asset-hashing")
    pixels = gradient(64, 64)
    data = encode_png(pixels)
    prompt = prompts.img2img(server.upload(data), seed=96, steps=1)

    (path,) = server.images(server.run(prompt))

    (image,) = (m for m in record_of(path.read_bytes())["materials"] if m["kind"] == "input")
    assert image["sha256"] == digest_bytes(data).hex
    assert image["pixels"] == str(digest_pixels(pixels))
    assert image["blake3"] == blake3(data).hexdigest()


def test_digests_are_kept_on_disk_and_not_served(server: ComfyServer) -> None:
    store = server.base / "user" / "__provenance" / "digests.sqlite3"
    server.run(with_large_lora("third"))
    server.restart()

    with Listener(server, "tests") as page:
        history = server.run(with_large_lora("fourth"), client_id="tests")

    (path,) = server.images(history)
    assert not any("hashing files" in text for text in page.texts)
    (lora,) = (m for m in record_of(path.read_bytes())["materials"] if m["kind"] == "loras")
    assert lora["status"] == "hashed"
    assert store.is_file()
    assert store.stat().st_mode & 0o077 == 0
    for place in ("userdata/../__provenance/digests.sqlite3", "userdata/__provenance"):
        status, _ = server.request(f"/{place}")
        assert status in (400, 403, 404)
