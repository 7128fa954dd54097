"""One Deterministic Mode node pins every sampler, text encoder and VAE downstream of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from comfyui_provenance.trace import compare_traces, parse_trace

from support import prompts
from support.prompts import Prompt, in_mode, node, one_of_batch
from support.server import ComfyServer, PromptFailed
from support.tampering import record_of

PACKS = Path(__file__).parents[1] / "packs"
PACK = PACKS / "determinism"
SCARCE_MEMORY = PACKS / "scarce_memory"

LITTLE = 2**20
"""Bytes: less than any forward of the tiny model needs."""


@pytest.fixture(scope="module")
def server(server_with: Any) -> ComfyServer:
    found: ComfyServer = server_with(packs=(SCARCE_MEMORY, PACK))
    return found


@pytest.fixture(autouse=True)
def _plenty(server: ComfyServer) -> Iterator[None]:
    """Give back what a test took away."""
    yield
    server.post_json("/test/free_memory", {"bytes": None})
    server.post_json("/test/vae_memory", {"decode": 0, "encode": 0})


def run(server: ComfyServer, prompt: Prompt, **extra: Any) -> list[dict[str, Any]]:
    """Make the images of a prompt, and give their records."""
    return [record_of(path.read_bytes()) for path in server.images(server.run(prompt, **extra))]


def digests(records: list[dict[str, Any]]) -> list[str]:
    return [record["subject"]["digest"] for record in records]


def pixels(server: ComfyServer, prompt: Prompt) -> Any:
    """Make one image: samples from 0 to 255."""
    (path,) = server.images(server.run(prompt))
    return np.asarray(Image.open(path), dtype=np.int16)


def custom(guider: str = "CFGGuider", **options: Any) -> Prompt:
    """Build a picture with core's SamplerCustomAdvanced and one of its guiders."""
    prompt = prompts.txt2img(sampler_class="KSampler", **options)
    widgets = prompt["sampler"]["inputs"]
    conditionings: dict[str, Any] = {"positive": ["positive", 0], "negative": ["negative", 0]}
    settings: dict[str, Any] = {"cfg": widgets["cfg"]}
    if guider == "BasicGuider":
        conditionings, settings = {"conditioning": ["positive", 0]}, {}
    elif guider == "DualCFGGuider":
        conditionings = {
            "cond1": ["positive", 0],
            "cond2": ["negative", 0],
            "negative": ["negative", 0],
        }
        settings = {"cfg_conds": 5.0, "cfg_cond2_negative": 2.0, "style": "regular"}
    prompt |= {
        "guider": node(guider, model=["loader", 0], **conditionings, **settings),
        "noise": node("RandomNoise", noise_seed=widgets["seed"]),
        "function": node("KSamplerSelect", sampler_name=widgets["sampler_name"]),
        "sigmas": node(
            "BasicScheduler",
            model=["loader", 0],
            scheduler=widgets["scheduler"],
            steps=widgets["steps"],
            denoise=widgets["denoise"],
        ),
        "sampler": node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["function", 0],
            sigmas=["sigmas", 0],
            latent_image=["latent", 0],
        ),
    }
    return prompt


def advanced(**options: Any) -> Prompt:
    """Build a picture with core's KSamplerAdvanced."""
    prompt = prompts.txt2img(sampler_class="KSamplerAdvanced", **options)
    widgets = prompt["sampler"]["inputs"]
    del widgets["denoise"]
    widgets |= {
        "noise_seed": widgets.pop("seed"),
        "add_noise": "enable",
        "start_at_step": 0,
        "end_at_step": 10000,
        "return_with_leftover_noise": "disable",
    }
    return prompt


def simple_custom(**options: Any) -> Prompt:
    """Build a picture with core's SamplerCustom."""
    prompt = custom(**options)
    prompt["sampler"] = node(
        "SamplerCustom",
        model=["loader", 0],
        add_noise=True,
        noise_seed=options["seed"],
        cfg=7.0,
        positive=["positive", 0],
        negative=["negative", 0],
        sampler=["function", 0],
        sigmas=["sigmas", 0],
        latent_image=["latent", 0],
    )
    del prompt["guider"], prompt["noise"]
    return prompt


SAMPLER_NODES = {
    "KSampler": lambda **kw: prompts.txt2img(sampler_class="KSampler", **kw),
    "KSampler (Advanced)": advanced,
    "SamplerCustom": simple_custom,
    "SamplerCustomAdvanced, CFGGuider": custom,
    "SamplerCustomAdvanced, BasicGuider": lambda **kw: custom("BasicGuider", **kw),
    "SamplerCustomAdvanced, DualCFGGuider": lambda **kw: custom("DualCFGGuider", **kw),
    "this pack's KSampler": prompts.txt2img,
}


@pytest.mark.parametrize("name", SAMPLER_NODES)
def test_every_sampler_downstream_is_pinned_and_seen_from_inside(
    server: ComfyServer, name: str
) -> None:
    build = SAMPLER_NODES[name]

    (plenty,) = run(server, in_mode(build(seed=71, steps=2, width=256, height=256)))
    server.post_json("/test/free_memory", {"bytes": LITTLE})
    server.free()
    (scarce,) = run(server, in_mode(build(seed=71, steps=2, width=256, height=256)))

    sampling = plenty["samplings"][0]
    assert (sampling["source"], sampling["deterministic_mode"]) == ("sampling", True)
    assert (sampling["seed"], sampling["sampler"]) == ("71", "euler")
    assert set(sampling["conditionings_per_forward"]) == {"1"}
    assert sampling["flags"]["deterministic_algorithms"] == "warn"
    assert sampling["attention"] == "pytorch"
    assert plenty["trace"][0]["node_id"] == "sampler"
    assert plenty["determinism"]["demotions"] == []
    operations = [(entry["node_id"], entry["operation"]) for entry in plenty["operations"]]
    assert ("positive", "text_encode") in operations
    assert operations[-1] == ("decode", "vae_decode")
    assert digests([plenty]) == digests([scarce])


def test_a_stock_sampler_without_the_node_changes_with_memory(server: ComfyServer) -> None:
    build = SAMPLER_NODES["KSampler"]

    (plenty,) = run(server, build(seed=71, steps=2, width=256, height=256))
    server.post_json("/test/free_memory", {"bytes": LITTLE})
    server.free()
    (scarce,) = run(server, build(seed=71, steps=2, width=256, height=256))

    assert digests([plenty]) != digests([scarce])


@pytest.mark.parametrize(
    "sampler_name", ["euler", "euler_ancestral", "dpmpp_2m_sde", "lcm", "ddim", "uni_pc"]
)
def test_the_mode_keeps_what_a_seed_looks_like(server: ComfyServer, sampler_name: str) -> None:
    options: dict[str, Any] = {
        "seed": 72,
        "sampler_name": sampler_name,
        "sampler_class": "KSampler",
    }

    cores = pixels(server, prompts.txt2img(**options))
    pinned = pixels(server, in_mode(prompts.txt2img(**options)))
    other_seed = pixels(server, in_mode(prompts.txt2img(**{**options, "seed": 73})))

    assert np.abs(cores - pinned).max() <= 1
    assert np.abs(cores - other_seed).max() > 30


def test_two_models_with_different_modes_do_not_disturb_each_other(server: ComfyServer) -> None:
    prompt = in_mode(prompts.two_samplers(seed=74, steps=2, sampler_class="KSampler"))
    prompt["mode_together"] = {
        **prompt["mode"],
        "inputs": {**prompt["mode"]["inputs"], "cond_batch": "together"},
    }
    prompt["second"]["inputs"]["model"] = ["mode_together", 0]
    prompt["third"] = {**prompt["second"], "inputs": {**prompt["second"]["inputs"]}}
    prompt["third"]["inputs"] |= {"model": ["loader", 0], "latent_image": ["second", 0]}
    prompt["decode"]["inputs"]["samples"] = ["third", 0]

    (record,) = run(server, prompt)

    first, second, third = record["samplings"]
    assert [entry["node_id"] for entry in record["samplings"]] == ["sampler", "second", "third"]
    assert set(first["conditionings_per_forward"]) == {"1"}
    assert set(second["conditionings_per_forward"]) == {"2"}
    assert third["source"] == "graph"
    kinds = [(entry["node_id"], entry["kind"]) for entry in record["determinism"]["demotions"]]
    assert kinds == [("third", "numerics")]


def test_conditionings_together_stay_together_without_memory(server: ComfyServer) -> None:
    prompt = in_mode(
        prompts.txt2img(seed=75, steps=2, sampler_class="KSampler"), cond_batch="together"
    )

    (plenty,) = run(server, prompt)
    server.post_json("/test/free_memory", {"bytes": LITTLE})
    server.free()
    (scarce,) = run(server, prompt)

    assert set(scarce["samplings"][0]["conditionings_per_forward"]) == {"2"}
    assert digests([plenty]) == digests([scarce])


def test_a_lora_after_the_mode_leaves_the_text_encoder_pinned(server: ComfyServer) -> None:
    prompt = in_mode(prompts.lora(seed=76, steps=2, sampler_class="KSampler"))

    (record,) = run(server, prompt)

    sampling = record["samplings"][0]
    assert record["determinism"]["demotions"] == []
    assert sampling["load"] == {"state": "full", "patched_on_the_fly": 0}
    assert sampling["patches"]["weights"] > 0
    encoded = [entry["node_id"] for entry in record["operations"]]
    assert encoded == ["positive", "negative", "decode"]


def test_the_digest_of_the_patches_changes_with_a_loras_strength(server: ComfyServer) -> None:
    found = [
        run(server, in_mode(prompts.lora(seed=76, steps=1, strength_model=strength)))[0]
        for strength in (0.6, 0.7)
    ]

    first, second = (record["samplings"][0]["patches"]["digest"] for record in found)
    assert first != second


def test_what_was_cached_is_still_told_from_inside(server: ComfyServer) -> None:
    options: dict[str, Any] = {"seed": 77, "steps": 2, "sampler_class": "KSampler"}

    (first,) = run(server, in_mode(prompts.txt2img(**options)))
    (again,) = run(server, in_mode(prompts.txt2img(**options, filename_prefix="cached")))

    assert again["samplings"][0] == {**first["samplings"][0], "cached": True}
    assert again["operations"] == [{**entry, "cached": True} for entry in first["operations"]]
    assert again["trace"] == first["trace"]


def test_switched_off_it_hands_everything_on_unchanged(server: ComfyServer) -> None:
    prompt = in_mode(prompts.txt2img(seed=78, steps=2, sampler_class="KSampler"), enabled=False)

    (record,) = run(server, prompt)

    assert record["samplings"][0]["source"] == "graph"
    assert record["determinism"]["requested"] is False


def test_only_a_model_is_needed(server: ComfyServer) -> None:
    prompt = in_mode(prompts.txt2img(seed=79, steps=2, sampler_class="KSampler"))
    del prompt["mode"]["inputs"]["clip"], prompt["mode"]["inputs"]["vae"]
    for name, source in (("positive", 1), ("negative", 1), ("decode", 2)):
        key = "vae" if name == "decode" else "clip"
        prompt[name]["inputs"][key] = ["loader", source]

    (record,) = run(server, prompt)

    outside = [entry["node_id"] for entry in record["determinism"]["demotions"]]
    assert outside == ["positive", "negative", "decode"]


# --- what is not pinned is told -------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "told"),
    [("attention", "attention"), ("cond batch", "batch"), ("compile", "numerics")],
)
def test_what_another_node_took_over_is_told(server: ComfyServer, kind: str, told: str) -> None:
    prompt = in_mode(prompts.txt2img(seed=101, steps=1, sampler_class="KSampler"))
    prompt["odd"] = node("TestOddModel", model=["mode", 0], kind=kind)
    prompt["sampler"]["inputs"]["model"] = ["odd", 0]

    (record,) = run(server, prompt)

    demotions = [(entry["node_id"], entry["kind"]) for entry in record["determinism"]["demotions"]]
    assert demotions == [("sampler", told)]


@pytest.mark.parametrize("pinned", [True, False])
def test_a_use_of_a_model_without_a_pinned_run_is_told_whatever_its_name(
    server: ComfyServer, pinned: bool
) -> None:
    prompt = in_mode(prompts.txt2img(seed=102, steps=1, sampler_class="KSampler"))
    vae = ["mode", 2] if pinned else ["loader", 2]
    prompt["use"] = node(
        "TestUnusualUse",
        samples=["sampler", 0],
        way="encode",
        audio_vae=vae,
        positive=["positive", 0],
    )
    prompt["save"]["inputs"]["images"] = ["use", 0]
    del prompt["decode"]

    (record,) = run(server, prompt)

    demotions = [entry["message"] for entry in record["determinism"]["demotions"]]
    assert demotions == ([] if pinned else ["uses its audio_vae outside Deterministic Mode"])


def test_a_sampler_without_a_guider_is_told(server: ComfyServer) -> None:
    prompt = in_mode(prompts.txt2img(seed=103, steps=1, sampler_class="KSampler"))
    prompt["use"] = node("TestUnusualUse", samples=["latent", 0], way="own loop", model=["mode", 0])
    prompt["decode"]["inputs"]["samples"] = ["use", 1]
    del prompt["sampler"]

    (record,) = run(server, prompt)

    (demotion,) = record["determinism"]["demotions"]
    assert demotion["node_id"] == "use"


def test_attention_of_a_controlnet_is_told(server: ComfyServer) -> None:
    prompt = in_mode(prompts.txt2img(seed=104, steps=1, sampler_class="KSampler"))
    prompt["hint"] = node("EmptyImage", width=128, height=128, batch_size=1, color=255)
    prompt["control"] = node("TestControlNet", model=["mode", 0])
    prompts.steer(prompt, control=["control", 0], hint=["hint", 0])
    prompt["steer"]["inputs"]["vae"] = ["mode", 2]

    (record,) = run(server, prompt)

    (demotion,) = record["determinism"]["demotions"]
    assert (demotion["node_id"], demotion["kind"]) == ("sampler", "attention")


def test_two_samplers_that_look_the_same_are_not_mistaken(server: ComfyServer) -> None:
    prompt = in_mode(prompts.two_samplers(seed=1, steps=1, sampler_class="KSampler"))
    for name in ("sampler", "second"):
        prompt[f"seed_{name}"] = node("TestRandomSeed")
        prompt[name]["inputs"] |= {
            "seed": [f"seed_{name}", 0],
            "latent_image": ["latent", 0],
            "denoise": 1.0,
        }
    prompt["blend"] = node(
        "LatentBlend", samples1=["sampler", 0], samples2=["second", 0], blend_factor=0.5
    )
    prompt["decode"]["inputs"]["samples"] = ["blend", 0]
    del prompt["upscale"]

    (record,) = run(server, prompt)

    first, second = record["samplings"]
    assert first["seed"] != second["seed"]
    assert first["latent_out"] != second["latent_out"]


def test_a_sampler_that_is_told_to_do_nothing_is_not_blamed(server: ComfyServer) -> None:
    prompt = in_mode(prompts.txt2img(seed=105, steps=2, denoise=0.0, sampler_class="KSampler"))

    (record,) = run(server, prompt)

    assert record["determinism"]["demotions"] == []
    assert record["determinism"]["requested"] is True


def test_a_changed_copy_of_a_pinned_vae_keeps_its_change(server: ComfyServer) -> None:
    prompt = in_mode(prompts.txt2img(seed=106, steps=1, sampler_class="KSampler"))
    prompt["black"] = node("TestOtherVAE", vae=["mode", 2], way="black")
    prompt["decode"]["inputs"]["vae"] = ["black", 0]

    image = pixels(server, prompt)

    assert image.max() == 0


@pytest.mark.parametrize("way", ["foreign", "empty"])
def test_a_vae_that_cannot_be_pinned_is_handed_on_and_told(server: ComfyServer, way: str) -> None:
    def build(on_fallback: str) -> Prompt:
        prompt = in_mode(
            prompts.txt2img(seed=107, steps=1, sampler_class="KSampler"), on_fallback=on_fallback
        )
        prompt["other"] = node("TestOtherVAE", vae=["loader", 2], way=way)
        prompt["mode"]["inputs"]["vae"] = ["other", 0]
        if way == "empty":
            prompt["decode"]["inputs"]["vae"] = ["loader", 2]
        return prompt

    with pytest.raises(PromptFailed, match="this VAE is not core's, or has no weights"):
        server.run(build("error"))
    (record,) = run(server, build("record"))

    assert [entry["node_id"] for entry in record["determinism"]["demotions"]] == ["decode"]


def test_an_embedding_of_which_there_are_two_is_told(server: ComfyServer) -> None:
    folder = server.base / "models" / "embeddings"
    for place, value in (("a", 0.1), ("b", 0.2)):
        (folder / place).mkdir(parents=True, exist_ok=True)
        vectors = {"emb_params": np.full((1, 768), value, dtype=np.float32)}
        save_file(vectors, folder / place / "twin.safetensors")
    save_file(vectors, folder / "single.safetensors")

    def told(name: str) -> list[tuple[str, str]]:
        positive = f"a fox embedding:{name} in the snow"
        (record,) = run(server, in_mode(prompts.txt2img(seed=109, steps=1, positive=positive)))
        demotions = record["determinism"]["demotions"]
        return [(entry["node_id"], entry["kind"]) for entry in demotions]

    assert told("twin") == [("positive", "node_pack")]
    assert told("single") == []


def test_a_node_that_samples_twice_has_both_samplings_told(server: ComfyServer) -> None:
    prompt = in_mode(prompts.txt2img(seed=110, sampler_class="KSampler"))
    settings = prompt["sampler"]["inputs"]
    for name in ("steps", "cfg", "scheduler", "denoise"):
        del settings[name]
    prompt["sampler"]["class_type"] = "TestTwice"

    (record,) = run(server, prompt)

    entries = [(entry["node_id"], entry["seed"]) for entry in record["samplings"]]
    assert entries == [("sampler", "110"), ("sampler", "111")]
    assert [trace["index"] for trace in record["trace"]] == [0, 1]
    assert record["samplings"][1]["latent_in"] == record["samplings"][0]["latent_out"]
    assert record["tuple"]["seed"] == "111"


def test_a_sampler_does_not_unpin_a_pinned_model(server: ComfyServer) -> None:
    prompt = in_mode(prompts.txt2img(seed=111, steps=1), precision="fp32")
    prompt["sampler"]["inputs"]["deterministic_mode"] = False

    (record,) = run(server, prompt)

    sampling = record["samplings"][0]
    assert sampling["deterministic_mode"] is True
    assert sampling["mode"]["precision"] == "fp32"


def test_a_sampler_that_draws_from_the_global_generator_is_seeded(server: ComfyServer) -> None:
    def made(*, pinned: bool, turn: int) -> str:
        prompt = custom(seed=112, steps=3)
        prompt["noise"] = node("DisableNoise")
        prompt["function"] = node(
            "SamplerLCMUpscale", scale_ratio=1.0, scale_steps=-1, upscale_method="bilinear"
        )
        prompt = in_mode(prompt) if pinned else prompt
        prompt["sampler"]["inputs"]["turn"] = turn
        (record,) = run(server, prompt)
        digest: str = record["subject"]["digest"]
        return digest

    # In turn: what is not pinned moves the generator on.
    found = [(made(pinned=True, turn=turn), made(pinned=False, turn=turn)) for turn in range(3)]

    assert len({pinned for pinned, _ in found}) == 1
    assert len({unpinned for _, unpinned in found}) == 3


# --- fallbacks ------------------------------------------------------------------------------


@pytest.mark.parametrize("doing", ["decode", "encode"])
def test_tiles_for_lack_of_memory_are_an_error_or_are_recorded(
    server: ComfyServer, doing: str
) -> None:
    image = Image.effect_noise((256, 256), 60).convert("RGB")
    data = io.BytesIO()
    image.save(data, "PNG")
    uploaded = server.upload(data.getvalue())

    def build(on_fallback: str) -> Prompt:
        plain = prompts.img2img(image=uploaded, seed=80, steps=1, sampler_class="KSampler")
        return in_mode(plain, on_fallback=on_fallback)

    server.post_json("/test/vae_memory", {doing: 1})
    with pytest.raises(PromptFailed, match="on_fallback = error: memory ran out while"):
        server.run(build("error"))
    server.post_json("/test/vae_memory", {doing: 1})
    (record,) = run(server, build("record"))

    (demotion,) = record["determinism"]["demotions"]
    assert (demotion["node_id"], demotion["kind"]) == (doing, "tiled_vae")
    (told,) = [entry for entry in record["operations"] if entry["node_id"] == doing]
    assert told["tiled"] is True
    assert any("Ran out of memory when regular VAE" in text for text in told["log"])


def test_a_textual_inversion_that_is_missing_is_told_without_its_path(
    server: ComfyServer,
) -> None:
    prompt = in_mode(prompts.txt2img(seed=83, steps=1, positive="a fox embedding:nowhere/none"))

    (record,) = run(server, prompt)

    (told,) = [entry for entry in record["operations"] if entry["node_id"] == "positive"]
    assert told["log"] == ["warning, ... does not exist, ignoring"]


def test_tiles_that_were_asked_for_are_no_fallback(server: ComfyServer) -> None:
    prompt = in_mode(prompts.txt2img(seed=81, steps=1), on_fallback="error")
    prompt["decode"]["class_type"] = "VAEDecodeTiled"
    prompt["decode"]["inputs"] |= {
        "tile_size": 64,
        "overlap": 16,
        "temporal_size": 64,
        "temporal_overlap": 8,
    }

    (record,) = run(server, prompt)

    assert record["determinism"]["demotions"] == []
    assert record["operations"][-1]["tiled"] is True


def test_an_operation_without_a_deterministic_version_is_told_or_refused(
    server: ComfyServer,
) -> None:
    def build(on_fallback: str) -> Prompt:
        prompt = in_mode(
            prompts.txt2img(seed=82, steps=1, sampler_class="KSampler"), on_fallback=on_fallback
        )
        prompt["troubled"] = node("TestTroubledModel", model=["mode", 0], trouble="indeterminate")
        prompt["sampler"]["inputs"]["model"] = ["troubled", 0]
        return prompt

    with pytest.raises(PromptFailed, match="no deterministic version"):
        server.run(build("error"))
    (record,) = run(server, build("record"))

    (demotion,) = record["determinism"]["demotions"]
    assert (demotion["node_id"], demotion["kind"]) == ("sampler", "numerics")
    assert "max_unpool" in demotion["message"]


def test_a_race_between_threads_ends_in_the_mode(server: ComfyServer) -> None:
    def made(*, pinned: bool, seed: int) -> str:
        prompt = prompts.txt2img(seed=83, steps=1, sampler_class="KSampler")
        prompt["racy"] = node("TestRacyModel", model=["loader", 0])
        prompt = in_mode(prompt) if pinned else prompt
        prompt["sampler"]["inputs"] |= {"model": ["racy", 0], "ignored": seed}
        (record,) = run(server, prompt)
        digest: str = record["subject"]["digest"]
        return digest

    assert len({made(pinned=True, seed=attempt) for attempt in range(6)}) == 1
    # Threads that happen not to meet give the same bits a few times.
    loose = made(pinned=False, seed=0)
    assert any(made(pinned=False, seed=attempt) != loose for attempt in range(1, 60))


# --- scopes ---------------------------------------------------------------------------------


def test_every_switch_is_put_back_after_an_error(server: ComfyServer) -> None:
    before = server.get_json("/test/torch_state")
    prompt = in_mode(prompts.txt2img(seed=84, steps=2, sampler_class="KSampler"))
    prompt["troubled"] = node("TestTroubledModel", model=["mode", 0], trouble="fail")
    prompt["sampler"]["inputs"]["model"] = ["troubled", 0]

    with pytest.raises(PromptFailed, match="failed in the middle"):
        server.run(prompt)

    assert server.get_json("/test/torch_state") == before
    assert before["deterministic"] is False


def test_every_switch_is_put_back_after_an_interrupt(server: ComfyServer) -> None:
    before = server.get_json("/test/torch_state")
    prompt = in_mode(prompts.txt2img(seed=85, steps=20, sampler_class="KSampler"))
    prompt["troubled"] = node("TestTroubledModel", model=["mode", 0], trouble="sleep")
    prompt["sampler"]["inputs"]["model"] = ["troubled", 0]

    prompt_id = server.submit(prompt)
    while not server.get_json("/test/torch_state")["deterministic"]:
        assert prompt_id not in server.get_json(f"/history/{prompt_id}")
    server.interrupt()
    with pytest.raises(PromptFailed):
        server.wait_for(prompt_id)

    assert server.get_json("/test/torch_state") == before


# --- a batch whose images do not depend on each other -----------------------------------------


def alone_and_together(
    server: ComfyServer, build: Any, images: int = 3
) -> tuple[list[str], list[str]]:
    """Make a batch, and each of its images alone; give the pixel digests of both."""
    together = digests(run(server, build()))
    alone = [digests(run(server, one_of_batch(build(), image)))[0] for image in range(images)]
    return together, alone


@pytest.mark.parametrize("sampler_class", ["KSampler", "ProvenanceKSampler"])
def test_each_image_of_a_batch_is_that_image_alone(server: ComfyServer, sampler_class: str) -> None:
    def build() -> Prompt:
        prompt = prompts.txt2img(
            seed=86,
            steps=3,
            batch_size=3,
            sampler_class=sampler_class,
            sampler_name="euler_ancestral",
        )
        if sampler_class == "KSampler":
            return in_mode(prompt, batch_invariant=True)
        prompt["sampler"]["inputs"]["batch_invariant"] = True
        return in_mode(prompt)

    together, alone = alone_and_together(server, build)

    assert together == alone
    assert len(set(together)) == 3


@pytest.mark.full
def test_every_sampler_of_cores_list_makes_each_image_as_if_alone(server: ComfyServer) -> None:
    (names,) = server.get_json("/object_info/KSampler")["KSampler"]["input"]["required"][
        "sampler_name"
    ][:1]

    def build(sampler_name: str) -> Prompt:
        prompt = prompts.txt2img(
            seed=114, steps=2, batch_size=3, sampler_class="KSampler", sampler_name=sampler_name
        )
        return in_mode(prompt, batch_invariant=True)

    differing = []
    for name in names:
        together = digests(run(server, build(name)))
        alone = digests(run(server, one_of_batch(build(name), 2)))
        if together[2:] != alone or len(set(together)) != 3:
            differing.append(name)

    assert len(names) > 40
    assert differing == []


def test_without_it_an_image_depends_on_its_batch(server: ComfyServer) -> None:
    def build() -> Prompt:
        return in_mode(
            prompts.txt2img(
                seed=86,
                steps=3,
                batch_size=3,
                sampler_class="KSampler",
                sampler_name="euler_ancestral",
            )
        )

    together, alone = alone_and_together(server, build)

    assert all(one != other for one, other in zip(together[1:], alone[1:], strict=True))


def test_a_size_that_torch_draws_in_another_order_makes_no_exception(
    server: ComfyServer,
) -> None:
    # 4 x 9 x 5 values: no multiple of 16, so core's noise of a batch is not a row of images.
    def build() -> Prompt:
        prompt = prompts.txt2img(
            seed=87, steps=2, batch_size=3, width=40, height=72, sampler_class="KSampler"
        )
        return in_mode(prompt, batch_invariant=True)

    together, alone = alone_and_together(server, build)

    assert together == alone


@pytest.mark.parametrize("noise", ["comfy", "portable"])
def test_each_image_has_a_noise_of_its_own_at_each_step(server: ComfyServer, noise: str) -> None:
    def drawn(image: int | None, *, batch_invariant: bool = True) -> Any:
        prompt = custom(seed=113, steps=2, batch_size=3)
        prompt["function"] = node("TestStepNoise")
        prompt["latents"] = node(
            "SaveLatent",
            samples=["sampler", 0],
            filename_prefix=f"noise/{noise}_{image}_{batch_invariant}",
        )
        prompt = in_mode(prompt, noise=noise, batch_invariant=batch_invariant)
        history = server.run(prompt if image is None else one_of_batch(prompt, image))
        (latent,) = history.outputs["latents"]["latents"]
        path = server.base / "output" / latent["subfolder"] / latent["filename"]
        return load_file(path)["latent_tensor"].reshape(-1, 4 * 16 * 16)

    together = drawn(None)
    alone = np.concatenate([drawn(image) for image in range(3)])

    assert np.array_equal(together, alone)
    correlations = np.corrcoef(together)
    assert np.abs(correlations - np.eye(3)).max() < 0.15
    # Only the option changes the noise: without it, it is core's (and portable noise the same).
    cores = drawn(None, batch_invariant=False)
    assert np.array_equal(cores, together) is (noise == "portable")


def test_progress_and_denoised_output_are_those_of_the_whole_batch(server: ComfyServer) -> None:
    prompt = in_mode(custom(seed=88, steps=2, batch_size=3), batch_invariant=True)
    prompt["decode"]["inputs"]["samples"] = ["sampler", 1]

    records = run(server, prompt)

    assert len(set(digests(records))) == 3
    assert len({tuple(step[1:2]) for step in records[0]["trace"][0]["steps"]}) == 3


def test_masks_and_latents_are_told_apart_by_image(server: ComfyServer) -> None:
    uploaded = [server.upload(_noise_image(seed), name=f"batch_{seed}.png") for seed in range(3)]

    def build(only: int | None = None) -> Prompt:
        prompt = prompts.img2img(
            image=uploaded[0], seed=89, steps=2, denoise=0.7, sampler_class="KSampler"
        )
        names = uploaded if only is None else [uploaded[only]]
        for place, name in enumerate(names):
            prompt[f"image_{place}"] = node("LoadImage", image=name)
            prompt[f"mask_{place}"] = node(
                "SolidMask",
                value=0.2 + 0.3 * (place if only is None else only),
                width=128,
                height=128,
            )
        joined, mask = "image_0", "mask_0"
        for place in range(1, len(names)):
            prompt[f"joined_{place}"] = node(
                "ImageBatch", image1=[joined, 0], image2=[f"image_{place}", 0]
            )
            prompt[f"masks_{place}"] = node(
                "TestBatchMasks", first=[mask, 0], second=[f"mask_{place}", 0]
            )
            joined, mask = f"joined_{place}", f"masks_{place}"
        prompt["encode"]["inputs"]["pixels"] = [joined, 0]
        prompt["masked"] = node("SetLatentNoiseMask", samples=["encode", 0], mask=[mask, 0])
        prompt["placed"] = node("TestPlaceInBatch", samples=["masked", 0], first=only or 0)
        prompt["sampler"]["inputs"]["latent_image"] = ["placed", 0]
        return in_mode(prompt, batch_invariant=True)

    records = run(server, build())
    together = digests(records)
    alone = [digests(run(server, build(image)))[0] for image in range(3)]

    assert together == alone
    (encoding,) = [entry for entry in records[0]["operations"] if entry["node_id"] == "encode"]
    assert encoding["images_per_forward"] == {"1": 3}
    assert len(set(together)) == 3


def test_hints_of_a_controlnet_are_told_apart_by_image(server: ComfyServer) -> None:
    uploaded = [server.upload(_noise_image(seed), name=f"hint_{seed}.png") for seed in range(3)]

    def build(only: int | None = None) -> Prompt:
        prompt = prompts.txt2img(seed=90, steps=2, batch_size=3, sampler_class="KSampler")
        names = uploaded if only is None else [uploaded[only]]
        joined = "hint_0"
        for place, name in enumerate(names):
            prompt[f"hint_{place}"] = node("LoadImage", image=name)
            if place:
                prompt[f"hints_{place}"] = node(
                    "ImageBatch", image1=[joined, 0], image2=[f"hint_{place}", 0]
                )
                joined = f"hints_{place}"
        prompt["control"] = node("TestControlNet", model=["loader", 0])
        prompts.steer(prompt, control=["control", 0], hint=[joined, 0])
        prompt = in_mode(prompt, batch_invariant=True)
        return prompt if only is None else one_of_batch(prompt, only)

    together = run(server, build())
    alone = [run(server, build(image))[0] for image in range(3)]
    without = digests(
        run(server, in_mode(prompts.txt2img(seed=90, steps=2, sampler_class="KSampler")))
    )

    assert digests(together) == digests(alone)
    assert digests(together)[0] != without[0]
    (control,) = together[0]["samplings"][0]["conditionings"]["positive"][0]["control"]
    assert (control["class"], control["strength"]) == ("ControlNet", 1)


def test_what_looks_at_a_whole_batch_is_refused_by_name(server: ComfyServer) -> None:
    def build(where: str, batch_size: int) -> Prompt:
        prompt = in_mode(
            prompts.txt2img(seed=91, steps=1, batch_size=batch_size, sampler_class="KSampler"),
            batch_invariant=True,
        )
        prompt["shared"] = node("TestSharedWrapper", model=["mode", 0], where=where)
        prompt["sampler"]["inputs"]["model"] = ["shared", 0]
        return prompt

    with pytest.raises(PromptFailed, match="batch_invariant: 'shared_test' stands around"):
        server.run(build("options", 2))
    assert len(run(server, build("options", 1))) == 1
    # Inside our own wrapper it sees one image at a time, also where it was there first.
    assert len(run(server, build("model", 2))) == 2
    before = build("model", 2)
    before["shared"]["inputs"]["model"] = ["loader", 0]
    before["mode"]["inputs"]["model"] = ["shared", 0]
    before["sampler"]["inputs"]["model"] = ["mode", 0]
    assert len(run(server, before)) == 2


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("references", "sampler_post_cfg_function of the model holds something for each image"),
        ("injection", "'mixing_test' changed the model's modules"),
        ("context", "context windows look at several images"),
    ],
)
def test_what_belongs_to_several_images_is_refused(
    server: ComfyServer, kind: str, reason: str
) -> None:
    def build(batch_size: int) -> Prompt:
        prompt = in_mode(
            prompts.txt2img(seed=108, steps=1, batch_size=batch_size, sampler_class="KSampler"),
            batch_invariant=True,
        )
        prompt["odd"] = node("TestOddModel", model=["mode", 0], kind=kind)
        prompt["sampler"]["inputs"]["model"] = ["odd", 0]
        return prompt

    with pytest.raises(PromptFailed, match=reason):
        server.run(build(2))
    assert len(run(server, build(1))) == 1


def test_batch_invariance_without_the_mode_is_refused(server: ComfyServer) -> None:
    prompt = prompts.txt2img(seed=92, steps=1)
    prompt["sampler"]["inputs"] |= {"deterministic_mode": False, "batch_invariant": True}

    with pytest.raises(PromptFailed, match="switch both on, or both off"):
        server.run(prompt)


# --- the VAE --------------------------------------------------------------------------------


def test_a_vae_with_attention_is_pinned(server: ComfyServer) -> None:
    def build(*, pinned: bool) -> Prompt:
        prompt = prompts.txt2img(seed=93, steps=1, width=256, height=256, batch_size=2)
        prompt["vae"] = node("TestAutoencoder")
        prompt["decode"]["inputs"]["vae"] = ["vae", 0]
        if pinned:
            in_mode(prompt)
            prompt["mode"]["inputs"]["vae"] = ["vae", 0]
            prompt["decode"]["inputs"]["vae"] = ["mode", 2]
        return prompt

    found: dict[bool, set[tuple[str, ...]]] = {True: set(), False: set()}
    decoded: set[str] = set()
    for pinned in found:
        for free_bytes in (None, LITTLE):
            server.post_json("/test/free_memory", {"bytes": free_bytes})
            server.free()
            records = run(server, build(pinned=pinned))
            found[pinned].add(tuple(digests(records)))
            decoded |= {entry["output"] for entry in records[0]["operations"][-1:] if pinned}

    assert len(found[True]) == 1
    assert len(found[False]) == 2
    # To the last bit of what was decoded: 8 bits would hide what slices of attention change.
    assert len(decoded) == 1


# --- the trace ------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "size"), [(0, 1e-3), (2, 1e-5), (4, 1e-2)])
def test_a_weight_that_changes_after_a_step_is_located_there(
    server: ComfyServer, step: int, size: float
) -> None:
    def build(perturbed: float) -> Prompt:
        prompt = in_mode(prompts.txt2img(seed=94, steps=6, sampler_class="KSampler"))
        prompt["perturbed"] = node(
            "TestPerturbedModel", model=["mode", 0], step=step, size=perturbed
        )
        prompt["sampler"]["inputs"]["model"] = ["perturbed", 0]
        prompt["latents"] = node(
            "SaveLatent", samples=["sampler", 0], filename_prefix=f"trace/{step}_{perturbed}"
        )
        return prompt

    found = []
    for perturbed in (0.0, size):
        history = server.run(build(perturbed))
        (path,) = server.images(history)
        (latent,) = history.outputs["latents"]["latents"]
        latents = load_file(server.base / "output" / latent["subfolder"] / latent["filename"])
        found.append((record_of(path.read_bytes()), latents["latent_tensor"].astype(np.float64)))
    (usual, usual_latent), (other, other_latent) = found
    difference = compare_traces(parse_trace(usual["trace"][0]), parse_trace(other["trace"][0]))

    assert difference is not None
    # State `step` is what step `step` starts from; the next is the first it can change.
    assert difference.first_step == step + 1
    truth = float(np.linalg.norm(usual_latent - other_latent) / np.linalg.norm(usual_latent))
    assert difference.at_last is not None
    assert truth / 2 < difference.at_last.value < truth * 2


def _noise_image(seed: int) -> bytes:
    samples = np.random.default_rng(seed).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(samples).save(data, "PNG")
    return data.getvalue()


# --- the self test --------------------------------------------------------------------------


def self_test(server: ComfyServer, **inputs: Any) -> dict[str, Any]:
    """Run the self test on a small picture, and give its report."""
    prompt = prompts.txt2img(seed=95, steps=4)
    settings = prompt.pop("sampler")["inputs"]
    del prompt["save"], prompt["decode"]
    vae = inputs.pop("vae", None)
    more = {"vae": ["loader", vae]} if vae is not None else {}
    prompt["test"] = node("ProvenanceSelfTest", **{**settings, **more, **inputs})
    (report,) = server.run(prompt).outputs["test"]["provenance_report"]
    found: dict[str, Any] = json.loads(json.dumps(report))
    return found


def test_the_self_test_calls_a_pinned_sampling_repeatable(server: ComfyServer) -> None:
    report = self_test(server, vae=2)

    assert report["level"] == "bitwise"
    names = [check["name"] for check in report["checks"]]
    assert names == ["run_again", "after_another", "little_memory", "cfg_matters"]


def test_the_self_test_names_what_changes_an_unpinned_sampling(server: ComfyServer) -> None:
    report = self_test(server, deterministic_mode=False)

    assert report["level"] == "mismatch"
    levels = {check["name"]: check["level"] for check in report["checks"]}
    assert (levels["run_again"], levels["little_memory"]) == ("bitwise", "mismatch")
    cause = report["causes"][0]
    assert (cause["kind"], cause["recorded"], cause["now"]) == ("batch", {"2": 4}, {"1": 8})
    assert "step" in cause["message"]


def test_the_self_test_sees_a_pipeline_that_cfg_does_not_move(server: ComfyServer) -> None:
    report = self_test(server, negative=["positive", 0])

    assert report["level"] == "mismatch"
    assert report["causes"][0]["kind"] == "cached_result"


def test_the_self_test_names_the_step_at_which_a_race_shows(server: ComfyServer) -> None:
    prompt = prompts.txt2img(seed=96, steps=4)
    settings = prompt.pop("sampler")["inputs"]
    del prompt["save"], prompt["decode"]
    prompt["racy"] = node("TestRacyModel", model=["loader", 0])
    settings |= {"model": ["racy", 0], "deterministic_mode": False}
    prompt["test"] = node("ProvenanceSelfTest", **settings)

    (report,) = server.run(prompt).outputs["test"]["provenance_report"]

    assert report["level"] == "mismatch"
    assert any("step" in cause["message"] for cause in report["causes"])
