"""An infotext says what its record says and no more; of a stranger's nothing is guessed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

import pytest

from comfyui_provenance import limits
from comfyui_provenance.errors import LimitError, RecordError
from comfyui_provenance.infotext import Infotext, autov2, dump_infotext, parse_infotext

from support.records import document_of

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "infotext"
VALUES: Final = (
    *("steps", "sampler", "scheduler", "cfg", "seed", "width", "height", "denoise"),
    *("model", "model_hash", "vae"),
)

SAMPLERS: Final = {
    "Euler": "euler",
    "Euler a": "euler_ancestral",
    "Heun": "heun",
    "DPM2": "dpm_2",
    "DPM2 a": "dpm_2_ancestral",
    "LMS": "lms",
    "DPM fast": "dpm_fast",
    "DPM adaptive": "dpm_adaptive",
    "DPM++ 2S a": "dpmpp_2s_ancestral",
    "DPM++ SDE": "dpmpp_sde",
    "DPM++ 2M": "dpmpp_2m",
    "DPM++ 2M SDE": "dpmpp_2m_sde",
    "DPM++ 2M SDE Heun": "dpmpp_2m_sde_heun",
    "DPM++ 3M SDE": "dpmpp_3m_sde",
    "DDPM": "ddpm",
    "LCM": "lcm",
    "DDIM": "ddim",
    "UniPC": "uni_pc",
}
"""As the lists of samplers of A1111 1.10 and Forge name them."""

SCHEDULERS: Final = {
    "Normal": "normal",
    "Karras": "karras",
    "Exponential": "exponential",
    "SGM Uniform": "sgm_uniform",
    "Simple": "simple",
    "DDIM": "ddim_uniform",
    "Beta": "beta",
    "KL Optimal": "kl_optimal",
}


def names_in(folder: str) -> list[str]:
    return sorted(path.stem for path in (VECTORS / folder).glob("*.txt"))


def read(name: str) -> str:
    return (VECTORS / name).read_bytes().decode("utf-8")


def dumped(**changes: object) -> Infotext:
    """Parse the infotext of a whole record whose tuple is changed."""
    document = document_of()
    document["tuple"] |= changes
    text = dump_infotext(document)
    assert text is not None
    return parse_infotext(text)


def of_details(*fields: str) -> Infotext:
    """Parse an infotext of these fields and three that say nothing."""
    return parse_infotext("\n".join(["words", ", ".join([*fields, "Aa: 1", "Bb: 2", "Cc: 3"])]))


@pytest.mark.parametrize("name", names_in("dumped"))
def test_a_record_has_its_exact_text(name: str) -> None:
    document = json.loads(read(f"dumped/{name}.json"))

    assert dump_infotext(document) == read(f"dumped/{name}.txt")


@pytest.mark.parametrize("name", names_in("parsed"))
def test_the_text_of_every_program_says_what_it_says(name: str) -> None:
    expected = json.loads(read(f"parsed/{name}.json"))

    infotext = parse_infotext(read(f"parsed/{name}.txt"))

    assert infotext.prompt == expected["prompt"]
    assert infotext.negative_prompt == expected["negative_prompt"]
    assert [[*field] for field in infotext.details.items()] == expected["details"]
    assert infotext.hashes == expected["hashes"]
    assert {value: getattr(infotext, value) for value in VALUES} == {
        value: expected[value] for value in VALUES
    }


def test_the_text_of_a_whole_record_is_the_same_before_and_after_it_was_written() -> None:
    document = document_of()
    document["tuple"]["cfg"] = 7.0

    written = json.loads(json.dumps({**document, "tuple": {**document["tuple"], "cfg": 7}}))

    assert dump_infotext(document) == dump_infotext(written)


@pytest.mark.parametrize(("label", "sampler"), SAMPLERS.items())
def test_a_sampler_of_a1111_is_written_and_read_by_its_name(label: str, sampler: str) -> None:
    infotext = dumped(sampler=sampler)

    assert infotext.details["Sampler"] == label
    assert infotext.sampler == sampler


@pytest.mark.parametrize(("label", "scheduler"), SCHEDULERS.items())
def test_a_scheduler_of_a1111_is_written_and_read_by_its_name(label: str, scheduler: str) -> None:
    infotext = dumped(scheduler=scheduler)

    assert infotext.details["Schedule type"] == label
    assert infotext.scheduler == scheduler


def test_what_a1111_does_not_have_keeps_its_name() -> None:
    infotext = dumped(sampler="er_sde", scheduler="linear_quadratic")

    assert infotext.details["Sampler"] == infotext.sampler == "er_sde"
    assert infotext.details["Schedule type"] == infotext.scheduler == "linear_quadratic"


def test_noise_from_the_gpu_is_not_in_the_name() -> None:
    assert dumped(sampler="dpmpp_2m_sde_gpu").details["Sampler"] == "DPM++ 2M SDE"
    assert dumped(sampler="dpmpp_2m_sde_gpu").sampler == "dpmpp_2m_sde"


def test_the_second_variant_of_unipc_is_told_as_a1111_tells_it() -> None:
    infotext = dumped(sampler="uni_pc_bh2")

    assert infotext.details["UniPC variant"] == "bh2"
    assert infotext.sampler == "uni_pc_bh2"
    assert of_details("Sampler: UniPC", "UniPC variant: vary_coeff").sampler is None


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("steps", "Steps"),
        ("sampler", "Sampler"),
        ("scheduler", "Schedule type"),
        ("cfg", "CFG scale"),
        ("seed", "Seed"),
        ("denoise", "Denoising strength"),
        ("model_version", "Model"),
        ("model_version", "Model hash"),
        ("model_version", "Hashes"),
    ],
)
@pytest.mark.parametrize("value", ["unresolved", None, True, [], float("nan"), 2**53])
def test_what_is_not_resolved_is_left_out(field: str, key: str, value: object) -> None:
    told = {"steps": 2**53 - 1, "cfg": 2, "denoise": 0.5, "adapters": []}
    assert key in dumped(**told).details

    assert key not in dumped(**{**told, field: value}).details


def test_full_denoise_is_not_told() -> None:
    assert "Denoising strength" not in dumped(denoise=1.0).details
    assert dumped(denoise=0.55).denoise == 0.55


def test_a_record_without_a_sampling_has_no_text() -> None:
    assert dump_infotext({**document_of(), "samplings": []}) is None


def test_a_text_too_short_for_any_reader_is_not_written() -> None:
    document = {**document_of(), "tuple": {}}

    assert dump_infotext(document) is None
    assert dump_infotext({**document, "tuple": {"steps": 1}}) is not None


def test_the_strength_of_an_adapter_is_not_put_into_the_words() -> None:
    text = dump_infotext(document_of())

    assert text is not None
    assert text.startswith("a fox's den\nNegative prompt: blurry\nSteps: 4, ")
    assert "<lora:" not in text


@pytest.mark.parametrize(
    "name",
    [
        pytest.param('a "b".safetensors', id="quotation marks"),
        pytest.param("a\nb.safetensors", id="a line feed"),
        pytest.param("a\x00b.safetensors", id="a control character"),
        pytest.param(" a.safetensors", id="a blank at its start"),
        pytest.param("", id="no name"),
    ],
)
def test_a_name_that_no_field_can_carry_is_left_out(name: str) -> None:
    document = document_of()
    material = next(entry for entry in document["materials"] if entry["kind"] == "checkpoints")
    material["name"] = name

    text = dump_infotext(document)

    assert text is not None
    assert "Model" not in parse_infotext(text).details
    assert parse_infotext(text).model_hash == material["sha256"][:10]
    assert '\\"' not in text


def test_a_sampler_that_no_field_can_carry_is_left_out() -> None:
    assert "Sampler" not in dumped(sampler="a\\b").details
    assert dumped(sampler="a, b: c").sampler == "a, b: c"


def test_a_name_without_an_extension_is_kept_whole() -> None:
    document = document_of()
    document["materials"][0]["name"] = "folder.v1/plain"

    assert parse_infotext(str(dump_infotext(document))).model == "plain"


def test_of_two_adapters_with_one_name_the_first_is_told() -> None:
    document = document_of()
    document["tuple"]["adapters"] = [
        {"name": f"{folder}/same.safetensors", "sha256": digit * 64}
        for folder, digit in ("a1", "b2")
    ]
    document["materials"] += [
        {"kind": "loras", "name": "same.safetensors", "sha256": digit * 64, "autov3": digit * 64}
        for digit in "12"
    ]

    infotext = parse_infotext(str(dump_infotext(document)))

    assert infotext.details["Lora hashes"] == "same: 111111111111"
    assert infotext.hashes["lora:same"] == "1111111111"


@pytest.mark.parametrize("value", ["", "a" * 63, "A" * 64, "g" * 64, "0x" + "a" * 62])
def test_only_a_whole_sha256_has_an_autov2(value: str) -> None:
    with pytest.raises(ValueError, match="expected 64 lower-case hex digits"):
        autov2(value)


@pytest.mark.parametrize(
    ("name", "sampling"),
    [
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("DPM++ 2M SDE Heun Exponential", ("dpmpp_2m_sde_heun", "exponential")),
        ("DPM++ 2M SDE SGMUniform", ("dpmpp_2m_sde", "sgm_uniform")),
        ("DPM++ 2M SGM Uniform", ("dpmpp_2m", "sgm_uniform")),
        ("DPM++ 2M Uniform", ("dpmpp_2m", "normal")),
        ("dpmpp_2m_sde_karras", ("dpmpp_2m_sde", "karras")),
        ("uni_pc_bh2_simple", ("uni_pc_bh2", "simple")),
        ("euler a", ("euler_ancestral", None)),
        ("Restart", (None, None)),
        ("Restart Karras", (None, None)),
        ("DPM++ 2M Turbo", (None, None)),
        ("PLMS", (None, None)),
        ("Undefined", (None, None)),
        ("res_2s", (None, None)),
        ("res_2s_simple", (None, None)),
        (" Karras", (None, None)),
    ],
)
def test_an_old_name_tells_the_scheduler_too(
    name: str, sampling: tuple[str | None, str | None]
) -> None:
    infotext = of_details(f"Sampler: {name}")

    assert (infotext.sampler, infotext.scheduler) == sampling


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [
        ("Euler", "normal"),
        ("DPM++ 2M", "karras"),
        ("DPM++ 3M SDE", "exponential"),
        ("DDIM", "ddim_uniform"),
        ("UniPC", None),
        ("LCM", None),
        ("Restart", None),
    ],
)
def test_automatic_is_what_it_was_for_that_sampler(sampler: str, scheduler: str | None) -> None:
    infotext = of_details(f"Sampler: {sampler}", "Schedule type: Automatic")

    assert infotext.scheduler == scheduler


@pytest.mark.parametrize(
    ("fields", "sampling"),
    [
        pytest.param(["Sampler: res_2s", "Schedule type: bong"], ("res_2s", "bong"), id="two"),
        pytest.param(["Sampler: res_2s"], ("res_2s", None), id="a sampler"),
        pytest.param(["Schedule type: bong"], (None, "bong"), id="a scheduler"),
        pytest.param(
            ["Sampler: x_karras", "Schedule type: Beta"], ("x_karras", "beta"), id="whole"
        ),
        pytest.param(["Sampler: x_karras"], (None, None), id="joined, perhaps"),
        pytest.param([f"Sampler: {'x' * 5000}"], (None, None), id="too long"),
    ],
)
def test_names_of_other_packs_are_taken_from_comfyuis_nodes_alone(
    fields: list[str], sampling: tuple[str | None, str | None]
) -> None:
    ours = of_details(*fields, "Version: ComfyUI")
    foreign = of_details(*fields, "Version: v1.10.1")

    assert (ours.sampler, ours.scheduler) == sampling
    assert foreign.sampler is None
    assert foreign.scheduler == ("beta" if sampling[1] == "beta" else None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Steps: 0", "steps"),
        ("Steps: 20.5", "steps"),
        ("Steps: ٢٠", "steps"),
        ("Steps: 1234567890", "steps"),
        ("CFG scale: 7;0", "cfg"),
        ("CFG scale: nan", "cfg"),
        ("CFG scale: 1e999", "cfg"),
        ("CFG scale: 1_0", "cfg"),
        ("Seed: -1", "seed"),
        ("Seed: 18446744073709551616", "seed"),
        ("Seed: 1e5", "seed"),
        ("Size: 0x8", "width"),
        ("Size: 8x8x8", "height"),
        ("Size: 8", "height"),
        ("Denoising strength: 1.5", "denoise"),
        ("Denoising strength: -0.1", "denoise"),
        ("Model: ", "model"),
        ("Model hash: 31e35c", "model_hash"),
        ("Model hash: unknown12", "model_hash"),
        ("Hashes: {broken", "model_hash"),
        ('Hashes: {"model":"31e35c80fc","model":"b0b0b0b0b0"}', "model_hash"),
        ('Hashes: {"model":31}', "model_hash"),
        ("Hashes: [1]", "model_hash"),
    ],
)
def test_what_cannot_be_read_is_none(field: str, value: str) -> None:
    assert getattr(of_details(field), value) is None


@pytest.mark.parametrize("field", ["Hires upscale: 2", "Hires steps: 10", "First pass size: 0x0"])
def test_the_denoise_of_a_hires_fix_is_not_taken_for_the_samplings(field: str) -> None:
    assert of_details("Denoising strength: 0.5").denoise == 0.5
    assert of_details("Denoising strength: 0.5", field).denoise is None


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ('"a, b: c"', "a, b: c"),
        (r'"a \"b\", c"', 'a "b", c'),
        (r'"\u00e9, \\"', "é, \\"),
        ('"open', '"open'),
        ('"a" b', '"a" b'),
        (r'"bad \x"', r'"bad \x"'),
        (r'"\ud800"', r'"\ud800"'),
        ('""', ""),
        ("a: b", "a: b"),
    ],
)
def test_a_quoted_value_is_unquoted_where_it_can_be(raw: str, value: str) -> None:
    infotext = of_details("First: 1", f"Value: {raw}", "Last: 2")

    assert infotext.details["Value"] == value
    assert infotext.details["Last"] == "2"


def test_of_a_repeated_field_the_last_counts() -> None:
    assert of_details("Seed: 1", "Seed: 2").seed == 2


def test_the_digest_that_civitai_resolves_comes_first() -> None:
    infotext = of_details("Model hash: aaaaaaaaaa", 'Hashes: {"model":"bbbbbbbbbb"}')

    assert infotext.model_hash == "bbbbbbbbbb"


@pytest.mark.parametrize(
    ("words", "prompt", "negative"),
    [
        pytest.param("  a\n\n b \nNegative prompt:  c\n d", "  a\n\n b ", " c\n d", id="blanks"),
        pytest.param("a\n  Negative prompt:c", "a", "c", id="a negative after blanks"),
        pytest.param("Negative prompt: c", "", "c", id="negative words alone"),
        pytest.param(
            "a\nNegative prompt: c\nNegative prompt: d", "a", "c\nNegative prompt: d", id="twice"
        ),
        pytest.param("a Negative prompt: c", "a Negative prompt: c", "", id="within a line"),
        pytest.param("a\nTemplate: b", "a\nTemplate: b", "", id="a template elsewhere"),
        pytest.param(
            "Steps: 1, Aa: 2, Bb: 3", "Steps: 1, Aa: 2, Bb: 3", "", id="what looks like details"
        ),
    ],
)
def test_words_are_read_as_they_stand(words: str, prompt: str, negative: str) -> None:
    infotext = parse_infotext(f"{words}\nSampler: LCM, Seed: 7, Size: 8x8")

    assert (infotext.prompt, infotext.negative_prompt) == (prompt, negative)
    assert infotext.details == {"Sampler": "LCM", "Seed": "7", "Size": "8x8"}


@pytest.mark.parametrize("text", ["", "\n\n", "one: 1, two: 2", "Steps: 20"])
def test_a_text_without_details_is_all_words(text: str) -> None:
    assert parse_infotext(text) == Infotext(text.rstrip(), "", {})


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        pytest.param(
            "é" * (limits.TEXT_BYTES // 2 + 1), LimitError, "bytes of infotext", id="too large"
        ),
        pytest.param("Aa: 1, " * 4097, LimitError, "at most 4096 fields", id="too many fields"),
        pytest.param("a \ud800", RecordError, "expected Unicode text", id="a lone surrogate"),
    ],
)
def test_a_text_beyond_the_limits_is_refused(
    text: str, error: type[RecordError], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_infotext(text)


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param("a", id="a key without an end"),
        pytest.param("a ", id="words without an end"),
        pytest.param(" ", id="blanks"),
        pytest.param('Aa:"', id="open quotes"),
        pytest.param('Aa:"\\', id="open quotes and escapes"),
        pytest.param("\\\\", id="escapes"),
        pytest.param("Hashes:{", id="open braces"),
        pytest.param('Hashes:{"', id="open braces and quotes"),
        pytest.param("Hashes: {,", id="open braces and commas"),
        pytest.param("a:", id="colons"),
        pytest.param("a,", id="commas"),
        pytest.param("Steps:\n", id="lines"),
        pytest.param("Negative prompt:\n", id="negatives"),
        pytest.param("Template: \n", id="templates"),
    ],
)
def test_a_hostile_line_costs_no_more_than_its_length(piece: str) -> None:
    hostile = piece * (2**20 // len(piece))
    texts = [hostile, f"Aa: 1, Bb: 2, Cc: {hostile}", f"Aa: 1, Bb: 2, Cc: 3, Hashes: {hostile}"]

    start = time.perf_counter()
    for text in texts:
        try:
            infotext = parse_infotext(text)
        except RecordError:
            continue
        _ = [getattr(infotext, value) for value in (*VALUES, "hashes")]
    elapsed_s = time.perf_counter() - start

    # It takes under a second; with one attempt for each letter of the line it would take hours.
    assert elapsed_s < 20
