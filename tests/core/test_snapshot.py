"""A snapshot's files are whole or not there, never written over, and checked by digest alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from comfyui_provenance.errors import LimitError, RecordError
from comfyui_provenance.files import read_file
from comfyui_provenance.materials.cache import DigestCache
from comfyui_provenance.materials.hasher import Hasher
from comfyui_provenance.model_files import PlacedFile, find_files
from comfyui_provenance.snapshot import (
    LIST_NAME,
    Finding,
    check_snapshot,
    copy_snapshot,
    dump_snapshot,
    tell_snapshot,
    to_snapshot,
)

from support.recorded_images import (
    LORA,
    LORA_NAME,
    MODEL,
    MODEL_NAME,
    document_with_files,
    sha256,
    with_material,
    write_files,
    write_image,
    write_models,
)
from support.records import Document

MODEL_PLACE = f"models/checkpoints/{MODEL_NAME}"
LORA_PLACE = f"models/loras/{LORA_NAME}"


def image_in(folder: Path, document: Document | None = None) -> Path:
    return write_image(folder / "fox.png", document=document)


def placed_in(models: Path, image: Path) -> list[PlacedFile]:
    return find_files(read_file(image).required().materials, [models], Hasher(DigestCache()))


def copy_all(folder: Path, image: Path, models: Path) -> dict[str, bool]:
    copied = copy_snapshot(folder, read_file(image), placed_in(models, image))
    return {item.place: item.done for item in copied}


def findings(path: Path) -> dict[str, Finding]:
    return {item.place: item.finding for item in check_snapshot(path)}


def names_in(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def test_the_list_names_every_file_and_the_software(tmp_path: Path) -> None:
    document = document_with_files()
    document["materials"][1]["autov3"] = "c" * 64
    document["environment"].update(
        comfyui_commit="0123", node_pack_commits={"a_pack": "4567"}, os="Linux x86_64"
    )
    image = image_in(tmp_path, document)

    listed: dict[str, Any] = to_snapshot(read_file(image))
    text = "\n".join(tell_snapshot(listed))

    assert listed["image"] == {
        "name": "fox.png",
        "size_bytes": image.stat().st_size,
        "sha256": sha256(image.read_bytes()),
    }
    assert [entry["sha256"] for entry in listed["files"]] == [sha256(MODEL), sha256(LORA)]
    assert listed["files"][0]["place"] == MODEL_PLACE
    assert listed["files"][1]["autov3"] == "c" * 64
    assert listed["comfyui"] == {"version": "0.30.0", "commit": "0123"}
    assert listed["node_packs"] == [{"name": "a_pack", "version": "1", "commit": "4567"}]
    for told in (sha256(MODEL), "a_pack 1, commit 4567", "torch 2.14.1", "Linux x86_64"):
        assert told in text


def test_one_image_gives_one_list(tmp_path: Path) -> None:
    first, second = (to_snapshot(read_file(image_in(tmp_path / name))) for name in ("a", "b"))

    assert dump_snapshot(first) == dump_snapshot(second)


def test_a_copy_is_whole_and_checks(tmp_path: Path) -> None:
    image, models = image_in(tmp_path), write_models(tmp_path / "models")
    kept = tmp_path / "kept"

    done = copy_all(kept, image, models)

    assert done == dict.fromkeys([MODEL_PLACE, LORA_PLACE, "fox.png", LIST_NAME], True)
    assert names_in(kept) == sorted(done)
    assert set(findings(kept).values()) == {Finding.WHOLE}
    assert findings(kept / LIST_NAME) == findings(kept)


def test_a_file_found_under_another_name_is_kept_under_its_own(tmp_path: Path) -> None:
    models = write_files(tmp_path / "models", {"x/renamed": MODEL, "y": LORA})

    copy_all(tmp_path / "kept", image_in(tmp_path), models)

    assert (tmp_path / "kept" / MODEL_PLACE).read_bytes() == MODEL


def test_copying_again_changes_nothing(tmp_path: Path) -> None:
    image, models = image_in(tmp_path), write_models(tmp_path / "models")
    kept = tmp_path / "kept"
    first = copy_all(kept, image, models)
    inodes = [(kept / name).stat().st_ino for name in names_in(kept)]

    assert copy_all(kept, image, models) == first
    assert [(kept / name).stat().st_ino for name in names_in(kept)] == inodes


def test_what_could_not_be_found_comes_later(tmp_path: Path) -> None:
    image = image_in(tmp_path)
    models = write_files(tmp_path / "models", {f"loras/{LORA_NAME}": LORA})
    kept = tmp_path / "kept"

    assert copy_all(kept, image, models)[MODEL_PLACE] is False
    assert findings(kept)[MODEL_PLACE] is Finding.MISSING
    write_models(models)
    assert copy_all(kept, image, models)[MODEL_PLACE] is True
    assert set(findings(kept).values()) == {Finding.WHOLE}


def test_a_different_file_stays(tmp_path: Path) -> None:
    image, models = image_in(tmp_path), write_models(tmp_path / "models")
    kept = write_files(tmp_path / "kept", {MODEL_PLACE: b"mine"})

    assert copy_all(kept, image, models)[MODEL_PLACE] is False
    assert (kept / MODEL_PLACE).read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["fox.png", LIST_NAME])
def test_a_different_image_or_list_stays(tmp_path: Path, name: str) -> None:
    image, models = image_in(tmp_path), write_models(tmp_path / "models")
    kept = write_files(tmp_path / "kept", {name: b"mine"})

    with pytest.raises(FileExistsError, match="expected a new name"):
        copy_all(kept, image, models)
    assert (kept / name).read_bytes() == b"mine"


def test_a_write_that_fails_leaves_no_part_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, models = image_in(tmp_path), write_models(tmp_path / "models")
    kept = tmp_path / "kept"

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        copy_all(kept, image, models)
    assert names_in(kept) == []

    monkeypatch.undo()
    assert all(copy_all(kept, image, models).values())


def test_an_interruption_leaves_no_part_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, models = image_in(tmp_path), write_models(tmp_path / "models")
    file, placed = read_file(image), placed_in(models, image)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(copy_snapshot(tmp_path / "kept", file, placed, interrupt))
    assert names_in(tmp_path / "kept") == []


def test_a_file_that_changed_since_it_was_found_is_not_kept(tmp_path: Path) -> None:
    image, models = image_in(tmp_path), write_models(tmp_path / "models")
    placed = placed_in(models, image)
    (models / "checkpoints" / MODEL_NAME).write_bytes(MODEL[::-1])

    with pytest.raises(OSError, match="it changed while it was copied"):
        list(copy_snapshot(tmp_path / "kept", read_file(image), placed))
    assert names_in(tmp_path / "kept") == []


def test_a_name_that_leads_out_is_refused(tmp_path: Path) -> None:
    image = image_in(tmp_path, with_material("../../../evil.pt", MODEL))
    models = write_files(tmp_path / "models", {"found.pt": MODEL, f"loras/{LORA_NAME}": LORA})
    kept = tmp_path / "a" / "b" / "kept"

    done = copy_all(kept, image, models)

    assert done["checkpoints/../../../evil.pt"] is False
    assert not list(tmp_path.rglob("evil.pt"))
    assert findings(kept)["../../../../evil.pt"] is Finding.MISSING


@pytest.mark.posix
def test_a_link_in_the_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    image, models = image_in(tmp_path), write_models(tmp_path / "models")
    kept, outside = tmp_path / "kept", tmp_path / "outside"
    for folder in (kept / "models", outside):
        folder.mkdir(parents=True)
    (kept / "models" / "checkpoints").symlink_to(outside)

    assert copy_all(kept, image, models)[MODEL_PLACE] is False
    assert names_in(outside) == []


def test_a_changed_and_a_missing_file_are_found(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    copy_all(kept, image_in(tmp_path), write_models(tmp_path / "models"))
    times = (kept / MODEL_PLACE).stat()
    (kept / MODEL_PLACE).write_bytes(MODEL[::-1])
    os.utime(kept / MODEL_PLACE, ns=(times.st_atime_ns, times.st_mtime_ns))
    (kept / LORA_PLACE).unlink()

    assert findings(kept) == {
        "fox.png": Finding.WHOLE,
        MODEL_PLACE: Finding.OTHER,
        LORA_PLACE: Finding.MISSING,
    }


def test_a_file_without_a_recorded_digest_is_never_whole(tmp_path: Path) -> None:
    document = document_with_files()
    del document["materials"][0]["sha256"]
    kept = tmp_path / "kept"
    copy_all(kept, image_in(tmp_path, document), write_models(tmp_path / "models"))

    assert findings(kept)[MODEL_PLACE] is Finding.NOT_RECORDED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[]", "expected a snapshot's list", id="no object"),
        pytest.param("{", "expected JSON", id="no JSON"),
        pytest.param('{"format": "other"}', "expected a snapshot's list", id="another list"),
        pytest.param(
            '{"format": "comfyui-provenance snapshot", "version": 2}', "version 1", id="newer"
        ),
        pytest.param(
            '{"format": "comfyui-provenance snapshot", "version": 1, "files": 1}',
            "expected a list",
            id="files that are no list",
        ),
        pytest.param(
            '{"format": "comfyui-provenance snapshot", "version": 1, "files": [{"sha256": 1}]}',
            "expected a string",
            id="an entry without names",
        ),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / LIST_NAME).write_text(text)

    with pytest.raises(RecordError, match=message):
        list(check_snapshot(tmp_path))


def test_a_list_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (tmp_path / LIST_NAME).open("wb") as file:
        file.truncate(2**26)

    with pytest.raises(LimitError, match="expected a list of at most"):
        list(check_snapshot(tmp_path))


def test_a_list_from_a_stranger_names_nothing_outside(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    copy_all(kept, image_in(tmp_path), write_models(tmp_path / "models"))
    listed = json.loads((kept / LIST_NAME).read_text())
    listed["files"][0].update(place=f"../models/checkpoints/{MODEL_NAME}")
    (kept / LIST_NAME).write_text(json.dumps(listed))

    assert Finding.MISSING in findings(kept).values()
