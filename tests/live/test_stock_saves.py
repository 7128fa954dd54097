"""Core's own Save Image carries the record of what ran, where the server's owner wants it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyui_provenance.containers import extract
from comfyui_provenance.pixels import decode_pixels, digest_pixels

from support import prompts
from support.reports import reproduce
from support.server import ComfyServer
from support.tampering import record_of


@pytest.fixture(scope="module")
def willing(server: ComfyServer) -> Iterator[ComfyServer]:
    """The server, with the setting on."""
    settings = server.base / "user" / "__provenance" / "settings.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"record_in_stock_saves": True}), encoding="utf-8")
    yield server
    settings.unlink()


def stock(seed: int, batch_size: int = 1, save_class: str = "SaveImage") -> prompts.Prompt:
    prompt = prompts.in_mode(
        prompts.txt2img(
            seed=seed,
            steps=2,
            batch_size=batch_size,
            sampler_class="KSampler",
            save_class=save_class,
        ),
        batch_invariant=True,
    )
    if save_class == "PreviewImage":
        del prompt["save"]["inputs"]["filename_prefix"]
    return prompt


def files(server: ComfyServer, prompt: prompts.Prompt) -> list[Path]:
    return server.images(server.run(prompt))


def test_it_is_off_by_default(server: ComfyServer) -> None:
    (path,) = files(server, stock(901))

    assert extract(path.read_bytes()).keys() == {"prompt"}


@pytest.mark.parametrize("save_class", ["SaveImage", "PreviewImage"])
def test_a_stock_node_carries_the_record_and_the_image_reproduces(
    willing: ComfyServer, save_class: str
) -> None:
    (path,) = files(willing, stock(902, save_class=save_class))

    data = path.read_bytes()
    record = record_of(data)
    assert record["subject"]["digest"] == str(digest_pixels(decode_pixels(data)))
    assert record["samplings"][0]["source"] == "sampling"
    assert reproduce(willing, data, path.name)["level"] == "bitwise"


def test_each_image_of_a_batch_is_told_by_its_pixels(willing: ComfyServer) -> None:
    paths = files(willing, stock(903, batch_size=2))

    datas = [path.read_bytes() for path in paths]
    digests = [str(digest_pixels(decode_pixels(data))) for data in datas]
    assert [record_of(data)["subject"]["digests"] for data in datas] == [digests, digests]
    for path, data in zip(paths, datas, strict=True):
        report = reproduce(willing, data, path.name)
        assert report["level"] == "bitwise"
        (check,) = (c for c in report["checks"] if c["name"] == "reproduction")
        assert check["expected"] == str(digest_pixels(decode_pixels(data)))


def test_two_saving_nodes_of_one_prompt_have_each_its_own_record(willing: ComfyServer) -> None:
    prompt = stock(904)
    prompt["mirror"] = prompts.node("ImageInvert", image=["decode", 0])
    prompt["second"] = prompts.node("SaveImage", images=["mirror", 0], filename_prefix="inverted")

    history = willing.run(prompt)

    paths = [path for node in ("save", "second") for path in willing.images(history, node)]
    outputs = {path.name.split("_")[0]: record_of(path.read_bytes())["output"] for path in paths}
    assert outputs == {
        "provenance": {"node_id": "decode", "slot": 0},
        "inverted": {"node_id": "mirror", "slot": 0},
    }


def test_a_cached_image_saved_again_carries_its_record_too(willing: ComfyServer) -> None:
    files(willing, stock(905))
    again = stock(905)
    again["save"]["inputs"]["filename_prefix"] = "again"

    (path,) = files(willing, again)

    record = record_of(path.read_bytes())
    assert record["subject"]["digest"] == str(digest_pixels(decode_pixels(path.read_bytes())))
    assert record["samplings"][0]["cached"] is True


def test_a_changed_pixel_of_such_an_image_is_seen(willing: ComfyServer) -> None:
    (path,) = files(willing, stock(906))
    from support.tampering import alter_pixel

    report = reproduce(willing, alter_pixel(path.read_bytes(), 40), path.name)

    assert report["level"] == "mismatch"
    assert report["causes"][0]["kind"] == "image_edited"
