"""A record's materials are the files that ComfyUI opened: all of them, and no other.

Each graph runs twice. First in a ComfyUI without this pack, under strace: whatever that opens among
the models and inputs, ComfyUI and the nodes opened, since nothing of ours is there to hash it. Then
in one with this pack, which saves the record. Both work in one base directory, with one seed for
Python's hashes, and their pictures are the same: they were made from the same files.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from comfyui_provenance.digest import Digest
from comfyui_provenance.pixels import decode_pixels, digest_pixels

from support import model_zoo as zoo
from support import prompts, tiny_models
from support.open_files import WatchedServer, files_below
from support.prompts import Prompt, node
from support.server import ComfyServer, folder_from
from support.tampering import record_of

pytestmark = pytest.mark.linux

PACK = Path(__file__).parents[1] / "packs" / "odd_loaders"
PHOTO, MASK, HINT, LATENT = "phöto > 1.png", "mask.png", "sub/hint.png", "zoo.latent"
SHARED = "shared.safetensors"
TWICE = "twice.safetensors"
TWINS = {
    f"twin_of_{first}_and_{second}": (first, second)
    for first, second in combinations(("one", "two", "three", "four"), 2)
}
STOCK: dict[str, Any] = {
    "sampler_class": "KSampler",
    "save_class": "SaveImage",
    "width": 64,
    "height": 64,
    "steps": 2,
}

Key = tuple[str, str]
Material = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """The folders in which both servers work.

    Attributes:
        base: the base directory.
        elsewhere: a second folder for models, laid out as ComfyUI's `models`.
    """

    base: Path
    elsewhere: Path

    def files(self) -> dict[Path, Key]:
        """Give kind and name, as a record has them, of every model and input by resolved path."""
        roots = (self.base / "models", self.elsewhere, self.base)
        found = files_below([self.base / "models", self.elsewhere, self.base / "input"])
        return {resolved: key_below(roots, path) for resolved, path in found.items()}

    def server(self, *, with_pack: bool) -> WatchedServer:
        """Describe a server that works here."""
        return WatchedServer(
            arguments=["--extra-model-paths-config", str(self.elsewhere / "paths.yaml")],
            environ={"PYTHONHASHSEED": "7"},
            packs=[PACK],
            with_pack=with_pack,
            base=self.base,
        )


def key_below(roots: tuple[Path, ...], path: Path) -> Key:
    root = next(root for root in roots if path.is_relative_to(root))
    kind, _, name = path.relative_to(root).as_posix().partition("/")
    return kind, name


@dataclass(frozen=True)
class Made:
    """A picture, and what was opened for it.

    Attributes:
        data: the saved file.
        opened: the models and inputs that were opened, by kind and name.
        cached: the nodes that did not run.
    """

    data: bytes
    opened: dict[Key, Path]
    cached: frozenset[str]

    @property
    def pixels(self) -> Digest:
        """What it shows."""
        return digest_pixels(decode_pixels(self.data))

    @property
    def materials(self) -> list[Material]:
        """The materials of its record."""
        listed: list[Material] = record_of(self.data)["materials"]
        return listed


def make(place: Place, server: WatchedServer, prompt: Prompt) -> Made:
    history, paths = server.watch(prompt)
    (picture,) = server.images(history)
    files = place.files()
    opened = {files[path]: path for path in paths & files.keys()}
    return Made(picture.read_bytes(), opened, frozenset(history.cached))


# --- the graphs ---


def everything() -> Prompt:
    """A photo painted over in a mask, twice, with two LoRAs, a ControlNet and invented words."""
    prompt = prompts.two_samplers(
        **STOCK,
        seed=91,
        positive="a red fox embedding:zoo_words in the snow, embedding:zoo_pickled",
        negative="blurry, (ugly embedding:deep/zoo_deep:1.2)",
        denoise=0.8,
    )
    del prompt["latent"]
    prompt |= {
        "photo": node("LoadImage", image=PHOTO),
        "mask": node("LoadImageMask", image=MASK, channel="red"),
        "hint": node("LoadImage", image=HINT),
        "encode": node("VAEEncode", pixels=["photo", 0], vae=["loader", 2]),
        "masked": node("SetLatentNoiseMask", samples=["encode", 0], mask=["mask", 0]),
        "lora": lora_loader("loader", prompts.LORA),
        "lora2": lora_loader("lora", Path(zoo.SECOND_LORA).name),
        "control": node("ControlNetLoader", control_net_name=Path(zoo.CONTROLNET).name),
        "upscaler": node("UpscaleModelLoader", model_name=Path(zoo.UPSCALER).name),
        "enlarge": node(
            "ImageUpscaleWithModel", upscale_model=["upscaler", 0], image=["decode", 0]
        ),
    }
    for name in ("positive", "negative"):
        prompt[name]["inputs"]["clip"] = ["lora2", 1]
    prompts.steer(prompt, control=["control", 0], hint=["hint", 0])
    steered = {name: prompt["sampler"]["inputs"][name] for name in ("positive", "negative")}
    for name in ("sampler", "second"):
        prompt[name]["inputs"] |= {"model": ["lora2", 0], **steered}
    prompt["sampler"]["inputs"]["latent_image"] = ["masked", 0]
    prompt["save"]["inputs"]["images"] = ["enlarge", 0]
    return prompt


def lora_loader(source: str, name: str) -> dict[str, Any]:
    return node(
        "LoraLoader",
        model=[source, 0],
        clip=[source, 1],
        lora_name=name,
        strength_model=1.0,
        strength_clip=1.0,
    )


def separate_loaders() -> Prompt:
    """UNet, text encoder and autoencoder from a file each, and a hypernetwork."""
    prompt = prompts.txt2img(**STOCK, seed=92)
    del prompt["loader"]
    prompt |= {
        "unet": node("UNETLoader", unet_name=Path(zoo.UNET).name, weight_dtype="default"),
        "clip": node("CLIPLoader", clip_name=Path(zoo.TEXT_ENCODER).name, type="stable_diffusion"),
        "vae": node("VAELoader", vae_name=Path(zoo.VAE).name),
        "hyper": node(
            "HypernetworkLoader",
            model=["unet", 0],
            hypernetwork_name=Path(zoo.HYPERNETWORK).name,
            strength=1.0,
        ),
    }
    prompt["sampler"]["inputs"]["model"] = ["hyper", 0]
    for name in ("positive", "negative"):
        prompt[name]["inputs"]["clip"] = ["clip", 0]
    prompt["decode"]["inputs"]["vae"] = ["vae", 0]
    return prompt


def odd_loaders() -> Prompt:
    """Loaders whose inputs do not look like a file's name, or name none."""
    prompt = prompts.two_samplers(**STOCK, seed=93, denoise=0.8)
    del prompt["loader"], prompt["latent"]
    prompt |= {
        "brain": node("OddBrainLoader", which_brain=prompts.CHECKPOINT),
        "stack": node(
            "OddLoraStack",
            model=["brain", 0],
            clip=["brain", 1],
            lora_1={"on": True, "lora": prompts.LORA, "strength": 0.6},
            lora_2={"on": False, "lora": Path(zoo.SECOND_LORA).name, "strength": 0.6},
        ),
        "number": node("OddNumberedBrain", number=3),
        "path": node("OddWeightsPath", weights_path=Path(zoo.VAE).name),
        "stem": node("OddFileName", stem=Path(SHARED).stem),
        "computed": node(
            "LoraLoaderModelOnly", model=["number", 0], lora_name=["stem", 1], strength_model=1.0
        ),
        "photo": node("OddPicture", of_what=PHOTO),
        "encode": node("VAEEncode", pixels=["photo", 0], vae=["path", 0]),
    }
    for name in ("positive", "negative"):
        prompt[name]["inputs"]["clip"] = ["stack", 1]
    prompt["sampler"]["inputs"] |= {"model": ["stack", 0], "latent_image": ["encode", 0]}
    prompt["second"]["inputs"]["model"] = ["computed", 0]
    prompt["decode"]["inputs"]["vae"] = ["path", 0]
    return prompt


def subgraph() -> Prompt:
    """A graph some of whose nodes come out of subgraphs, one in another."""
    prompt = prompts.lora(**STOCK, seed=94, positive="a fox embedding:deep/zoo_deep")
    ids = {"loader": "12:3", "lora": "12:4", "positive": "12:7:1"}
    for built in prompt.values():
        for name, value in built["inputs"].items():
            if isinstance(value, list):
                built["inputs"][name] = [ids.get(value[0], value[0]), value[1]]
    return {ids.get(node_id, node_id): built for node_id, built in prompt.items()}


def shared_names() -> Prompt:
    """One name in two kinds of folders, and in two folders of one kind."""
    prompt = prompts.two_samplers(**STOCK, seed=95)
    prompt |= {
        "other": node("CheckpointLoaderSimple", ckpt_name=SHARED),
        "lora": node(
            "LoraLoaderModelOnly", model=["other", 0], lora_name=SHARED, strength_model=1.0
        ),
        "twice": node("CheckpointLoaderSimple", ckpt_name=TWICE),
        "lora2": node(
            "LoraLoaderModelOnly", model=["twice", 0], lora_name=TWICE, strength_model=1.0
        ),
    }
    prompt["sampler"]["inputs"]["model"] = ["lora", 0]
    prompt["second"]["inputs"]["model"] = ["lora2", 0]
    return prompt


def pair_of_files() -> Prompt:
    """A latent decoded by an autoencoder whose one name stands for two files."""
    return {
        "latent": node("LoadLatent", latent=LATENT),
        "vae": node("VAELoader", vae_name="taesd"),
        "decode": node("VAEDecode", samples=["latent", 0], vae=["vae", 0]),
        "save": prompts.save("SaveImage", "materials"),
    }


def twins() -> Prompt:
    """Invented words of each of whose names there are two files, in two sub-folders."""
    words = " ".join(f"embedding:{name}" for name in TWINS)
    return prompts.txt2img(**STOCK, seed=96, positive=f"a fox {words}")


GRAPHS: dict[str, Callable[[], Prompt]] = {
    graph.__name__: graph
    for graph in (
        *(everything, separate_loaders, odd_loaders, subgraph),
        *(shared_names, pair_of_files, twins),
    )
}

CHECKPOINT: Key = ("checkpoints", prompts.CHECKPOINT)
LORA: Key = ("loras", prompts.LORA)


def zoo_key(name: str) -> Key:
    kind, _, below = name.partition("/")
    return kind, below


OPENED: dict[str, set[Key]] = {
    "everything": {
        *(CHECKPOINT, LORA, ("input", PHOTO), ("input", MASK), ("input", HINT)),
        *map(zoo_key, (zoo.SECOND_LORA, zoo.CONTROLNET, zoo.UPSCALER)),
        *map(zoo_key, (zoo.WORDS, zoo.DEEP_WORDS, zoo.PICKLED_WORDS)),
    },
    "separate_loaders": set(map(zoo_key, (zoo.UNET, zoo.TEXT_ENCODER, zoo.VAE, zoo.HYPERNETWORK))),
    "odd_loaders": {
        *(CHECKPOINT, LORA, ("loras", SHARED), ("input", PHOTO)),
        *map(zoo_key, (zoo.SECOND_CHECKPOINT, zoo.VAE)),
    },
    "subgraph": {CHECKPOINT, LORA, zoo_key(zoo.DEEP_WORDS)},
    "shared_names": {
        *(CHECKPOINT, ("checkpoints", SHARED), ("loras", SHARED)),
        *(("checkpoints", TWICE), ("loras", TWICE)),
    },
    "pair_of_files": {("input", LATENT), *map(zoo_key, (zoo.VAE_ENCODER, zoo.VAE_DECODER))},
}
"""What each graph needs, so that a strace which saw nothing would not pass."""


# --- the place and the servers ---


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="provenance-materials-") as folder:
        made = Place(Path(folder, "base"), Path(folder, "elsewhere"))
        made.elsewhere.mkdir()
        models = made.base / "models"
        zoo.make_zoo(folder_from("PROVENANCE_MODELS") / "/".join(CHECKPOINT), models)
        add_shared_names(models, made.elsewhere)
        add_twins(models / "embeddings")
        add_inputs(made.base / "input")
        yield made


def add_shared_names(models: Path, elsewhere: Path) -> None:
    """Lay files of one name in several folders; of two of one kind, ComfyUI takes the first."""
    (elsewhere / "paths.yaml").write_text(
        f"first:\n  base_path: {elsewhere}\n  is_default: true\n  checkpoints: checkpoints\n"
        f"last:\n  base_path: {elsewhere}\n  loras: loras\n"
    )
    for folder in ("checkpoints", "loras"):
        (elsewhere / folder).mkdir()
    for copied in (models / "checkpoints" / SHARED, elsewhere / "checkpoints" / TWICE):
        os.link(models / zoo.SECOND_CHECKPOINT, copied)
    for copied in (models / "loras" / SHARED, models / "loras" / TWICE):
        copied.write_bytes((models / zoo.SECOND_LORA).read_bytes())
    for passed_over in (models / "checkpoints" / TWICE, elsewhere / "loras" / TWICE):
        passed_over.write_bytes(b"not what ComfyUI takes")


def add_twins(embeddings: Path) -> None:
    names = [f"{folder}/{name}" for name, folders in TWINS.items() for folder in folders]
    for number, name in enumerate(names, start=20):
        words = {"emb_params": zoo.make_words(number)}
        tiny_models.write(words, embeddings / f"{name}.safetensors")


def add_inputs(folder: Path) -> None:
    random = np.random.default_rng(1)
    for name in (PHOTO, MASK, HINT):
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((64, 64)).save(file)
    latent = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    tensors = {"latent_tensor": latent * 2, "latent_format_version_0": torch.tensor([])}
    tiny_models.write(tensors, folder / LATENT)


@pytest.fixture(scope="module")
def watched(place: Place) -> dict[str, Made]:
    """What every graph opens and gives in a ComfyUI without this pack."""
    with place.server(with_pack=False) as server:
        made: dict[str, Made] = {}
        for name, graph in GRAPHS.items():
            made[name] = make(place, server, graph())
            server.free()
    return made


@pytest.fixture(scope="module")
def server(place: Place, watched: dict[str, Made]) -> Iterator[WatchedServer]:
    assert watched
    with place.server(with_pack=True) as started:
        yield started


class Recorder:
    """Makes pictures with this pack, each prompt once."""

    def __init__(self, place: Place, server: WatchedServer) -> None:
        """Begin with none made."""
        self._place = place
        self._server = server
        self._made: dict[str, tuple[Made, Made]] = {}

    def first(self, prompt: Prompt) -> Made:
        """Give the picture of a prompt, for which files may have been loaded."""
        return self._make(prompt)[0]

    def again(self, prompt: Prompt) -> Made:
        """Give the picture saved once more at once, for which nothing was loaded."""
        return self._make(prompt)[1]

    def _make(self, prompt: Prompt) -> tuple[Made, Made]:
        key = repr(prompt)
        if key not in self._made:
            first = make(self._place, self._server, with_record(prompt, "first"))
            again = make(self._place, self._server, with_record(prompt, "again"))
            self._made[key] = first, again
        return self._made[key]


@pytest.fixture(scope="module")
def recorder(place: Place, server: WatchedServer) -> Recorder:
    return Recorder(place, server)


def with_record(prompt: Prompt, filename_prefix: str) -> Prompt:
    """Let this pack save the picture."""
    saving = prompts.save("ProvenanceSaveImage", filename_prefix)
    saving["inputs"]["images"] = prompt["save"]["inputs"]["images"]
    return {**prompt, "save": saving}


# --- oracles ---


def sha256sum(paths: list[Path]) -> dict[Path, str]:
    """Ask coreutils."""
    lines = subprocess.run(
        ["sha256sum", "--", *paths],  # noqa: S607 - wherever the system has it
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return {path: line.split()[0] for path, line in zip(paths, lines, strict=True)}


def described(opened: dict[Key, Path]) -> set[tuple[str, str, str, int, str]]:
    """Give kind, name, status, size and digest of files as a record should have them."""
    digests = sha256sum(list(opened.values()))
    return {(*key, "hashed", path.stat().st_size, digests[path]) for key, path in opened.items()}


def listed(materials: list[Material]) -> set[tuple[str, str, str, int | None, str | None]]:
    return {
        (
            entry["kind"],
            entry["name"],
            entry["status"],
            entry.get("size_bytes"),
            entry.get("sha256"),
        )
        for entry in materials
    }


# --- tests ---


@pytest.mark.parametrize("graph", OPENED)
def test_comfyui_opens_the_files_that_the_graph_is_built_to_need(
    watched: dict[str, Made], graph: str
) -> None:
    assert watched[graph].opened.keys() == OPENED[graph]


@pytest.mark.parametrize("graph", OPENED)
def test_the_materials_are_the_files_that_comfyui_opened(
    watched: dict[str, Made], recorder: Recorder, graph: str
) -> None:
    saved = recorder.first(GRAPHS[graph]())

    assert listed(saved.materials) == described(watched[graph].opened)


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_watched_picture_is_the_recorded_one(
    watched: dict[str, Made], recorder: Recorder, graph: str
) -> None:
    assert recorder.first(GRAPHS[graph]()).pixels == watched[graph].pixels


@pytest.mark.parametrize("graph", OPENED)
def test_the_pack_opens_no_other_file(
    watched: dict[str, Made], recorder: Recorder, graph: str
) -> None:
    assert recorder.first(GRAPHS[graph]()).opened.keys() <= watched[graph].opened.keys()


NAMED_BY: dict[str, dict[tuple[str, str], set[Key]]] = {
    "everything": {
        ("loader", "ckpt_name"): {CHECKPOINT},
        ("lora", "lora_name"): {LORA},
        ("lora2", "lora_name"): {zoo_key(zoo.SECOND_LORA)},
        ("positive", "text"): {zoo_key(zoo.WORDS), zoo_key(zoo.PICKLED_WORDS)},
        ("negative", "text"): {zoo_key(zoo.DEEP_WORDS)},
        ("control", "control_net_name"): {zoo_key(zoo.CONTROLNET)},
        ("upscaler", "model_name"): {zoo_key(zoo.UPSCALER)},
        ("photo", "image"): {("input", PHOTO)},
        ("mask", "image"): {("input", MASK)},
        ("hint", "image"): {("input", HINT)},
    },
    "odd_loaders": {
        ("brain", "which_brain"): {CHECKPOINT},
        ("stack", "lora_1"): {LORA},
        ("number", ""): {zoo_key(zoo.SECOND_CHECKPOINT)},
        ("path", "weights_path"): {zoo_key(zoo.VAE)},
        ("computed", "lora_name"): {("loras", SHARED)},
        ("photo", "of_what"): {("input", PHOTO)},
    },
    "subgraph": {
        ("12:3", "ckpt_name"): {CHECKPOINT},
        ("12:4", "lora_name"): {LORA},
        ("12:7:1", "text"): {zoo_key(zoo.DEEP_WORDS)},
    },
    "shared_names": {
        ("loader", "ckpt_name"): {CHECKPOINT},
        ("other", "ckpt_name"): {("checkpoints", SHARED)},
        ("lora", "lora_name"): {("loras", SHARED)},
        ("twice", "ckpt_name"): {("checkpoints", TWICE)},
        ("lora2", "lora_name"): {("loras", TWICE)},
    },
}


@pytest.mark.parametrize("graph", NAMED_BY)
def test_a_material_tells_the_input_that_names_it(recorder: Recorder, graph: str) -> None:
    materials = recorder.first(GRAPHS[graph]()).materials

    named: dict[tuple[str, str], set[Key]] = {}
    for entry in materials:
        place = entry["node_id"], entry["input"]
        named.setdefault(place, set()).add((entry["kind"], entry["name"]))
    assert named == NAMED_BY[graph]


def test_a_lora_is_also_named_by_its_tensors_and_an_image_by_its_pixels(
    watched: dict[str, Made], recorder: Recorder
) -> None:
    opened = watched["everything"].opened
    loras = {key: path for key, path in opened.items() if key[0] == "loras"}
    images = {key: path for key, path in opened.items() if key[0] == "input"}

    materials = recorder.first(everything()).materials

    found = {
        (entry["kind"], entry["name"]): (entry.get("autov3"), entry.get("pixels"))
        for entry in materials
        if entry["kind"] in ("loras", "input")
    }
    assert found == {
        **{key: (tensors_sha256(path), None) for key, path in loras.items()},
        **{
            key: (None, str(digest_pixels(decode_pixels(path.read_bytes()))))
            for key, path in images.items()
        },
    }


def tensors_sha256(path: Path) -> str:
    """Hash a safetensors file from the end of its header on."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    return hashlib.sha256(content[start:]).hexdigest()


def test_of_two_embeddings_of_one_name_the_one_that_was_taken_is_named_or_none(
    watched: dict[str, Made], recorder: Recorder
) -> None:
    opened = watched["twins"].opened
    taken = {key: path for key, path in opened.items() if key[0] == "embeddings"}

    materials = recorder.first(twins()).materials

    words = [entry for entry in materials if entry["kind"] == "embeddings"]
    hashed = [entry for entry in words if entry["status"] == "hashed"]
    assert len(taken) == len(TWINS)
    assert {Path(entry["name"]).stem for entry in words} == TWINS.keys()
    assert {entry["status"] for entry in words} <= {"hashed", "unresolved"}
    assert listed(hashed) <= described(taken)


def test_an_embedding_that_is_not_there_is_missing(recorder: Recorder) -> None:
    made = recorder.first(prompts.txt2img(**STOCK, seed=97, positive="a fox embedding:nothere"))

    (word,) = [entry for entry in made.materials if entry["kind"] == "embeddings"]
    assert word == {
        "kind": "embeddings",
        "name": "nothere",
        "node_id": "positive",
        "input": "text",
        "status": "missing",
    }
    assert made.opened.keys() <= {CHECKPOINT}


def test_a_renamed_file_is_named_anew_and_has_the_same_digest(
    place: Place, recorder: Recorder
) -> None:
    old, new = Path(zoo.SECOND_LORA).name, "renamed.safetensors"
    file = place.base / "models" / zoo.SECOND_LORA
    before = recorder.first(with_lora(old)).materials

    file.rename(file.with_name(new))
    try:
        after = recorder.first(with_lora(new)).materials
    finally:
        file.with_name(new).rename(file)

    renamed = {
        ("loras", new if name == old else name, *rest) for _, name, *rest in loras_of(before)
    }
    assert loras_of(after) == renamed
    assert {name for _, name, *_ in renamed} == {new}


def with_lora(name: str) -> Prompt:
    prompt = prompts.lora(**STOCK, seed=98)
    prompt["lora"]["inputs"]["lora_name"] = name
    return prompt


def loras_of(materials: list[Material]) -> set[tuple[str, str, str, int | None, str | None]]:
    return {entry for entry in listed(materials) if entry[0] == "loras"}


@pytest.mark.parametrize("graph", OPENED)
def test_the_materials_are_the_same_when_no_node_runs_again(recorder: Recorder, graph: str) -> None:
    prompt = GRAPHS[graph]()

    again = recorder.again(prompt)

    assert again.cached == prompt.keys() - {"save"}
    assert listed(again.materials) == listed(recorder.first(prompt).materials)


def test_deterministic_mode_hides_no_file(recorder: Recorder) -> None:
    prompt = prompts.lora(**STOCK, seed=99, positive="a fox embedding:zoo_words")

    made = recorder.first(prompts.in_mode(prompt))

    names = {(entry["kind"], entry["name"]) for entry in made.materials}
    assert names == {CHECKPOINT, LORA, zoo_key(zoo.WORDS)}


@pytest.mark.parametrize(
    ("graph", "node_id", "inputs"),
    [
        pytest.param("everything", "lora", {"strength_model": 0, "strength_clip": 0}, id="lora"),
        pytest.param("everything", "lora2", {"strength_model": 0}, id="second lora"),
        pytest.param("everything", "positive", {"text": "a red fox in the snow"}, id="words"),
        pytest.param("everything", "negative", {"text": "blurry, (ugly:1.2)"}, id="deep words"),
        pytest.param("everything", "hint", {"image": PHOTO}, id="hint of the controlnet"),
        pytest.param("separate_loaders", "hyper", {"strength": 0}, id="hypernetwork"),
        pytest.param("odd_loaders", "number", {"number": 0}, id="second checkpoint"),
    ],
)
def test_what_a_file_does_shows_in_the_picture(
    watched: dict[str, Made],
    server: ComfyServer,
    graph: str,
    node_id: str,
    inputs: dict[str, Any],
) -> None:
    prompt = GRAPHS[graph]()
    prompt[node_id]["inputs"] |= inputs

    (picture,) = server.images(server.run(prompt))

    assert mean_difference(picture.read_bytes(), watched[graph].data) > 1


def mean_difference(first: bytes, second: bytes) -> float:
    samples = [
        np.frombuffer(decode_pixels(data).samples, dtype=np.uint8).astype(np.int16)
        for data in (first, second)
    ]
    return float(np.abs(samples[0] - samples[1]).mean())
