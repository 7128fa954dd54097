"""What an infotext can carry comes back from it, in our reader and in Civitai's."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import assume, example, given
from hypothesis import strategies as st

from comfyui_provenance.errors import RecordError
from comfyui_provenance.infotext import Infotext, dump_infotext, parse_infotext

Document = dict[str, Any]

NEGATIVE: Final = "Negative prompt:"

_core_samplers = st.sampled_from(
    ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde_heun", "uni_pc", "uni_pc_bh2", "ddim"]
)
_other_samplers = st.sampled_from(["res_multistep", "er_sde", "a_packs", "a_packs_karras"])
_samplers = _core_samplers | _other_samplers
_schedulers = st.sampled_from(
    ["normal", "karras", "sgm_uniform", "ddim_uniform", "linear_quadratic", "beta57"]
)
_numbers = st.floats(0, 100) | st.integers(0, 100)
_letters = st.characters(exclude_categories=("C", "Z"), exclude_characters='"\\/')
_stems = st.lists(st.text(_letters, min_size=1, max_size=8), min_size=1, max_size=3).map(" ".join)
_folders = st.sampled_from(["", "folder/", "folder\\sub\\", "1.5/"])
_files = st.builds("{}{}.{}".format, _folders, _stems, st.sampled_from(["safetensors", "pt"]))
_grammar = st.sampled_from([NEGATIVE, "Steps: 20, Seed: 1, Size: 8x8", ", ", ": ", '"', "\n", "  "])
_words = st.lists(st.text(max_size=12) | _grammar, max_size=6).map("".join)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Documents of records in which everything is resolved, with one text on each side."""
    model, vae, embedding = draw(_files), draw(_files), draw(_files)
    loras = draw(st.lists(_files, max_size=3, unique_by=stem_of))
    adapters: list[Document] = [
        {"name": name, "sha256": digit * 64, "strengths": {}}
        for name, digit in zip(loras, "123", strict=False)
    ]
    return {
        "subject": {"width": draw(st.integers(1, 2**14)), "height": draw(st.integers(1, 2**14))},
        "tuple": {
            "model_version": "a" * 64,
            "seed": str(draw(st.integers(0, 2**64 - 1))),
            "sampler": draw(_samplers),
            "scheduler": draw(_schedulers),
            "steps": draw(st.integers(1, 10_000)),
            "cfg": draw(_numbers),
            "denoise": draw(st.floats(0, 1)),
            "adapters": adapters,
        },
        "samplings": [
            {"positive": [{"text": draw(_words)}], "negative": [{"text": draw(_words)}]},
        ],
        "materials": [
            {"kind": "checkpoints", "name": model, "sha256": "a" * 64},
            {"kind": "vae", "name": vae, "sha256": "b" * 64},
            {"kind": "embeddings", "name": embedding, "sha256": "c" * 64},
            *({**one, "kind": "loras", "autov3": "e" + one["sha256"][1:]} for one in adapters),
        ],
    }


def stem_of(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]


def words_of(document: Document) -> tuple[str, str]:
    sampling = document["samplings"][-1]
    return sampling["positive"][0]["text"], sampling["negative"][0]["text"]


def hashes_of(document: Document) -> dict[str, str]:
    prefixes = {"checkpoints": "model", "vae": "vae", "loras": "lora:", "embeddings": "embed:"}
    found: dict[str, str] = {}
    for material in document["materials"]:
        prefix = prefixes[material["kind"]]
        name = prefix + stem_of(material["name"]) if prefix.endswith(":") else prefix
        found[name] = material["sha256"][:10]
    return found


def dumped(document: Document) -> str:
    text = dump_infotext(document)
    assert text is not None
    return text


@given(documents())
def test_our_reader_gives_back_what_the_grammar_can_carry(document: Document) -> None:
    positive, negative = words_of(document)
    assume(not any(line.lstrip().startswith(NEGATIVE) for line in positive.split("\n")))
    assume(not any("\r\n" in f"{words}\n" for words in (positive, negative)))

    infotext = parse_infotext(dumped(document))

    parameters, subject = document["tuple"], document["subject"]
    assert infotext.prompt == positive
    assert infotext.negative_prompt == negative
    assert infotext.seed == int(parameters["seed"])
    assert infotext.denoise == (parameters["denoise"] if parameters["denoise"] != 1 else None)
    for name in ("steps", "cfg", "sampler", "scheduler"):
        assert getattr(infotext, name) == parameters[name]
    assert (infotext.width, infotext.height) == (subject["width"], subject["height"])
    assert infotext.model == stem_of(document["materials"][0]["name"])
    assert infotext.hashes == hashes_of(document)


@given(documents())
def test_every_text_is_one_that_can_be_read(document: Document) -> None:
    infotext = parse_infotext(dumped(document))

    assert infotext.details["Version"] == "ComfyUI"
    assert infotext.hashes == hashes_of(document)


@given(documents())
def test_civitai_reads_the_words_the_settings_and_the_digests(document: Document) -> None:
    positive, negative = words_of(document)
    for words in (positive, negative):
        assume(NEGATIVE not in words)
        assume(not any(line.startswith("Steps: ") for line in words.split("\n")))
    names = {stem_of(material["name"]) for material in document["materials"]}
    assume(not any(", Hashes: " in name for name in names))

    prompt, negative_prompt, details, hashes = read_as_civitai(dumped(document))

    assert prompt == without_blank_lines(positive)
    assert negative_prompt == without_blank_lines(negative)
    assert details["Steps"] == str(document["tuple"]["steps"])
    assert details["Seed"] == document["tuple"]["seed"]
    assert details["Size"] == "{width}x{height}".format(**document["subject"])
    assert details["Version"] == "ComfyUI"
    assert hashes == hashes_of(document)


@given(documents())
def test_civitai_reads_the_autov3_of_every_adapter_with_a_plain_name(document: Document) -> None:
    document["samplings"] = [{"positive": [], "negative": []}]
    loras = {
        stem_of(material["name"]): material["autov3"][:12]
        for material in document["materials"]
        if material["kind"] == "loras" and not set(stem_of(material["name"])) & {",", ":"}
    }

    _, _, details, _ = read_as_civitai(dumped(document))

    assert details.get("Lora hashes", {}) == loras


_marks = st.sampled_from(['"', "\\", ",", ", ", ":", "\n", "\r\n", "}", "]", "\ud800"])
_fields = st.sampled_from(
    [
        "Steps: 20",
        "Sampler: ",
        "Euler a",
        " Karras",
        "Size: ",
        "8x8",
        "0123456789",
        "Version: ComfyUI",
    ]
)
_starts = st.sampled_from(
    ["Hashes: ", '{"model":"', "Lora hashes: ", "Civitai resources: [", NEGATIVE, "Template: "]
)
_pieces = _marks | _fields | _starts | st.text(max_size=4)


@given(st.text() | st.lists(_pieces, max_size=40).map("".join))
@example("Steps: 20, Seed: 1, Hashes: " + '{"a":' * 100)
@example("Steps: 20, Seed: 1, CFG scale: " + "9" * 5000)
@example("Steps: 20, Seed: 1, Hashes: {" + f'"model": {"9" * 5000}' + "}")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        infotext = parse_infotext(text)
    except RecordError:
        return

    for name in vars_of(infotext):
        getattr(infotext, name)
    assert infotext.seed is None or 0 <= infotext.seed < 2**64
    assert all(key.strip() == key for key in infotext.details)


def vars_of(infotext: Infotext) -> list[str]:
    return [name for name in dir(type(infotext)) if not name.startswith("_")]


def without_blank_lines(words: str) -> str:
    return "\n".join(line for line in words.split("\n") if line.strip()).strip()


def read_as_civitai(text: str) -> tuple[str, str, dict[str, Any], dict[str, str]]:
    """Read as Civitai does, by the rules of its snapshot of August 2026, without its code.

    Returns:
        The words, the negative words, the details and the hashes.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    line = next(line for line in lines if line.startswith("Steps: "))
    lines.remove(line)
    hashes: dict[str, str] = {}
    before, found, after = line.partition(", Hashes: ")
    if found:
        hashes, end = json.JSONDecoder().raw_decode(after)
        line = before + after[end:]
    prompt, _, negative = "\n".join(lines).partition(NEGATIVE)
    return prompt.strip(), negative.strip(), civitai_fields(line), hashes


def civitai_fields(line: str) -> dict[str, Any]:
    """Read fields in which every quotation mark opens or closes, and nothing is escaped."""
    outside, inside = line.split('"')[0::2], line.split('"')[1::2]
    assert len(outside) == len(inside) + 1, "a quotation mark too many"
    fields: dict[str, Any] = {}
    for place, part in enumerate(outside):
        for field in part.split(","):
            key, colon, value = field.partition(":")
            if colon:
                fields[key.strip()] = value.strip()
        if place < len(inside):
            quoted = inside[place]
            assert fields[key.strip()] == "", "quotation marks within a value"
            fields[key.strip()] = civitai_fields(quoted)
    return fields
