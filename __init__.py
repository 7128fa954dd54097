"""ComfyUI Provenance: the entry point that ComfyUI loads.

Nothing is imported here: pytest imports this file without ComfyUI, and ComfyUI's start
pays for every module. `NODE_CLASS_MAPPINGS` must never appear, or ComfyUI 0.30 does not
call `comfy_entrypoint`.
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> ComfyExtension:
    """Serve the pack's routes and give ComfyUI its extension."""
    import gc

    # A hundred modules make no garbage; one full collection among them looked at every object of
    # ComfyUI and took 0.3 s.
    collects = gc.isenabled()
    gc.disable()
    try:
        from .adapter.host import add_get_route, add_post_route, keep_modules_fresh
        from .nodes.extension import ProvenanceExtension
        from .routes.outputs import read_classes, read_outputs
        from .routes.preflight import read_preflight
        from .routes.progress import read_progress
        from .routes.records import compare, read_record
        from .routes.settings import change, read
    finally:
        if collects:
            gc.enable()

    add_post_route("/provenance/record", read_record)
    add_post_route("/provenance/preflight", read_preflight)
    add_post_route("/provenance/compare", compare)
    add_get_route("/provenance/progress/{prompt_id}", read_progress)
    add_get_route("/provenance/outputs", read_outputs)
    add_get_route("/provenance/classes", read_classes)
    add_get_route("/provenance/settings", read)
    add_post_route("/provenance/settings", change)
    keep_modules_fresh()
    return ProvenanceExtension()
