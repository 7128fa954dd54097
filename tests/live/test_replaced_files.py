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
        started.own_model(f"checkpoints/{prompts.CHECKPOINT}")
        started.own_model(f"loras/{prompts.LORA}")
        yield started


def replace_weights(file: Path) -> None:
    """Put another file in a file's place: the same tensors, some values changed."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    for position in range(middle, middle + min(40_000, middle // 2), 2):
        content[position] ^= 0x40
    other = file.with_suffix(".new")
    other.write_bytes(content)
    other.replace(file)


def test_the_record_names_the_checkpoint_that_was_loaded_and_says_that_it_is_gone(
    server: ComfyServer,
) -> None:
    checkpoint = server.base / "models" / "checkpoints" / prompts.CHECKPOINT
    original = digest_file(checkpoint).hex
    (before,) = server.images(server.run(prompts.txt2img(seed=81, steps=2)))
    first = before.read_bytes()
    assert record_of(first)["tuple"]["model_version"] == original

    replace_weights(checkpoint)
    history = server.run(prompts.txt2img(seed=82, steps=2))
    (after,) = server.images(history)
    second = record_of(after.read_bytes())

    # The old weights are still loaded and made the image.
    assert "loader" in history.cached
    assert second["tuple"]["model_version"] == original
    (material,) = second["materials"]
    assert (material["status"], material["on_disk"]) == ("hashed", "replaced")
    assert any("was replaced after it was loaded" in text for text in second["warnings"])

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


def test_a_replaced_lora_that_its_loader_still_holds_is_never_claimed(server: ComfyServer) -> None:
    lora = server.base / "models" / "loras" / prompts.LORA
    server.run(prompts.lora(seed=84, steps=1, strength_model=0.6))

    replace_weights(lora)
    # Another strength runs the loader again, on the tensors that its object keeps by path.
    (path,) = server.images(server.run(prompts.lora(seed=84, steps=1, strength_model=0.7)))

    record = record_of(path.read_bytes())
    assert record["tuple"]["adapters"][0]["sha256"] == "unresolved"
    assert any("is not established" in text for text in record["warnings"])


def test_a_file_with_the_same_content_is_the_same_file(server: ComfyServer) -> None:
    server.restart()
    checkpoint = server.base / "models" / "checkpoints" / prompts.CHECKPOINT
    server.run(prompts.txt2img(seed=85, steps=1))
    copy = checkpoint.with_suffix(".copy")
    copy.write_bytes(checkpoint.read_bytes())
    copy.replace(checkpoint)

    (path,) = server.images(server.run(prompts.txt2img(seed=86, steps=1)))

    expected = digest_file(checkpoint).hex
    assert record_of(path.read_bytes())["tuple"]["model_version"] == expected


def test_reproducing_loads_no_model_that_is_loaded_already(server: ComfyServer) -> None:
    server.restart()
    (path,) = server.images(server.run(prompts.txt2img(seed=87, steps=1)))
    loads = server.log_text().count("model_type EPS")

    assert reproduce(server, path.read_bytes())["level"] == "bitwise"
    assert server.log_text().count("model_type EPS") == loads == 1
