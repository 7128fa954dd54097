"""What the pack adds to ComfyUI."""

from __future__ import annotations

from comfy_api.latest import Caching, ComfyExtension, io

from ..adapter.host import add_prompt_handler
from ..adapter.prompt_watcher import PromptWatcher
from ..adapter.seed_guard import refuse_bad_seeds
from ..adapter.stock_saves import keep_metadata
from .compare_records import ProvenanceCompareRecords
from .deterministic_mode import ProvenanceDeterministicMode
from .read_record import ProvenanceReadRecord
from .reproduce import ProvenanceReproduce, ProvenanceReproduceResult
from .samplers import ProvenanceKSampler, ProvenanceKSamplerAdvanced
from .save_image import ProvenanceSaveImage
from .seed import ProvenanceSeed
from .self_test import ProvenanceSelfTest
from .verify import ProvenanceVerify


class ProvenanceExtension(ComfyExtension):
    """The pack's nodes, its check of incoming seeds and its watch over prompts."""

    async def on_load(self) -> None:
        """Start watching prompts."""
        add_prompt_handler(refuse_bad_seeds)
        add_prompt_handler(keep_metadata)
        await Caching().register_provider(PromptWatcher())

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """List the nodes, in the order of ComfyUI's menu."""
        return [
            ProvenanceDeterministicMode,
            ProvenanceKSampler,
            ProvenanceKSamplerAdvanced,
            ProvenanceSeed,
            ProvenanceSaveImage,
            ProvenanceReadRecord,
            ProvenanceVerify,
            ProvenanceReproduce,
            ProvenanceReproduceResult,
            ProvenanceCompareRecords,
            ProvenanceSelfTest,
        ]
