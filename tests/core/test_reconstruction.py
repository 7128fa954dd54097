"""An infotext becomes the graph that it tells, and what it does not tell is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from comfyui_provenance.embedding_words import words_in
from comfyui_provenance.errors import GraphError, LimitError
from comfyui_provenance.graph.prompt import Link, NodeId, dump_prompt, parse_prompt
from comfyui_provenance.graph.trace import upstream
from comfyui_provenance.infotext import parse_infotext
from comfyui_provenance.reconstruction import KnownFiles, Reconstruction, reconstruct

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "infotext"

CLASSES: Final = {
    *("CheckpointLoaderSimple", "LoraLoader", "CLIPSetLastLayer", "VAELoader", "CLIPTextEncode"),
    *("EmptyLatentImage", "KSampler", "VAEDecode"),
}
FIELDS: Final = (
    "Steps: 20, Sampler: Euler, Schedule type: Karras, CFG scale: 7, Seed: 5, Size: 64x96"
)
MODEL: Final = "Model hash: 31e35c80fc, Model: base"
NOISE: Final = "ComfyUI draws noise on the CPU; A1111 does so on the GPU unless told otherwise"
OWN_VAE: Final = "the text names no VAE: the checkpoint's own is assumed"

NAMES: Final = {
    "checkpoints": ["base.safetensors", "sd/other.ckpt"],
    "loras": ["style.safetensors", "folder/detail_v1.5.safetensors"],
    "vae": ["fine.safetensors"],
    "embeddings": ["bad-hands-5.pt", "folder\\easy.pt", "with space.pt"],
}
DIGESTS: Final = {
    ("checkpoints", "31e35c80fc"): "base.safetensors",
    ("checkpoints", "b0b0b0b0b0"): "sd/other.ckpt",
}


def find(kind: str, digest: str, name: str | None) -> str | None:
    return DIGESTS.get((kind, digest))


def rebuilt(
    *fields: str,
    words: str = "a fox",
    settings: str = f"{FIELDS}, {MODEL}",
    names: Mapping[str, list[str]] = NAMES,
) -> Reconstruction:
    """Reconstruct a text of these words and fields."""
    text = "\n".join([words, ", ".join([settings, *fields])])
    return reconstruct(parse_infotext(text), KnownFiles(names, find))


def read(name: str) -> str:
    return (VECTORS / f"{name}.txt").read_bytes().decode()


def inputs(found: Reconstruction, node_id: str) -> dict[str, Any]:
    return dict(found.prompt.nodes[NodeId(node_id)].inputs)


def texts(found: Reconstruction) -> tuple[Any, Any]:
    return inputs(found, "positive")["text"], inputs(found, "negative")["text"]


def noted(found: Reconstruction) -> list[str]:
    """Give the notes without those that every text of A1111 without a VAE has."""
    return [note for note in found.notes if note not in (NOISE, OWN_VAE)]


def test_a_text_becomes_the_graph_of_a_picture_from_words() -> None:
    found = rebuilt(words="a fox\nNegative prompt: blurry")

    assert found.prompt.to_json() == {
        "checkpoint": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "base.safetensors"},
        },
        "positive": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": "a fox", "clip": ["checkpoint", 1]},
        },
        "negative": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": "blurry", "clip": ["checkpoint", 1]},
        },
        "latent": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 96, "batch_size": 1},
        },
        "sampler": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["checkpoint", 0],
                "seed": 5,
                "steps": 20,
                "cfg": 7.0,
                "sampler_name": "euler",
                "scheduler": "karras",
                "positive": ["positive", 0],
                "negative": ["negative", 0],
                "latent_image": ["latent", 0],
                "denoise": 1.0,
            },
        },
        "decode": {
            "class_type": "VAEDecode",
            "inputs": {"samples": ["sampler", 0], "vae": ["checkpoint", 2]},
        },
    }
    assert found.output == Link(NodeId("decode"), 0)
    assert found.notes == (OWN_VAE, NOISE)


def test_everything_of_a_text_of_a1111_is_carried_over_or_told() -> None:
    names = {**NAMES, "vae": ["vae-ft-mse-840000-ema-pruned.safetensors"]}

    found = reconstruct(parse_infotext(read("parsed/a1111_1.10")), KnownFiles(names, find))

    assert texts(found) == (
        "a castle on a hill, ,\n  (sunset:1.2), badwords: no\n",
        "lowres, embedding:bad-hands-5.pt\nsecond line",
    )
    assert inputs(found, "lora_1") == {
        "lora_name": "folder/detail_v1.5.safetensors",
        "strength_model": 0.8,
        "strength_clip": 0.8,
        "model": Link(NodeId("checkpoint"), 0),
        "clip": Link(NodeId("checkpoint"), 1),
    }
    assert inputs(found, "clip_skip")["stop_at_clip_layer"] == -2
    assert inputs(found, "vae")["vae_name"] == "vae-ft-mse-840000-ema-pruned.safetensors"
    assert found.notes == (
        "the LoRA 'other' (hash 0123456789ab) is left out: the text does not tell its strength",
        "the embedding 'bad-hands-5' (hash aa7651be154c): taken by its name; 'bad-hands-5.pt' is "
        "not known to have that hash",
        "weights in round brackets are kept, but A1111 scales the encoded words by them and "
        "ComfyUI their distance from the empty text",
        "the checkpoint 'sd_xl_base_1.0' (hash 31e35c80fc): here it is 'base.safetensors'",
        "the LoRA 'detail_v1.5' (hash 7c6bad76eb54): taken by its name; "
        "'folder/detail_v1.5.safetensors' is not known to have that hash",
        "the VAE 'vae-ft-mse-840000-ema-pruned.safetensors' (hash 735e4c3a44): taken by its name; "
        "'vae-ft-mse-840000-ema-pruned.safetensors' is not known to have that hash",
        NOISE,
        "Denoising strength: 0.4 is left out: it is the hires fix's",
        "the hires fix is left out: Hires upscale: 1.5, Hires steps: 10, "
        "Hires upscaler: 4x-UltraSharp",
        "left out: Face restoration: CodeFormer",
        'left out: Dynamic thresholding: a "quoted" value, with a comma',
    )


@pytest.mark.parametrize("name", ["txt2img", "lora_vae_embedding", "second_sampling"])
def test_a_text_of_our_own_keeps_its_settings_and_words(name: str) -> None:
    infotext = parse_infotext(read(f"dumped/{name}"))

    found = reconstruct(
        infotext, KnownFiles({}, lambda kind, digest, name: f"{digest}.safetensors")
    )

    assert texts(found) == (infotext.prompt, infotext.negative_prompt)
    sampler = inputs(found, "sampler")
    assert {
        "seed": sampler["seed"],
        "sampler": sampler["sampler_name"],
        "scheduler": sampler["scheduler"],
        "steps": sampler["steps"],
        "cfg": sampler["cfg"],
    } == {
        name: getattr(infotext, name) for name in ("seed", "sampler", "scheduler", "steps", "cfg")
    }
    latent = inputs(found, "latent")
    assert (latent["width"], latent["height"]) == (infotext.width, infotext.height)
    assert inputs(found, "checkpoint")["ckpt_name"] == f"{infotext.model_hash}.safetensors"
    assert NOISE not in found.notes


@pytest.mark.parametrize(
    "name", ["a1111_1.10", "a1111_2022", "civitai_copied", "extension_below", "forge", "sdnext"]
)
def test_the_text_of_every_program_becomes_a_graph_of_core_classes(name: str) -> None:
    # Some tell no checkpoint.
    text = read(f"parsed/{name}").replace("Seed:", "Model: base, Seed:")

    found = reconstruct(
        parse_infotext(text), KnownFiles(NAMES, lambda kind, digest, name: "base.safetensors")
    )

    assert {node.class_type for node in found.prompt.nodes.values()} <= CLASSES
    assert {*upstream(found.prompt, found.output.node_id)} == {*found.prompt.nodes}
    assert all(note.isprintable() for note in found.notes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            "Seed: 1, Aa: 2, Bb: 3", "no Steps, CFG scale, width, height, Sampler", id="four"
        ),
        pytest.param("Aa: 1, Bb: 2, Cc: 3", "no Steps, .*Seed, .*Sampler", id="all"),
        pytest.param(FIELDS.replace("Seed: 5", "Seed: -1"), "got no Seed$", id="no seed of ours"),
        pytest.param(FIELDS, "neither its name nor its hash", id="a checkpoint"),
        pytest.param(
            f"{FIELDS}, Model: gone, Model hash: aaaaaaaaaa",
            r"the checkpoint 'gone' \(hash aaaaaaaaaa\) among",
            id="a checkpoint that is not here",
        ),
        pytest.param(
            FIELDS.replace("Euler", "Restart"),
            "a sampler that ComfyUI has, got 'Restart'",
            id="a sampler",
        ),
        pytest.param(
            FIELDS.replace("Karras", "Turbo"),
            "a scheduler that ComfyUI has, got 'Turbo'",
            id="a scheduler",
        ),
        pytest.param(FIELDS.replace("20", "1001"), "Steps from 1 to 1000, got 1001", id="steps"),
        pytest.param(
            FIELDS.replace("CFG scale: 7", "CFG scale: 101"),
            "CFG scale from 0 to 100",
            id="guidance",
        ),
        pytest.param(FIELDS.replace("64x", "8x"), "width from 16 to 8192, got 8", id="too narrow"),
        pytest.param(FIELDS.replace("x96", "x8193"), "height from 16 to 8192", id="too high"),
    ],
)
def test_what_makes_no_graph_is_refused(fields: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        rebuilt(settings=fields)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param("<lora:style:1>" * 65, "at most 64 names", id="LoRAs"),
        pytest.param("<hypernet:style:1>" * 65, "at most 64 names", id="tags"),
        pytest.param("a" * 100_001, "at most 100000 characters", id="words"),
    ],
)
def test_a_text_beyond_the_limits_is_refused(words: str, message: str) -> None:
    with pytest.raises(LimitError, match=message):
        rebuilt(words=words)


def test_more_embeddings_than_the_limit_are_refused() -> None:
    named = ", ".join(f"e{number}: aaaaaaaaaaaa" for number in range(65))

    with pytest.raises(LimitError, match="at most 64 names of one kind, got 65"):
        rebuilt(f'TI hashes: "{named}"')


def test_a_stranger_s_text_in_a_message_cannot_steer_a_terminal() -> None:
    with pytest.raises(GraphError) as refusal:
        rebuilt(settings=FIELDS.replace("Euler", "\x1b[2J" + "x" * 1000) + f", {MODEL}")

    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("tag", "strengths"),
    [
        ("<lora:style:0.8>", (0.8, 0.8)),
        ("<lora:style>", (1.0, 1.0)),
        ("<lora:style:-1>", (-1.0, -1.0)),
        ("<lora:style:.5:1.>", (1.0, 0.5)),
        ("<lora:style:te=0.2>", (0.2, 0.2)),
        ("<lora:style:0.8:unet=0.3>", (0.3, 0.8)),
        ("<lora:style:unet=0.3:te=0.2>", (0.3, 0.2)),
        ("<lyco:style:0.7>", (0.7, 0.7)),
    ],
)
def test_a_tag_becomes_a_loader_with_its_strengths(
    tag: str, strengths: tuple[float, float]
) -> None:
    found = rebuilt(words=f"a {tag}fox")

    lora = inputs(found, "lora_1")
    assert (lora["strength_model"], lora["strength_clip"]) == strengths
    assert texts(found)[0] == "a fox"
    assert [note for note in found.notes if "tag" in note] == []


@pytest.mark.parametrize(
    ("tag", "note"),
    [
        ("<hypernet:old:0.5>", "the tag <hypernet:old:0.5> is left out"),
        ("<lora:style:much>", "the tag <lora:style:much> is left out"),
        ("<lora:style:101>", "the tag <lora:style:101> is left out"),
        ("<lora:style:nan>", "the tag <lora:style:nan> is left out"),
        ("<lora:te=1>", "the tag <lora:te=1> is left out"),
        ("<lora:gone:1>", "the LoRA 'gone' is left out: it is not here"),
    ],
)
def test_a_tag_that_gives_no_loader_is_out_of_the_words_and_told(tag: str, note: str) -> None:
    found = rebuilt(words=f"a {tag}fox")

    assert texts(found)[0] == "a fox"
    assert noted(found)[0].startswith(note)
    assert "LoraLoader" not in {node.class_type for node in found.prompt.nodes.values()}


@pytest.mark.parametrize(
    "tag", ["<lora:style:1:1:8>", "<lora:style:1:dyn=8>", "<lora:style:1:lbw=A>"]
)
def test_what_else_a_tag_says_is_told(tag: str) -> None:
    found = rebuilt(words=tag)

    assert inputs(found, "lora_1")["strength_model"] == 1.0
    assert f"of the tag {tag} only the strengths are kept" in found.notes


def test_several_loras_are_loaded_in_their_order() -> None:
    found = rebuilt(words="<lora:style:1><lora:gone:1><lora:detail_v1.5:2>")

    assert inputs(found, "lora_3")["model"] == Link(NodeId("lora_1"), 0)
    assert inputs(found, "lora_3")["clip"] == Link(NodeId("lora_1"), 1)
    assert inputs(found, "sampler")["model"] == Link(NodeId("lora_3"), 0)
    assert inputs(found, "negative")["clip"] == Link(NodeId("lora_3"), 1)


def test_a_tag_in_the_negative_words_is_words_as_in_a1111() -> None:
    found = rebuilt(words="a fox\nNegative prompt: <lora:style:1>")

    assert texts(found)[1] == "<lora:style:1>"


def test_a_tag_in_a_text_of_comfyui_is_words_unless_that_lora_was_loaded() -> None:
    words = "a <lora:style:1>fox <lora:detail_v1.5:0.5>"

    found = rebuilt(
        'Lora hashes: "style: aaaaaaaaaaaa, loose: bbbbbbbbbbbb"', "Version: ComfyUI", words=words
    )

    assert texts(found)[0] == "a fox <lora:detail_v1.5:0.5>"
    assert inputs(found, "lora_1")["lora_name"] == "style.safetensors"
    assert (
        "the LoRA 'loose' (hash bbbbbbbbbbbb) is left out: the text does not tell its strength"
        in found.notes
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("bad-hands-5", "embedding:bad-hands-5.pt"),
        ("a, Bad-Hands-5, b", "a, embedding:bad-hands-5.pt, b"),
        ("(bad-hands-5:1.2)", "(embedding:bad-hands-5.pt:1.2)"),
        ("a,bad-hands-5,b", "a, embedding:bad-hands-5.pt ,b"),
        ("[bad-hands-5]", "[ embedding:bad-hands-5.pt ]"),
        (r"\(bad-hands-5\)", r"\( embedding:bad-hands-5.pt \)"),
        ("bad-hands-5: b", "embedding:bad-hands-5.pt : b"),
        ("bad-hands-55 xbad-hands-5", "bad-hands-55 xbad-hands-5"),
        ("easy", "embedding:folder/easy.pt"),
    ],
)
def test_a_told_embedding_is_marked_for_comfyui(words: str, expected: str) -> None:
    hashes = 'TI hashes: "bad-hands-5: aa7651be154c, easy: 0123456789ab"'

    found = rebuilt(hashes, words=f"a fox\nNegative prompt: {words}")

    assert texts(found)[1] == expected
    assert len(words_in(expected)) == expected.count("embedding:")


def test_an_embedding_that_the_text_does_not_tell_is_not_marked() -> None:
    found = rebuilt(words="bad-hands-5")

    assert texts(found)[0] == "bad-hands-5"


@pytest.mark.parametrize(
    ("name", "lack"),
    [("gone", "is not here"), ("with space", "has a name here that words cannot give")],
)
def test_an_embedding_that_words_cannot_name_is_told(name: str, lack: str) -> None:
    found = rebuilt(f'TI hashes: "{name}: 0123456789ab"', words=name)

    assert texts(found)[0] == name
    assert (
        f"the embedding '{name}' (hash 0123456789ab) {lack}; its name is left in the words"
        in found.notes
    )


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ("(fox)", "weights in round brackets are kept"),
        ("[fox]", "square brackets"),
        ("a BREAK b", "BREAK"),
        ("a AND b", "AND"),
    ],
)
def test_grammar_that_comfyui_reads_in_another_way_is_told(words: str, note: str) -> None:
    told = [item for item in rebuilt(words=words).notes if item.startswith(note)]
    ours = rebuilt("Version: ComfyUI", words=words)

    assert len(told) == 1
    assert told[0] not in ours.notes
    assert texts(ours)[0] == words


def test_brackets_without_a_meaning_are_not_told() -> None:
    assert noted(rebuilt(words=r"a \(fox\), \[b\] BREAKING SANDY")) == []


@pytest.mark.parametrize(
    ("sampler", "scheduler"), [("Euler a", "normal"), ("DDIM", "ddim_uniform"), ("LCM", "normal")]
)
def test_a_scheduler_that_is_left_open_is_assumed(sampler: str, scheduler: str) -> None:
    fields = FIELDS.replace("Euler", sampler).replace(", Schedule type: Karras", "")

    found = rebuilt(settings=f"{fields}, {MODEL}")

    assert inputs(found, "sampler")["scheduler"] == scheduler
    assert noted(found) == [f"the text names no scheduler: '{scheduler}' is assumed"]


@pytest.mark.parametrize(
    ("told", "layer"), [("1", None), ("2", -2), ("24", -24), ("25", None), ("0", None), ("x", None)]
)
def test_clip_skip_becomes_a_layer(told: str, layer: int | None) -> None:
    found = rebuilt(f"Clip skip: {told}")

    node = found.prompt.nodes.get(NodeId("clip_skip"))
    assert (node and node.inputs["stop_at_clip_layer"]) == layer
    assert (f"a clip skip of '{told}' is left out" in found.notes) == (told in ("25", "0", "x"))


def test_a_vae_that_is_not_here_is_told() -> None:
    found = rebuilt("VAE: gone.pt", "VAE hash: aaaaaaaaaa")

    assert inputs(found, "decode")["vae"] == Link(NodeId("checkpoint"), 2)
    assert (
        "the VAE 'gone.pt' (hash aaaaaaaaaa) is not here: the checkpoint's own is taken"
        in found.notes
    )


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        (["RNG: CPU"], None),
        (["RNG: NV"], "ComfyUI draws noise on the CPU; the text says RNG: NV"),
        (["Denoising strength: 1.0"], None),
        (
            ["Denoising strength: 0.5"],
            "Denoising strength: 0.5 is left out: this graph begins with no picture",
        ),
        (
            ["ADetailer model: face.pt", "ADetailer version: 24"],
            "ADetailer is left out: ADetailer model: face.pt, ADetailer version: 24",
        ),
        (["First pass size: 0x0"], "the hires fix is left out: First pass size: 0x0"),
        (["ENSD: 31337"], "left out: ENSD: 31337"),
    ],
)
def test_a_field_without_a_node_is_told(fields: list[str], note: str | None) -> None:
    assert noted(rebuilt(*fields)) == ([] if note is None else [note])


def test_many_fields_without_a_node_are_told_in_few_notes() -> None:
    found = rebuilt(*(f"Field {number}: \x1b{'x' * 1000}" for number in range(1000)))

    assert noted(found)[-1] == "left out: 968 more fields"
    assert len(found.notes) < 50
    assert all(note.isprintable() and len(note) < 300 for note in found.notes)


def test_a_size_between_two_latents_is_told() -> None:
    found = rebuilt(settings=f"{FIELDS.replace('64x', '65x')}, {MODEL}")

    assert noted(found) == ["65x96 is cut to multiples of 8, as latents have them"]


@pytest.mark.parametrize(
    ("told", "local"),
    [
        pytest.param("a", "a.safetensors", id="without its extension"),
        pytest.param("a.safetensors", "a.safetensors", id="with it"),
        pytest.param("one/a", "one\\a.pt", id="below a folder"),
        pytest.param("b", "one/b.pt", id="without its folder"),
        pytest.param("v1.5", "v1.5.ckpt", id="with a point in it"),
        pytest.param("One two three", "one, two: three.pt", id="as A1111 cuts it"),
        pytest.param("twice", None, id="of two files"),
        pytest.param("c", None, id="of none"),
    ],
)
def test_a_checkpoint_is_found_by_its_name(told: str, local: str | None) -> None:
    names = ["a.safetensors", "one\\a.pt", "one/b.pt", "v1.5.ckpt", "one, two: three.pt"]
    names += ["x/twice.pt", "y/twice.pt"]
    settings = f"{FIELDS}, Model: {told}"

    if local is None:
        with pytest.raises(GraphError, match=f"the checkpoint '{told}' among"):
            rebuilt(settings=settings, names={"checkpoints": names})
        return
    found = rebuilt(settings=settings, names={"checkpoints": names})

    assert inputs(found, "checkpoint")["ckpt_name"] == local
    assert any(note.endswith("may be another, without a hash") for note in found.notes)


def test_a_digest_goes_before_a_name() -> None:
    found = rebuilt(settings=f"{FIELDS}, Model: base, Model hash: b0b0b0b0b0")

    assert inputs(found, "checkpoint")["ckpt_name"] == "sd/other.ckpt"
    assert noted(found) == ["the checkpoint 'base' (hash b0b0b0b0b0): here it is 'sd/other.ckpt'"]


def test_a_digest_is_looked_for_with_its_kind_and_name() -> None:
    asked: list[tuple[str, str, str | None]] = []

    def note_down(kind: str, digest: str, name: str | None) -> str:
        asked.append((kind, digest, name))
        return "found.pt"

    reconstruct(parse_infotext(read("parsed/a1111_1.10")), KnownFiles({}, note_down))

    assert asked == [
        ("embeddings", "aa7651be154c", "bad-hands-5"),
        ("checkpoints", "31e35c80fc", "sd_xl_base_1.0"),
        ("loras", "7c6bad76eb54", "detail_v1.5"),
        ("vae", "735e4c3a44", "vae-ft-mse-840000-ema-pruned.safetensors"),
    ]


def test_the_graph_is_one_that_comfyui_reads() -> None:
    found = rebuilt(words="<lora:style:1>a fox")

    assert parse_prompt(dump_prompt(found.prompt)) == found.prompt
