"""Whatever the bytes of a file, an audit answers, keeps the answer and shows it as plain text."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comfyui_provenance.audit import Audited, Spool, State, Tally, audit_file, write_page
from comfyui_provenance.audit.thumbnails import SIDE_PX, to_thumbnail
from comfyui_provenance.pixels import Pixels, decode_pixels
from comfyui_provenance.record import seal

from support.recorded_images import document_with_files, png_of_record
from support.records import IMAGE

GOOD = png_of_record(seal(document_with_files()))
TAGS = re.compile(r"<[^>]*>")

texts = st.text() | st.sampled_from(['<b>"x"</b>', "&amp;", "</td><script>", "\x1b[2J", "\u202e"])
answers = st.builds(
    Audited,
    file=texts,
    state=st.sampled_from(State),
    checks=st.dictionaries(st.sampled_from(["record", "graph", "image"]), st.just("bitwise")),
    cause=st.none() | st.sampled_from(["cfg", "seed"]),
    message=st.none() | texts,
    record=st.none() | st.sampled_from(["sha256:aa", "sha256:bb"]),
    recipe=st.none() | texts,
    seed=st.none() | texts,
    model=st.none() | texts,
    pixels=st.none() | st.sampled_from(["sha256-rgb8:aa", "sha256-rgb8:bb"]),
    expected=st.none() | st.sampled_from(["sha256-rgb8:aa", "sha256-rgb8:bb"]),
    thumbnail=st.none() | st.binary(max_size=20),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images") / "a.png"


def page_of(found: list[Audited]) -> str:
    tally, file = Tally(), BytesIO()
    for item in found:
        tally.add(item)
    write_page(file, tally, found, [])
    return file.getvalue().decode("utf-8")


def tags_of(found: list[Audited]) -> list[str]:
    """List the tags of the page's rows, without the titles that tell the checks."""
    rows = page_of(found).partition("<tbody>")[2]
    return [tag.partition(" title=")[0] for tag in TAGS.findall(rows)]


@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 20), put=st.binary(max_size=20))
@example(at=0, cut=0, put=b"")
def test_a_damaged_image_gets_an_answer_and_holds_only_with_its_pixels(
    place: Path, at: int, cut: int, put: bytes
) -> None:
    data = GOOD[:at] + put + GOOD[at + cut :]
    place.write_bytes(data)

    found = audit_file(str(place), thumbnail=True)

    assert found.file == str(place)
    assert found.state is State.BITWISE or data != GOOD
    assert found.state is not State.BITWISE or decode_pixels(data) == IMAGE
    assert found.state is not State.UNREADABLE or found.message
    assert all(char.isprintable() for char in found.message or "")


@given(st.lists(answers, max_size=5))
def test_answers_come_back_as_they_were_kept(found: list[Audited]) -> None:
    with Spool() as spool:
        for item in found:
            spool.add(item)

        assert list(spool) == found


@given(st.lists(answers, min_size=1, max_size=4))
def test_what_strangers_wrote_adds_no_markup_to_the_page(found: list[Audited]) -> None:
    plain = [
        Audited("a", item.state, thumbnail=item.thumbnail, message="a" if item.message else None)
        for item in found
    ]

    assert tags_of(found) == tags_of(plain)


@given(st.lists(answers, max_size=8))
def test_every_answer_is_counted_once_and_groups_are_of_two_or_more(found: list[Audited]) -> None:
    tally = Tally()
    for item in found:
        tally.add(item)

    assert tally.count == len(found)
    assert all(len(group) >= 2 for group in tally.duplicates)
    known = {item.file for item in found}
    assert all(file in known and other in known for file, other in tally.foreign)


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    channels=st.integers(1, 4),
    bits=st.sampled_from([8, 16]),
    value=st.integers(0, 255),
)
def test_a_thumbnail_of_one_colour_has_that_colour(
    height: int, width: int, channels: int, bits: int, value: int
) -> None:
    samples = bytes([value]) * (height * width * channels * bits // 8)

    picture = decode_pixels(to_thumbnail(Pixels(samples, height, width, channels, bits)))

    assert max(picture.height, picture.width) <= SIDE_PX
    assert all(abs(sample - value) <= 2 for sample in picture.samples)
