"""An image reproduces bit for bit from its file alone, and a changed one does not.

Every graph is saved, the server is restarted, and the file is uploaded under another name,
so that nothing but the file and the model folder can be what made it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfyui_provenance.containers.png import embed_text

from support import prompts
from support.reports import first_cause, kinds, report_of, reproduce
from support.server import ComfyServer, PromptFailed
from support.tampering import (
    Edit,
    alter_pixel,
    edit_graph,
    edit_prompt,
    edit_record,
    record_of,
    set_input,
)


@dataclass(frozen=True)
class Graph:
    """A graph to reproduce, and one small change that must be noticed and named."""

    build: Callable[[ComfyServer], prompts.Prompt]
    edit: Edit
    cause: tuple[str, Any, Any]


def photo(colour: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (128, 128), colour).save(content, "PNG")
    return content.getvalue()


GRAPHS = {
    "txt2img": Graph(
        lambda _: prompts.txt2img(seed=11, cfg=7.0),
        set_input("sampler", "cfg", 7.1),
        ("cfg", 7, 7.1),
    ),
    "img2img": Graph(
        lambda server: prompts.img2img(server.upload(photo("orange"), "orange.png"), seed=12),
        set_input("sampler", "denoise", 0.8),
        ("denoise", 0.6, 0.8),
    ),
    "two samplers": Graph(
        lambda _: prompts.two_samplers(seed=13, second_denoise=0.5),
        set_input("second", "seed", 14),
        ("seed", "13", "14"),
    ),
    "lora": Graph(
        lambda _: prompts.lora(seed=15, strength_model=0.6),
        set_input("lora", "strength_model", 0.7),
        ("adapter_strength", 0.6, 0.7),
    ),
    "batch of 3": Graph(
        lambda _: prompts.txt2img(seed=16, batch_size=3, sampler_name="euler_ancestral"),
        set_input("positive", "text", "a red fox in the sn\u2019ow"),
        ("prompt_text", "a red fox in the snow", "a red fox in the sn\u2019ow"),
    ),
    "advanced sampler": Graph(
        lambda _: advanced(seed=17),
        set_input("sampler", "steps", 5),
        ("steps", 4, 5),
    ),
    "stock sampler": Graph(
        lambda _: prompts.txt2img(seed=18, sampler_class="KSampler"),
        set_input("sampler", "scheduler", "karras"),
        ("scheduler", "normal", "karras"),
    ),
    "Deterministic Mode": Graph(
        lambda _: prompts.in_mode(
            prompts.txt2img(
                seed=19, batch_size=3, sampler_class="KSampler", sampler_name="dpmpp_2m_sde"
            ),
            batch_invariant=True,
            noise="portable",
        ),
        set_input("negative", "text", "blurred"),
        ("negative_text", "blurry", "blurred"),
    ),
}

each_graph = pytest.mark.parametrize("name", GRAPHS)


def advanced(seed: int) -> prompts.Prompt:
    prompt = prompts.txt2img(sampler_class="ProvenanceKSamplerAdvanced")
    inputs = prompt["sampler"]["inputs"]
    del inputs["seed"], inputs["denoise"]
    inputs |= {"add_noise": "enable", "noise_seed": seed, "start_at_step": 0}
    inputs |= {"end_at_step": 3, "return_with_leftover_noise": "disable"}
    return prompt


@pytest.fixture(scope="module")
def saved(server: ComfyServer) -> dict[str, list[bytes]]:
    """The files of every graph, from a server that has been restarted since."""
    files = {}
    for name, graph in GRAPHS.items():
        history = server.run(graph.build(server))
        files[name] = [path.read_bytes() for path in server.images(history)]
    server.restart()
    return files


@each_graph
def test_an_image_reproduces_bitwise_after_a_restart(
    server: ComfyServer, saved: dict[str, list[bytes]], name: str
) -> None:
    sampled_before = server.log_text().count("  0%|")

    for data in saved[name]:
        report = reproduce(server, data)

        assert report["level"] == "bitwise", report
        assert report["causes"] == []
        assert report["pixels"]["max_abs"] == 0
    # With batch invariance only the image in question is made: one sampling each, too.
    samplings = len(record_of(saved[name][0])["samplings"])
    assert server.log_text().count("  0%|") - sampled_before == samplings * len(saved[name])


@each_graph
def test_a_changed_graph_is_a_mismatch_and_the_change_is_named_first(
    server: ComfyServer, saved: dict[str, list[bytes]], name: str
) -> None:
    graph = GRAPHS[name]

    report = reproduce(server, edit_graph(saved[name][-1], graph.edit))

    kind, recorded, now = first_cause(report)
    expected_kind, expected_recorded, expected_now = graph.cause
    assert report["level"] == "mismatch"
    assert kind == expected_kind
    assert kinds(report)[1:3] == ["graph_edited", "record_edited"]
    if kind == "adapter_strength":
        recorded = recorded[0]["strengths"]["strength_model"]
        now = now[0]["strengths"]["strength_model"]
    assert (recorded, now) == (expected_recorded, expected_now)
    reproduction = next(check for check in report["checks"] if check["name"] == "reproduction")
    assert reproduction["level"] == "mismatch"


def test_the_images_of_a_batch_differ_and_each_knows_its_place(
    saved: dict[str, list[bytes]],
) -> None:
    subjects = [record_of(data)["subject"] for data in saved["batch of 3"]]

    assert [subject["batch_index"] for subject in subjects] == [0, 1, 2]
    assert len({subject["digest"] for subject in subjects}) == 3


def test_a_resealed_forgery_is_still_caught_by_the_tuple_and_the_pixels(
    server: ComfyServer, saved: dict[str, list[bytes]]
) -> None:
    data = saved["txt2img"][0]
    forged = edit_graph(data, set_input("sampler", "cfg", 7.1), resealed=True)

    report = reproduce(server, forged)

    assert report["level"] == "mismatch"
    assert first_cause(report) == ("cfg", 7, 7.1)


def test_a_changed_prompt_beside_an_intact_record_is_a_mismatch(
    server: ComfyServer, saved: dict[str, list[bytes]]
) -> None:
    report = reproduce(server, edit_prompt(saved["txt2img"][0], set_input("sampler", "cfg", 7.1)))

    assert report["level"] == "mismatch"
    assert first_cause(report) == ("cfg", 7, 7.1)
    assert kinds(report) == ["cfg", "graph_edited"]


def test_an_altered_pixel_is_named_though_the_graph_still_gives_the_original(
    server: ComfyServer, saved: dict[str, list[bytes]]
) -> None:
    report = reproduce(server, alter_pixel(saved["txt2img"][0]))

    levels = {check["name"]: check["level"] for check in report["checks"]}
    assert report["level"] == "mismatch"
    assert kinds(report) == ["image_edited"]
    assert levels["reproduction"] == "bitwise"
    assert levels["image"] == "mismatch"
    assert report["pixels"]["max_abs"] == 1


def test_an_edited_record_is_named(server: ComfyServer, saved: dict[str, list[bytes]]) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["created"] = "1999-01-01T00:00:00+00:00"

    report = reproduce(server, edit_record(saved["txt2img"][0], edit))

    assert report["level"] == "mismatch"
    assert kinds(report) == ["record_edited"]


def test_a_replaced_input_image_is_named_with_both_digests(
    server: ComfyServer, saved: dict[str, list[bytes]]
) -> None:
    data = saved["img2img"][0]
    (material,) = [m for m in record_of(data)["materials"] if m["kind"] == "input"]
    path = server.input_folder / material["name"]
    original = path.read_bytes()
    path.write_bytes(photo("navy"))
    try:
        report = reproduce(server, data)
    finally:
        path.write_bytes(original)

    kind, recorded, _ = first_cause(report)
    assert report["level"] == "mismatch"
    assert (kind, recorded) == ("input_image", material["sha256"])
    assert reproduce(server, data)["level"] == "bitwise"


def test_a_stock_image_is_judged_by_its_own_pixels(server: ComfyServer) -> None:
    stock = prompts.txt2img(seed=21, sampler_class="KSampler", save_class="SaveImage")
    (path,) = server.images(server.run(stock))
    data = path.read_bytes()

    assert reproduce(server, data)["level"] == "bitwise"
    assert reproduce(server, alter_pixel(data, 90))["level"] == "mismatch"
    edited = edit_prompt(data, set_input("sampler", "seed", 22))
    assert reproduce(server, edited)["level"] == "mismatch"


def test_a_stock_graph_with_two_saved_images_goes_by_the_files_name(
    server: ComfyServer,
) -> None:
    prompt = prompts.txt2img(
        seed=23, sampler_class="KSampler", save_class="SaveImage", filename_prefix="plain"
    )
    prompt["invert"] = prompts.node("ImageInvert", image=["decode", 0])
    prompt["save_inverted"] = prompts.node(
        "SaveImage", images=["invert", 0], filename_prefix="inverted"
    )
    history = server.run(prompt)
    (path,) = server.images(history, "save_inverted")

    report = reproduce(server, path.read_bytes(), path.name)

    assert report["level"] == "bitwise"
    assert reproduce(server, path.read_bytes(), "inverted_00001_ (1).png")["level"] == "bitwise"
    with pytest.raises(PromptFailed, match="2 different images"):
        reproduce(server, path.read_bytes(), "renamed.png")


def test_a_saving_node_on_the_way_is_passed_by_and_writes_nothing(server: ComfyServer) -> None:
    prompt = prompts.txt2img(seed=24)
    prompt["between"] = prompts.node("SaveImage", images=["decode", 0], filename_prefix="between")
    prompt["invert"] = prompts.node("ImageInvert", image=["between", 0])
    prompt["save"]["inputs"]["images"] = ["invert", 0]
    (path,) = server.images(server.run(prompt))
    files_before = sorted(server.output_folder.iterdir())

    report = reproduce(server, path.read_bytes())

    assert report["level"] == "bitwise", report
    assert sorted(server.output_folder.iterdir()) == files_before


def test_reproduce_hands_on_both_images(server: ComfyServer, saved: dict[str, list[bytes]]) -> None:
    uploaded = server.upload(saved["txt2img"][0])
    prompt = {
        "reproduce": prompts.node("ProvenanceReproduce", image=uploaded),
        "reproduced": prompts.node(
            "SaveImage", images=["reproduce", 0], filename_prefix="handed/reproduced"
        ),
        "original": prompts.node(
            "SaveImage", images=["reproduce", 1], filename_prefix="handed/original"
        ),
    }

    history = server.run(prompt)

    frames = []
    for node_id in ("reproduced", "original"):
        with Image.open(server.images(history, node_id)[0]) as image:
            frames.append(np.asarray(image))
    assert report_of(history)["level"] == "bitwise"
    assert np.array_equal(*frames)
    assert frames[0].std() > 20


def test_an_image_without_a_graph_is_refused_with_the_reason(server: ComfyServer) -> None:
    with pytest.raises(PromptFailed, match="neither a record nor ComfyUI's prompt"):
        reproduce(server, photo("white"))


def test_a_graph_with_a_missing_model_cannot_run_and_says_so(
    server: ComfyServer, saved: dict[str, list[bytes]]
) -> None:
    edited = edit_graph(saved["txt2img"][0], set_input("loader", "ckpt_name", "gone.safetensors"))
    started_before = server.log_text().count("  0%|")

    report = reproduce(server, edited)

    rerun = next(check for check in report["checks"] if check["name"] == "rerun")
    assert (rerun["level"], rerun["found"]) == ("unknown", "cannot run here")
    assert "'gone.safetensors' is not on this server" in rerun["message"]
    assert report["level"] == "mismatch"  # since the record was edited as well
    assert "model_file" in kinds(report)
    assert server.log_text().count("  0%|") == started_before


def test_a_graph_with_a_missing_node_cannot_run_and_says_so(
    server: ComfyServer, saved: dict[str, list[bytes]]
) -> None:
    def rename(graph: dict[str, Any]) -> None:
        graph["decode"]["class_type"] = "NodeOfNoPack"

    report = reproduce(server, edit_graph(saved["txt2img"][0], rename, resealed=True))

    assert report["level"] == "unknown", report
    assert (report["causes"][0]["kind"], report["causes"][0]["node_id"]) == (
        "node_missing",
        "decode",
    )
    assert report["causes"][0]["remedy"]


def test_the_same_graph_has_one_text_in_every_process(server: ComfyServer) -> None:
    prompt = prompts.lora(seed=25, steps=1)
    (first,) = server.images(server.run(prompt))
    server.restart()
    (second,) = server.images(server.run(prompt))

    records = [record_of(path.read_bytes()) for path in (first, second)]
    assert records[0]["graph"] == records[1]["graph"]
    assert list(json.loads(records[0]["graph"])) == [name for name in prompt if name != "save"]


def test_a_changed_workflow_beside_an_intact_graph_is_a_mismatch(server: ComfyServer) -> None:
    shown = {"nodes": [], "extra": {"note": "as saved"}}
    prompt = prompts.txt2img(seed=26, steps=1)
    history = server.run(prompt, extra_data={"extra_pnginfo": {"workflow": shown}})
    (path,) = server.images(history)
    data = path.read_bytes()

    assert reproduce(server, data)["level"] == "bitwise"
    report = reproduce(server, embed_text(data, {"workflow": json.dumps({"nodes": []})}))
    assert report["level"] == "mismatch"
    assert kinds(report) == ["graph_edited"]


def test_a_mismatch_tells_the_step_at_which_the_runs_part(
    server: ComfyServer, saved: dict[str, list[bytes]]
) -> None:
    data = saved["two samplers"][0]
    steps = [len(entry["steps"]) for entry in record_of(data)["trace"]]

    first = reproduce(server, edit_graph(data, set_input("sampler", "cfg", 7.1)))
    second = reproduce(server, edit_graph(data, set_input("second", "cfg", 7.1)))

    assert steps == [5, 5]
    noted = [[note for note in report["notes"] if "sampler" in note] for report in (first, second)]
    assert "the runs part at step 1 of 4" in noted[0][0]
    assert "the latent is the same bits after every step" in noted[1][0]
    assert "the runs part at step 1 of 4" in noted[1][1]
