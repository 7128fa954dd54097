"""A record names the weights that ran, also when their file is replaced while they are loaded.

ComfyUI keeps a loaded model by its name. Hashing the file on disk would name weights that made
nothing, and a reproduction with the cached ones would prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyui_provenance.digest import digest_file

from support import prompts
from support.reports import first_cause, kinds, reproduce
from support.server import ComfyServer
from support.tampering import record_of


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyServer]:
    """A server of its own, whose checkpoint is a file that may be changed."""
    with ComfyServer() as started:
        checkpoint = started.base / "models" / "checkpoints" / prompts.CHECKPOINT
        content = checkpoint.read_bytes()
        checkpoint.unlink()
        checkpoint.write_bytes(content)
        yield started


def replace_weights(checkpoint: Path) -> None:
    """Put another file in the checkpoint's place: the same tensors, one of them changed."""
    content = bytearray(checkpoint.read_bytes())
    # The last quarter of the file is text encoder and decoder: half of each value's exponent.
    for position in range(len(content) // 2, len(content) // 2 + 40_000, 2):
        content[position] ^= 0x40
    other = checkpoint.with_suffix(".new")
    other.write_bytes(content)
    other.replace(checkpoint)


def test_a_replaced_checkpoint_is_never_claimed_and_never_passed_over(server: ComfyServer) -> None:
    checkpoint = server.base / "models" / "checkpoints" / prompts.CHECKPOINT
    original = digest_file(checkpoint).hex
    (before,) = server.images(server.run(prompts.txt2img(seed=81, steps=2)))
    first = before.read_bytes()
    assert record_of(first)["tuple"]["model_version"] == original

    replace_weights(checkpoint)
    history = server.run(prompts.txt2img(seed=82, steps=2))
    (after,) = server.images(history)
    second = record_of(after.read_bytes())

    # The old weights are still loaded: neither digest may stand for what cannot be known.
    assert "loader" in history.cached
    assert second["tuple"]["model_version"] == "unresolved"
    assert second["materials"][0]["status"] == "unresolved"
    assert any("is not established" in text for text in second["warnings"])

    report = reproduce(server, first)
    kind, recorded, now = first_cause(report)
    assert report["level"] == "mismatch"
    assert (kind, recorded, now) == ("model_file", original, digest_file(checkpoint).hex)

    server.restart()
    (again,) = server.images(server.run(prompts.txt2img(seed=83, steps=2)))
    loaded = record_of(again.read_bytes())
    assert loaded["tuple"]["model_version"] == digest_file(checkpoint).hex
    assert reproduce(server, again.read_bytes())["level"] == "bitwise"
    assert kinds(reproduce(server, first))[0] == "model_file"
