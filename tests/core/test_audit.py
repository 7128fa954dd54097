"""An audit answers for every file, in order, whatever is wrong with any of them."""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from comfyui_provenance.audit import (
    Audited,
    Spool,
    State,
    Tally,
    audit_file,
    audit_files,
    find_images,
    write_page,
)
from comfyui_provenance.audit.thumbnails import SIDE_PX, to_thumbnail
from comfyui_provenance.containers import embed
from comfyui_provenance.folders import Passed
from comfyui_provenance.pixels import Pixels, decode_pixels
from comfyui_provenance.record import KEYWORD, failed_record, seal

from support.builders import gradient, image_file
from support.deadly_images import dawdle_at_the_first, die_of_deadly_names
from support.recorded_images import (
    document_with_files,
    other_pixels,
    png_of_record,
    without_graph,
    write_files,
    write_image,
)
from support.tampering import alter_pixel, edit_graph, set_input


def found_in(*folders: Path) -> tuple[list[str], int, Passed]:
    passed = Passed()
    paths, others = find_images(folders, passed)
    return [Path(path).relative_to(folders[0]).as_posix() for path in paths], others, passed


def tally_of(folder: Path) -> Tally:
    tally = Tally()
    paths, _ = find_images([folder], Passed())
    for found in audit_files(paths):
        tally.add(found)
    return tally


# Finding


def test_images_are_listed_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = ["a.png", "a/b.jpg", "a/c/d.webp", "b.JPEG", "b/a.png", "c.png"]
    write_files(tmp_path, dict.fromkeys(reversed([*names, "a/notes.txt", "b.json"]), b""))

    paths, others, _ = found_in(tmp_path)

    assert paths == sorted(names, key=lambda name: name.split("/"))
    assert others == 2


@pytest.mark.posix
def test_links_sockets_and_closed_folders_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"a/x.png": b"", "closed/y.png": b"", "z.png": b""})
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "gone.png").symlink_to(tmp_path / "absent")
    (tmp_path / "self").symlink_to("self")
    os.mkfifo(tmp_path / "pipe.png")
    scandir = os.scandir

    def refuse(path: Path | str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    paths, _, passed = found_in(tmp_path)

    assert paths == ["a/x.png", "z.png"]
    assert (passed.links, passed.others, passed.folders) == (2, 2, 2)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_images([tmp_path / "absent"], Passed())


def test_an_image_may_be_named_itself(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.image")

    assert find_images([image], Passed()) == ([str(image)], 0)


# Judging


def test_a_record_that_holds_is_bitwise_with_what_it_says(tmp_path: Path) -> None:
    found = audit_file(str(write_image(tmp_path / "fox.png")))

    assert found.state is State.BITWISE
    assert dict.fromkeys(found.checks, "bitwise") == found.checks
    assert (found.seed, found.model) == (str(2**60), "provenance_tiny.safetensors")
    assert found.cause is None
    assert found.thumbnail is None


@pytest.mark.parametrize(
    ("data", "state", "told"),
    [
        pytest.param(image_file("PNG"), State.NO_RECORD, None, id="no record"),
        pytest.param(
            png_of_record(seal(document_with_files()))[:-30],
            State.UNREADABLE,
            "cut off",
            id="cut off",
        ),
        pytest.param(b"", State.UNREADABLE, "an empty file", id="empty"),
        pytest.param(b"\0" * 99, State.UNREADABLE, "another kind", id="no image"),
        pytest.param(image_file("PNG")[:40], State.UNREADABLE, "cut off", id="a head"),
    ],
)
def test_files_without_a_record_to_judge(
    tmp_path: Path, data: bytes, state: State, told: str | None
) -> None:
    (tmp_path / "a.png").write_bytes(data)

    found = audit_file(str(tmp_path / "a.png"))

    assert found.state is state
    assert (told or "") in (found.message or "")
    assert "Error" not in (found.message or "")


def test_an_image_saved_without_a_record_says_why(tmp_path: Path) -> None:
    data = embed(image_file("PNG"), {KEYWORD: failed_record("GraphError: a\ncycle")})
    (tmp_path / "a.png").write_bytes(data)

    found = audit_file(str(tmp_path / "a.png"))

    assert found.state is State.NO_RECORD
    assert "GraphError" in (found.message or "")
    assert "\n" not in (found.message or "")


def test_the_first_cause_of_a_mismatch_is_told(tmp_path: Path) -> None:
    image = write_image(tmp_path / "fox.png")
    edited = edit_graph(image.read_bytes(), set_input("sampler", "cfg", 9.5))
    image.write_bytes(edited)

    found = audit_file(str(image))

    assert (found.state, found.cause) == (State.MISMATCH, "cfg")


def test_a_file_that_breaks_the_reader_is_told_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    image = write_image(tmp_path / "fox.png")
    monkeypatch.setattr("comfyui_provenance.audit.judging.read_file", fail)

    assert audit_file(str(image)).message == "ZeroDivisionError: a bug"


def test_a_record_without_its_graph_is_read_with_its_sidecar(tmp_path: Path) -> None:
    whole = document_with_files()
    (tmp_path / "a.png").write_bytes(png_of_record(seal(without_graph(whole))))
    (tmp_path / "a.provenance.json").write_text(seal(whole).dump())

    assert audit_file(str(tmp_path / "a.png")).checks["sidecar"] == "bitwise"


# Running


def test_answers_come_in_the_order_of_the_files_whatever_the_scheduling(tmp_path: Path) -> None:
    paths = [str(write_image(tmp_path / f"{at:03}.png", other_pixels(at))) for at in range(100)]

    # More chunks than are in hand at once.
    answers = audit_files(paths, workers=2, judge=dawdle_at_the_first)

    assert [found.file for found in answers] == paths


def test_one_process_and_several_give_the_same_answers(tmp_path: Path) -> None:
    paths = [str(write_image(tmp_path / f"{at:03}.png", other_pixels(at))) for at in range(20)]
    (tmp_path / "007.png").write_bytes(b"broken")
    Path(paths[9]).unlink()

    alone = list(audit_files(paths, workers=1, thumbnails=True))

    assert list(audit_files(paths, workers=2, thumbnails=True)) == alone
    assert [found.state for found in alone].count(State.UNREADABLE) == 2


def test_a_file_that_ends_the_process_does_not_end_the_audit(tmp_path: Path) -> None:
    paths = [str(write_image(tmp_path / f"{at:03}.png", other_pixels(at))) for at in range(30)]
    for at in (4, 21):
        paths[at] = str(write_image(tmp_path / f"{at:03}-deadly.png"))

    answers = list(audit_files(paths, workers=2, judge=die_of_deadly_names))

    assert [found.file for found in answers] == paths
    dead = [at for at, found in enumerate(answers) if found.state is State.UNREADABLE]
    assert dead == [4, 21]
    assert answers[4].message == "reading it ended the process"


def test_an_audit_needs_a_worker() -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        list(audit_files([], workers=0))


# Summing up


def test_files_of_the_same_pixels_and_other_records_are_told(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "copy.png")
    later = {**document_with_files(), "created": "2027-01-01T00:00:00+00:00"}
    write_image(tmp_path / "later.png", document=later)

    (group,) = tally_of(tmp_path).duplicates

    assert [Path(name).name for name in group] == ["a.png", "later.png"]


def test_a_record_of_another_file_is_told(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(png_of_record(seal(document_with_files()), other_pixels(3)))
    (tmp_path / "c.png").write_bytes(alter_pixel((tmp_path / "b.png").read_bytes()))
    tally = tally_of(tmp_path)

    foreign = [(Path(file).name, Path(other).name) for file, other in tally.foreign]

    assert foreign == [("b.png", "a.png"), ("c.png", "a.png")]
    assert tally.states == {State.BITWISE: 1, State.MISMATCH: 2}
    assert tally.causes == {"image_edited": 2}


def test_kept_answers_come_back_as_they_were(tmp_path: Path) -> None:
    given = [
        audit_file(str(write_image(tmp_path / "a.png")), thumbnail=True),
        Audited("b\udc80\n.png", State.UNREADABLE, message="why"),
    ]

    with Spool() as spool:
        for found in given:
            spool.add(found)

        assert list(spool) == given
        assert list(spool) == given


# Thumbnails and the page


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (96, 96), (97, 3), (200, 300), (1, 1000), (1000, 1)]
)
def test_a_thumbnail_is_small_and_has_the_images_shape(
    height: int, width: int, channels: int
) -> None:
    picture = decode_pixels(to_thumbnail(gradient(height, width, channels)))

    assert max(picture.height, picture.width) <= SIDE_PX
    assert picture.channels == (3 if channels >= 3 else 1)
    if min(height, width) > 90:
        assert picture.width / picture.height == pytest.approx(width / height, rel=0.05)


def test_a_thumbnail_shows_what_pillow_shows() -> None:
    size = (640, 480)
    ramp = Image.linear_gradient("L").resize(size)
    image = Image.merge("RGB", [ramp, ramp.transpose(Image.Transpose.ROTATE_180), ramp])
    pixels = Pixels(image.tobytes(), size[1], size[0], 3)

    picture = Image.open(BytesIO(to_thumbnail(pixels)))

    expected = image.resize(picture.size, Image.Resampling.BOX)
    pairs = zip(picture.tobytes(), expected.tobytes(), strict=True)
    distances = [abs(first - second) for first, second in pairs]
    assert sum(distances) / len(distances) < 2


def test_a_thumbnail_of_16_bits_is_that_of_their_first_8() -> None:
    small = gradient(20, 20, 3)
    wide = bytes(byte for sample in small.samples for byte in (sample, 255))

    assert to_thumbnail(Pixels(wide, 20, 20, 3, bits=16)) == to_thumbnail(small)


def page_of(*found: Audited, notes: tuple[str, ...] = ()) -> str:
    tally, file = Tally(), BytesIO()
    for item in found:
        tally.add(item)
    write_page(file, tally, found, notes)
    return file.getvalue().decode("utf-8")


def test_the_page_escapes_what_strangers_wrote() -> None:
    markup = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    found = Audited(
        markup, State.MISMATCH, {"image": "mismatch"}, "cfg", markup, markup, f"sha256:{markup}",
        markup, markup, "p", "q",
    )  # fmt: skip
    twin = Audited(f"{markup}2", State.MISMATCH, record="other", pixels="p", expected="p")

    page = page_of(found, twin, notes=(markup,))

    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") >= 6
    assert "default-src 'none'" in page


def test_the_page_has_a_picture_of_each_image_and_loads_nothing(tmp_path: Path) -> None:
    found = audit_file(str(write_image(tmp_path / "a.png")), thumbnail=True)

    page = page_of(found)

    assert page.count('src="data:image/jpeg;base64,') == 1
    assert "http" not in page.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in page


def test_control_characters_are_written_out_in_the_page() -> None:
    assert "a\\x1b\\u202e.png" in page_of(Audited("a\x1b\u202e.png", State.UNREADABLE))


def test_the_summary_is_json(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")

    assert json.loads(json.dumps(tally_of(tmp_path).to_json())) == {
        "files": 1,
        "states": {"bitwise": 1},
        "causes": {},
        "duplicates": [],
        "foreign_records": [],
    }
