"""What a graph from an image may run: what this server has run before, or what is allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support import prompts
from support.reports import kinds, reproduce
from support.server import ComfyServer, PromptFailed
from support.tampering import Graph, edit_graph, edit_record, record_of, set_input

THIRD_PARTY = Path(__file__).parents[1] / "packs" / "third_party"


@pytest.fixture(scope="module")
def server(server_with: Any) -> ComfyServer:
    found: ComfyServer = server_with(packs=(THIRD_PARTY,))
    return found


@pytest.fixture
def elsewhere() -> Iterator[ComfyServer]:
    """Another server with the same packs, which has run nothing yet."""
    with ComfyServer(packs=(THIRD_PARTY,)) as started:
        yield started


def mirrored(save_class: str, sampler_class: str) -> prompts.Prompt:
    prompt = prompts.txt2img(seed=41, steps=2, save_class=save_class, sampler_class=sampler_class)
    prompt["mirror"] = prompts.node("ThirdPartyMirror", image=["decode", 0])
    prompt["save"]["inputs"]["images"] = ["mirror", 0]
    return prompt


def allow(server: ComfyServer, text: str) -> Path:
    path = server.base / "user" / "__provenance" / "policy.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("save_class", "sampler_class"),
    [
        pytest.param("ProvenanceSaveImage", "ProvenanceKSampler", id="ours"),
        pytest.param("SaveImage", "KSampler", id="stock"),
    ],
)
def test_a_third_party_node_reproduces_where_it_ran_without_a_question(
    server: ComfyServer, save_class: str, sampler_class: str
) -> None:
    (path,) = server.images(server.run(mirrored(save_class, sampler_class)))
    server.restart()

    assert reproduce(server, path.read_bytes())["level"] == "bitwise"


def test_a_third_party_node_runs_elsewhere_only_after_its_pack_was_allowed(
    server: ComfyServer, elsewhere: ComfyServer
) -> None:
    prompt = mirrored("ProvenanceSaveImage", "ProvenanceKSampler")
    (path,) = server.images(server.run(prompt))
    data = path.read_bytes()

    with pytest.raises(PromptFailed, match=r"has not run it with: \"third_party\"") as refusal:
        reproduce(elsewhere, data)

    assert '{"allowed_packs": ["third_party"]}' in str(refusal.value)
    assert "  0%|" not in elsewhere.log_text()
    allow(elsewhere, json.dumps({"allowed_packs": ["third_party"]}))
    assert reproduce(elsewhere, data)["level"] == "bitwise"
    allow(elsewhere, "{damaged")
    with pytest.raises(PromptFailed, match=r"policy\.json: cannot be read"):
        reproduce(elsewhere, edit_graph(data, set_input("sampler", "cfg", 7.5)))


def test_a_changed_graph_with_a_third_party_node_is_a_new_graph(server: ComfyServer) -> None:
    prompt = mirrored("ProvenanceSaveImage", "ProvenanceKSampler")
    (path,) = server.images(server.run(prompt))

    with pytest.raises(PromptFailed, match="third_party"):
        reproduce(server, edit_graph(path.read_bytes(), set_input("sampler", "cfg", 7.6)))


def insert(class_type: str, **inputs: object) -> Any:
    """An edit that puts a node between the decoder and whatever used its image."""

    def edit(graph: Graph) -> None:
        graph["decoded"] = graph["decode"]
        graph["decode"] = {"class_type": class_type, "inputs": inputs}

    return edit


def width_from_a_primitive(graph: Graph) -> None:
    graph["number"] = prompts.node("PrimitiveInt", value=16384)
    graph["latent"]["inputs"]["width"] = ["number", 0]


def width_of_an_image(graph: Graph) -> None:
    graph["blank"] = prompts.node("EmptyImage", width=64, height=64, batch_size=1, color=0)
    graph["size"] = prompts.node("GetImageSize", image=["blank", 0])
    graph["latent"]["inputs"]["width"] = ["size", 0]


def chain_of_nodes(count: int) -> Any:
    """An edit that inverts the image so many times."""

    def edit(graph: Graph) -> None:
        graph["0"] = graph["decode"]
        for at in range(1, count):
            graph[str(at)] = prompts.node("ImageInvert", image=[str(at - 1), 0])
        graph["decode"] = prompts.node("ImageInvert", image=[str(count - 1), 0])

    return edit


def enlarged_twice(graph: Graph) -> None:
    """The usual second pass: sampled at 1024, enlarged to twice that and sampled again."""
    graph["latent"]["inputs"] |= {"width": 1024, "height": 1024, "batch_size": 4}
    graph["larger"] = prompts.node(
        "LatentUpscaleBy", samples=["sampler", 0], upscale_method="bislerp", scale_by=2.0
    )
    again = {**graph["sampler"]["inputs"], "latent_image": ["larger", 0], "denoise": 0.4}
    graph["again"] = {"class_type": graph["sampler"]["class_type"], "inputs": again}
    for name in ("sampler", "again"):
        graph[name]["inputs"]["steps"] = 50
    graph["decode"]["inputs"]["samples"] = ["again", 0]


def upscaled_by_a_model(graph: Graph) -> None:
    """A model that may enlarge eightfold, on 2048 x 2048, and what follows it."""
    graph["latent"]["inputs"] |= {"width": 2048, "height": 2048}
    graph["decoded"] = graph["decode"]
    graph["upscaler"] = prompts.node("UpscaleModelLoader", model_name="any.pth")
    graph["large"] = prompts.node(
        "ImageUpscaleWithModel", upscale_model=["upscaler", 0], image=["decoded", 0]
    )
    graph["sharp"] = prompts.node(
        "ImageSharpen", image=["large", 0], sharpen_radius=1, sigma=1.0, alpha=0.5
    )
    graph["decode"] = prompts.node(
        "ImageScaleBy", image=["sharp", 0], upscale_method="lanczos", scale_by=0.5
    )


def many_regions(graph: Graph) -> None:
    """A picture of twelve regions, each with its own words."""
    link: list[str | int] = ["positive", 0]
    for at in range(12):
        words = f"a fox and {at} hens, in the evening, in the style of nobody " * 5
        graph[f"words{at}"] = prompts.node("CLIPTextEncode", text=words, clip=["loader", 1])
        graph[f"area{at}"] = prompts.node(
            "ConditioningSetArea",
            conditioning=[f"words{at}", 0],
            width=512,
            height=512,
            x=0,
            y=0,
            strength=1.0,
        )
        graph[f"both{at}"] = prompts.node(
            "ConditioningCombine", conditioning_1=link, conditioning_2=[f"area{at}", 0]
        )
        link = [f"both{at}", 0]
    graph["sampler"]["inputs"]["positive"] = link


def hundred_images(graph: Graph) -> None:
    """Images made in two batches and put together, each enlarged."""
    graph["latent"]["inputs"] |= {"width": 512, "height": 768, "batch_size": 50}
    graph["first"] = graph["decode"]
    graph["all"] = prompts.node("ImageBatch", image1=["first", 0], image2=["first", 0])
    graph["decode"] = prompts.node(
        "ImageScale",
        image=["all", 0],
        upscale_method="area",
        width=768,
        height=1152,
        crop="center",
    )


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(enlarged_twice, id="enlarged and sampled again"),
        pytest.param(upscaled_by_a_model, id="enlarged by a model"),
        pytest.param(many_regions, id="many regions"),
        pytest.param(hundred_images, id="a hundred images"),
        pytest.param(chain_of_nodes(900), id="nine hundred nodes"),
    ],
)
def test_an_ordinary_graph_from_elsewhere_is_not_refused(server: ComfyServer, edit: Any) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=49, steps=1)))

    answer = preflight(server, edit_graph(path.read_bytes(), edit, resealed=True))

    assert (answer["problem"], answer["refusal"]) == (None, None)


def preflight(server: ComfyServer, data: bytes) -> Any:
    """Ask what can be expected of a rerun, which runs nothing."""
    status, answer = server.request(
        "/api/provenance/preflight", data, content_type="application/octet-stream"
    )
    assert status == 200
    return json.loads(answer)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(
            insert("SaveLatent", samples=["sampler", 0], filename_prefix="stolen"),
            "output nodes are never run",
            id="output node",
        ),
        pytest.param(
            insert("ProvenanceReproduce", image="a.png"),
            "output nodes are never run",
            id="nested reproduce",
        ),
        pytest.param(
            insert("LoadTrainingDataset", folder_name="x"), "not on the list", id="dataset"
        ),
        pytest.param(
            insert("StringFormat", f_string="{a:>9999999999}"), "not on the list", id="formatting"
        ),
        pytest.param(set_input("latent", "width", 16384), "width of at most 8192", id="huge"),
        pytest.param(width_from_a_primitive, "width of at most 8192", id="from a primitive"),
        pytest.param(width_of_an_image, "width is computed by another node", id="computed"),
        pytest.param(chain_of_nodes(1000), "at most 1000 nodes", id="too many nodes"),
        pytest.param(
            lambda graph: graph["latent"]["inputs"].update(width=8192, height=8192, batch_size=64),
            "pixels of at most 268435456",
            id="many",
        ),
        pytest.param(set_input("latent", "width", "16384"), "width of at most 8192", id="as text"),
        pytest.param(
            set_input("latent", "batch_size", {"__value__": 4096}),
            "batch_size of at most 64",
            id="wrapped",
        ),
        pytest.param(set_input("sampler", "steps", 9999), "steps of at most 1000", id="endless"),
        pytest.param(
            set_input("sampler", "sampler_name", "nope"), "cannot run here", id="unknown sampler"
        ),
    ],
)
def test_what_may_not_run_is_refused_and_writes_nothing(
    server: ComfyServer, edit: Any, message: str
) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=42, steps=1)))
    files_before = sorted(server.output_folder.rglob("*"))

    with pytest.raises(PromptFailed, match=message):
        reproduce(server, edit_graph(path.read_bytes(), edit))

    assert sorted(server.output_folder.rglob("*")) == files_before


def test_a_graph_of_a_class_that_is_not_here_is_told_and_not_run(server: ComfyServer) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=42, steps=1)))
    before = server.log_text().count("  0%|")

    report = reproduce(server, edit_graph(path.read_bytes(), insert("NoSuchNode"), resealed=True))

    assert "node_missing" in kinds(report)
    assert report["level"] in ("unknown", "mismatch")
    assert server.log_text().count("  0%|") == before


def test_a_broken_node_that_nothing_depends_on_does_not_matter(server: ComfyServer) -> None:
    prompt = prompts.txt2img(seed=43, steps=1)
    prompt["orphan"] = prompts.node("VAEDecode", samples=["gone", 0], vae=["loader", 2])

    (path,) = server.images(server.run(prompt))

    assert "orphan" not in json.loads(record_of(path.read_bytes())["graph"])
    assert reproduce(server, path.read_bytes())["level"] == "bitwise"


def test_a_class_of_core_that_is_not_on_the_list_runs_once_the_owner_allowed_it(
    elsewhere: ComfyServer, server: ComfyServer
) -> None:
    prompt = prompts.txt2img(seed=44, steps=1)
    prompt["joined"] = prompts.node(
        "StringConcatenate", string_a="a red", string_b="fox", delimiter=" "
    )
    prompt["positive"]["inputs"]["text"] = ["joined", 0]
    (path,) = server.images(server.run(prompt))

    with pytest.raises(PromptFailed, match="StringConcatenate"):
        reproduce(elsewhere, path.read_bytes())

    allow(elsewhere, json.dumps({"allowed_classes": ["StringConcatenate"]}))
    assert reproduce(elsewhere, path.read_bytes())["level"] == "bitwise"


def test_a_graph_that_loads_the_image_itself_shows_nothing(server: ComfyServer) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=45, steps=1)))
    copy = server.upload(path.read_bytes(), "itself.png")
    prompt = {
        "load": prompts.node("LoadImage", image=copy),
        "save": prompts.save("ProvenanceSaveImage", "loaded"),
    }
    prompt["save"]["inputs"]["images"] = ["load", 0]
    with Image.open(path) as image:
        image.convert("RGBA").save(server.input_folder / "with_alpha.png")

    for name in ("itself.png", "with_alpha.png"):
        prompt["load"]["inputs"]["image"] = name
        (loaded,) = server.images(server.run(prompt))

        report = reproduce(server, loaded.read_bytes())

        assert report["level"] == "unknown"
        assert kinds(report) == ["cached_result"]


def test_a_node_that_cannot_be_made_to_run_again_is_never_passed_over(server: ComfyServer) -> None:
    prompt = {
        "noise": prompts.node("ThirdPartyFlexibleNoise", anything=1),
        "invert": prompts.node("ImageInvert", image=["noise", 0]),
        "save": prompts.save("ProvenanceSaveImage", "noise"),
    }
    prompt["save"]["inputs"]["images"] = ["invert", 0]
    (path,) = server.images(server.run(prompt))

    report = reproduce(server, path.read_bytes())

    assert report["level"] == "unknown"
    assert kinds(report)[0] == "cached_result"


@pytest.mark.parametrize(
    "break_ledger",
    [
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe"), id="not text"),
        pytest.param(lambda path: path.mkdir(), id="a folder"),
    ],
)
def test_a_damaged_ledger_costs_no_record_and_tells_no_path(break_ledger: Any) -> None:
    with ComfyServer() as damaged:
        folder = damaged.base / "user" / "__provenance"
        folder.mkdir(parents=True)
        break_ledger(folder / "graphs.txt")

        (path,) = damaged.images(damaged.run(prompts.txt2img(seed=46, steps=1)))

        assert record_of(path.read_bytes())["tuple"]["seed"] == "46"
        assert str(damaged.base).encode() not in path.read_bytes()


def test_more_reproductions_than_anyone_needs_run_in_one_prompt(server: ComfyServer) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=47, steps=1)))
    image = server.upload(path)
    prompt = {str(n): prompts.node("ProvenanceReproduce", image=image) for n in range(20)}

    history = server.run(prompt)

    reports = [
        output["provenance_report"][0]["level"]
        for output in history.outputs.values()
        if "provenance_report" in output
    ]
    assert reports == ["bitwise"] * 20


def test_an_api_node_is_never_run(server: ComfyServer) -> None:
    known = server.get_json("/object_info")
    name = next(
        name
        for name, about in known.items()
        if about.get("api_node") and "IMAGE" in about["output"]
    )
    (path,) = server.images(server.run(prompts.txt2img(seed=48, steps=1)))

    with pytest.raises(PromptFailed, match="API nodes are never run"):
        reproduce(server, edit_graph(path.read_bytes(), insert(name)))


def test_what_is_behind_an_input_of_any_name_is_validated_as_well(
    server: ComfyServer, elsewhere: ComfyServer
) -> None:
    prompt = {
        "noise": prompts.node("ThirdPartyFlexibleNoise"),
        "invert": prompts.node("ImageInvert", image=["noise", 0]),
        "save": prompts.save("ProvenanceSaveImage", "noise"),
    }
    prompt["save"]["inputs"]["images"] = ["invert", 0]
    (path,) = server.images(server.run(prompt))

    def edit(graph: Graph) -> None:
        graph["blur"] = prompts.node("ImageBlur", image=["blank", 0], blur_radius=10**6, sigma=1.0)
        graph["blank"] = prompts.node("EmptyImage", width=8, height=8, batch_size=1, color=0)
        graph["noise"]["inputs"]["anything"] = ["blur", 0]

    allow(elsewhere, json.dumps({"allowed_packs": ["third_party"]}))
    with pytest.raises(PromptFailed, match=r"cannot run here: node blur \(ImageBlur\)"):
        reproduce(elsewhere, edit_graph(path.read_bytes(), edit))


def test_a_picture_under_another_name_is_found_and_looked_at_elsewhere(
    server: ComfyServer, elsewhere: ComfyServer
) -> None:
    (source,) = server.images(server.run(prompts.txt2img(seed=50, steps=1)))
    name = server.upload(source.read_bytes(), "hint.png")
    (path,) = server.images(server.run(prompts.img2img(name, seed=51, steps=1)))
    data = path.read_bytes()

    assert kinds(reproduce(elsewhere, data)) == ["input_image"]

    elsewhere.upload(source.read_bytes(), "renamed.png")
    report = reproduce(elsewhere, data)
    assert [found["name"] for found in report["substitutions"]] == ["renamed.png"]
    assert report["level"] == "bitwise"

    # Four tiles, each sampled by itself, which only the picture that was found shows.
    def edit(graph: Graph) -> None:
        graph["tiles"] = prompts.node(
            "SplitImageToTileList", image=["image", 0], tile_width=64, tile_height=64, overlap=0
        )
        graph["encode"]["inputs"]["pixels"] = ["tiles", 0]
        graph["sampler"]["inputs"]["steps"] = 600

    with pytest.raises(PromptFailed, match="steps of all samplers of at most 2000"):
        reproduce(elsewhere, edit_graph(data, edit, resealed=True))


def test_a_record_of_a_newer_version_is_a_doubt_and_a_damaged_one_is_a_mismatch(
    server: ComfyServer,
) -> None:
    (path,) = server.images(server.run(prompts.txt2img(seed=52, steps=1)))
    data = path.read_bytes()

    newer = reproduce(server, edit_record(data, lambda record: record.update(version=2)))
    damaged = reproduce(server, edit_record(data, lambda record: record.update(version="2")))

    assert newer["level"] == "unknown"
    assert "record_edited" not in kinds(newer)
    assert damaged["level"] == "mismatch"
    assert "record_edited" in kinds(damaged)
