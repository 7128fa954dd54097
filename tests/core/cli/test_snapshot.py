"""`snapshot` lists, copies and checks, and its exit status says whether everything is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comfyui_provenance.record import seal

from support.recorded_images import (
    LORA_NAME,
    MODEL_NAME,
    document_with_files,
    png_of_record,
    run,
    without_graph,
    write_image,
    write_models,
)
from support.records import IMAGE
from support.tampering import edit_graph, set_input


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVENANCE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "fox.png")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_models(tmp_path / "models")


def test_a_list_alone_is_printed_and_written(image: Path, tmp_path: Path) -> None:
    status, text = run("snapshot", image, "--output", tmp_path / "list.json")

    assert status == 0
    assert MODEL_NAME in text
    written = json.loads((tmp_path / "list.json").read_text())
    answer = json.loads(run("snapshot", image, "--json")[1])
    assert written["files"] == answer["files"]
    assert answer["found"] == answer["copied"] == []


def test_a_list_is_never_written_over_another_file(image: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken.json"
    taken.write_text("mine")

    assert run("snapshot", image, "--output", taken)[0] == 2
    assert taken.read_text() == "mine"


def test_a_folder_is_copied_and_checks_until_a_file_changes(
    image: Path, models: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"

    status, text = run("snapshot", image, "--models", models, "--copy-to", kept)
    assert status == 0
    assert f"models/loras/{LORA_NAME} is there, whole" in text
    assert run("snapshot", "--check", kept) == (
        0,
        "- whole: fox.png\n"
        f"- whole: models/checkpoints/{MODEL_NAME}\n"
        f"- whole: models/loras/{LORA_NAME}\n"
        "3 of 3 files are whole\n",
    )

    (kept / "models" / "loras" / LORA_NAME).write_bytes(b"another")
    status, text = run("snapshot", "--check", kept / "snapshot.json", "--json")
    assert status == 1
    assert json.loads(text)["files"][2]["finding"] == "differs"


def test_what_is_not_found_is_told_by_the_status(image: Path, models: Path, tmp_path: Path) -> None:
    (models / "loras" / LORA_NAME).unlink()
    kept = tmp_path / "kept"

    assert run("snapshot", image, "--models", models)[0] == 1
    status, text = run("snapshot", image, "--models", models, "--copy-to", kept)
    assert status == 1
    assert f"not copied: loras file '{LORA_NAME}' is missing" in text
    assert run("snapshot", "--check", kept)[0] == 1


def test_a_file_without_a_digest_makes_the_status_unknown(models: Path, tmp_path: Path) -> None:
    document = document_with_files()
    del document["materials"][1]["sha256"]
    image = write_image(tmp_path / "unresolved.png", document=document)
    kept = tmp_path / "kept"

    assert run("snapshot", image, "--models", models, "--copy-to", kept)[0] == 3
    assert run("snapshot", "--check", kept)[0] == 3


def test_the_sidecar_of_an_image_is_kept_with_it(models: Path, tmp_path: Path) -> None:
    whole = document_with_files()
    (tmp_path / "a.png").write_bytes(png_of_record(seal(without_graph(whole)), IMAGE))
    (tmp_path / "a.provenance.json").write_text(seal(whole).dump())
    kept = tmp_path / "kept"

    status, _ = run("snapshot", tmp_path / "a.png", "--models", models, "--copy-to", kept)

    assert status == 0
    assert run("verify", kept / "a.png")[0] == 0
    assert "- whole: a.provenance.json" in run("snapshot", "--check", kept)[1]


def test_a_sidecar_alone_has_a_list_too(tmp_path: Path) -> None:
    sidecar = tmp_path / "a.provenance.json"
    sidecar.write_text(seal(document_with_files()).dump())

    answer = json.loads(run("snapshot", sidecar, "--json")[1])

    assert answer["image"] is None
    assert answer["sidecar"]["name"] == "a.provenance.json"


def test_an_edited_record_is_told(image: Path) -> None:
    edited = edit_graph(image.read_bytes(), set_input("sampler", "cfg", 9.0))
    image.write_bytes(edited)

    _, text = run("snapshot", image)

    assert "Note: the record does not agree with itself or its file" in text


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="nothing"),
        pytest.param(("fox.png", "--check", "kept"), id="an image and a check"),
        pytest.param(("--check", "kept", "--output", "list.json"), id="a check and an output"),
        pytest.param(("fox.png", "--copy-to", "kept"), id="a copy without models"),
    ],
)
def test_wrong_usage_has_status_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("snapshot", *arguments)[0] == 2
    assert "error: expected" in capsys.readouterr().err


def test_a_check_of_no_snapshot_has_status_2(tmp_path: Path) -> None:
    assert run("snapshot", "--check", tmp_path)[0] == 2
