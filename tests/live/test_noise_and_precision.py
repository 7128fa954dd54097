"""Portable noise is the same on other processors; fp32 computes in 32 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from support import prompts
from support.prompts import Prompt, in_mode, node, one_of_batch
from support.server import ComfyServer
from support.tampering import record_of

STOCHASTIC = ("euler_ancestral", "dpmpp_2m_sde", "dpmpp_sde", "lcm")


@pytest.fixture(scope="module")
def other_processor(server_with: Any) -> ComfyServer:
    """A ComfyUI whose torch uses no vector instructions: another processor, as far as it goes."""
    found: ComfyServer = server_with(environ={"ATEN_CPU_CAPABILITY": "default"})
    return found


def make(server: ComfyServer, prompt: Prompt) -> tuple[list[dict[str, Any]], list[Any]]:
    """Make the images of a prompt: their records, and their samples from 0 to 255."""
    paths = server.images(server.run(prompt))
    records = [record_of(path.read_bytes()) for path in paths]
    return records, [np.asarray(Image.open(path), dtype=np.int16) for path in paths]


def digests(records: list[dict[str, Any]]) -> list[str]:
    return [record["subject"]["digest"] for record in records]


def build(noise: str, sampler_name: str = "euler_ancestral", **options: Any) -> Prompt:
    """Build a picture with a stock sampler in the mode."""
    mode = {name: options.pop(name) for name in ("batch_invariant",) if name in options}
    settings = {"seed": 44, "steps": 3, "sampler_class": "KSampler", **options}
    return in_mode(prompts.txt2img(sampler_name=sampler_name, **settings), noise=noise, **mode)


@pytest.mark.parametrize("sampler_name", STOCHASTIC)
def test_portable_noise_is_the_same_on_another_processor(
    server: ComfyServer, other_processor: ComfyServer, sampler_name: str
) -> None:
    ((here,), (image,)) = make(server, build("portable", sampler_name))
    ((there,), (other,)) = make(other_processor, build("portable", sampler_name))

    sampling = here["samplings"][0]
    assert sampling["noise"] == there["samplings"][0]["noise"]
    assert sampling["noise_source"] == {"mode": "portable", "steps": "of each image", "images": [0]}
    # Not the same bits, since the model computes others; but the same noise all the way.
    assert np.abs(image - other).max() <= 2
    assert here["determinism"]["demotions"] == []


def test_cores_noise_is_not(server: ComfyServer, other_processor: ComfyServer) -> None:
    ((here,), _) = make(server, build("comfy"))
    ((there,), _) = make(other_processor, build("comfy"))

    assert here["samplings"][0]["noise"] != there["samplings"][0]["noise"]


def test_portable_noise_uses_all_bits_of_a_seed(server: ComfyServer) -> None:
    found = {
        noise: [make(server, build(noise, seed=seed))[0][0] for seed in (44, 44 + 2**32)]
        for noise in ("comfy", "portable")
    }

    assert len(set(digests(found["comfy"]))) == 1
    assert len(set(digests(found["portable"]))) == 2


@pytest.mark.parametrize("batch_invariant", [False, True])
def test_an_images_portable_noise_is_its_own_in_any_batch(
    server: ComfyServer, batch_invariant: bool
) -> None:
    def batch() -> Prompt:
        return build("portable", batch_size=3, batch_invariant=batch_invariant)

    records, images = make(server, batch())
    alone = [make(server, one_of_batch(batch(), place)) for place in range(3)]

    if batch_invariant:
        assert digests(records) == [digests(found)[0] for found, _ in alone]
    # The kernels may see the size of the batch, but not the noise.
    for image, (_, (other,)) in zip(images, alone, strict=True):
        assert np.abs(image - other).max() <= 2
    assert len(set(digests(records))) == 3


def test_where_no_noise_is_added_the_latent_keys_what_a_sampler_draws(server: ComfyServer) -> None:
    prompt = build("portable", sampler_name="euler")
    shared = dict(prompt["sampler"]["inputs"])
    del shared["seed"], shared["denoise"]
    # A second sampler that adds no noise: its own is keyed by the latent that it starts from.
    prompt["second"] = {
        "class_type": "KSamplerAdvanced",
        "inputs": {
            **{
                k: v for k, v in prompt["sampler"]["inputs"].items() if k not in ("seed", "denoise")
            },
            "noise_seed": 44,
            "add_noise": "disable",
            "start_at_step": 1,
            "end_at_step": 3,
            "return_with_leftover_noise": "disable",
            "latent_image": ["sampler", 0],
        },
    }
    prompt["decode"]["inputs"]["samples"] = ["second", 0]

    ((record,), _) = make(server, prompt)

    first, second = record["samplings"]
    assert first["noise_source"]["images"] == [0]
    assert "images" not in second["noise_source"]
    assert record["determinism"]["demotions"] == []


@pytest.fixture(scope="module")
def sixteen_bits(server_with: Any) -> ComfyServer:
    environ = {"PROVENANCE_FINGERPRINT": "0"}
    found: ComfyServer = server_with("--bf16-unet", "--bf16-vae", environ=environ)
    return found


def test_a_servers_owner_can_do_without_fingerprints(
    server: ComfyServer, sixteen_bits: ComfyServer
) -> None:
    ((with_one,), _) = make(server, build("comfy", "euler"))
    ((without,), _) = make(sixteen_bits, build("comfy", "euler"))

    assert set(with_one["fingerprint"]) == {"cpu"}
    assert without["fingerprint"] == {}


def test_fp32_computes_in_32_bits_whatever_the_weights_are(sixteen_bits: ComfyServer) -> None:
    found = {}
    for precision in ("as loaded", "fp32"):
        prompt = prompts.txt2img(seed=45, steps=2, sampler_class="KSampler")
        prompt = in_mode(prompt, precision=precision)
        # On a CPU core computes in 32 bits whatever the weights are, unless it is told.
        prompt["compute"] = node("ModelComputeDtype", model=["loader", 0], dtype="bf16")
        prompt["mode"]["inputs"]["model"] = ["compute", 0]
        (record,), (image,) = make(sixteen_bits, prompt)
        decoding = record["operations"][-1]
        found[precision] = (
            record["samplings"][0]["model_dtype"],
            record["samplings"][0]["compute_dtype"],
            decoding["dtype"],
            image,
        )

    assert found["as loaded"][:3] == ("bfloat16", "bfloat16", "bfloat16")
    assert found["fp32"][:3] == ("bfloat16", "float32", "float32")
    difference = np.abs(found["as loaded"][3] - found["fp32"][3])
    assert 0 < difference.max() < 64
