"""What an infotext of ours tells comes back in the graph; any other gives a graph or an error."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import assume, given
from hypothesis import strategies as st

from comfyui_provenance.embedding_words import words_in
from comfyui_provenance.errors import ProvenanceError
from comfyui_provenance.graph.prompt import NodeId
from comfyui_provenance.graph.trace import upstream
from comfyui_provenance.infotext import dump_infotext, parse_infotext
from comfyui_provenance.reconstruction import KnownFiles, Reconstruction, reconstruct
from comfyui_provenance.reconstruction.words import name_embeddings

CLASSES: Final = {
    *("CheckpointLoaderSimple", "LoraLoader", "CLIPSetLastLayer", "VAELoader", "CLIPTextEncode"),
    *("EmptyLatentImage", "KSampler", "VAEDecode"),
}
EVERYTHING: Final = KnownFiles({}, lambda kind, digest, name: f"{kind}.safetensors")
"""A machine that has every file."""

_grammar = st.sampled_from(
    [
        *(
            "Negative prompt: ",
            "<lora:a:1>",
            "<lora:b",
            "<hypernet:c:te=2>",
            "embedding:a",
            "(",
            ")",
        ),
        *("[a|b]", "\\(", "BREAK", "\n", "  ", ", ", "a", "é\x1b\u202e"),
    ]
)
_words = st.lists(st.text(max_size=12) | _grammar, max_size=8).map("".join)
_fields = st.sampled_from(
    [
        *("Steps: 20", "Steps: 0", "Sampler: Euler a", "Sampler: Restart", "Schedule type: Karras"),
        *(
            "CFG scale: 7",
            "CFG scale: -1",
            "Seed: 5",
            "Size: 64x96",
            "Size: 9x99999",
            "Model: base",
        ),
        *("Model hash: 31e35c80fc", "Clip skip: 2", "VAE: a.pt", 'TI hashes: "a: aaaaaaaaaaaa"'),
        *('Lora hashes: "a: bbbbbbbbbbbb"', "Hires upscale: 2", "Denoising strength: 0.3"),
        *("RNG: NV", "Version: ComfyUI", "Odd: \x1b[2J\u202e"),
    ]
)
_whole = "Steps: 4, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x96, Model: base"


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents of records whose sampling is one that KSampler and EmptyLatentImage take."""
    side = st.integers(16, 8192)
    samplers = st.sampled_from(
        ["euler", "euler_ancestral", "dpmpp_2m", "uni_pc_bh2", "er_sde", "ddim"]
    )
    return {
        "subject": {"width": draw(side), "height": draw(side)},
        "tuple": {
            "model_version": "a" * 64,
            "seed": str(draw(st.integers(0, 2**64 - 1))),
            "sampler": draw(samplers),
            "scheduler": draw(st.sampled_from(["normal", "karras", "linear_quadratic", "a_packs"])),
            "steps": draw(st.integers(1, 1000)),
            "cfg": draw(st.floats(0, 100) | st.integers(0, 100)),
            "denoise": draw(st.floats(0, 1)),
            "adapters": [],
        },
        "samplings": [{"positive": [{"text": draw(_words)}], "negative": [{"text": draw(_words)}]}],
        "materials": [{"kind": "checkpoints", "name": "base.safetensors", "sha256": "a" * 64}],
    }


@given(documents())
def test_settings_and_words_of_our_own_text_come_back(document: dict[str, Any]) -> None:
    infotext = parse_infotext(str(dump_infotext(document)))

    found = reconstruct(infotext, EVERYTHING)

    told = document["tuple"]
    sampler, latent = inputs(found, "sampler"), inputs(found, "latent")
    assert str(sampler["seed"]) == told["seed"]
    assert sampler["sampler_name"] == told["sampler"]
    assert sampler["scheduler"] == told["scheduler"]
    assert (sampler["steps"], sampler["cfg"]) == (told["steps"], told["cfg"])
    assert latent["width"] == document["subject"]["width"]
    assert latent["height"] == document["subject"]["height"]
    assert inputs(found, "positive")["text"] == infotext.prompt
    assert inputs(found, "negative")["text"] == infotext.negative_prompt


@given(_words, st.booleans(), st.lists(_fields, max_size=12))
def test_any_text_gives_a_plain_graph_or_an_error_of_ours(
    words: str, is_whole: bool, fields: list[str]
) -> None:
    details = ", ".join([*([_whole] if is_whole else []), *fields])
    try:
        found = reconstruct(parse_infotext(f"{words}\n{details}"), EVERYTHING)
    except ProvenanceError:
        return

    assert {node.class_type for node in found.prompt.nodes.values()} <= CLASSES
    assert {*upstream(found.prompt, found.output.node_id)} == {*found.prompt.nodes}
    assert len(set(found.notes)) <= 100
    for note in found.notes:
        assert note.isprintable()
        assert len(note) < 500


@given(_words, _words)
def test_a_marked_embedding_is_one_to_comfyui_wherever_it_stands(before: str, after: str) -> None:
    assume("embedding:" not in before + after)
    assume(not before[-1:].isalnum() and not after[:1].isalnum())
    assume(before[-1:] != "_" and after[:1] != "_" and not before.endswith("\\"))

    marked = name_embeddings(f"{before}unlikely{after}", {"unlikely": "local"})

    assert words_in(marked) == ["local"]


def inputs(found: Reconstruction, node_id: str) -> dict[str, Any]:
    return dict(found.prompt.nodes[NodeId(node_id)].inputs)
