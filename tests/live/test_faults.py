"""One fault in an otherwise identical run is named first; of two, both are among the first two.

A fault is injected on a real server: a widget, a file, what is in memory, the way ComfyUI was
started, or the saved file itself. Where the graph shows it, the changed graph is run and compared
by Verify; otherwise the recorded graph is run again by Reproduce. Each case also shows that the
image did change.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from comfyui_provenance.containers import embed, extract

from support import prompts
from support.model_zoo import make_zoo
from support.prompts import Prompt, node
from support.reports import Report, kinds, report_of, reproduce
from support.server import ComfyServer, folder_from
from support.tampering import alter_pixel, edit_graph, edit_record, set_input

PACKS = Path(__file__).parents[1] / "packs"
Change = Callable[[Prompt], object]


@dataclass(frozen=True)
class GraphFault:
    """A change of the graph.

    Attributes:
        base: name of the graph that it is made to.
        change: makes it.
        kinds: the causes that must come first, in any order.
    """

    base: str
    change: Change
    kinds: tuple[str, ...]


def put(node_id: str, **values: object) -> Change:
    """Set inputs of one node."""
    return lambda prompt: prompt[node_id]["inputs"].update(values)


def both(*changes: Change) -> Change:
    """Make several changes."""

    def change(prompt: Prompt) -> None:
        for each in changes:
            each(prompt)

    return change


def picture(colour: str, size: int = 64, kind: str = "PNG", **options: object) -> bytes:
    """Draw a picture with an edge in it."""
    content = io.BytesIO()
    image = Image.new("RGB", (size, size), colour)
    image.paste("white", (size // 4, size // 4, size // 2, size // 2))
    image.save(content, kind, **options)
    return content.getvalue()


INPUT = "fault-input.png"
SMALL: Mapping[str, Any] = {"width": 64, "height": 64, "steps": 3}


def bases() -> dict[str, Prompt]:
    """Give the graphs to which faults are made."""
    plain = prompts.txt2img(seed=31, positive="the fox's den in the snow", **SMALL)
    ancestral = prompts.txt2img(seed=32, sampler_name="euler_ancestral", batch_size=2, **SMALL)
    image = prompts.img2img(INPUT, seed=33, steps=3)
    files = copy.deepcopy(plain)
    files["loader"] = node("UNETLoader", unet_name="zoo_unet.safetensors", weight_dtype="default")
    files["clip"] = node("CLIPLoader", clip_name="zoo_clip_l.safetensors", type="stable_diffusion")
    files["vae"] = node("VAELoader", vae_name="zoo_taesd.safetensors")
    for name in ("positive", "negative"):
        files[name]["inputs"]["clip"] = ["clip", 0]
    files["decode"]["inputs"]["vae"] = ["vae", 0]
    files["positive"]["inputs"]["text"] = "a fox, embedding:zoo_words"
    files["first"] = node(
        "LoraLoaderModelOnly", model=["loader", 0], lora_name=prompts.LORA, strength_model=0.6
    )
    files["second"] = node(
        "LoraLoaderModelOnly",
        model=["first", 0],
        lora_name="zoo_set.safetensors",
        strength_model=0.8,
    )
    files["sampler"]["inputs"]["model"] = ["second", 0]
    control = copy.deepcopy(plain)
    control["net"] = node("ControlNetLoader", control_net_name="zoo_control.safetensors")
    control["hint"] = node("LoadImage", image=INPUT)
    prompts.steer(control, control=["net", 0], hint=["hint", 0], strength=0.8)
    late = copy.deepcopy(plain)
    late["scale"] = node(
        "ImageScale",
        image=["decode", 0],
        upscale_method="bilinear",
        width=96,
        height=96,
        crop="disabled",
    )
    late["save"]["inputs"]["images"] = ["scale", 0]
    pinned = prompts.in_mode(copy.deepcopy(plain), noise="comfy", cond_batch="separate")
    return {
        "plain": plain,
        "ancestral": ancestral,
        "image": image,
        "files": files,
        "control": control,
        "late": late,
        "pinned": pinned,
        "wide": prompts.txt2img(seed=35, width=576, height=64, steps=1),
        "wide and pinned": prompts.in_mode(prompts.txt2img(seed=36, width=576, height=64, steps=1)),
        "no guidance": prompts.txt2img(seed=34, cfg=1.0, **SMALL),
        "loose": _loose(plain),
        "patched": _patched(plain),
    }


def _loose(plain: Prompt) -> Prompt:
    """Take a graph out of Deterministic Mode; its sampling is still watched."""
    loose = copy.deepcopy(plain)
    loose["latent"]["inputs"] |= {"width": 192, "height": 128}
    loose["sampler"]["inputs"]["deterministic_mode"] = False
    return loose


def _patched(plain: Prompt) -> Prompt:
    """Let the model go through a node that may patch it."""
    patched = copy.deepcopy(plain)
    patched["patch"] = node("TestPostLoadPatch", model=["loader", 0])
    patched["sampler"]["inputs"]["model"] = ["patch", 0]
    return patched


def swap_loras(prompt: Prompt) -> None:
    """Apply the two LoRAs in the other order."""
    first, second = prompt["first"]["inputs"], prompt["second"]["inputs"]
    for name in ("lora_name", "strength_model"):
        first[name], second[name] = second[name], first[name]


def invert(prompt: Prompt) -> None:
    """Add a node after the decoding."""
    prompt["invert"] = node("ImageInvert", image=["decode", 0])
    prompt["save"]["inputs"]["images"] = ["invert", 0]


def tile(prompt: Prompt) -> None:
    """Decode in tiles."""
    inputs = prompt["decode"]["inputs"]
    prompt["decode"] = node(
        "VAEDecodeTiled", **inputs, tile_size=64, overlap=0, temporal_size=64, temporal_overlap=8
    )


def second_pass(prompt: Prompt) -> None:
    """Sample a second time."""
    again = copy.deepcopy(prompt["sampler"])
    again["inputs"] |= {"latent_image": ["sampler", 0], "denoise": 0.4}
    prompt["again"] = again
    prompt["decode"]["inputs"]["samples"] = ["again", 0]


GRAPH_FAULTS: dict[str, GraphFault] = {
    "seed": GraphFault("plain", put("sampler", seed=32), ("seed",)),
    "one step more": GraphFault("plain", put("sampler", steps=4), ("steps",)),
    "CFG by a tick": GraphFault("plain", put("sampler", cfg=7.1), ("cfg",)),
    "sampler": GraphFault("plain", put("sampler", sampler_name="heun"), ("sampler",)),
    "scheduler": GraphFault("plain", put("sampler", scheduler="karras"), ("scheduler",)),
    "denoise": GraphFault("image", put("sampler", denoise=0.62), ("denoise",)),
    "size": GraphFault("plain", put("latent", width=72), ("size",)),
    "curly quote": GraphFault(
        "plain", put("positive", text="the fox\u2019s den in the snow"), ("prompt_text",)
    ),
    "a word": GraphFault(
        "plain", put("positive", text="the wolf's den in the snow"), ("prompt_text",)
    ),
    "negative words": GraphFault("plain", put("negative", text="blurred"), ("negative_text",)),
    "LoRA strength": GraphFault("files", put("first", strength_model=0.7), ("adapter_strength",)),
    "LoRA order": GraphFault("files", swap_loras, ("adapter_file",)),
    "another LoRA": GraphFault("files", put("second", lora_name=prompts.LORA), ("adapter_file",)),
    "another VAE": GraphFault(
        "files", put("vae", vae_name="zoo_other.safetensors"), ("model_file",)
    ),
    "another text encoder": GraphFault(
        "files", put("clip", clip_name="zoo_other.safetensors"), ("model_file",)
    ),
    "another inversion": GraphFault(
        "files", put("positive", text="a fox, embedding:deep/zoo_deep"), ("adapter_file",)
    ),
    "ControlNet strength": GraphFault("control", put("steer", strength=0.7), ("controlnet",)),
    "ControlNet taken off": GraphFault(
        "control",
        put("sampler", positive=["positive", 0], negative=["negative", 0]),
        ("controlnet",),
    ),
    "batch of two more": GraphFault("ancestral", put("latent", batch_size=1), ("batch",)),
    "post-process added": GraphFault("plain", invert, ("post_process",)),
    "post-process changed": GraphFault(
        "late", put("scale", upscale_method="nearest-exact"), ("post_process",)
    ),
    "VAE in tiles": GraphFault("plain", tile, ("tiled_vae",)),
    "second pass": GraphFault("plain", second_pass, ("graph_edited",)),
    "portable noise": GraphFault("pinned", put("mode", noise="portable"), ("noise_source",)),
    "type of the weights": GraphFault(
        "files", put("loader", weight_dtype="fp8_e4m3fn"), ("precision",)
    ),
    "noise of each image": GraphFault(
        "ancestral", put("sampler", batch_invariant=True), ("batch",)
    ),
    "seed and CFG": GraphFault("plain", put("sampler", seed=32, cfg=7.1), ("seed", "cfg")),
    "words and post-process": GraphFault(
        "plain", both(put("positive", text="a wolf"), invert), ("prompt_text", "post_process")
    ),
    "sampler and tiles": GraphFault(
        "plain", both(put("sampler", sampler_name="heun"), tile), ("sampler", "tiled_vae")
    ),
    "LoRA strength and VAE": GraphFault(
        "files",
        both(put("first", strength_model=0.7), put("vae", vae_name="zoo_other.safetensors")),
        ("adapter_strength", "model_file"),
    ),
    "steps and size": GraphFault(
        "plain", both(put("sampler", steps=4), put("latent", height=72)), ("size", "steps")
    ),
    "ControlNet and scheduler": GraphFault(
        "control",
        both(put("steer", strength=0.7), put("sampler", scheduler="karras")),
        ("controlnet", "scheduler"),
    ),
}


@dataclass
class Workbench:
    """A server whose files may be changed, and the images that it saved.

    Attributes:
        server: the server.
        graphs: the graphs without a fault.
        saved: by name of the graph, the file of its last image.
    """

    server: ComfyServer
    graphs: dict[str, Prompt]
    saved: dict[str, bytes] = field(default_factory=dict)

    def image(self, base: str) -> bytes:
        """Make the image of a graph without a fault, once."""
        if base not in self.saved:
            history = self.server.run(self.graphs[base])
            self.saved[base] = self.server.images(history)[-1].read_bytes()
        return self.saved[base]

    def verify(self, prompt: Prompt, reference: bytes) -> Report:
        """Run a graph and compare what it gives with a reference."""
        changed = copy.deepcopy(prompt)
        images = changed.pop("save")["inputs"]["images"]
        uploaded = self.server.upload(reference)
        changed["verify"] = node("ProvenanceVerify", images=images, reference=uploaded)
        return report_of(self.server.run(changed))

    def file(self, name: str) -> Path:
        """Give a model file's path."""
        return self.server.base / "models" / name


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every kind of model, and others of the same kinds."""
    folder = tmp_path_factory.mktemp("models")
    tiny = folder_from("PROVENANCE_MODELS")
    for file in tiny.rglob("*.safetensors"):
        target = folder / file.relative_to(tiny)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)
    make_zoo(tiny / "checkpoints" / prompts.CHECKPOINT, folder)
    layer = "lora_unet_output_blocks_2_1_transformer_blocks_0_attn2_to_v"
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn((320, 768), generator=generator) * 0.05
    # It takes the place of a weight instead of adding to it: order matters by more than rounding.
    save_file({f"{layer}.set_weight": weight}, folder / "loras/zoo_set.safetensors")
    changed(
        folder / "vae/zoo_taesd.safetensors",
        folder / "vae/zoo_other.safetensors",
        "decoder.1.weight",
    )
    changed(
        folder / "text_encoders/zoo_clip_l.safetensors",
        folder / "text_encoders/zoo_other.safetensors",
        "layers.5.mlp.fc1.weight",
    )
    return folder


def changed(source: Path, target: Path, part: str, factor: float = 3.0) -> None:
    """Write a copy of a model in which the tensors whose names hold a part are others."""
    tensors = load_file(source)
    for name in [name for name in tensors if part in name]:
        tensors[name] = (tensors[name].float() * factor).to(tensors[name].dtype)
    other = target.with_suffix(".part")
    save_file(tensors, other)
    other.replace(target)


@pytest.fixture(scope="module")
def bench(models: Path) -> Iterator[Workbench]:
    packs = [PACKS / name for name in ("scarce_memory", "third_party", "determinism", "faults")]
    with ComfyServer(models=models, packs=packs) as server:
        server.upload(picture("orange", 128), INPUT)
        yield Workbench(server, bases())


@pytest.mark.parametrize("name", GRAPH_FAULTS)
def test_a_change_of_the_graph_is_named_first(bench: Workbench, name: str) -> None:
    fault = GRAPH_FAULTS[name]
    reference = bench.image(fault.base)
    prompt = copy.deepcopy(bench.graphs[fault.base])
    fault.change(prompt)

    report = bench.verify(prompt, reference)

    assert report["level"] in ("mismatch", "unknown"), report
    found = kinds(report)[: len(fault.kinds)]
    assert sorted(found) == sorted(fault.kinds), report["causes"]


def test_the_graphs_without_a_fault_are_bitwise(bench: Workbench) -> None:
    for name, graph in bench.graphs.items():
        report = bench.verify(graph, bench.image(name))

        assert report["level"] == "bitwise", (name, report)


@contextmanager
def replaced(bench: Workbench, name: str, part: str) -> Iterator[None]:
    """Put another model under a file's name; one of its tensors is another."""
    file = bench.file(name)
    kept = file.with_suffix(".kept")
    file.rename(kept)
    try:
        changed(kept, file, part)
        yield
    finally:
        kept.replace(file)


@contextmanager
def switched(
    bench: Workbench, route: str, on: Mapping[str, Any], off: Mapping[str, Any]
) -> Iterator[None]:
    """Switch something on, and off again with what was cached and loaded meanwhile."""
    bench.server.post_json(route, on)
    try:
        yield
    finally:
        bench.server.post_json(route, off)
        bench.server.free()


@contextmanager
def re_encoded(bench: Workbench) -> Iterator[None]:
    """Put another picture under the input image's name: the same one, saved as JPEG."""
    file = bench.server.input_folder / INPUT
    original = file.read_bytes()
    file.write_bytes(picture("orange", 128, "JPEG", quality=60))
    try:
        yield
    finally:
        file.write_bytes(original)


def blurred_quote(prompt: Prompt) -> None:
    """Change nothing that matters: the tokenizer takes two spaces for one."""
    prompt["positive"]["inputs"]["text"] = prompt["positive"]["inputs"]["text"].replace(" ", "  ")


@dataclass(frozen=True)
class HiddenFault:
    """A fault that no graph shows.

    Attributes:
        base: name of the graph that is run again.
        inject: makes the fault while it is open.
        kinds: the causes that must come first, in any order.
        decoy: a change of the graph that changes nothing, made besides.
    """

    base: str
    inject: Callable[[Workbench], AbstractContextManager[None]]
    kinds: tuple[str, ...]
    decoy: Change | None = None


ONE_TENSOR = "output_blocks.3.1.transformer_blocks.0.attn2.to_v.weight"
LORA_FILE = f"loras/{prompts.LORA}"
NOTHING: Mapping[str, Any] = {}


def scaled(bench: Workbench) -> AbstractContextManager[None]:
    loading = copy.deepcopy(bench.graphs["plain"])
    loading["sampler"]["inputs"] |= {"seed": 99, "steps": 1}
    bench.server.run(loading)
    return switched(bench, "/test/weights", {"factor": 1.02}, {"factor": 1.0})


def patched_after_load(bench: Workbench) -> AbstractContextManager[None]:
    return switched(bench, "/test/patch", {"on": True}, {"on": False})


def other_flags(bench: Workbench) -> AbstractContextManager[None]:
    return switched(bench, "/test/flags", {"precision": "bf16"}, {"precision": "none"})


def little_memory(bench: Workbench) -> AbstractContextManager[None]:
    return switched(bench, "/test/free_memory", {"bytes": 2**20}, {"bytes": None})


def vae_out_of_memory(bench: Workbench) -> AbstractContextManager[None]:
    return switched(bench, "/test/vae_memory", {"decode": 1}, {"decode": 0})


HIDDEN_FAULTS: dict[str, HiddenFault] = {
    "one tensor of the model": HiddenFault(
        "files",
        lambda b: replaced(b, "diffusion_models/zoo_unet.safetensors", ONE_TENSOR),
        ("model_file",),
    ),
    "VAE under the same name": HiddenFault(
        "files", lambda b: replaced(b, "vae/zoo_taesd.safetensors", "decoder.1."), ("model_file",)
    ),
    "text encoder under the same name": HiddenFault(
        "files",
        lambda b: replaced(b, "text_encoders/zoo_clip_l.safetensors", "layers.5.mlp"),
        ("model_file",),
    ),
    "LoRA under the same name": HiddenFault(
        "files", lambda b: replaced(b, LORA_FILE, "lora_up"), ("adapter_file",)
    ),
    "inversion under the same name": HiddenFault(
        "files", lambda b: replaced(b, "embeddings/zoo_words.safetensors", ""), ("adapter_file",)
    ),
    "ControlNet under the same name": HiddenFault(
        "control",
        lambda b: replaced(b, "controlnet/zoo_control.safetensors", "zero_convs"),
        ("controlnet",),
    ),
    "input image re-encoded": HiddenFault("image", re_encoded, ("input_image",)),
    "weights in memory": HiddenFault("plain", scaled, ("node_pack",)),
    "patch after loading": HiddenFault("patched", patched_after_load, ("node_pack",)),
    "flags of torch": HiddenFault("loose", other_flags, ("precision",)),
    "memory": HiddenFault("loose", little_memory, ("memory",)),
    "VAE in tiles for lack of memory": HiddenFault("wide", vae_out_of_memory, ("tiled_vae",)),
    "the same in Deterministic Mode": HiddenFault(
        "wide and pinned", vae_out_of_memory, ("tiled_vae",)
    ),
    "a decoy beside tiles": HiddenFault("wide", vae_out_of_memory, ("tiled_vae",), blurred_quote),
    "a decoy beside weights in memory": HiddenFault("plain", scaled, ("node_pack",), blurred_quote),
    "a decoy beside a patch": HiddenFault(
        "patched", patched_after_load, ("node_pack",), blurred_quote
    ),
    "a decoy beside memory": HiddenFault("loose", little_memory, ("memory",), blurred_quote),
    "negative words at CFG 1 beside weights": HiddenFault(
        "no guidance", scaled, ("node_pack",), put("negative", text="drawn badly")
    ),
    "a decoy beside another LoRA": HiddenFault(
        "files", lambda b: replaced(b, LORA_FILE, "lora_up"), ("adapter_file",), blurred_quote
    ),
}


ROUNDING = {"memory", "attention", "cpu_isa", "batch", "threads"}
"""Causes that leave an image within tolerance, by the controls that come with the pack."""


def assert_is_seen(report: Report) -> None:
    """Check that an image is not called the same, unless by measured rounding alone."""
    allowed = {"mismatch", "unknown"}
    if set(kinds(report)) <= ROUNDING:
        allowed.add("within_tolerance")
    assert report["level"] in allowed, report


@pytest.mark.parametrize("name", HIDDEN_FAULTS)
def test_what_no_graph_shows_is_named_first(bench: Workbench, name: str) -> None:
    fault = HIDDEN_FAULTS[name]
    reference = bench.image(fault.base)
    graph = copy.deepcopy(bench.graphs[fault.base])

    with fault.inject(bench):
        if fault.decoy is None:
            report = reproduce(bench.server, reference)
        else:
            fault.decoy(graph)
            report = bench.verify(graph, reference)

    assert_is_seen(report)
    found = kinds(report)[: len(fault.kinds)]
    assert sorted(found) == sorted(fault.kinds), (report["causes"], report["divergence"])
    if fault.decoy is not None:
        assert not {"prompt_text", "negative_text"} & set(kinds(report)), report["causes"]
        assert any("without effect" in note for note in report["notes"])


VARIANTS: dict[str, tuple[tuple[str, ...], Mapping[str, str], str]] = {
    "instruction set": ((), {"ATEN_CPU_CAPABILITY": "default"}, "cpu_isa"),
    "attention kernel": (("--use-pytorch-cross-attention",), {}, "attention"),
    "precision of the model": (("--bf16-unet",), {}, "precision"),
    "precision of the text encoder": (("--bf16-text-enc",), {}, "precision"),
    "precision of the VAE": (("--bf16-vae",), {}, "precision"),
}
"""Ways to start ComfyUI: arguments, variables, and the cause that must come first."""


@pytest.mark.parametrize("name", VARIANTS)
def test_the_way_in_which_comfyui_was_started_is_named_first(
    bench: Workbench, models: Path, name: str
) -> None:
    arguments, environ, kind = VARIANTS[name]
    alone = bench.image("loose")
    # CFG that was changed in the file besides: two causes, of which one is no widget.
    pair = edit_graph(alone, set_input("sampler", "cfg", 7.1))

    with ComfyServer(models=models, arguments=arguments, environ=environ) as other:
        report = reproduce(other, alone)
        report_of_pair = reproduce(other, pair)

    assert_is_seen(report)
    assert kinds(report)[0] == kind, report["causes"]
    assert "cfg" in kinds(report_of_pair)[:2]


def test_a_file_that_was_edited_is_named(bench: Workbench) -> None:
    data, other = bench.image("plain"), bench.image("late")

    def date(record: dict[str, Any]) -> None:
        record["created"] = "1999-01-01T00:00:00+00:00"

    cases = {
        "image_edited": alter_pixel(data),
        "record_edited": edit_record(data, date),
        "graph_edited": edit_graph(data, set_input("decode", "note", "edited")),
        "cfg": edit_graph(data, set_input("sampler", "cfg", 8.0)),
    }
    found = {kind: kinds(reproduce(bench.server, edited))[0] for kind, edited in cases.items()}
    foreign = reproduce(bench.server, embed(other, dict(extract(data))))

    assert found == {kind: kind for kind in cases}
    assert kinds(foreign)[0] == "image_edited", foreign["causes"]


def test_a_space_at_the_end_that_the_tokenizer_drops_is_a_note_and_no_fault(
    bench: Workbench,
) -> None:
    prompt = copy.deepcopy(bench.graphs["plain"])
    prompt["positive"]["inputs"]["text"] += " "

    report = bench.verify(prompt, bench.image("plain"))

    assert (report["level"], report["causes"]) == ("bitwise", [])
    assert any("U+0020 SPACE" in note for note in report["notes"]), report["notes"]


def test_a_place_in_the_batch_is_named(bench: Workbench) -> None:
    graph = copy.deepcopy(bench.graphs["ancestral"])
    bench.image("ancestral")
    first = bench.server.images(bench.server.run(graph))[0].read_bytes()
    graph["reversed"] = node("ImageFromBatch", image=["decode", 0], batch_index=1, length=1)
    graph["save"]["inputs"]["images"] = ["reversed", 0]

    report = bench.verify(graph, first)

    assert kinds(report)[0] == "batch", report["causes"]


def test_a_node_that_no_seed_decides_is_named(bench: Workbench) -> None:
    graph = copy.deepcopy(bench.graphs["plain"])
    graph["words"] = node("ThirdPartyRandomWords")
    graph["positive"]["inputs"]["text"] = ["words", 0]
    (path,) = bench.server.images(bench.server.run(graph))
    words = reproduce(bench.server, path.read_bytes())
    graph = copy.deepcopy(bench.graphs["plain"])
    graph["grain"] = node("TestGrain", image=["decode", 0])
    graph["save"]["inputs"]["images"] = ["grain", 0]
    (path,) = bench.server.images(bench.server.run(graph))
    grain = reproduce(bench.server, path.read_bytes())

    assert (kinds(words)[0], words["causes"][0]["node_id"]) == ("unseeded_node", "words")
    assert (kinds(grain)[0], grain["causes"][0]["node_id"]) == ("unseeded_node", "grain")


def test_a_result_that_may_come_from_the_cache_is_named(bench: Workbench) -> None:
    graph = copy.deepcopy(bench.graphs["plain"])
    graph["noise"] = node("ThirdPartyFlexibleNoise", any=1)
    graph["save"]["inputs"]["images"] = ["noise", 0]
    (path,) = bench.server.images(bench.server.run(graph))

    report = reproduce(bench.server, path.read_bytes())

    assert (report["level"], kinds(report)[0]) == ("unknown", "cached_result")
