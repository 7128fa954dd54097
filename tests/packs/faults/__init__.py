"""Routes that change, behind everyone's back, what a graph does not show.

Each stands for what a machine, a script or another pack does to a running ComfyUI.
"""

import comfy.model_management
import torch
from aiohttp import web
from server import PromptServer


def _loaded_unets():  # noqa: ANN202 - as node packs are written
    """Give the UNets that are loaded now."""
    for loaded in comfy.model_management.loaded_models():
        network = getattr(loaded.model, "diffusion_model", None)
        if network is not None:
            yield network


@PromptServer.instance.routes.post("/test/weights")
async def scale_weights(request):  # noqa: ANN001, ANN201 - a handler of aiohttp
    """Multiply one weight of every loaded UNet, in memory, by `factor`."""
    factor = (await request.json())["factor"]
    count = 0
    with torch.inference_mode():
        for network in _loaded_unets():
            for name, weight in network.named_parameters():
                if name.endswith("attn2.to_v.weight"):
                    weight.mul_(factor)
                    count += 1
                    break
    return web.json_response({"count": count})


@PromptServer.instance.routes.post("/test/flags")
async def set_flags(request):  # noqa: ANN001, ANN201 - a handler of aiohttp
    """Let torch multiply matrices in bfloat16 on the CPU, or not."""
    precision = (await request.json())["precision"]
    torch.backends.mkldnn.matmul.fp32_precision = precision
    torch.backends.mkldnn.conv.fp32_precision = precision
    return web.json_response({})


class TestPostLoadPatch:
    """Hands a model on, and while it is switched on adds a patch that no widget shows."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "hand_on"
    CATEGORY = "tests"
    is_on = False

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the model."""
        return {"required": {"model": ("MODEL",)}}

    @classmethod
    def IS_CHANGED(cls, model):  # noqa: ANN001, ANN206, N802 - ComfyUI's name
        """Run again when it is switched."""
        return cls.is_on

    def hand_on(self, model):  # noqa: ANN001, ANN201 - as node packs are written
        """Wrap each forward while it is switched on."""
        changed = model.clone()
        if type(self).is_on:

            def forward(apply_model, arguments):  # noqa: ANN001, ANN202 - core's
                return (
                    apply_model(arguments["input"], arguments["timestep"], **arguments["c"]) * 0.99
                )

            changed.set_model_unet_function_wrapper(forward)
        return (changed,)


@PromptServer.instance.routes.post("/test/patch")
async def switch_patch(request):  # noqa: ANN001, ANN201 - a handler of aiohttp
    """Switch the hidden patch on or off."""
    TestPostLoadPatch.is_on = (await request.json())["on"]
    return web.json_response({})


class TestGrain:
    """Adds grain from a generator that nothing seeds."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "add"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        """Declare the image."""
        return {"required": {"image": ("IMAGE",)}}

    def add(self, image):  # noqa: ANN001, ANN201 - as node packs are written
        """Add it."""
        generator = torch.Generator()
        generator.seed()
        return (image * 0.9 + 0.1 * torch.rand(image.shape, generator=generator),)


NODE_CLASS_MAPPINGS = {"TestGrain": TestGrain, "TestPostLoadPatch": TestPostLoadPatch}
