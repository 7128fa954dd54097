"""The tiny models are worth testing on: their pictures vary and depend on what they should.

Stock nodes only. A harness whose pictures were all one colour would let every test of equality
pass.
"""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from support import prompts
from support.server import ComfyServer, PromptFailed, PromptRefused

TESTS = Path(__file__).resolve().parents[1]
STOCK: dict[str, Any] = {"sampler_class": "KSampler", "save_class": "SaveImage"}


def pixels_of(server: ComfyServer, prompt: prompts.Prompt) -> NDArray[np.int16]:
    (path,) = server.images(server.run(prompt))
    with Image.open(path) as image:
        return np.asarray(image, dtype=np.int16)


def mean_difference(first: NDArray[np.int16], second: NDArray[np.int16]) -> float:
    return float(np.abs(first - second).mean())


@pytest.fixture(scope="module")
def plain(server: ComfyServer) -> NDArray[np.int16]:
    return pixels_of(server, prompts.txt2img(**STOCK))


def test_a_picture_has_contrast_in_every_channel(plain: NDArray[np.int16]) -> None:
    spread = plain.std(axis=(0, 1))

    assert plain.shape == (128, 128, 3)
    assert spread.min() > 20
    assert np.isin(plain, (0, 255)).mean() < 0.3


def test_the_same_prompt_on_a_forgetful_server_gives_the_same_picture(
    server: ComfyServer, plain: NDArray[np.int16]
) -> None:
    server.free()

    history = server.run(prompts.txt2img(**STOCK, filename_prefix="again"))

    with Image.open(server.images(history)[0]) as image:
        again = np.asarray(image, dtype=np.int16)
    assert "sampler" not in history.cached
    assert np.array_equal(plain, again)


@pytest.mark.parametrize(
    ("change", "at_least"),
    [
        pytest.param({"seed": 2}, 20.0, id="seed"),
        pytest.param({"positive": "a blue car"}, 10.0, id="prompt text"),
        pytest.param({"positive": "a red fox in the rain"}, 3.0, id="one word"),
        pytest.param({"negative": "sharp"}, 3.0, id="negative prompt text"),
        pytest.param({"steps": 5}, 2.0, id="steps"),
        pytest.param({"sampler_name": "dpmpp_2m"}, 3.0, id="sampler"),
        pytest.param({"cfg": 7.1}, 0.1, id="a little more guidance"),
    ],
)
def test_a_changed_input_changes_the_picture(
    server: ComfyServer, plain: NDArray[np.int16], change: dict[str, Any], at_least: float
) -> None:
    changed = pixels_of(server, prompts.txt2img(**STOCK, **change))

    assert mean_difference(plain, changed) > at_least


def test_a_lora_changes_the_picture_through_both_model_and_text_encoder(
    server: ComfyServer, plain: NDArray[np.int16]
) -> None:
    model_only = pixels_of(server, prompts.lora(**STOCK, strength_clip=0.0))
    clip_only = pixels_of(server, prompts.lora(**STOCK, strength_model=0.0))

    assert mean_difference(plain, model_only) > 5
    assert mean_difference(plain, clip_only) > 1
    assert "lora key not loaded" not in server.log_text()


def test_a_picture_made_from_a_picture_depends_on_it(server: ComfyServer) -> None:
    made = []
    for colour in ("red", "blue"):
        content = io.BytesIO()
        Image.new("RGB", (128, 128), colour).save(content, "PNG")
        name = server.upload(content.getvalue(), f"{colour}.png")
        made.append(pixels_of(server, prompts.img2img(name, **STOCK)))

    assert min(picture.std() for picture in made) > 20
    assert mean_difference(*made) > 5


def test_two_samplers_give_a_larger_picture(server: ComfyServer) -> None:
    picture = pixels_of(server, prompts.two_samplers(**STOCK))

    assert picture.shape == (192, 192, 3)
    assert picture.std() > 20


def test_the_images_of_a_batch_differ(server: ComfyServer) -> None:
    history = server.run(prompts.txt2img(**STOCK, batch_size=2, filename_prefix="batch"))

    first, second = (path.read_bytes() for path in server.images(history))
    assert first != second


def test_a_refused_prompt_tells_why(server: ComfyServer) -> None:
    with pytest.raises(PromptRefused) as refusal:
        server.submit(prompts.txt2img(**STOCK, checkpoint="missing.safetensors"))

    assert refusal.value.status == 400
    assert "loader" in refusal.value.body["node_errors"]


def test_a_failed_prompt_tells_why(server: ComfyServer) -> None:
    prompt = prompts.txt2img(**STOCK)
    prompt["save"]["inputs"]["filename_prefix"] = "../../outside"

    with pytest.raises(PromptFailed, match="SaveImage"):
        server.run(prompt)


def test_a_server_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from support.server import ComfyServer\n"
        "with ComfyServer(base=Path(sys.argv[1]), with_pack=False) as server:\n"
        "    print(server.port, flush=True)\n"
        "    server.wait()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "base")]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())

        parent.kill()

    assert comes_true(lambda: is_refused(port), within_s=10)


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def comes_true(truth: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not truth() and time.monotonic() < deadline:
        time.sleep(0.1)
    return truth()


def test_a_restarted_server_keeps_its_files(tmp_path: Path) -> None:
    with ComfyServer(base=tmp_path / "base", with_pack=False) as server:
        name = server.upload(b"not an image", "kept.png")
        server.restart()

        assert (server.input_folder / name).read_bytes() == b"not an image"
        assert server.images(server.run(prompts.txt2img(**STOCK)))
