"""Memory, history, cache and batch do not choose the pixels of Deterministic Mode.

The complete matrix runs with `--full`; PROVENANCE_MATRIX names a file for its result, which
is kept as `docs/measured/fault_matrix.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from support import fault_matrix
from support.fault_matrix import Case, Cell, Matrix
from support.server import ComfyServer

SCARCE_MEMORY = Path(__file__).parents[1] / "packs" / "scarce_memory"


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, ComfyServer]]:
    packs = (SCARCE_MEMORY,)
    with (
        ComfyServer(packs=packs) as cached,
        ComfyServer(packs=packs, arguments=("--cache-none",)) as uncached,
    ):
        yield {"cache": cached, "no cache": uncached}


def test_the_short_matrix_holds_every_pair_of_values() -> None:
    axes = {
        "sampler": fault_matrix.SAMPLERS,
        "scheduler": fault_matrix.SCHEDULERS,
        "cache": fault_matrix.CACHES,
        "state": fault_matrix.STATES,
        "memory": fault_matrix.MEMORIES,
    }
    wanted = {
        tuple(sorted((f"{first}={one}", f"{second}={other}")))
        for first, second in combinations(axes, 2)
        for one, other in product(axes[first], axes[second])
    }

    assert wanted <= fault_matrix.pairs_of(fault_matrix.pairwise_cells())


def test_pinned_each_image_has_one_pixel_digest(servers: dict[str, ComfyServer]) -> None:
    matrix = fault_matrix.make(servers, fault_matrix.pairwise_cells(), pinned=True)

    assert matrix.unstable() == {}
    assert matrix.same_images() == []
    assert matrix.never_alone() == []
    assert len(matrix.digests) == 36 * fault_matrix.IMAGES


def test_as_core_makes_them_images_have_several(servers: dict[str, ComfyServer]) -> None:
    case = Case("euler_ancestral", "normal")
    cells = [
        Cell(cache, "warm", memory)
        for cache in fault_matrix.CACHES
        for memory in fault_matrix.MEMORIES
    ]

    matrix = fault_matrix.make(servers, [(case, cell) for cell in cells], pinned=False)

    assert len(matrix.unstable()) == fault_matrix.IMAGES


@pytest.mark.full
def test_the_complete_matrix(servers: dict[str, ComfyServer]) -> None:
    pinned = fault_matrix.make(servers, fault_matrix.every_cell(), pinned=True, side_px=128)
    stock = fault_matrix.make(servers, fault_matrix.pairwise_cells(), pinned=False, side_px=128)

    _keep({"pinned, complete": pinned, "core, pairwise": stock})
    assert pinned.unstable() == {}
    assert pinned.same_images() == []
    assert len(pinned.digests) == 36 * fault_matrix.IMAGES
    assert stock.unstable()


def _keep(matrices: dict[str, Matrix]) -> None:
    """Write the result where it was asked for."""
    file = os.environ.get("PROVENANCE_MATRIX")
    if file:
        axes: dict[str, Any] = {
            name: list(getattr(fault_matrix, name))
            for name in ("SAMPLERS", "SCHEDULERS", "CACHES", "STATES", "MEMORIES")
        }
        found = {name: matrix.to_json() for name, matrix in matrices.items()}
        text = json.dumps({"axes": axes, "found": found}, indent=2)
        Path(file).write_text(text + "\n", encoding="utf-8")
