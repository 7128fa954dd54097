"""ComfyUI Provenance: the entry point that ComfyUI loads.

Nothing is imported here: pytest imports this file without ComfyUI, and ComfyUI's start
pays for every module. `NODE_CLASS_MAPPINGS` must never appear, or ComfyUI 0.30 does not
call `comfy_entrypoint`.
"""

from __future__ import annotations

import contextlib
import gc
import typing

if typing.TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> ComfyExtension:
    """Serve the pack's routes and give ComfyUI its extension."""
    with _without_collection():
        from .adapter.host import add_post_route
        from .nodes.extension import ProvenanceExtension
        from .routes.records import read_record

    add_post_route("/provenance/record", read_record)
    return ProvenanceExtension()


@contextlib.contextmanager
def _without_collection() -> typing.Iterator[None]:
    """Put off the garbage collector, which would look at every object of ComfyUI meanwhile.

    A hundred modules make no garbage, and one full collection took 0.3 s.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
