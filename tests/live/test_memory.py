"""Free memory does not choose the pixels of `ProvenanceKSampler`; it does those of core's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support import prompts
from support.server import ComfyServer
from support.tampering import record_of

PACKS = Path(__file__).parents[1] / "packs"
SCARCE_MEMORY, PACK = PACKS / "scarce_memory", PACKS / "determinism"


@pytest.fixture(scope="module")
def server(server_with: Any) -> ComfyServer:
    found: ComfyServer = server_with(packs=(SCARCE_MEMORY, PACK))
    return found


def digest_with(server: ComfyServer, free_bytes: int | None, **options: Any) -> str:
    """The pixel digest of one image made while this much memory is free."""
    prompt = prompts.txt2img(seed=31, steps=3, **options)
    server.post_json("/test/free_memory", {"bytes": free_bytes})
    try:
        server.free()
        history = server.run(prompt)
    finally:
        server.post_json("/test/free_memory", {"bytes": None})
    assert "sampler" not in history.cached
    (path,) = server.images(history)
    record = record_of(path.read_bytes())
    digest: str = record["subject"]["digest"]
    return digest


def test_scarce_memory_changes_cores_sampler_and_not_ours(server: ComfyServer) -> None:
    stock = {"sampler_class": "KSampler"}

    ours = {digest_with(server, free) for free in (None, 2**20)}
    cores = {digest_with(server, free, **stock) for free in (None, 2**20)}

    assert len(ours) == 1
    assert len(cores) == 2


def test_without_deterministic_mode_ours_depends_on_memory_like_cores(
    server: ComfyServer,
) -> None:
    digests = set()
    for free_bytes in (None, 2**20):
        prompt = prompts.txt2img(seed=31, steps=3)
        prompt["sampler"]["inputs"]["deterministic_mode"] = False
        server.post_json("/test/free_memory", {"bytes": free_bytes})
        server.free()
        (path,) = server.images(server.run(prompt))
        digests.add(record_of(path.read_bytes())["subject"]["digest"])
    server.post_json("/test/free_memory", {"bytes": None})

    assert len(digests) == 2
