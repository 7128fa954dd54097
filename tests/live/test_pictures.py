"""Reproduce and Verify show the page the very pixels that they compared, and never for a price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comfyui_provenance.containers import extract
from comfyui_provenance.pixels import Pixels, decode_pixels, encode_png

from support import prompts
from support.prompts import node
from support.reports import report_of
from support.server import ComfyServer, History
from support.tampering import alter_pixel, edit_graph, edit_record, set_input


@pytest.fixture(scope="module")
def saved(server: ComfyServer) -> Path:
    """An image in a folder of its own below the output folder."""
    prompt = prompts.in_mode(prompts.txt2img(seed=613, steps=2, filename_prefix="pictures/fox"))
    (path,) = server.images(server.run(prompt))
    return path


@pytest.fixture(scope="module")
def name(saved: Path) -> str:
    return f"pictures/{saved.name} [output]"


def output_of(history: History) -> dict[str, Any]:
    """Give what the one node showed that compared; of a rebuilt graph its last node shows it."""
    (output,) = [shown for shown in history.outputs.values() if "provenance_report" in shown]
    found: dict[str, Any] = output
    return found


def pictures_of(server: ComfyServer, history: History) -> dict[str, bytes]:
    listed = output_of(history)["provenance_images"]
    assert {picture["type"] for picture in listed} <= {"temp"}
    return {picture["role"]: server.path_of(picture).read_bytes() for picture in listed}


def test_a_reproduction_shows_what_it_compared(server: ComfyServer, saved: Path, name: str) -> None:
    history = server.run({"reproduce": node("ProvenanceReproduce", image=name)})

    pictures = pictures_of(server, history)
    original = decode_pixels(saved.read_bytes())
    assert list(pictures) == ["reproduced", "original", "difference"]
    assert decode_pixels(pictures["reproduced"]) == original
    assert decode_pixels(pictures["original"]) == original
    assert set(decode_pixels(pictures["difference"]).samples) == {0}
    assert not any(extract(data) for data in pictures.values())
    assert "images" not in output_of(history)


def test_the_page_can_fetch_a_picture(server: ComfyServer, name: str) -> None:
    history = server.run({"reproduce": node("ProvenanceReproduce", image=name)})
    (picture, *_) = output_of(history)["provenance_images"]

    status, body = server.request(
        f"/view?filename={picture['filename']}&subfolder={picture['subfolder']}&type=temp"
    )

    assert (status, body[:4]) == (200, b"\x89PNG")


def test_a_changed_sample_is_in_the_difference_as_it_is(server: ComfyServer, saved: Path) -> None:
    altered = server.upload(alter_pixel(saved.read_bytes(), 40))

    history = server.run({"reproduce": node("ProvenanceReproduce", image=altered)})

    difference = decode_pixels(pictures_of(server, history)["difference"])
    assert sorted(difference.samples)[-2:] == [0, 40]


def test_verify_shows_what_it_compared(server: ComfyServer, saved: Path, name: str) -> None:
    images = server.upload(alter_pixel(saved.read_bytes(), 40))
    prompt = {
        "load": node("LoadImage", image=images),
        "verify": node("ProvenanceVerify", images=["load", 0], reference=name),
    }

    pictures = pictures_of(server, server.run(prompt))

    assert list(pictures) == ["reproduced", "original", "difference"]
    assert decode_pixels(pictures["original"]) == decode_pixels(saved.read_bytes())
    assert sorted(decode_pixels(pictures["difference"]).samples)[-2:] == [0, 40]


def difference_of(server: ComfyServer, image: prompts.Prompt, reference: Pixels) -> Pixels:
    """Verify an image that nodes make, ending in `image`, by a file; give the difference shown."""
    name = server.upload(encode_png(reference))
    verify = node("ProvenanceVerify", images=["image", 0], reference=name)
    history = server.run({**image, "verify": verify})
    return decode_pixels(pictures_of(server, history)["difference"])


def test_the_smallest_difference_of_16_bits_does_not_vanish(server: ComfyServer) -> None:
    blank = {"image": node("EmptyImage", width=8, height=8, batch_size=1, color=0)}
    samples = bytes([0, 1] + [0, 0] * (8 * 8 * 3 - 1))

    difference = difference_of(server, blank, Pixels(samples, 8, 8, 3, bits=16))

    assert (difference.bits, [*difference.samples]) == (8, [1] + [0] * (8 * 8 * 3 - 1))


def test_a_difference_of_alpha_alone_is_seen_in_the_colours(server: ComfyServer) -> None:
    opaque = {
        "blank": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
        "mask": node("SolidMask", value=0.0, width=8, height=8),
        "image": node("JoinImageWithAlpha", image=["blank", 0], alpha=["mask", 0]),
    }
    samples = bytes([0, 0, 0, 250] + [0, 0, 0, 255] * (8 * 8 - 1))

    difference = difference_of(server, opaque, Pixels(samples, 8, 8, 4))

    assert (difference.channels, [*difference.samples][:4]) == (3, [5, 5, 5, 0])


def test_other_sizes_have_no_difference(server: ComfyServer, name: str) -> None:
    prompt = {
        "blank": node("EmptyImage", width=16, height=16, batch_size=1, color=0),
        "verify": node("ProvenanceVerify", images=["blank", 0], reference=name),
    }

    pictures = pictures_of(server, server.run(prompt))

    assert list(pictures) == ["reproduced", "original"]


def test_what_cannot_run_has_no_pictures(server: ComfyServer, saved: Path) -> None:
    lost = edit_graph(
        saved.read_bytes(), set_input("loader", "ckpt_name", "gone.safetensors"), resealed=True
    )
    lost = edit_record(lost, lambda record: record.update(materials=[]))

    history = server.run({"reproduce": node("ProvenanceReproduce", image=server.upload(lost))})

    assert output_of(history)["provenance_images"] == []


@pytest.mark.posix
def test_a_picture_that_cannot_be_written_costs_no_report(server: ComfyServer, name: str) -> None:
    folder = server.base / "temp" / "provenance"
    kept = folder.with_name("kept")
    if folder.exists():
        folder.rename(kept)
    folder.write_text("in the way")
    try:
        history = server.run({"reproduce": node("ProvenanceReproduce", image=name)})
    finally:
        folder.unlink()
        if kept.exists():
            kept.rename(folder)

    assert report_of(history)["level"] == "bitwise"
    assert output_of(history)["provenance_images"] == []
