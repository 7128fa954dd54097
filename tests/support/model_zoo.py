"""Makes real model files of many kinds from the tiny checkpoint, for the tests of materials.

Each file goes through ComfyUI's own loader for its kind and has an effect on the picture. The same
tiny checkpoint and torch give the same bytes. All together take some 500 MB and a few seconds.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from .tiny_models import CARRIED, LORA_RANK, SEED, Tensors, write

UNET = "diffusion_models/zoo_unet.safetensors"
TEXT_ENCODER = "text_encoders/zoo_clip_l.safetensors"
VAE = "vae/zoo_taesd.safetensors"
VAE_ENCODER = "vae_approx/taesd_encoder.safetensors"
VAE_DECODER = "vae_approx/taesd_decoder.safetensors"
SECOND_CHECKPOINT = "checkpoints/zoo_second.safetensors"
CONTROLNET = "controlnet/zoo_control.safetensors"
SECOND_LORA = "loras/zoo_lora.safetensors"
HYPERNETWORK = "hypernetworks/zoo_hyper.pt"
UPSCALER = "upscale_models/zoo_twice.safetensors"
WORDS = "embeddings/zoo_words.safetensors"
DEEP_WORDS = "embeddings/deep/zoo_deep.safetensors"
PICKLED_WORDS = "embeddings/zoo_pickled.pt"

ALL = (
    *(UNET, TEXT_ENCODER, VAE, VAE_ENCODER, VAE_DECODER, SECOND_CHECKPOINT, CONTROLNET),
    *(SECOND_LORA, HYPERNETWORK, UPSCALER, WORDS, DEEP_WORDS, PICKLED_WORDS),
)

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."

# The second checkpoint's words push harder: enough for another picture, little enough for a good
# one.
SECOND_SCALE = 2.0

SECOND_LORA_LAYER = "lora_unet_input_blocks_3_1_transformer_blocks_0_attn2_to_v"
SECOND_LORA_SCALE = 3.0

# Channels of a ControlNet's hint block, from a picture's colours to the features of the UNet.
HINT_CHANNELS = (3, 16, 16, 32, 32, 96, 96, 256, 320)
HINT_SCALE = 2.0  # silu takes about half of what passes through it
CONTROL_SCALE = 2.0

# Of token embeddings, so that invented words weigh as much as known ones.
WORD_SCALE = 0.2
WORD_WIDTH = 768
WIDTH = 320
HYPERNETWORK_SCALE = 0.5

UPSCALER_FEATURES = 16
UPSCALER_FACTOR = 2
UPSCALER_SCALE = 0.2


def make_zoo(checkpoint: Path, models: Path) -> None:
    """Write every file of the zoo.

    Args:
        checkpoint: the tiny checkpoint.
        models: a folder laid out as ComfyUI's `models`, where each file goes under its kind.
    """
    weights = load_file(checkpoint)
    unet, vae = part_of(weights, UNET_PREFIX), part_of(weights, VAE_PREFIX)
    made = {
        UNET: unet,
        TEXT_ENCODER: part_of(weights, TEXT_PREFIX),
        VAE: vae,
        VAE_ENCODER: part_of(vae, "taesd_encoder."),
        VAE_DECODER: part_of(vae, "taesd_decoder."),
        SECOND_CHECKPOINT: make_second_checkpoint(weights),
        CONTROLNET: make_controlnet(unet),
        SECOND_LORA: make_second_lora(),
        UPSCALER: make_upscaler(),
        WORDS: {"emb_params": make_words(11)},
        DEEP_WORDS: {"emb_params": make_words(12)},
    }
    for name, tensors in made.items():
        write(tensors, models / name)
    pickle({"string_to_param": {"*": make_words(13).float()}}, models / PICKLED_WORDS)
    pickle(make_hypernetwork(), models / HYPERNETWORK)


def part_of(weights: Tensors, prefix: str) -> Tensors:
    """Give the weights under a prefix, named without it."""
    return {
        name.removeprefix(prefix): weight
        for name, weight in weights.items()
        if name.startswith(prefix)
    }


def make_second_checkpoint(weights: Tensors) -> Tensors:
    """Make a checkpoint of a UNet and an autoencoder alone, whose UNet is another one."""
    kept = {
        name: weight
        for name, weight in weights.items()
        if name.startswith((UNET_PREFIX, VAE_PREFIX))
    }
    changed = {
        name: weight * SECOND_SCALE
        for name, weight in kept.items()
        if name.endswith("attn2.to_v.weight")
    }
    return {**kept, **changed}


def make_controlnet(unet: Tensors) -> Tensors:
    """Make a ControlNet as training begins one: half a UNet, with convolutions in and out.

    Training begins with the outgoing ones at zero. These are random, except for the channels in
    which the tiny UNet carries its latent.
    """
    generator = torch.Generator().manual_seed(SEED + 2)
    halves = ("time_embed.", "input_blocks.", "middle_block.")
    control = {name: weight for name, weight in unet.items() if name.startswith(halves)}
    for layer, (inputs, outputs) in enumerate(pairwise(HINT_CHANNELS)):
        name = f"input_hint_block.{2 * layer}"
        add_convolution(control, name, inputs, outputs, 3, generator)
        control[f"{name}.weight"] *= HINT_SCALE
    blocks = {int(name.split(".")[1]) for name in control if name.startswith("input_blocks.")}
    outgoing = [f"zero_convs.{block}.0" for block in sorted(blocks)] + ["middle_block_out.0"]
    for name in outgoing:
        add_convolution(control, name, WIDTH, WIDTH, 1, generator)
        weight = control[f"{name}.weight"]
        weight *= CONTROL_SCALE
        weight[:CARRIED] = 0
    return control


def make_upscaler() -> Tensors:
    """Make an upscaler of the compact kind: the picture enlarged plainly, and a little added."""
    generator = torch.Generator().manual_seed(SEED + 3)
    weights: Tensors = {}
    features = UPSCALER_FEATURES
    add_convolution(weights, "body.0", 3, features, 3, generator)
    weights["body.1.weight"] = torch.full((features,), 0.25, dtype=torch.float16)
    add_convolution(weights, "body.2", features, features, 3, generator)
    weights["body.3.weight"] = torch.full((features,), 0.25, dtype=torch.float16)
    add_convolution(weights, "body.4", features, 3 * UPSCALER_FACTOR**2, 3, generator)
    weights["body.4.weight"] *= UPSCALER_SCALE
    return weights


def add_convolution(
    weights: Tensors,
    name: str,
    inputs: int,
    outputs: int,
    width: int,
    generator: torch.Generator,
) -> None:
    """Add the float16 weight and the bias, which is zero, of a square convolution."""
    noise = torch.randn((outputs, inputs, width, width), generator=generator)
    weight = noise / math.sqrt(inputs * width * width)
    weights[f"{name}.weight"] = weight.to(torch.float16)
    weights[f"{name}.bias"] = torch.zeros(outputs, dtype=torch.float16)


def make_second_lora() -> Tensors:
    """Make a LoRA of one layer, other than those of the tiny LoRA."""
    generator = torch.Generator().manual_seed(SEED + 4)
    down = torch.randn((LORA_RANK, WORD_WIDTH), generator=generator) / math.sqrt(WORD_WIDTH)
    up = torch.randn((WIDTH, LORA_RANK), generator=generator) * SECOND_LORA_SCALE
    return {
        f"{SECOND_LORA_LAYER}.lora_down.weight": down.to(torch.float16),
        f"{SECOND_LORA_LAYER}.lora_up.weight": up.to(torch.float16),
        f"{SECOND_LORA_LAYER}.alpha": torch.tensor(float(LORA_RANK), dtype=torch.float16),
    }


def make_words(number: int) -> torch.Tensor:
    """Make a textual inversion of two invented words, float16, shape (2, 768)."""
    generator = torch.Generator().manual_seed(SEED + number)
    words = torch.randn((2, WORD_WIDTH), generator=generator) * WORD_SCALE
    return words.to(torch.float16)


def make_hypernetwork() -> dict[Any, Any]:
    """Make a hypernetwork of one layer each for the keys and the values of self-attention."""
    generator = torch.Generator().manual_seed(SEED + 5)

    def layer() -> Tensors:
        noise = torch.randn((WIDTH, WIDTH), generator=generator)
        weight = noise * HYPERNETWORK_SCALE / math.sqrt(WIDTH)
        return {"linear.0.weight": weight, "linear.0.bias": torch.zeros(WIDTH)}

    return {"activation_func": "linear", WIDTH: (layer(), layer())}


def pickle(value: dict[Any, Any], path: Path) -> None:
    """Write a file of torch's own format, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    torch.save(value, unfinished)
    unfinished.replace(path)
