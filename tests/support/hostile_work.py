"""Graphs that ask for more work than a stranger may: sizes, steps, lists, and numbers that hide.

See `hostile_graphs`.
"""

from __future__ import annotations

from typing import Any, Final

from .hostile import graph
from .hostile_graphs import between, instead, last, many
from .prompts import LORA, node, sampler
from .tampering import Edit, Graph, set_input


def chain(count: int, class_type: str, source: str, *more: str, **inputs: object) -> Edit:
    """Give an edit that puts a chain of nodes behind the decoder, each on the one before.

    Args:
        count: Nodes of the chain.
        class_type: Of each.
        source: The input that takes the image.
        *more: Further inputs that take the same image.
        **inputs: Literals.
    """

    def edit(found: Graph) -> None:
        found["step0"] = found["decode"]
        for at in range(count):
            links = {name: [f"step{at}", 0] for name in (source, *more)}
            found[f"step{at + 1}"] = node(class_type, **links, **inputs)
        found["decode"] = found.pop(f"step{count}")

    return edit


def ladder(count: int, class_type: str, start: str, slot: int, *sources: str) -> Edit:
    """Give an edit that combines what the sampler takes with itself again and again."""

    def edit(found: Graph) -> None:
        name = {"positive": "positive", "loader": "model"}[start]
        link: list[str | int] = [start, slot]
        for at in range(count):
            extra = {"ratio": 0.5} if "Simple" in class_type else {}
            found[f"rung{at}"] = node(class_type, **dict.fromkeys(sources, link), **extra)
            link = [f"rung{at}", 0]
        found["sampler"]["inputs"][name] = link

    return edit


def sampled_by_sigmas(*made: tuple[str, dict[str, Any]], passes: int = 1, **picked: object) -> Edit:
    """Give an edit that samples with a list of sigmas, made by nodes one after the other."""

    def edit(found: Graph) -> None:
        link: list[str | int] = []
        for at, (class_type, inputs) in enumerate(made):
            source = {"sigmas": link} if link else {}
            found[f"sigmas{at}"] = node(class_type, **inputs, **source)
            link = [f"sigmas{at}", 0]
        found["picked"] = node(str(picked.get("by", "KSamplerSelect")), **picked_inputs(picked))
        latent: list[str | int] = ["latent", 0]
        for at in range(passes):
            found[f"pass{at}"] = node(
                "SamplerCustom",
                model=["loader", 0],
                add_noise=True,
                noise_seed=at,
                cfg=1.0,
                positive=["positive", 0],
                negative=["negative", 0],
                sampler=["picked", 0],
                sigmas=link,
                latent_image=latent,
            )
            latent = [f"pass{at}", 0]
        found["decode"]["inputs"]["samples"] = latent

    return edit


def picked_inputs(picked: dict[str, object]) -> dict[str, object]:
    """Give the inputs of the node that picks a sampler."""
    inputs = {name: value for name, value in picked.items() if name != "by"}
    return inputs or {"sampler_name": "euler"}


def _karras(steps: int) -> tuple[str, dict[str, Any]]:
    return "KarrasScheduler", {"steps": steps, "sigma_max": 14.0, "sigma_min": 0.03, "rho": 7.0}


def _adaptive(**inputs: float) -> dict[str, Any]:
    usual = {"order": 3, "rtol": 0.05, "atol": 0.0078, "h_init": 0.05, "pcoeff": 0.0}
    usual |= {"icoeff": 1.0, "dcoeff": 0.0, "accept_safety": 0.81, "eta": 0.0, "s_noise": 1.0}
    return {"by": "SamplerDPMAdaptative", **usual, **inputs}


def _without_end(found: Graph) -> None:
    """A latent that is not finite, of which no step is ever near enough."""
    found["first"] = sampler(
        "KSampler",
        ["latent", 0],
        seed=1,
        steps=1,
        cfg=1.0,
        sampler_name="euler",
        scheduler="normal",
        denoise=1.0,
    )
    link: list[str | int] = ["first", 0]
    for at in range(45):
        found[f"tenfold{at}"] = node("LatentMultiply", samples=link, multiplier=10.0)
        link = [f"tenfold{at}", 0]
    found["sampler"]["inputs"] |= {"latent_image": link, "sampler_name": "dpm_adaptive", "steps": 3}


def _tiles(found: Graph) -> None:
    found["large"] = node("EmptyImage", width=2048, height=2048, batch_size=1, color=0)
    found["tiles"] = node(
        "SplitImageToTileList", image=["large", 0], tile_width=64, tile_height=64, overlap=48
    )
    found["encoded"] = node("VAEEncode", pixels=["tiles", 0], vae=["loader", 2])
    found["sampler"]["inputs"] |= {"latent_image": ["encoded", 0], "steps": 20}


def _piled_up(found: Graph) -> None:
    """Images that are each allowed, and that ComfyUI would keep all together."""
    link: list[str | int] = ["decode0", 0]
    for at in range(20):
        found[f"large{at}"] = node("EmptyImage", width=8192, height=8192, batch_size=1, color=at)
        found[f"blend{at}"] = node(
            "ImageBlend",
            image1=[f"large{at}", 0],
            image2=link,
            blend_factor=0.5,
            blend_mode="normal",
        )
        link = [f"blend{at}", 0]
    found["decode0"], found["decode"] = found["decode"], node("ImageInvert", image=link)


def _list_by_batch(found: Graph) -> None:
    """A list of 64 meets a batch of 64: as many again for each."""
    found["batch"] = node("EmptyLatentImage", width=1024, height=1024, batch_size=64)
    found["list"] = node("RebatchLatents", latents=["batch", 0], batch_size=1)
    found["product"] = node("LatentBatch", samples1=["list", 0], samples2=["batch", 0])
    found["sampler"]["inputs"]["latent_image"] = ["product", 0]


def _thin(class_type: str, source: str = "image", /, **inputs: object) -> Edit:
    """Give an edit that enlarges an image of one row in proportion."""

    def edit(found: Graph) -> None:
        found["thin"] = node("EmptyImage", width=8192, height=1, batch_size=1, color=0)
        found["decode"] = node(class_type, **{source: ["thin", 0]}, **inputs)

    return edit


def _stitched_thin(found: Graph) -> None:
    found["tall"] = node("EmptyImage", width=1, height=8192, batch_size=1, color=0)
    found["thin"] = node("EmptyImage", width=8192, height=1, batch_size=1, color=0)
    found["decode"] = node(
        "ImageStitch",
        image1=["tall", 0],
        image2=["thin", 0],
        direction="right",
        match_image_size=True,
        spacing_width=0,
        spacing_color="white",
    )


def _merged_thin(found: Graph) -> None:
    found["thin"] = node("ImageCrop", image=["decode0", 0], width=1, height=64, x=0, y=0)
    found["decode0"] = found["decode"]
    found["decode"] = node(
        "ImageMergeTileList", image_list=["thin", 0], final_width=8192, final_height=8192, overlap=1
    )


def _upscaled_by_models(found: Graph) -> None:
    found["upscaler"] = node("UpscaleModelLoader", model_name="x")
    found["up0"] = found["decode"]
    for at in range(4):
        found[f"up{at + 1}"] = node(
            "ImageUpscaleWithModel", upscale_model=["upscaler", 0], image=[f"up{at}", 0]
        )
    found["decode"] = found.pop("up4")


def _loaded_often(found: Graph) -> None:
    link: list[str | int] = ["loader", 0]
    for at in range(150):
        inputs = {"lora_name": LORA, "strength_model": 1.0}
        found[f"lora{at}"] = node("LoraLoaderModelOnly", model=link, **inputs)
        link = [f"lora{at}", 0]
    found["sampler"]["inputs"]["model"] = link


WORK: Final = [
    graph("one file for hundreds of loaders", _loaded_often, "nodes that load or patch models"),
    graph(
        "a latent of 8192 x 8192, 64 times",
        many(
            set_input("latent", "width", 8192),
            set_input("latent", "height", 8192),
            set_input("latent", "batch_size", 64),
        ),
        "pixels",
    ),
    graph(
        "a chain of enlargements",
        chain(4, "ImageScaleBy", "image", scale_by=8.0, upscale_method="area"),
        "pixels",
    ),
    graph("a chain of upscale models", _upscaled_by_models, "pixels"),
    graph("a chain of repetitions", chain(4, "RepeatImageBatch", "image", amount=64), "pixels"),
    graph("a ladder of batches", chain(20, "ImageBatch", "image1", "image2"), "pixels"),
    graph(
        "a ladder of stitched images",
        chain(
            20,
            "ImageStitch",
            "image1",
            "image2",
            direction="right",
            match_image_size=True,
            spacing_width=0,
            spacing_color="white",
        ),
        "pixels",
    ),
    graph("a batch for each of a list", _list_by_batch, "pixels"),
    graph("many images that are large", _piled_up, "pixels of all nodes"),
    graph(
        "an image of endless megapixels",
        last(
            "ImageScaleToTotalPixels",
            upscale_method="area",
            megapixels=float("inf"),
            resolution_steps=1,
        ),
        "megapixels to be a number",
    ),
    graph(
        "an image enlarged without end",
        last(
            "ResizeImageMaskNode",
            "input",
            resize_type="scale by multiplier",
            scale_method="area",
            **{"resize_type.multiplier": float("inf")},
        ),
        "multiplier to be a number",
    ),
    graph(
        "a model that enlarges what is inside it",
        between(
            "model",
            "PatchModelAddDownscale",
            "model",
            block_number=3,
            downscale_factor=0.1,
            start_percent=0.0,
            end_percent=1.0,
            downscale_after_skip=True,
            downscale_method="bicubic",
            upscale_method="bicubic",
        ),
        "downscale_factor of at least 1",
    ),
    graph(
        "a side of nothing that follows the other",
        _thin("ImageScale", width=0, height=8192, upscale_method="area", crop="disabled"),
        "pixels",
    ),
    graph(
        "a shorter side that the longer follows",
        _thin(
            "ResizeImageMaskNode",
            "input",
            resize_type="scale shorter dimension",
            scale_method="area",
            **{"resize_type.shorter_size": 8192},
        ),
        "pixels",
    ),
    graph("an image that is enlarged to fit a taller one", _stitched_thin, "pixels"),
    graph(
        "an image with a margin of 16384",
        many(
            chain(
                2,
                "ImagePadForOutpaint",
                "image",
                left=16384,
                top=16384,
                right=16384,
                bottom=16384,
                feathering=0,
            )
        ),
        "pixels",
    ),
    graph(
        "a sampler that enlarges",
        sampled_by_sigmas(
            _karras(2),
            by="SamplerLCMUpscale",
            scale_ratio=1e6,
            scale_steps=-1,
            upscale_method="area",
        ),
        "pixels",
    ),
    graph("tiles of one pixel that are merged", _merged_thin, "tiles of at least 64"),
    graph("a sampler for each of ten thousand tiles", _tiles, "steps of"),
    graph("ten thousand steps", set_input("sampler", "steps", 9999), "steps of at most 1000"),
    graph(
        "a schedule of a billion steps",
        many(set_input("sampler", "steps", 1000), set_input("sampler", "denoise", 1e-6)),
        "steps divided by denoise",
    ),
    graph("one schedule for many samplers", sampled_by_sigmas(_karras(900), passes=3), "steps of"),
    graph(
        "a schedule that is extended",
        sampled_by_sigmas(
            _karras(900),
            (
                "ExtendIntermediateSigmas",
                {"steps": 99, "start_at_sigma": -1.0, "end_at_sigma": 0.0, "spacing": "linear"},
            ),
        ),
        "steps of",
    ),
    graph(
        "a schedule written out",
        sampled_by_sigmas(("ManualSigmas", {"sigmas": "9 " * 9000})),
        "steps of",
    ),
    graph(
        "a thousand steps of a large image",
        many(
            set_input("latent", "width", 8192),
            set_input("latent", "height", 8192),
            set_input("sampler", "steps", 500),
        ),
        "steps times pixels",
    ),
    graph(
        "a mask that grows for ever",
        many(
            instead("MaskToImage", mask=["grown", 0]),
            lambda found: found.update(
                solid=node("SolidMask", value=1.0, width=8192, height=8192),
                grown=node("GrowMask", mask=["solid", 0], expand=-16384, tapered_corners=True),
            ),
        ),
        "steps times pixels",
    ),
    graph(
        "an enormous brush",
        last("Morphology", operation="dilate", kernel_size=99_999),
        "steps times pixels",
    ),
    graph(
        "a sampler that waits for no error at all",
        sampled_by_sigmas(_karras(2), **_adaptive(rtol=0.0, atol=0.0)),
        "without end",
    ),
    graph(
        "a sampler that takes steps of nothing",
        sampled_by_sigmas(_karras(2), **_adaptive(h_init=0.0)),
        "without end",
    ),
    graph("a sampler of adaptive steps on what is not finite", _without_end, "without end"),
    graph(
        "a ladder of conditionings",
        ladder(24, "ConditioningCombine", "positive", 0, "conditioning_1", "conditioning_2"),
        "parts",
    ),
    graph(
        "a ladder of long conditionings",
        ladder(24, "ConditioningConcat", "positive", 0, "conditioning_to", "conditioning_from"),
        "parts",
    ),
    graph(
        "a ladder of merged models",
        ladder(24, "ModelMergeSimple", "loader", 0, "model1", "model2"),
        "parts",
    ),
]
