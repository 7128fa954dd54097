"""Makes the tiny models that the tests, the demo and the benchmarks run on.

ComfyUI reads the sizes of a model from its weights, so a checkpoint filled from a fixed seed goes
through the real loaders, samplers and decoder. This one has the layout of Stable Diffusion 1.5: a
UNet of 44 M parameters, the whole CLIP-L text encoder and a TAESD autoencoder. The weights are
random but scaled so that a picture comes out whose pixels vary and depend on the seed, on the
prompt and on the LoRA; `tests/live/test_harness.py` checks that on the images themselves.

The same script, ComfyUI and torch give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

SEED = 20_240_229
CHECKPOINT = "checkpoints/provenance_tiny.safetensors"
LORA = "loras/provenance_tiny_lora.safetensors"

LORA_RANK = 4
LORA_SCALE = 0.3
# One of each kind that LoRA files for SD 1.5 hold: self-attention, cross-attention, text encoder.
LORA_LAYERS = {
    "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_v": (320, 320),
    "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_out_0": (320, 320),
    "lora_unet_output_blocks_2_1_transformer_blocks_0_attn2_to_k": (768, 320),
    "lora_unet_output_blocks_2_1_transformer_blocks_0_attn2_to_v": (768, 320),
    "lora_unet_output_blocks_3_1_transformer_blocks_0_attn2_to_v": (768, 320),
    "lora_unet_output_blocks_3_1_transformer_blocks_0_attn2_to_out_0": (320, 320),
    "lora_te_text_model_encoder_layers_10_self_attn_v_proj": (768, 768),
    "lora_te_text_model_encoder_layers_11_self_attn_out_proj": (768, 768),
}

# The smallest UNet that ComfyUI takes for SD 1.5: 320 channels, two levels, attention everywhere.
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [1, 1],
    "channel_mult": (1, 1),
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "use_linear_in_transformer": False,
    "use_spatial_transformer": True,
    "legacy": False,
    "num_heads": 8,
    "num_head_channels": -1,
}

# Channels of the UNet's last stage that carry the noisy latent past every layer: four groups of
# the last GroupNorm, one for each latent channel, in which two channels hold the latent and its
# negative.
CARRIED = 40
GROUP = 10
CARRIED_SCALE = 0.9 / math.sqrt(GROUP / 2)
PREDICTION_SCALE = 0.15
CROSS_ATTENTION_SCALE = 1.5

# Scale and offset of the autoencoder, measured on latents of standard deviation 2 so that decoded
# colours are spread around mid-grey and encoded latents around zero.
VAE_SCALE = 0.18
RESIDUAL_SCALE = 0.5
DECODER_SCALE, DECODER_BIAS = 0.8, (0.72, 0.97, 1.355)
ENCODER_SCALE, ENCODER_BIAS = 20.0, (1.72, 0.22, 2.57, -1.0)

Shapes = dict[str, tuple[int, ...]]
Tensors = dict[str, torch.Tensor]


def shapes_of_checkpoint(comfyui: Path) -> Shapes:
    """Name every weight of the checkpoint with its shape, as ComfyUI's own classes declare them.

    The classes are built on torch's meta device, so nothing is allocated.

    Args:
        comfyui: folder of the ComfyUI whose classes are asked.

    Returns:
        Shapes by the names of a Stable Diffusion 1.5 checkpoint, sorted by name.
    """
    sys.path.insert(0, str(comfyui))
    from comfy.cli_args import args

    args.cpu = True
    from comfy import ops
    from comfy.clip_model import CLIPTextModel
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.taesd.taesd import TAESD

    clip_config = json.loads((comfyui / "comfy" / "sd1_clip_config.json").read_text("utf-8"))
    with torch.device("meta"):
        parts = {
            "model.diffusion_model.": UNetModel(
                **UNET, dtype=torch.float16, operations=ops.disable_weight_init
            ),
            "cond_stage_model.transformer.": CLIPTextModel(
                clip_config, torch.float16, "meta", ops.disable_weight_init
            ),
            "first_stage_model.": TAESD(),
        }
    shapes = {
        prefix + name: tuple(weight.shape)
        for prefix, part in parts.items()
        for name, weight in part.state_dict().items()
        if name != "text_projection.weight"  # SD 1.5 checkpoints have none
    }
    return dict(sorted(shapes.items()))


def make_checkpoint(comfyui: Path) -> Tensors:
    """Fill the checkpoint from the seed.

    Args:
        comfyui: folder of the ComfyUI that declares the shapes.

    Returns:
        float16 weights by name.
    """
    generator = torch.Generator().manual_seed(SEED)
    shapes = shapes_of_checkpoint(comfyui)
    weights = {name: draw(name, shape, generator) for name, shape in shapes.items()}
    let_unet_denoise(weights)
    let_autoencoder_use_whole_range(weights)
    return {name: weight.to(torch.float16).contiguous() for name, weight in weights.items()}


def draw(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Draw one weight so that a layer neither shrinks nor grows what passes through it."""
    if name.endswith(("vae_scale", "vae_shift")):
        return torch.tensor(VAE_SCALE if name.endswith("vae_scale") else 0.0)
    if len(shape) == 1 and name.endswith(".weight"):
        return torch.ones(shape)  # of a normalisation
    noise = torch.randn(shape, generator=generator)
    if len(shape) == 1 or "embedding" in name:
        return noise * 0.02
    return noise / math.sqrt(math.prod(shape[1:]))


def let_unet_denoise(weights: Tensors) -> None:
    """Make the UNet predict mostly the noise that it is given, plus a random function of it.

    A purely random UNet multiplies the noise instead of removing it: latents end at forty times
    their usual size and every decoded pixel is black or white. So a few channels carry the latent
    from the first convolution to the last, where silu(x) - silu(-x) = x undoes the activation.
    """
    unet = "model.diffusion_model."
    first = weights[unet + "input_blocks.0.0.weight"]
    skip = weights[unet + "output_blocks.3.0.skip_connection.weight"]
    last = weights[unet + "out.2.weight"]
    writers = (
        "input_blocks.0.0.weight",
        "input_blocks.0.0.bias",
        "output_blocks.3.0.skip_connection.weight",
        "output_blocks.3.0.skip_connection.bias",
        "output_blocks.3.0.out_layers.3.weight",
        "output_blocks.3.0.out_layers.3.bias",
        "output_blocks.3.1.proj_out.weight",
        "output_blocks.3.1.proj_out.bias",
        "out.0.bias",
    )
    for name in writers:
        weights[unet + name][:CARRIED] = 0
    last *= PREDICTION_SCALE
    last[:, :CARRIED] = 0
    for latent_channel in range(4):
        for channel, sign in ((GROUP * latent_channel, 1.0), (GROUP * latent_channel + 1, -1.0)):
            first[channel, latent_channel, 1, 1] = sign
            skip[channel, 320 + channel] = 1.0  # the second half comes from the first convolution
            last[latent_channel, channel, 1, 1] = sign * CARRIED_SCALE
    for name, weight in weights.items():
        if name.endswith(("attn2.to_v.weight", "attn2.to_out.0.weight")):
            weight *= CROSS_ATTENTION_SCALE


def let_autoencoder_use_whole_range(weights: Tensors) -> None:
    """Centre and scale what the random autoencoder gives: it would decode to nearly one colour."""
    taesd = "first_stage_model.taesd_"
    for name, weight in weights.items():
        if name.startswith(taesd) and name.endswith("conv.4.weight"):
            weight *= RESIDUAL_SCALE
    for layer, scale, bias in (
        ("decoder.19", DECODER_SCALE, DECODER_BIAS),
        ("encoder.14", ENCODER_SCALE, ENCODER_BIAS),
    ):
        last = weights[f"{taesd}{layer}.weight"]
        last -= last.mean(dim=(1, 2, 3), keepdim=True)
        last *= scale
        weights[f"{taesd}{layer}.bias"] = torch.tensor(bias)


def make_lora() -> Tensors:
    """Fill a LoRA of rank 4 with the key names that kohya's trainer writes.

    Returns:
        float16 weights by name; strong enough that strength 1 visibly changes the picture.
    """
    generator = torch.Generator().manual_seed(SEED + 1)
    weights: Tensors = {}
    for layer, (inputs, outputs) in LORA_LAYERS.items():
        down = torch.randn((LORA_RANK, inputs), generator=generator) / math.sqrt(inputs)
        up = torch.randn((outputs, LORA_RANK), generator=generator) * LORA_SCALE
        weights[f"{layer}.lora_down.weight"] = down.to(torch.float16)
        weights[f"{layer}.lora_up.weight"] = up.to(torch.float16)
        weights[f"{layer}.alpha"] = torch.tensor(float(LORA_RANK), dtype=torch.float16)
    return weights


def write(weights: Tensors, path: Path) -> None:
    """Write a safetensors file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    # One metadata key at most: safetensors writes several in an order that changes between runs.
    save_file(weights, unfinished, metadata={"format": "pt"})
    unfinished.replace(path)


def main() -> None:
    """Write the models under `--output`, in the folders where ComfyUI looks for each kind."""
    parser = argparse.ArgumentParser(description="Make the tiny models that the tests run on.")
    parser.add_argument("--comfyui", type=Path, required=True, help="folder of a ComfyUI")
    parser.add_argument("--output", type=Path, required=True, help="folder for the models")
    options = parser.parse_args()
    for name, weights in ((LORA, make_lora()), (CHECKPOINT, make_checkpoint(options.comfyui))):
        write(weights, options.output / name)
        sys.stdout.write(f"wrote {name}\n")


if __name__ == "__main__":
    main()
