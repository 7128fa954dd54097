"""`show` prints the record of an image, or of its sidecar, as text that steers no terminal."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from comfyui_provenance.record import seal

from support.builders import image_file
from support.recorded_images import (
    document_with_files,
    png_of_record,
    run,
    without_graph,
    write_image,
)


def test_a_sidecar_is_read_alone(tmp_path: Path) -> None:
    sidecar = tmp_path / "fox.provenance.json"
    whole = seal(document_with_files()).dump()
    sidecar.write_text(whole)

    assert run("show", sidecar, "--json") == (0, whole + "\n")


def test_of_a_record_without_its_graph_the_sidecar_is_shown(tmp_path: Path) -> None:
    image, whole = tmp_path / "fox.png", document_with_files()
    image.write_bytes(png_of_record(seal(without_graph(whole))))

    _, alone = run("show", image, "--json")
    (tmp_path / "fox.provenance.json").write_text(seal(whole).dump())

    assert "graph" not in json.loads(alone)
    assert run("show", image, "--json") == (0, seal(whole).dump() + "\n")


def test_an_image_without_a_record_is_named_by_its_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = image_file("PNG")
    (tmp_path / "fox.png").write_bytes(data)

    assert run("show", tmp_path / "fox.png") == (2, "")
    assert capsys.readouterr().err == (
        f"error: fox.png: this image carries no record (sha256:{sha256(data).hexdigest()})\n"
    )


def test_names_in_a_record_do_not_steer_the_terminal(tmp_path: Path) -> None:
    document = document_with_files()
    document["materials"][1]["name"] = "a\x1b[2Jb\u202e"
    image = write_image(tmp_path / "fox.png", document=document)

    _, text = run("show", image)

    assert "a\\x1b[2Jb\\u202e" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
