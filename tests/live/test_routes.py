"""A client can ask what an image carries without running or storing anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import prompts
from support.server import ComfyServer
from support.tampering import alter_pixel, record_of


@pytest.fixture(scope="module")
def image(server: ComfyServer) -> bytes:
    (path,) = server.images(server.run(prompts.txt2img(seed=71, steps=1)))
    return path.read_bytes()


def ask(server: ComfyServer, body: bytes) -> tuple[int, dict[str, object]]:
    path = "/api/provenance/record"
    status, answer = server.request(path, body, content_type="application/octet-stream")
    parsed: dict[str, object] = json.loads(answer)
    return status, parsed


def files_of(server: ComfyServer) -> list[Path]:
    return sorted(path for path in server.base.rglob("*") if path.suffix == ".png")


def test_the_record_and_its_integrity_are_told(server: ComfyServer, image: bytes) -> None:
    before = files_of(server)

    status, answer = ask(server, image)
    _, altered = ask(server, alter_pixel(image))

    assert status == 200
    assert answer["record"] == record_of(image)
    assert [found["report"]["level"] for found in (answer, altered)] == ["bitwise", "mismatch"]  # type: ignore[index]
    assert files_of(server) == before


def test_an_image_without_a_record_has_none(server: ComfyServer) -> None:
    stock = prompts.txt2img(seed=72, steps=1, sampler_class="KSampler", save_class="SaveImage")
    (path,) = server.images(server.run(stock))

    status, answer = ask(server, path.read_bytes())

    assert (status, answer["record"]) == (200, None)


def test_what_is_not_an_image_is_refused(server: ComfyServer) -> None:
    status, answer = ask(server, b"not an image")

    assert status == 400
    assert "expected a PNG, JPEG or WebP file" in str(answer["error"])
