"""`audit` prints, writes and ends as it says, with good and bad files side by side."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from comfyui_provenance.record import seal

from support.builders import image_file
from support.recorded_images import (
    document_with_files,
    other_pixels,
    png_of_record,
    run,
    write_files,
    write_image,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder of one image in each state, and a file of another kind."""
    images = tmp_path / "images"
    good = write_image(images / "good.png")
    edited = png_of_record(seal(document_with_files()), other_pixels(3))
    return write_files(
        images,
        {
            "edited.png": edited,
            "sub/bare.png": image_file("PNG"),
            "sub/cut.png": good.read_bytes()[:-40],
            "notes.txt": b"",
        },
    )


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_table_counts_all_and_lists_what_is_not_bitwise(folder: Path) -> None:
    status, text = run("audit", folder)

    assert status == 1
    assert text.startswith("4 images: 1 bitwise, 1 mismatch, 1 no record, 1 unreadable\n")
    assert "First causes: image_edited 1\n" in text
    assert "passed over: 1 file of another kind" in text
    assert "good.png" not in text.partition("\nRecords of other files")[0]
    assert "edited.png carries that of" in text
    assert str(folder / "good.png") in run("audit", folder, "--all")[1]


def test_json_is_a_line_for_each_image_and_one_for_all(folder: Path) -> None:
    _, text = run("audit", folder, "--json")

    *entries, last = lines_of(text)
    assert [Path(entry["file"]).name for entry in entries] == [
        "edited.png", "good.png", "bare.png", "cut.png",
    ]  # fmt: skip
    assert [entry["state"] for entry in entries] == [
        "mismatch", "bitwise", "no_record", "unreadable",
    ]  # fmt: skip
    assert last["summary"]["files"] == 4


def test_reports_are_written_to_new_files(folder: Path, tmp_path: Path) -> None:
    lines, page = tmp_path / "audit.jsonl", tmp_path / "audit.html"

    status, _ = run("audit", folder, "--jsonl", lines, "--html", page)

    assert status == 1
    assert lines.read_text() == run("audit", folder, "--json")[1]
    assert page.read_text(encoding="utf-8").count("<img") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "audit.html", "audit.jsonl", "images",
    ]  # fmt: skip


@pytest.mark.parametrize("option", ["--jsonl", "--html"])
def test_a_report_is_never_written_over_another_file(
    folder: Path, tmp_path: Path, option: str
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")

    assert run("audit", folder, option, taken)[0] == 2
    assert taken.read_text() == "mine"


@pytest.mark.parametrize(
    ("names", "status"),
    [
        pytest.param(["good"], 0, id="all hold"),
        pytest.param(["good", "bare", "cut"], 0, id="none is a mismatch"),
        pytest.param(["bare"], 3, id="no records"),
        pytest.param(["bare", "cut"], 3, id="nothing established"),
        pytest.param(["cut"], 2, id="nothing can be read"),
        pytest.param([], 2, id="no image at all"),
        pytest.param(["edited", "good", "cut"], 1, id="one mismatch"),
    ],
)
def test_the_exit_status(folder: Path, tmp_path: Path, names: list[str], status: int) -> None:
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    for name in names:
        (found,) = folder.rglob(f"{name}.png")
        (chosen / found.name).write_bytes(found.read_bytes())

    assert run("audit", chosen)[0] == status


def test_a_folder_that_is_not_there_has_status_2(tmp_path: Path) -> None:
    assert run("audit", tmp_path / "absent")[0] == 2


def test_several_folders_are_audited_in_turn(tmp_path: Path) -> None:
    write_image(tmp_path / "b" / "1.png")
    write_image(tmp_path / "a" / "2.png", other_pixels(2))

    _, text = run("audit", tmp_path / "b", tmp_path / "a", "--json")

    assert [Path(entry["file"]).name for entry in lines_of(text)[:-1]] == ["1.png", "2.png"]


def test_nothing_is_drawn_where_no_one_looks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("audit", folder)

    assert capsys.readouterr().err == ""


def test_markup_in_names_and_prompts_stays_text(tmp_path: Path) -> None:
    document = document_with_files()
    document["materials"][0]["name"] = "<b>model</b>"
    name = "<i>fox<i>.png" if not Path("C:/").exists() else "fox.png"
    write_image(tmp_path / "images" / name, document=document)

    run("audit", tmp_path / "images", "--html", tmp_path / "page.html")

    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;b&gt;model" in page


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_progress_is_drawn_on_a_terminal_and_taken_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    run("audit", folder)

    first, *_, last = terminal.getvalue().split("\r")[1:]
    assert first.startswith("[######")
    assert "1 of 4 files" in first
    assert last.strip() == ""
