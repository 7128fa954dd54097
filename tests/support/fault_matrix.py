"""The fault matrix: the same images, made in every way that has been seen to change them.

A cell says how much memory is free, what the server did before, and whether it caches
results. In each cell a batch of three is made and one of its images alone, a different one
from cell to cell. Pinned, an image has one pixel digest over all of that; as core makes it,
it has several.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from support import prompts
from support.prompts import Prompt, in_mode, one_of_batch
from support.server import ComfyServer
from support.tampering import record_of

MEMORIES = ("plenty", "none")
STATES = ("cold", "warm", "unrelated", "restart")
CACHES = ("cache", "no cache")
SAMPLERS = (
    "euler",
    "euler_ancestral",
    "heun",
    "dpm_2_ancestral",
    "dpmpp_2m",
    "dpmpp_sde",
    "dpmpp_2m_sde",
    "dpmpp_3m_sde_gpu",
    "lcm",
    "er_sde",
    "ddim",
    "uni_pc",
)
SCHEDULERS = ("normal", "karras", "beta")
IMAGES = 3

NO_MEMORY = 2**20
"""Bytes: less than any forward needs; none at all is more than core's own code can divide by."""


@dataclass(frozen=True, order=True)
class Case:
    """One picture: a batch of it and each image alone should agree."""

    sampler: str
    scheduler: str


@dataclass(frozen=True, order=True)
class Cell:
    """One way to make it."""

    cache: str
    state: str
    memory: str


Build: TypeAlias = Callable[[Case, int | None], Prompt]
"""Builds the prompt of a case, or of one of its images alone."""


@dataclass
class Matrix:
    """What was found.

    Attributes:
        digests: by case and image, the cells in which each pixel digest was found.
        runs: number of prompts.
    """

    digests: dict[tuple[Case, int], dict[str, list[str]]] = field(default_factory=dict)
    runs: int = 0

    def add(self, case: Case, image: int, digest: str, where: str) -> None:
        """Note one image."""
        self.digests.setdefault((case, image), {}).setdefault(digest, []).append(where)

    @classmethod
    def joined(cls, matrices: Iterable[Matrix]) -> Matrix:
        """Put what several servers made into one."""
        whole = cls()
        for matrix in matrices:
            whole.runs += matrix.runs
            for (case, image), found in matrix.digests.items():
                for digest, places in found.items():
                    for where in places:
                        whole.add(case, image, digest, where)
        return whole

    def unstable(self) -> dict[str, dict[str, list[str]]]:
        """List the images that have more than one digest."""
        return {
            f"{case.sampler}/{case.scheduler} image {image}": found
            for (case, image), found in sorted(self.digests.items())
            if len(found) > 1
        }

    def never_alone(self) -> list[str]:
        """List the images of each sampler that were made in a batch only."""
        alone = {
            (case.sampler, image)
            for (case, image), found in self.digests.items()
            if any(where.endswith("alone") for places in found.values() for where in places)
        }
        wanted = {(case.sampler, image) for case, image in self.digests}
        return [f"{sampler} image {image}" for sampler, image in sorted(wanted - alone)]

    def same_images(self) -> list[str]:
        """List the cases in which two images of the batch are the same."""
        firsts: dict[Case, list[str]] = {}
        for (case, _), found in sorted(self.digests.items()):
            firsts.setdefault(case, []).append(min(found))
        return [str(case) for case, found in firsts.items() if len(set(found)) < len(found)]

    def to_json(self) -> dict[str, Any]:
        """Summarise it for a file."""
        return {
            "prompts": self.runs,
            "images": len(self.digests),
            "images_with_one_digest": sum(len(found) == 1 for found in self.digests.values()),
            "images_with_more": len(self.unstable()),
            "most_digests_of_one_image": max(map(len, self.digests.values()), default=0),
        }


def every_cell() -> list[tuple[Case, Cell]]:
    """List the whole matrix."""
    return [
        (Case(*case), Cell(*cell))
        for case in itertools.product(SAMPLERS, SCHEDULERS)
        for cell in itertools.product(CACHES, STATES, MEMORIES)
    ]


def pairwise_cells() -> list[tuple[Case, Cell]]:
    """List cells in which every two values of two axes meet at least once.

    Each sampler meets every state with one scheduler, and the other schedulers once.
    """
    chosen: list[tuple[Case, Cell]] = []
    for place, sampler in enumerate(SAMPLERS):
        turns = [SCHEDULERS[(place + turn) % len(SCHEDULERS)] for turn in range(len(SCHEDULERS))]
        for turn, state in enumerate(STATES):
            cell = Cell(CACHES[(place + turn) % 2], state, MEMORIES[(place // 2 + turn // 2) % 2])
            chosen.append((Case(sampler, turns[0]), cell))
        for turn, scheduler in enumerate(turns[1:]):
            cell = Cell(CACHES[0], STATES[(place + turn) % 4], MEMORIES[(place + turn) % 2])
            chosen.append((Case(sampler, scheduler), cell))
    return chosen


def pairs_of(cells: Iterable[tuple[Case, Cell]]) -> set[tuple[str, str]]:
    """List the pairs of values that meet, named by their axes."""
    found: set[tuple[str, str]] = set()
    for case, cell in cells:
        values = {**vars(case), **vars(cell)}
        named = sorted(f"{axis}={value}" for axis, value in values.items())
        found.update(itertools.combinations(named, 2))
    return found


def make(
    servers: Mapping[str, ComfyServer],
    cells: Iterable[tuple[Case, Cell]],
    *,
    pinned: bool,
    side_px: int = 64,
) -> Matrix:
    """Make the images of these cells.

    Args:
        servers: by cache; with the packs that pretend little memory.
        cells: in any order; they are made so that servers start as seldom as possible.
        pinned: in Deterministic Mode with batch invariance, or as core makes them.
        side_px: of the square images.
    """
    ordered = sorted(cells, key=lambda item: (item[1], item[0]))
    with ThreadPoolExecutor() as pool:
        made = pool.map(
            lambda cache: _make_cells(
                servers[cache],
                [item for item in ordered if item[1].cache == cache],
                partial(_prompt, pinned=pinned, side_px=side_px),
            ),
            servers,
        )
        return Matrix.joined(made)


def _make_cells(server: ComfyServer, cells: list[tuple[Case, Cell]], build: Build) -> Matrix:
    """Make the cells of one server, which come in its order."""
    matrix = Matrix()
    turns: Counter[Case] = Counter()
    for group, members in itertools.groupby(cells, key=lambda item: item[1]):
        if group.state == "restart":
            server.restart()
        server.post_json("/test/free_memory", {"bytes": _free_bytes(group.memory)})
        try:
            for case, cell in members:
                # The servers begin with different images, so that each is once alone.
                turn = turns[case] + CACHES.index(cell.cache)
                _make_case(server, matrix, case, cell, turn, build)
                turns[case] += 1
        finally:
            server.post_json("/test/free_memory", {"bytes": None})
    return matrix


def _make_case(
    server: ComfyServer, matrix: Matrix, case: Case, cell: Cell, turn: int, build: Build
) -> None:
    """Make the batch and one image alone, in an order that changes by turn."""
    alone = turn % IMAGES
    for number, place in enumerate((None, alone) if turn % 2 else (alone, None)):
        if number == 0 and cell.state == "cold":
            server.free()
        if number == 0 and cell.state == "unrelated":
            server.run(_unrelated())
            matrix.runs += 1
        prompt = build(case, place)
        # Core ignores an input that a node does not declare, and runs the node anew.
        prompt["sampler"]["inputs"]["turn"] = matrix.runs
        paths = server.images(server.run(prompt))
        matrix.runs += 1
        for image, path in enumerate(paths):
            digest = record_of(path.read_bytes())["subject"]["digest"]
            where = f"{cell.cache}, {cell.state}, memory {cell.memory}"
            together = "in the batch" if place is None else "alone"
            matrix.add(case, image if place is None else place, digest, f"{where}, {together}")


def _prompt(case: Case, place: int | None, *, pinned: bool, side_px: int) -> Prompt:
    """Build the batch, or one image of it alone."""
    prompt = prompts.txt2img(
        seed=4242,
        steps=2,
        width=side_px,
        height=side_px,
        batch_size=IMAGES,
        sampler_class="KSampler",
        sampler_name=case.sampler,
        scheduler=case.scheduler,
        filename_prefix="matrix/image",
    )
    if place is not None:
        one_of_batch(prompt, place)
    return in_mode(prompt, batch_invariant=True) if pinned else prompt


def _unrelated() -> Prompt:
    return prompts.lora(
        seed=7, steps=1, width=192, height=64, sampler_class="KSampler", sampler_name="heunpp2"
    )


def _free_bytes(memory: str) -> int | None:
    return NO_MEMORY if memory == "none" else None
