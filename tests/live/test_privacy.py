"""A secret in a widget appears nowhere in what is written, and the image still reproduces.

Looked for in the very bytes, also inside the compressed ones and under every encoding used.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyui_provenance.containers import extract

from support import prompts
from support.reports import reproduce
from support.server import ComfyServer
from support.tampering import record_of

SECRETS = {
    "a key by its shape": ("note", "sk-proj-4Tq8vZ1mK9xW2rB7nY5cD3fG6hJ0pL"),
    "a token by its shape": ("note", "hf_QwErTyUiOpAsDfGhJkLzXcVbNm12345678"),
    "a key by its input's name": ("api_key", "plain-words-7361"),
    "a password by its input's name": ("password", "correct horse battery"),
}


def written(server: ComfyServer, prompt: prompts.Prompt, **extra: Any) -> dict[str, bytes]:
    """Run a prompt and give the bytes of each file that it wrote."""
    before = {path for path in server.output_folder.rglob("*") if path.is_file()}
    server.run(prompt, **extra)
    after = {path for path in server.output_folder.rglob("*") if path.is_file()}
    return {path.name: path.read_bytes() for path in after - before}


def holds(data: bytes, secret: str) -> bool:
    encodings = ("utf-8", "utf-16-be", "utf-16-le")
    return any(secret.encode(encoding) in data for encoding in encodings)


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg"])
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_in_no_byte_that_is_written(
    server: ComfyServer, name: str, image_format: str
) -> None:
    where, secret = SECRETS[name]
    prompt = prompts.in_mode(prompts.txt2img(seed=71, steps=1))
    # Core ignores an input that a node does not declare, but keeps it in the metadata.
    prompt["latent"]["inputs"][where] = secret
    prompt["save"]["inputs"] |= {"format": image_format, "sidecar": True}
    workflow = {
        "nodes": [
            {
                "id": 1,
                "type": "EmptyLatentImage",
                "inputs": [{"name": where, "type": "STRING", "widget": {"name": where}}],
                "widgets_values": [secret],
            }
        ]
    }

    files = written(server, prompt, extra_data={"extra_pnginfo": {"workflow": workflow}})

    assert len(files) == 2
    for data in files.values():
        assert not holds(data, secret)
    (image,) = (data for file, data in files.items() if not file.endswith(".json"))
    record = record_of(image)
    assert record["redactions"] == [{"node_id": "latent", "input": where}]
    assert "[redacted]" in record["graph"]
    assert "[redacted]" in extract(image)["prompt"]
    assert "[redacted]" in extract(image)["workflow"]


def test_an_image_reproduces_without_a_secret_that_does_not_touch_pixels(
    server: ComfyServer,
) -> None:
    prompt = prompts.in_mode(prompts.txt2img(seed=72, steps=1))
    prompt["latent"]["inputs"]["api_key"] = "plain-words-7362"
    (path,) = server.images(server.run(prompt))

    report = reproduce(server, path.read_bytes())

    assert report["level"] == "bitwise"
    assert any("redacted" in note for note in report["notes"])


def test_a_secret_among_the_words_is_named_when_the_image_cannot_be_made_again(
    server: ComfyServer,
) -> None:
    secret = SECRETS["a key by its shape"][1]
    prompt = prompts.in_mode(
        prompts.txt2img(seed=73, steps=2, positive=f"a fox with the word {secret}")
    )
    (path,) = server.images(server.run(prompt))

    report = reproduce(server, path.read_bytes())

    assert not holds(path.read_bytes(), secret)
    assert report["level"] == "mismatch"
    assert "redacted" in json.dumps(report["causes"][0])


def test_what_looks_like_a_secret_and_is_none_stays(server: ComfyServer) -> None:
    words = "a task-oriented fox, hf_hub, 0123456789abcdef0123456789abcdef, sk-8er"
    prompt = prompts.txt2img(seed=74, steps=1, positive=words)

    (path,) = server.images(server.run(prompt))

    record = record_of(path.read_bytes())
    assert record["redactions"] == []
    assert record["samplings"][0]["positive"][0]["text"] == words
