"""Whatever the format, the file carries its record, and the record says what the format did."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from comfyui_provenance.containers import extract
from comfyui_provenance.digest import digest_text
from comfyui_provenance.pixels import decode_pixels, digest_pixels
from comfyui_provenance.record import parse_record

from support import prompts
from support.reports import reproduce
from support.server import ComfyServer, PromptFailed
from support.tampering import record_of

FORMATS = {
    "png": {"format": "png"},
    "png of 16 bits": {"format": "png", "bit_depth": "16"},
    "lossless webp": {"format": "webp"},
    "lossy webp": {"format": "webp", "lossless": False, "quality": 80},
    "jpeg": {"format": "jpeg"},
}
LOSSY = ("lossy webp", "jpeg")


def saving(seed: int, **inputs: Any) -> prompts.Prompt:
    prompt = prompts.in_mode(prompts.txt2img(seed=seed, steps=2, filename_prefix="formats/x"))
    prompt["save"]["inputs"] |= inputs
    return prompt


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_of_any_format_carries_its_record_and_reproduces(
    server: ComfyServer, name: str
) -> None:
    (path,) = server.images(server.run(saving(61, **FORMATS[name])))

    data = path.read_bytes()
    subject = record_of(data)["subject"]
    stored = str(digest_pixels(decode_pixels(data)))
    assert subject.get("stored", subject["digest"]) == stored
    assert ("stored" in subject) == (name in LOSSY)
    assert subject["format"]["kind"] == FORMATS[name]["format"]
    assert json.loads(extract(data)["prompt"])["sampler"]["inputs"]["seed"] == 61
    assert extract(data)["parameters"].startswith(prompts.POSITIVE)
    report = reproduce(server, data, path.name)
    assert report["level"] == "bitwise", report


def test_the_pixels_do_not_depend_on_the_format(server: ComfyServer) -> None:
    digests = {
        record_of(server.images(server.run(saving(61, **FORMATS[name])))[0].read_bytes())[
            "subject"
        ]["digest"]
        for name in FORMATS
        if name != "png of 16 bits"
    }

    assert len(digests) == 1


def test_sixteen_bits_hold_more_than_eight_of_the_same_image(server: ComfyServer) -> None:
    deep = decode_pixels(
        server.images(server.run(saving(61, **FORMATS["png of 16 bits"])))[0].read_bytes()
    )
    flat = decode_pixels(server.images(server.run(saving(61, format="png")))[0].read_bytes())

    values = [int.from_bytes(deep.samples[at : at + 2], "big") for at in range(0, 4000, 2)]
    assert deep.bits == 16
    assert [value * 255 // 65535 for value in values] == [*flat.samples[:2000]]
    assert len({value % 257 for value in values}) > 100


def test_webp_has_its_metadata_where_comfyui_puts_its_own(server: ComfyServer) -> None:
    prompt = saving(62, format="webp")
    workflow = {"nodes": [], "version": 0.4}

    history = server.run(prompt, extra_data={"extra_pnginfo": {"workflow": workflow}})

    (path,) = server.images(history)
    exif = Image.open(BytesIO(path.read_bytes())).getexif()
    assert json.loads(exif[0x0110].removeprefix("prompt:"))["sampler"]["inputs"]["seed"] == 62
    assert json.loads(exif[0x010F].removeprefix("workflow:")) == workflow


def test_a_seed_of_64_bits_survives_in_every_format(server: ComfyServer) -> None:
    for inputs in FORMATS.values():
        (path,) = server.images(server.run(saving(2**64 - 1, **inputs)))
        assert record_of(path.read_bytes())["tuple"]["seed"] == "18446744073709551615"


@pytest.mark.parametrize(
    ("workflow_bytes", "note_bytes", "left_out"),
    [
        (80_000, 0, ["workflow"]),
        (80_000, 28_000, ["prompt", "workflow"]),
        (80_000, 70_000, ["graph", "prompt", "workflow"]),
    ],
    ids=["the workflow alone", "then the prompt", "then the graph"],
)
def test_what_a_jpeg_cannot_hold_gives_way_in_order_and_stands_in_the_sidecar(
    server: ComfyServer, workflow_bytes: int, note_bytes: int, left_out: list[str]
) -> None:
    prompt = saving(63, format="jpeg")
    # Core ignores an input that a node does not declare.
    prompt["latent"]["inputs"]["note"] = "n" * note_bytes
    extra = {"extra_pnginfo": {"workflow": {"nodes": ["w" * workflow_bytes]}}}

    history = server.run(prompt, extra_data=extra)

    (path,) = server.images(history)
    record = record_of(path.read_bytes())
    sidecar = path.with_name(path.stem + ".provenance.json").read_text("ascii")
    whole = parse_record(sidecar)
    assert record["left_out"] == left_out
    assert record["graph_sha256"] == digest_text(whole.graph).hex
    assert record["workflow_sha256"] == whole.workflow_sha256
    assert whole.document["subject"] == record["subject"]
    assert "left_out" not in whole.document
    assert any("cannot hold" in text for text in history.outputs["save"]["provenance_warnings"])
    assert extract(path.read_bytes()).keys().isdisjoint(set(left_out) - {"graph"})


def test_an_image_whose_graph_was_left_out_is_verified_and_names_the_sidecar(
    server: ComfyServer,
) -> None:
    prompt = saving(64, format="jpeg")
    prompt["latent"]["inputs"]["note"] = "n" * 70_000
    (path,) = server.images(server.run(prompt))
    uploaded = server.upload(path)

    status, body = server.request("/provenance/record", path.read_bytes())

    assert status == 200
    assert json.loads(body)["report"]["level"] == "bitwise"
    with pytest.raises(PromptFailed, match="sidecar"):
        server.run({"reproduce": prompts.node("ProvenanceReproduce", image=uploaded)})


def test_without_the_a1111_text_there_is_none(server: ComfyServer) -> None:
    (path,) = server.images(server.run(saving(65, parameters=False)))

    assert "parameters" not in extract(path.read_bytes())


def test_words_outside_ascii_are_kept_in_every_format(server: ComfyServer) -> None:
    words = "ein Füchslein im Schnee, 雪の中の狐 🦊"
    for inputs in FORMATS.values():
        prompt = saving(66, **inputs)
        prompt["positive"]["inputs"]["text"] = words
        (path,) = server.images(server.run(prompt))
        assert extract(path.read_bytes())["parameters"].splitlines()[0] == words
        assert record_of(path.read_bytes())["samplings"][0]["positive"][0]["text"] == words


def test_sixteen_bits_in_a_format_of_eight_are_refused_with_words(server: ComfyServer) -> None:
    with pytest.raises(PromptFailed, match="jpeg has 8 bits; choose png for 16"):
        server.run(saving(67, format="jpeg", bit_depth="16"))


def test_an_image_too_large_for_webp_is_saved_as_png(server: ComfyServer) -> None:
    prompt = {
        "empty": prompts.node("EmptyImage", width=16384, height=16, batch_size=1, color=7),
        "save": prompts.node(
            "ProvenanceSaveImage", images=["empty", 0], filename_prefix="wide", format="webp"
        ),
    }

    history = server.run(prompt)

    (path,) = server.images(history)
    assert path.suffix == ".png"
    assert record_of(path.read_bytes())["subject"]["width"] == 16384
    assert any("saved as png" in text for text in history.outputs["save"]["provenance_warnings"])


def test_invisible_characters_of_a_prompt_are_named(server: ComfyServer) -> None:
    prompt = saving(68)
    prompt["positive"]["inputs"]["text"] = "a fox\u2019s tail\u200b "

    (path,) = server.images(server.run(prompt))

    (text,) = record_of(path.read_bytes())["samplings"][0]["positive"]
    named = {entry.get("character") for entry in text["characters"]}
    assert {"U+2019", "U+200B"} <= named
