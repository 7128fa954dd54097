"""`python dev.py bench`: what the pack costs, as ratios from interleaved runs.

Small on purpose: the sampler and the saving node beside core's, on one server, each pair of
runs one after the other so that a busy machine slows both. Medians; no timing decides a test.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from support import prompts
from support.server import ComfyServer, ServerError

ROUNDS = 9
STEPS = 8


def main() -> int:
    """Run every comparison and print it."""
    try:
        with ComfyServer() as server:
            _warm_up(server)
            print("what                               ours / core's (median of rounds)")
            _compare("KSampler, Deterministic Mode", _samplers(server, mode=True))
            _compare("KSampler, mode off", _samplers(server, mode=False))
            _compare("Save Image with a record", _savers(server))
            _print_reproduction(server)
    except (ServerError, OSError) as error:
        print(f"dev.py: error: {error}", file=sys.stderr)
        return 1
    return 0


def _warm_up(server: ComfyServer) -> None:
    for sampler_class in ("KSampler", "ProvenanceKSampler"):
        server.run(prompts.txt2img(seed=1, steps=2, sampler_class=sampler_class))


def _compare(what: str, pair: tuple[Callable[[int], float], Callable[[int], float]]) -> None:
    """Time ours and core's in turn, and print the median of the ratios."""
    ours, cores = pair
    ratios = [ours(round_) / cores(round_) for round_ in range(ROUNDS)]
    print(f"{what:<34} {statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})")


def _samplers(
    server: ComfyServer, *, mode: bool
) -> tuple[Callable[[int], float], Callable[[int], float]]:
    def ours(round_: int) -> float:
        prompt = prompts.txt2img(seed=1000 + round_, steps=STEPS, width=256, height=256)
        prompt["sampler"]["inputs"]["deterministic_mode"] = mode
        return _seconds(server, prompt)

    def cores(round_: int) -> float:
        prompt = prompts.txt2img(
            seed=2000 + round_, steps=STEPS, width=256, height=256, sampler_class="KSampler"
        )
        return _seconds(server, prompt)

    return ours, cores


def _savers(server: ComfyServer) -> tuple[Callable[[int], float], Callable[[int], float]]:
    def save(round_: int, save_class: str) -> float:
        prompt = {
            "empty": prompts.node(
                "EmptyImage", width=1024, height=1024, batch_size=4, color=round_
            ),
            "save": prompts.node(
                save_class, images=["empty", 0], filename_prefix=f"bench/{save_class}"
            ),
        }
        return _seconds(server, prompt)

    return (
        lambda round_: save(3000 + round_, "ProvenanceSaveImage"),
        lambda round_: save(4000 + round_, "SaveImage"),
    )


def _print_reproduction(server: ComfyServer) -> None:
    """Time a plain run and its reproduction in turn."""
    ratios = []
    for round_ in range(ROUNDS):
        prompt = prompts.txt2img(seed=5000 + round_, steps=STEPS, width=256, height=256)
        started = time.monotonic()
        (path,) = server.images(server.run(prompt))
        plain = time.monotonic() - started
        image = server.upload(path)
        again = {"reproduce": prompts.node("ProvenanceReproduce", image=image)}
        ratios.append(_seconds(server, again) / plain)
    median = statistics.median(ratios)
    print(
        f"{'Reproduce / the plain run':<34} {median:.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def _seconds(server: ComfyServer, prompt: prompts.Prompt) -> float:
    started = time.monotonic()
    server.run(prompt)
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
