"""A file is itself whatever it is called: an image reproduces after every file was renamed.

The images are made first, with each file under its first name. Then every one of them is renamed
and moved into a sub-folder, and nothing but its content tells which it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfyui_provenance.digest import digest_file

from support import model_zoo as zoo
from support import prompts
from support.prompts import Prompt, node
from support.reports import first_cause, kinds, reproduce
from support.server import ComfyServer, folder_from
from support.tampering import edit_record, record_of

PACK = Path(__file__).parents[1] / "packs" / "odd_loaders"
HINT = "hint.png"
SIZE: dict[str, Any] = {"width": 64, "height": 64, "steps": 2}

MOVED = {
    f"checkpoints/{prompts.CHECKPOINT}": "checkpoints/sd/a b.safetensors",
    f"loras/{prompts.LORA}": "loras/old/one.safetensors",
    zoo.SECOND_LORA: "loras/two.safetensors",
    zoo.VAE: "vae/small/ä.safetensors",
    zoo.CONTROLNET: "controlnet/sd/control.safetensors",
    zoo.UPSCALER: "upscale_models/times two.safetensors",
    zoo.WORDS: "embeddings/words/first-1.safetensors",
    zoo.PICKLED_WORDS: "embeddings/deep/other.pt",
    zoo.DEEP_WORDS: "embeddings/up.safetensors",
    HINT: "pictures/renamed hint.png",
}
"""Where each file goes, below `models`; the picture below `input`."""


def everything() -> Prompt:
    """A graph with a file of each kind that core's loaders read."""
    prompt = prompts.lora(
        **SIZE,
        seed=21,
        positive="a red fox embedding:zoo_words in the snow, embedding:zoo_pickled.pt",
        negative="blurry, (ugly embedding:deep/zoo_deep:1.2)",
    )
    prompt |= {
        "hint": node("LoadImage", image=HINT),
        "control": node("ControlNetLoader", control_net_name=Path(zoo.CONTROLNET).name),
        "vae": node("VAELoader", vae_name=Path(zoo.VAE).name),
        "upscaler": node("UpscaleModelLoader", model_name=Path(zoo.UPSCALER).name),
        "enlarge": node(
            "ImageUpscaleWithModel", upscale_model=["upscaler", 0], image=["decode", 0]
        ),
    }
    prompts.steer(prompt, control=["control", 0], hint=["hint", 0])
    prompt["decode"]["inputs"]["vae"] = ["vae", 0]
    prompt["save"]["inputs"]["images"] = ["enlarge", 0]
    return prompt


def odd() -> Prompt:
    """A graph whose names of files stand in an object, in plain text, and are computed."""
    prompt = prompts.txt2img(**SIZE, seed=22)
    del prompt["loader"]
    prompt |= {
        "brain": node("OddBrainLoader", which_brain=prompts.CHECKPOINT),
        "stack": node(
            "OddLoraStack",
            model=["brain", 0],
            clip=["brain", 1],
            lora_1={"on": True, "lora": prompts.LORA, "strength": 0.6},
        ),
        "stem": node("OddFileName", stem=Path(zoo.SECOND_LORA).stem),
        "computed": node(
            "LoraLoaderModelOnly", model=["stack", 0], lora_name=["stem", 1], strength_model=1.0
        ),
        "path": node("OddWeightsPath", weights_path=Path(zoo.VAE).name),
    }
    for name in ("positive", "negative"):
        prompt[name]["inputs"]["clip"] = ["stack", 1]
    prompt["sampler"]["inputs"]["model"] = ["computed", 0]
    prompt["decode"]["inputs"]["vae"] = ["path", 0]
    return prompt


def loras() -> Prompt:
    """A graph with both LoRAs, whose names will be exchanged."""
    prompt = prompts.lora(**SIZE, seed=23)
    prompt["second"] = node(
        "LoraLoaderModelOnly",
        model=["lora", 0],
        lora_name=Path(zoo.SECOND_LORA).name,
        strength_model=1.0,
    )
    prompt["sampler"]["inputs"]["model"] = ["second", 0]
    return prompt


def pair() -> Prompt:
    """A graph that names two files of a small autoencoder by one name."""
    prompt = prompts.txt2img(**SIZE, seed=24)
    prompt["vae"] = node("VAELoader", vae_name="taesd")
    prompt["decode"]["inputs"]["vae"] = ["vae", 0]
    return prompt


GRAPHS = {
    "everything": lambda: prompts.in_mode(everything()),
    "odd": odd,
    "loras": lambda: prompts.in_mode(loras()),
    "pair": lambda: prompts.in_mode(pair()),
}


@dataclass(frozen=True)
class Place:
    """A server whose files are moved about.

    Attributes:
        server: it runs.
        images: the images of the graphs, made before anything was moved.
    """

    server: ComfyServer
    images: dict[str, bytes]

    def path(self, name: str) -> Path:
        """Find a file by its name below `models`, or below `input` if it has no folder there."""
        folder = "input" if name in (HINT, MOVED[HINT]) else "models"
        return self.server.base / folder / name

    def move(self, old: str, new: str) -> None:
        """Rename a file, in another folder too."""
        target = self.path(new)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path(old).rename(target)


@pytest.fixture(scope="module")
def made() -> Iterator[Place]:
    with ComfyServer(packs=[PACK]) as server:
        zoo.make_zoo(
            folder_from("PROVENANCE_MODELS") / "checkpoints" / prompts.CHECKPOINT,
            server.base / "models",
        )
        coarse = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64)).save(server.base / "input" / HINT)
        images: dict[str, bytes] = {}
        for name, graph in GRAPHS.items():
            (path,) = server.images(
                server.run(prompts.in_mode(graph()) if name != "odd" else graph())
            )
            images[name] = path.read_bytes()
            server.free()
        yield Place(server, images)


@pytest.fixture
def moved(made: Place) -> Iterator[Place]:
    """The place with every file moved; put back afterwards."""
    for old, new in MOVED.items():
        made.move(old, new)
    yield made
    for old, new in MOVED.items():
        made.move(new, old)


def below_kind(name: str) -> str:
    """Give a file's name as a graph has it."""
    return name if name in (HINT, MOVED[HINT]) else name.partition("/")[2]


def test_every_moved_file_is_found_and_the_image_comes_out_bit_for_bit(moved: Place) -> None:
    report = reproduce(moved.server, moved.images["everything"])

    found = {item["recorded_name"]: item["name"] for item in report["substitutions"]}
    wanted = {
        old if old == HINT else below_kind(old): below_kind(new) for old, new in MOVED.items()
    }
    del wanted[Path(zoo.SECOND_LORA).name]
    assert found == wanted
    assert {item["sha256"] for item in report["substitutions"]} == {
        digest_file(moved.path(new)).hex for old, new in MOVED.items() if old != zoo.SECOND_LORA
    }
    assert report["level"] == "bitwise"
    assert report["causes"] == []


def test_names_in_an_object_in_a_text_and_computed_ones_are_replaced(moved: Place) -> None:
    report = reproduce(moved.server, moved.images["odd"])

    assert {(item["node_id"], item["input"], item["name"]) for item in report["substitutions"]} == {
        ("brain", "which_brain", "sd/a b.safetensors"),
        ("stack", "lora_1", "old/one.safetensors"),
        ("computed", "lora_name", "two.safetensors"),
        ("path", "weights_path", "small/ä.safetensors"),
    }
    checks = {check["name"]: check["level"] for check in report["checks"]}
    assert checks["reproduction"] == "bitwise"


def test_two_files_that_exchanged_names_are_told_apart(made: Place) -> None:
    first, second = f"loras/{prompts.LORA}", zoo.SECOND_LORA
    made.move(first, "loras/x.safetensors")
    made.move(second, first)
    made.move("loras/x.safetensors", second)
    try:
        report = reproduce(made.server, made.images["loras"])
    finally:
        made.move(second, "loras/x.safetensors")
        made.move(first, second)
        made.move("loras/x.safetensors", first)

    found = {item["node_id"]: item["name"] for item in report["substitutions"]}
    assert found == {"lora": Path(second).name, "second": Path(first).name}
    assert report["level"] == "bitwise"


def altered(file: Path) -> bytes:
    """Give the content of a file of tensors with other values; it has the same size."""
    content = bytearray(file.read_bytes())
    for position in range(len(content) // 2, len(content), 2):
        content[position] ^= 0x40
    return bytes(content)


def test_the_recorded_file_is_used_and_not_others_of_its_name_or_size(made: Place) -> None:
    name, kept = f"loras/{prompts.LORA}", "loras/kept/mine.safetensors"
    made.move(name, kept)
    decoys = [made.path(name), made.path("loras/a.safetensors")]
    for decoy in decoys:
        decoy.write_bytes(altered(made.path(kept)))
    try:
        report = reproduce(made.server, made.images["loras"])
    finally:
        for decoy in decoys:
            decoy.unlink()
        made.move(kept, name)

    (found,) = report["substitutions"]
    assert (found["node_id"], found["name"]) == ("lora", "kept/mine.safetensors")
    assert report["level"] == "bitwise"


def test_another_file_under_the_name_runs_and_is_the_first_cause(made: Place) -> None:
    file, kept = made.path(f"loras/{prompts.LORA}"), made.server.base / "kept.safetensors"
    file.rename(kept)
    file.write_bytes(altered(kept))
    other = digest_file(file).hex
    try:
        report = reproduce(made.server, made.images["loras"])
    finally:
        kept.replace(file)

    recorded = record_of(made.images["loras"])["tuple"]["adapters"][0]["sha256"]
    kind, before, now = first_cause(report)
    assert report["substitutions"] == []
    assert report["level"] == "mismatch"
    assert (kind, before, now) == ("adapter_file", recorded, other)


def test_a_renamed_word_is_no_change_of_the_words(made: Place) -> None:
    lora, kept = f"loras/{prompts.LORA}", made.server.base / "kept.safetensors"
    made.path(lora).rename(kept)
    shutil.copyfile(made.path(zoo.SECOND_LORA), made.path(lora))
    made.move(zoo.WORDS, "embeddings/anew.safetensors")
    try:
        report = reproduce(made.server, made.images["everything"])
    finally:
        made.move("embeddings/anew.safetensors", zoo.WORDS)
        kept.replace(made.path(lora))

    assert [item["name"] for item in report["substitutions"]] == ["anew.safetensors"]
    assert report["level"] == "mismatch"
    assert kinds(report)[0] == "adapter_file"
    assert "prompt_text" not in kinds(report)


def test_a_file_that_is_nowhere_keeps_the_graph_from_running(made: Place) -> None:
    kept = made.server.base / "kept.safetensors"
    made.path(f"loras/{prompts.LORA}").rename(kept)
    try:
        report = reproduce(made.server, made.images["loras"])
    finally:
        kept.replace(made.path(f"loras/{prompts.LORA}"))

    assert report["level"] == "unknown"
    assert kinds(report) == ["adapter_file"]
    assert report["preflight"]["expect"] == "cannot_run"
    assert [item["name"] for item in report["preflight"]["to_fetch"]] == [prompts.LORA]


@pytest.mark.parametrize(
    ("old", "new", "folder"),
    [
        pytest.param(zoo.UPSCALER, "loras/lost.safetensors", "loras", id="another kind"),
        pytest.param(
            zoo.WORDS, "embeddings/two words.safetensors", "embeddings", id="a blank in a word"
        ),
    ],
)
def test_a_file_that_cannot_be_named_where_it_lies_is_told(
    made: Place, old: str, new: str, folder: str
) -> None:
    made.move(old, new)
    try:
        report = reproduce(made.server, made.images["everything"])
    finally:
        made.move(new, old)

    (lost,) = [item for item in report["preflight"]["materials"] if item["state"] != "here"]
    assert (lost["state"], lost["name"]) == ("missing", old.partition("/")[2])
    assert f"{below_kind(new)!r} in the folder of {folder}" in lost["note"]
    assert report["level"] != "bitwise"


def test_of_a_pair_of_files_with_one_name_none_can_be_renamed(made: Place) -> None:
    made.move(zoo.VAE_DECODER, "vae_approx/renamed.safetensors")
    try:
        report = reproduce(made.server, made.images["pair"])
    finally:
        made.move("vae_approx/renamed.safetensors", zoo.VAE_DECODER)

    states = {item["name"]: item["state"] for item in report["preflight"]["materials"]}
    assert states[Path(zoo.VAE_DECODER).name] == "missing"
    assert states[Path(zoo.VAE_ENCODER).name] == "here"
    assert report["preflight"]["expect"] == "cannot_run"


def test_a_picture_that_was_saved_anew_is_found_by_its_pixels(made: Place) -> None:
    kept = made.server.base / "kept.png"
    made.path(HINT).rename(kept)
    anew = made.server.base / "input" / "anew.png"
    Image.open(kept).save(anew, compress_level=1)
    try:
        report = reproduce(made.server, made.images["everything"])
    finally:
        kept.rename(made.path(HINT))
        anew.unlink()

    (found,) = report["substitutions"]
    assert (found["recorded_name"], found["name"]) == (HINT, "anew.png")
    assert report["level"] == "bitwise"
    assert any("another file with the same pixels" in note for note in report["notes"])


def test_a_digest_that_no_file_has_leads_nowhere_else(made: Place) -> None:
    """A record that claims the size of another file must not get that file."""

    def claim(record: dict[str, Any]) -> None:
        entry = next(item for item in record["materials"] if item["kind"] == "loras")
        entry["name"] = "../checkpoints/" + prompts.CHECKPOINT
        entry["sha256"] = "0" * 64

    report = reproduce(made.server, edit_record(made.images["loras"], claim))

    assert report["level"] == "mismatch"
    assert report["substitutions"] == []
