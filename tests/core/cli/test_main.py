"""Every command tells what it did by its exit status: 0 holds, 1 mismatch, 2 cannot, 3 unknown."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from comfyui_provenance.cli import main
from comfyui_provenance.containers import extract
from comfyui_provenance.record import KEYWORD, parse_record, seal

from support.builders import image_file
from support.recorded_images import (
    document_with_files,
    other_pixels,
    png_of_record,
    run,
    without_graph,
    write_image,
)
from support.tampering import alter_pixel


def test_show_prints_the_record_and_json_is_its_text(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")

    status, text = run("show", image)
    _, as_json = run("show", image, "--json")

    assert status == 0
    assert "seed: 1152921504606846976" in text
    assert as_json == extract(image.read_bytes())[KEYWORD] + "\n"


def test_show_redacts(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")

    status, text = run("show", image, "--redact", "--json")

    assert status == 0
    assert "a fox's den" not in text
    assert parse_record(text).is_redacted


def test_strip_leaves_the_pixels_and_no_text(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")

    status, text = run("strip", image, tmp_path / "bare.png", "--json")

    bare = (tmp_path / "bare.png").read_bytes()
    assert status == 0
    assert extract(bare) == {}
    assert Image.open(BytesIO(bare)).tobytes() == Image.open(image).tobytes()
    assert json.loads(text)["bytes"] == len(bare)


def test_strip_never_writes_over_another_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_image(tmp_path / "fox.png")
    taken = tmp_path / "taken.png"
    taken.write_bytes(b"mine")

    assert run("strip", image, taken)[0] == 2
    assert taken.read_bytes() == b"mine"
    assert "expected a new name" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fox.png", "taken.png"]


def test_strip_redacted_keeps_the_files_own_record_and_no_sidecars(tmp_path: Path) -> None:
    whole = document_with_files()
    image = tmp_path / "fox.png"
    image.write_bytes(png_of_record(seal(without_graph(whole))))
    (tmp_path / "fox.provenance.json").write_text(seal(whole).dump())

    assert run("strip", image, tmp_path / "shown.png", "--redact")[0] == 0

    record = parse_record(extract((tmp_path / "shown.png").read_bytes())[KEYWORD])
    assert "graph" not in record.document


def test_verify_tells_an_untouched_file_from_a_changed_one(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")
    altered = tmp_path / "altered.png"
    altered.write_bytes(alter_pixel(image.read_bytes()))

    assert run("verify", image)[0] == 0
    status, text = run("verify", altered)
    assert status == 1
    assert text.startswith("Mismatch")
    assert "image_edited" in run("verify", altered, "--json")[1]


def test_verify_against_other_pixels_gives_their_distance(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")
    other = write_image(tmp_path / "other.png", other_pixels(9))
    near = tmp_path / "near.png"
    near.write_bytes(alter_pixel(image.read_bytes()))

    assert run("verify", image, "--against", image)[0] == 0
    assert run("verify", image, "--against", other)[0] == 1
    status, text = run("verify", image, "--against", near, "--json")
    assert status == 3
    assert json.loads(text)["pixels"]["max_abs"] == 1


def test_what_cannot_be_read_has_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_image(tmp_path / "fox.png")
    cut, bare, text = (tmp_path / name for name in ("cut.png", "bare.png", "text.png"))
    cut.write_bytes(image.read_bytes()[:-20])
    bare.write_bytes(image_file("PNG"))
    text.write_bytes(b"no image")

    for command in ("show", "verify"):
        for path in (tmp_path / "absent.png", tmp_path, cut, bare, text):
            assert run(command, path)[0] == 2, (command, path)

    errors = capsys.readouterr().err
    assert "this image carries no record (sha256:" in errors
    assert "cut off" in errors


@pytest.mark.posix
def test_a_name_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a\x1b[31m\nb\u202e.png"
    bare = tmp_path / name
    bare.write_bytes(image_file("PNG"))

    run("show", bare)
    run("show", tmp_path / f"absent{name}")
    _, text = run("audit", tmp_path)

    told = capsys.readouterr().err + text
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "\\x1b[31m" in told


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no command"),
        pytest.param(["shwo", "fox.png"], id="an unknown command"),
        pytest.param(["verify"], id="no image"),
        pytest.param(["audit"], id="no folder"),
    ],
)
def test_wrong_usage_ends_with_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_every_command_takes_json(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("show", "strip", "verify", "reproduce", "snapshot", "audit"):
        with pytest.raises(SystemExit):
            main([command, "--help"])

        assert "--json" in capsys.readouterr().out, command
