"""`diff` tells what makes two files differ, and says the same of them as equal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comfyui_provenance.containers import embed
from comfyui_provenance.pixels import encode_png
from comfyui_provenance.record import Record

from support.builders import gradient, image_file
from support.prompts import node, txt2img
from support.recorded_images import png_of_record, run
from support.records import IMAGE
from support.seen_runs import parted, put, told
from support.seen_runs import run as record_of_run


def write(folder: Path, name: str, record: Record) -> Path:
    path = folder / name
    path.write_bytes(png_of_record(record))
    return path


def test_one_file_is_the_same_as_its_copy(tmp_path: Path) -> None:
    first = write(tmp_path, "a.png", record_of_run())
    second = write(tmp_path, "b.png", record_of_run())

    status, text = run("diff", first, second)

    assert status == 0
    assert text.startswith("Bitwise")


def test_what_differs_is_told_the_most_consequential_first(tmp_path: Path) -> None:
    first = write(tmp_path, "a.png", record_of_run())
    changed = record_of_run(put("sampler", cfg=7.1), told(cfg=7.1), parted("sampler", "decode"))
    second = write(tmp_path, "b.png", changed)

    status, text = run("diff", first, second, "--json")

    report = json.loads(text)
    assert status == 1
    assert [cause["kind"] for cause in report["causes"]] == ["cfg"]
    assert (report["causes"][0]["recorded"], report["causes"][0]["now"]) == (7, 7.1)
    assert report["divergence"]["node_id"] == "sampler"


def test_stock_files_are_compared_by_their_prompts(tmp_path: Path) -> None:
    paths = []
    for name, seed in (("a.png", 1), ("b.png", 2)):
        prompt = txt2img(seed=seed, sampler_class="KSampler", save_class="SaveImage")
        path = tmp_path / name
        path.write_bytes(embed(encode_png(IMAGE), {"prompt": json.dumps(prompt)}))
        paths.append(path)

    status, text = run("diff", *paths, "--json")

    assert status == 1
    assert [cause["kind"] for cause in json.loads(text)["causes"]] == ["seed"]


def test_of_a_prompt_that_saves_several_images_it_cannot_be_told_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = txt2img(sampler_class="KSampler", save_class="SaveImage")
    prompt["invert"] = node("ImageInvert", image=["decode", 0])
    prompt["other"] = node("SaveImage", images=["invert", 0], filename_prefix="other")
    path = tmp_path / "a.png"
    path.write_bytes(embed(encode_png(gradient(4, 4)), {"prompt": json.dumps(prompt)}))

    assert run("diff", path, path) == (2, "")
    assert "saves 2" in capsys.readouterr().err


def test_a_file_that_tells_nothing_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bare.png"
    path.write_bytes(image_file("PNG"))

    assert run("diff", path, path) == (2, "")
    assert "carries no record" in capsys.readouterr().err
