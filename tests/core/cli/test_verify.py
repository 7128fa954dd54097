"""`verify --models` tells where the files of a record are, and the level stays the image's own.

And a sidecar's record is judged like one in the file: it must agree with the pixels beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfyui_provenance.cli.models import cache_path
from comfyui_provenance.record import seal

from support.builders import image_file
from support.recorded_images import (
    LORA,
    LORA_NAME,
    MODEL,
    MODEL_NAME,
    document_with_files,
    other_pixels,
    png_of_record,
    run,
    sha256,
    with_material,
    without_graph,
    write_files,
    write_image,
    write_models,
)
from support.records import IMAGE, in_graph


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("PROVENANCE_CACHE", str(folder))
    return folder


def verify(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    status, text = run("verify", *arguments, "--json")
    return status, json.loads(text)


def states(report: dict[str, Any]) -> list[str]:
    return [entry["state"] for entry in report["materials"]]


def test_files_under_their_names_are_here(tmp_path: Path, cache: Path) -> None:
    image, models = write_image(tmp_path / "fox.png"), write_models(tmp_path / "models")

    status, report = verify(image, "--models", models)

    assert status == 0
    assert states(report) == ["here", "here"]
    assert "model files: 2 here, of 2 recorded" in report["notes"]
    assert (cache / "digests.sqlite").is_file()


def test_a_missing_and_another_file_are_told_and_the_level_stays(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")
    models = write_files(tmp_path / "models", {f"loras/{LORA_NAME}": LORA[::-1]})

    status, report = verify(image, "--models", models)
    _, text = run("verify", image, "--models", models)

    assert status == 0
    assert report["level"] == "bitwise"
    assert states(report) == ["missing", "other"]
    kinds = [entry["cause"]["kind"] for entry in report["materials"]]
    assert kinds == ["model_file", "adapter_file"]
    assert all(entry["cause"]["remedy"] for entry in report["materials"])
    assert report["materials"][1]["found_sha256"] == sha256(LORA[::-1])
    assert f"- checkpoints file '{MODEL_NAME}' is missing\n" in text
    assert "1 other, 1 missing, of 2 recorded" in text


def test_other_files_come_after_what_the_image_itself_shows(tmp_path: Path) -> None:
    image = tmp_path / "fox.png"
    image.write_bytes(png_of_record(seal(document_with_files()), other_pixels(3)))
    (tmp_path / "models").mkdir()

    status, report = verify(image, "--models", tmp_path / "models")

    assert status == 1
    kinds = [cause["kind"] for cause in report["causes"]]
    assert kinds == ["image_edited", "model_file", "adapter_file"]


def test_a_file_under_another_name_is_found_by_its_digest(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")
    models = write_files(
        tmp_path / "models",
        {"old/renamed.safetensors": MODEL, f"checkpoints/{MODEL_NAME}": b"short"},
    )

    _, report = verify(image, "--models", models)

    assert states(report) == ["elsewhere", "missing"]
    assert report["materials"][0]["place"] == "old/renamed.safetensors"
    assert "another file has its name" in report["materials"][0]["message"]


def test_a_folder_of_models_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")

    assert run("verify", image, "--models", tmp_path / "absent")[0] == 2


@pytest.mark.posix
def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")
    models = write_files(tmp_path / "models", {"sub/renamed.safetensors": MODEL})
    (models / "sub" / "again").symlink_to(models)
    (models / "self").symlink_to("self")

    status, report = verify(image, "--models", models)

    assert status == 0
    assert states(report) == ["elsewhere", "missing"]


def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    document = with_material("../../secret.txt", b"secret")
    image = write_image(tmp_path / "fox.png", document=document)
    write_files(tmp_path, {"secret.txt": b"secret"})
    models = tmp_path / "models"
    (models / "checkpoints").mkdir(parents=True)

    _, report = verify(image, "--models", models)

    assert states(report) == ["missing", "missing"]


def test_a_material_without_a_digest_is_not_recorded(tmp_path: Path) -> None:
    document = document_with_files()
    for field in ("sha256", "size_bytes"):
        del document["materials"][0][field]
    document["materials"][0]["status"] = "unresolved"
    image = write_image(tmp_path / "fox.png", document=document)

    _, report = verify(image, "--models", write_models(tmp_path / "models"))

    assert states(report) == ["not recorded", "here"]


# Sidecars


def test_an_image_that_lost_its_record_is_read_with_its_sidecar(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(image_file("PNG", IMAGE))
    (tmp_path / "fox.provenance.json").write_text(seal(document_with_files()).dump())

    status, report = verify(tmp_path / "fox.png")

    assert status == 0
    assert report["notes"] == ["the record is that of the sidecar fox.provenance.json"]
    assert run("show", tmp_path / "fox.png")[0] == 0


def test_a_sidecar_of_other_pixels_is_a_mismatch(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(image_file("PNG", other_pixels(3)))
    (tmp_path / "fox.provenance.json").write_text(seal(document_with_files()).dump())

    status, report = verify(tmp_path / "fox.png")

    assert status == 1
    assert report["causes"][0]["kind"] == "image_edited"


def test_a_record_without_its_graph_is_completed_by_the_sidecar(tmp_path: Path) -> None:
    whole = document_with_files()
    (tmp_path / "fox.png").write_bytes(png_of_record(seal(without_graph(whole))))
    (tmp_path / "fox.provenance.json").write_text(seal(whole).dump())

    status, report = verify(tmp_path / "fox.png")

    assert status == 0
    levels = {check["name"]: check["level"] for check in report["checks"]}
    assert levels["graph"] == levels["sidecar"] == "bitwise"


def test_a_sidecar_of_another_record_is_a_mismatch_though_its_pixels_agree(tmp_path: Path) -> None:
    whole = document_with_files()
    other = {**whole, "created": "2027-01-01T00:00:00+00:00"}
    (tmp_path / "fox.png").write_bytes(png_of_record(seal(without_graph(whole))))
    (tmp_path / "fox.provenance.json").write_text(seal(other).dump())

    status, report = verify(tmp_path / "fox.png")

    assert status == 1
    assert report["causes"][-1]["message"] == "the sidecar does not hold the record of this file"


def test_a_whole_record_in_the_file_is_not_replaced_by_a_sidecar(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")
    (tmp_path / "fox.provenance.json").write_text("{broken")

    assert verify(image)[0] == 0


def test_a_broken_sidecar_is_told_and_the_files_own_record_judged(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(png_of_record(seal(without_graph(document_with_files()))))
    (tmp_path / "fox.provenance.json").write_text("{broken")

    status, report = verify(tmp_path / "fox.png")

    assert status == 0
    assert "cannot be read" in report["notes"][0]


def test_a_sidecar_alone_says_nothing_about_pixels(tmp_path: Path) -> None:
    sidecar = tmp_path / "fox.provenance.json"
    sidecar.write_text(seal(document_with_files()).dump())

    status, report = verify(sidecar)

    assert status == 3
    assert report["notes"] == ["a sidecar has no pixels: give the image itself to verify those"]
    assert {check["level"] for check in report["checks"]} == {"bitwise", "unknown"}


def test_an_edited_sidecar_alone_is_a_mismatch(tmp_path: Path) -> None:
    document = json.loads(seal(document_with_files()).dump())
    in_graph("sampler", "cfg", 9.0)(document)
    sidecar = tmp_path / "fox.provenance.json"
    sidecar.write_text(json.dumps(document))

    status, report = verify(sidecar)

    assert status == 1
    assert report["causes"][0]["kind"] == "cfg"


def test_a_sidecar_and_the_pixels_that_it_is_about_hold_together(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")
    sidecar = tmp_path / "apart.provenance.json"
    sidecar.write_text(seal(document_with_files()).dump())

    assert verify(sidecar, "--against", image)[0] == 0
    other = write_image(tmp_path / "other.png", other_pixels(5))
    assert verify(sidecar, "--against", other)[0] == 1


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        pytest.param({"PROVENANCE_CACHE": "/own"}, "linux", "/own/digests.sqlite", id="named"),
        pytest.param(
            {"XDG_CACHE_HOME": "/x"}, "linux", "/x/comfyui-provenance/digests.sqlite", id="XDG"
        ),
        pytest.param(
            {"XDG_CACHE_HOME": "x"},
            "linux",
            "~/.cache/comfyui-provenance/digests.sqlite",
            id="a relative path, which XDG forbids",
        ),
        pytest.param(
            {}, "darwin", "~/Library/Caches/comfyui-provenance/digests.sqlite", id="macOS"
        ),
        pytest.param(
            {"LOCALAPPDATA": "/local"},
            "win32",
            "/local/comfyui-provenance/digests.sqlite",
            id="Windows",
        ),
    ],
)
def test_digests_are_kept_where_the_system_keeps_caches(
    environ: dict[str, str], platform: str, expected: str
) -> None:
    assert cache_path(environ, platform) == Path(expected).expanduser()
