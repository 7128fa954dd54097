"""Lets a test say how much memory is free, as ComfyUI sees it.

It stands below everything in ComfyUI that asks: conditioning batches, VAE batches and
attention. Only a test pack may replace a host function.
"""

import comfy.model_management
from aiohttp import web
from server import PromptServer

_real = comfy.model_management.get_free_memory


@PromptServer.instance.routes.post("/test/free_memory")
async def set_free_memory(request):  # noqa: ANN001, ANN201 - a handler of aiohttp
    """Pretend that `bytes` are free; null gives the truth back."""
    free_bytes = (await request.json())["bytes"]

    def pretended(dev=None, torch_free_too=False):  # noqa: ANN001, ANN202 - core's
        return (free_bytes, free_bytes) if torch_free_too else free_bytes

    comfy.model_management.get_free_memory = _real if free_bytes is None else pretended
    return web.json_response({})


NODE_CLASS_MAPPINGS = {}
