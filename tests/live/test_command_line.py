"""The command line reads and judges files by itself, and lets a server reproduce them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from comfyui_provenance.cli import main

from support import prompts
from support.server import ComfyServer, free_port
from support.tampering import alter_pixel, edit_graph, set_input

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def image(server: ComfyServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = server.images(server.run(prompts.txt2img(seed=61, steps=2)))
    kept = tmp_path_factory.mktemp("images") / "fox.png"
    kept.write_bytes(path.read_bytes())
    return kept


def run(*arguments: str | Path) -> tuple[int, str]:
    out = io.StringIO()
    return main([str(argument) for argument in arguments], out), out.getvalue()


def changed(image: Path, data: bytes) -> Path:
    path = image.with_name(f"changed-{len(list(image.parent.iterdir()))}.png")
    path.write_bytes(data)
    return path


def test_show_prints_the_record(image: Path) -> None:
    status, text = run("show", image)
    _, as_json = run("show", image, "--json")

    assert status == 0
    assert "seed: 61" in text
    assert json.loads(as_json)["tuple"]["seed"] == "61"


def test_verify_tells_an_untouched_file_from_a_changed_one(image: Path) -> None:
    altered = changed(image, alter_pixel(image.read_bytes()))

    assert run("verify", image)[0] == 0
    status, text = run("verify", altered)
    assert status == 1
    assert "pixels are not the ones that were saved" in text
    assert run("verify", image, "--against", image)[0] == 0
    assert json.loads(run("verify", image, "--against", altered, "--json")[1])["level"] != "bitwise"


def test_reproduce_runs_on_a_server(server: ComfyServer, image: Path) -> None:
    edited = changed(image, edit_graph(image.read_bytes(), set_input("sampler", "cfg", 7.1)))

    status, text = run("reproduce", image, "--server", server.url)
    assert (status, text.splitlines()[0]) == (
        0,
        "Bitwise: everything checked is the same, bit for bit.",
    )
    status, text = run("reproduce", edited, "--server", server.url, "--json")
    assert status == 1
    assert json.loads(text)["causes"][0]["kind"] == "cfg"


def test_a_stock_image_keeps_the_name_that_tells_which_of_two_it_is(
    server: ComfyServer,
) -> None:
    prompt = prompts.txt2img(
        seed=62, steps=1, sampler_class="KSampler", save_class="SaveImage", filename_prefix="one"
    )
    prompt["invert"] = prompts.node("ImageInvert", image=["decode", 0])
    prompt["preview"] = prompts.node("PreviewImage", images=["invert", 0])
    (path,) = server.images(server.run(prompt))

    assert run("reproduce", path, "--server", server.url)[0] == 0


def test_what_cannot_be_done_is_told_with_status_2(
    server: ComfyServer, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    bad_seed = edit_graph(image.read_bytes(), set_input("sampler", "seed", "61"))

    statuses = [
        run("show", image.with_name("absent.png"))[0],
        run("show", Path(__file__))[0],
        run("reproduce", image, "--server", nowhere)[0],
        run("reproduce", image, "--server", "ftp://nowhere")[0],
        run("reproduce", changed(image, bad_seed), "--server", server.url)[0],
    ]

    errors = capsys.readouterr().err
    assert statuses == [2, 2, 2, 2, 2]
    assert "no ComfyUI server answers" in errors
    assert "got '61' of type str" in errors


def test_the_module_runs_without_torch_or_comfyui(image: Path) -> None:
    code = (
        "import sys; from comfyui_provenance.cli import main; status = main(sys.argv[1:]);"
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, "verify", str(image)],
        env={"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Bitwise")


def test_preflight_says_whether_an_image_can_be_made_and_runs_nothing(
    server: ComfyServer, image: Path
) -> None:
    started_before = server.log_text().count("  0%|")

    status, text = run("preflight", image, "--server", server.url)
    parsed = json.loads(run("preflight", image, "--server", server.url, "--json")[1])

    assert status == 0, text
    assert parsed["expect"] in ("bitwise", "unknown")
    assert parsed["line"] in text
    assert server.log_text().count("  0%|") == started_before


def test_two_images_of_a_server_are_told_apart(server: ComfyServer, image: Path) -> None:
    (other,) = server.images(server.run(prompts.txt2img(seed=4242, steps=1)))

    status, text = run("diff", image, other)

    assert status == 1
    assert "Most likely cause" in text
