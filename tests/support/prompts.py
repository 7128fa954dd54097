"""API prompts for the tests, as plain dicts that a test may patch before it submits them.

Node ids are words, so that a test reads `prompt["sampler"]["inputs"]["cfg"] = 7.1`.
"""

from __future__ import annotations

from typing import Any

Prompt = dict[str, dict[str, Any]]
Link = list[str | int]

CHECKPOINT = "provenance_tiny.safetensors"
LORA = "provenance_tiny_lora.safetensors"
POSITIVE = "a red fox in the snow"
NEGATIVE = "blurry"


def node(class_type: str, **inputs: object) -> dict[str, Any]:
    """Build one node of an API prompt."""
    return {"class_type": class_type, "inputs": inputs}


def txt2img(
    *,
    sampler_class: str = "ProvenanceKSampler",
    save_class: str = "ProvenanceSaveImage",
    seed: int = 1,
    steps: int = 4,
    cfg: float = 7.0,
    sampler_name: str = "euler",
    scheduler: str = "normal",
    denoise: float = 1.0,
    width: int = 128,
    height: int = 128,
    batch_size: int = 1,
    positive: str = POSITIVE,
    negative: str = NEGATIVE,
    filename_prefix: str = "provenance",
    checkpoint: str = CHECKPOINT,
) -> Prompt:
    """Build a picture from words: nodes loader, positive, negative, latent, sampler, decode, save.

    Args:
        sampler_class: `KSampler` or a class with the same inputs; those of this pack are also
            given their own.
        save_class: `SaveImage` or `ProvenanceSaveImage`.
        seed: unsigned 64-bit.
        steps: number of steps.
        cfg: guidance scale.
        sampler_name: as in ComfyUI.
        scheduler: as in ComfyUI.
        denoise: in [0, 1].
        width: in pixels, a multiple of 8.
        height: in pixels, a multiple of 8.
        batch_size: number of images.
        positive: prompt text.
        negative: negative prompt text.
        filename_prefix: of the saved file.
        checkpoint: name of the file among the checkpoints.
    """
    return {
        "loader": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "positive": node("CLIPTextEncode", text=positive, clip=["loader", 1]),
        "negative": node("CLIPTextEncode", text=negative, clip=["loader", 1]),
        "latent": node("EmptyLatentImage", width=width, height=height, batch_size=batch_size),
        "sampler": sampler(
            sampler_class,
            latent=["latent", 0],
            seed=seed,
            steps=steps,
            cfg=cfg,
            sampler_name=sampler_name,
            scheduler=scheduler,
            denoise=denoise,
        ),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["loader", 2]),
        "save": save(save_class, filename_prefix),
    }


def img2img(image: str, *, denoise: float = 0.6, **options: Any) -> Prompt:
    """Build a picture from a picture: `image` and `encode` take the place of `latent`.

    Args:
        image: name of an uploaded file, as `ComfyServer.upload` gives it.
        denoise: in [0, 1].
        **options: as for `txt2img`.
    """
    prompt = txt2img(denoise=denoise, **options)
    del prompt["latent"]
    prompt["image"] = node("LoadImage", image=image)
    prompt["encode"] = node("VAEEncode", pixels=["image", 0], vae=["loader", 2])
    prompt["sampler"]["inputs"]["latent_image"] = ["encode", 0]
    return prompt


def two_samplers(*, second_denoise: float = 0.5, **options: Any) -> Prompt:
    """Build a picture that is sampled, enlarged by half and sampled again by `second`.

    Args:
        second_denoise: of the second sampler, in [0, 1].
        **options: as for `txt2img`; width and height are those of the first sampler.
    """
    prompt = txt2img(**options)
    first = prompt["sampler"]["inputs"]
    latent = prompt["latent"]["inputs"]
    prompt["upscale"] = node(
        "LatentUpscale",
        samples=["sampler", 0],
        upscale_method="nearest-exact",
        width=latent["width"] * 3 // 2,
        height=latent["height"] * 3 // 2,
        crop="disabled",
    )
    prompt["second"] = {
        "class_type": prompt["sampler"]["class_type"],
        "inputs": {**first, "latent_image": ["upscale", 0], "denoise": second_denoise},
    }
    prompt["decode"]["inputs"]["samples"] = ["second", 0]
    return prompt


def lora(*, strength_model: float = 1.0, strength_clip: float = 1.0, **options: Any) -> Prompt:
    """Build a picture from words with the tiny LoRA, in the node `lora`.

    Args:
        strength_model: of the LoRA on the UNet.
        strength_clip: of the LoRA on the text encoder.
        **options: as for `txt2img`.
    """
    prompt = txt2img(**options)
    prompt["lora"] = node(
        "LoraLoader",
        model=["loader", 0],
        clip=["loader", 1],
        lora_name=LORA,
        strength_model=strength_model,
        strength_clip=strength_clip,
    )
    prompt["sampler"]["inputs"]["model"] = ["lora", 0]
    for name in ("positive", "negative"):
        prompt[name]["inputs"]["clip"] = ["lora", 1]
    return prompt


def steer(prompt: Prompt, control: Link, hint: Link, strength: float = 1.0) -> Prompt:
    """Let a ControlNet steer the sampler, by a node `steer` between it and the words.

    Args:
        prompt: with nodes `positive`, `negative` and `sampler`; it is changed and given back.
        control: gives the ControlNet.
        hint: gives its picture.
        strength: of the ControlNet.
    """
    prompt["steer"] = node(
        "ControlNetApplyAdvanced",
        positive=["positive", 0],
        negative=["negative", 0],
        control_net=control,
        image=hint,
        strength=strength,
        start_percent=0.0,
        end_percent=1.0,
    )
    prompt["sampler"]["inputs"] |= {"positive": ["steer", 0], "negative": ["steer", 1]}
    return prompt


def in_mode(prompt: Prompt, **options: object) -> Prompt:
    """Put a Deterministic Mode node, `mode`, between the loader and all that uses it.

    Args:
        prompt: with a node `loader`; it is changed and given back.
        **options: inputs of the node other than their defaults.
    """
    for built in prompt.values():
        for name, value in built["inputs"].items():
            if isinstance(value, list) and value[0] == "loader":
                built["inputs"][name] = ["mode", value[1]]
    prompt["mode"] = node(
        "ProvenanceDeterministicMode",
        model=["loader", 0],
        clip=["loader", 1],
        vae=["loader", 2],
        **{
            "enabled": True,
            "batch_invariant": False,
            "precision": "as loaded",
            "on_fallback": "record",
            **options,
        },
    )
    return prompt


def one_of_batch(prompt: Prompt, image: int) -> Prompt:
    """Sample one image of the batch alone, with the noise that it has in the batch.

    Args:
        prompt: with nodes `latent` and `sampler`; it is changed and given back.
        image: place in the batch, from 0.
    """
    prompt["one"] = node("LatentFromBatch", samples=["latent", 0], batch_index=image, length=1)
    prompt["sampler"]["inputs"]["latent_image"] = ["one", 0]
    return prompt


def sampler(class_type: str, latent: Link, **settings: object) -> dict[str, Any]:
    """Build a sampler node on the outputs of `loader`, `positive` and `negative`."""
    built = node(
        class_type,
        model=["loader", 0],
        positive=["positive", 0],
        negative=["negative", 0],
        latent_image=latent,
        **settings,
    )
    if class_type.startswith("Provenance"):
        built["inputs"]["deterministic_mode"] = True
    return built


def save(class_type: str, filename_prefix: str) -> dict[str, Any]:
    """Build a node that saves the output of `decode`."""
    built = node(class_type, images=["decode", 0], filename_prefix=filename_prefix)
    if class_type == "ProvenanceSaveImage":
        built["inputs"] |= {"format": "png", "sidecar": False}
    return built
