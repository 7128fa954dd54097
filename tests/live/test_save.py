"""Saving: the record is in the file, the file is where core would put it, and none is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfyui_provenance.containers import extract
from comfyui_provenance.digest import digest_file, digest_text
from comfyui_provenance.pixels import decode_pixels, digest_pixels
from comfyui_provenance.record import parse_record

from support import prompts
from support.reports import verify
from support.server import ComfyServer, PromptFailed
from support.tampering import alter_pixel, record_of


@pytest.fixture(scope="module")
def saved(server: ComfyServer) -> Path:
    (path,) = server.images(server.run(prompts.lora(seed=51, steps=2)))
    return path


def test_the_record_tells_what_ran(server: ComfyServer, saved: Path) -> None:
    data = saved.read_bytes()
    record = record_of(data)
    models = server.base / "models"
    checkpoint = models / "checkpoints" / prompts.CHECKPOINT
    lora = models / "loras" / prompts.LORA

    sampling = record["samplings"][0]
    assert record["tuple"] == {
        "model_version": digest_file(checkpoint).hex,
        "seed": "51",
        "sampler": "euler",
        "scheduler": "normal",
        "steps": 2,
        "cfg": 7,
        "denoise": 1,
        "width": 128,
        "height": 128,
        "prompt_sha256": digest_text(prompts.POSITIVE).hex,
        "negative_prompt_sha256": digest_text(prompts.NEGATIVE).hex,
        "adapters": [
            {
                "name": prompts.LORA,
                "sha256": digest_file(lora).hex,
                "strengths": {"strength_model": 1, "strength_clip": 1},
            }
        ],
    }
    assert sampling["source"] == "sampling"
    assert sampling["cached"] is False
    assert sampling["conditionings_per_forward"] == {"1": 4}
    assert sampling["flags"]["deterministic_algorithms"] == "warn"
    assert {material["kind"] for material in record["materials"]} == {"checkpoints", "loras"}
    assert record["subject"]["digest"] == str(digest_pixels(decode_pixels(data)))
    assert (
        parse_record(json.dumps(record)).actual_digest()
        == parse_record(json.dumps(record)).actual_digest()
    )
    assert str(server.base) not in data.decode("latin-1")


def test_core_reads_the_prompt_that_core_would_have_written(
    server: ComfyServer, saved: Path
) -> None:
    prompt = json.loads(extract(saved.read_bytes())["prompt"])

    assert prompt["save"]["class_type"] == "ProvenanceSaveImage"
    assert server.run(prompt).outputs["save"]["images"]


def test_a_cached_sampling_is_marked_and_still_told_from_inside(
    server: ComfyServer, saved: Path
) -> None:
    prompt = prompts.lora(seed=51, steps=2, filename_prefix="another")
    history = server.run(prompt)

    (path,) = server.images(history)
    sampling = record_of(path.read_bytes())["samplings"][0]
    assert "sampler" in history.cached
    assert (sampling["source"], sampling["cached"]) == ("sampling", True)
    assert sampling["noise"] == record_of(saved.read_bytes())["samplings"][0]["noise"]


def test_a_stock_sampler_is_told_from_the_graph_and_called_so(server: ComfyServer) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=52, sampler_class="KSampler")))

    record = record_of(path.read_bytes())
    assert record["samplings"][0]["source"] == "graph"
    assert record["tuple"]["seed"] == "52"
    assert record["determinism"]["requested"] is False
    assert "sampler" in {entry["node_id"] for entry in record["determinism"]["demotions"]}


def test_what_deterministic_mode_does_not_reach_is_listed(saved: Path) -> None:
    demotions = record_of(saved.read_bytes())["determinism"]["demotions"]

    assert {entry["node_id"] for entry in demotions} == {"positive", "negative", "decode"}


def test_a_sidecar_holds_the_same_record(server: ComfyServer) -> None:
    prompt = prompts.txt2img(seed=53, steps=1, filename_prefix="with/sidecar")
    prompt["save"]["inputs"]["sidecar"] = True

    (path,) = server.images(server.run(prompt))

    sidecar = path.with_name(path.stem + ".provenance.json")
    assert json.loads(sidecar.read_text("ascii")) == record_of(path.read_bytes())


def test_nothing_is_overwritten_and_no_temporary_file_stays(server: ComfyServer) -> None:
    folder = server.output_folder / "numbers"
    folder.mkdir()
    taken = folder / "a%batch_num%_00001_.png"
    taken.write_bytes(b"taken")
    (folder / "a0_00001_.png").write_bytes(b"taken too")
    prompt = prompts.txt2img(seed=54, steps=1, batch_size=2, filename_prefix="numbers/a%batch_num%")

    paths = server.images(server.run(prompt))

    assert [path.name for path in paths] == ["a0_00002_.png", "a1_00003_.png"]
    assert taken.read_bytes() == b"taken"
    assert (folder / "a0_00001_.png").read_bytes() == b"taken too"
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_a_prefix_that_leads_out_of_the_folder_is_refused(server: ComfyServer) -> None:
    with pytest.raises(PromptFailed, match="expected a name below the output folder"):
        server.run(prompts.txt2img(seed=55, steps=1, filename_prefix="../../outside"))

    assert not (server.base.parent / "outside_00001_.png").exists()


def test_the_image_is_saved_when_its_record_cannot_be_made(server: ComfyServer) -> None:
    prompt = prompts.txt2img(seed=56, steps=1)
    # Core ignores an input that a node does not declare; half a surrogate pair has no UTF-8.
    prompt["latent"]["inputs"]["note"] = "\ud800"

    history = server.run(prompt)

    (path,) = server.images(history)
    document = json.loads(extract(path.read_bytes())["provenance"])
    assert "record_error" in document
    assert any(
        "without a record" in text for text in history.outputs["save"]["provenance_warnings"]
    )
    assert decode_pixels(path.read_bytes()).width == 128


def test_a_sidecar_that_cannot_be_written_costs_no_image(server: ComfyServer) -> None:
    # A file name that fits with `.png` and is too long with `.provenance.json`.
    prompt = prompts.txt2img(seed=58, steps=1, filename_prefix="x" * 240)
    prompt["save"]["inputs"]["sidecar"] = True

    history = server.run(prompt)

    (path,) = server.images(history)
    assert record_of(path.read_bytes())["tuple"]["seed"] == "58"
    assert any("could not be written" in w for w in history.outputs["save"]["provenance_warnings"])


@pytest.mark.parametrize("extra", ["text", ["a list"], {"odd": {"deep": [1, 2]}}])
def test_whatever_another_pack_wants_in_the_file_costs_no_image(
    server: ComfyServer, extra: Any
) -> None:
    prompt = prompts.txt2img(seed=59, steps=1, filename_prefix=f"extra/{type(extra).__name__}")

    (path,) = server.images(server.run(prompt, extra_data={"extra_pnginfo": extra}))

    assert record_of(path.read_bytes())["tuple"]["seed"] == "59"


def test_metadata_switched_off_leaves_none(server_with: Any) -> None:
    server = server_with("--disable-metadata")

    (path,) = server.images(server.run(prompts.txt2img(seed=57, steps=1)))

    assert extract(path.read_bytes()) == {}


def test_verify_compares_pixels_with_the_record(server: ComfyServer, saved: Path) -> None:
    data = saved.read_bytes()

    assert verify(server, data, data)["level"] == "bitwise"
    altered = verify(server, alter_pixel(data), data)
    assert altered["level"] != "bitwise"
    assert altered["pixels"]["max_abs"] == 1
    edited = verify(server, data, alter_pixel(data, 40))
    assert (edited["level"], edited["causes"][0]["kind"]) == ("mismatch", "image_edited")
    with pytest.raises(PromptFailed, match="Mismatch"):
        verify(server, data, alter_pixel(data, 40), on_mismatch="fail")


def test_the_record_can_be_read_by_a_node(server: ComfyServer, saved: Path) -> None:
    uploaded = server.upload(saved)
    prompt = {"read": prompts.node("ProvenanceReadRecord", image=uploaded)}

    (summary,) = server.run(prompt).outputs["read"]["text"]

    assert "seed: 51" in summary
    assert prompts.CHECKPOINT in summary


def test_the_pack_is_imported_without_failure(server: ComfyServer) -> None:
    times = server.log_text().partition("Import times for custom nodes:")[2]
    line = next(line for line in times.splitlines() if "comfyui-provenance" in line)

    assert "seconds" in line
    assert "IMPORT FAILED" not in line
