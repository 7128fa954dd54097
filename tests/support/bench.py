"""`python dev.py bench`: what the pack costs, as ratios from interleaved runs.

Small on purpose: Deterministic Mode and the saving node beside core's, each pair of runs one
after the other so that a busy machine slows both. Medians; no timing decides a test.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from comfyui_provenance.numerics.step_trace import StepTracer

from support import prompts
from support.server import ComfyServer, ServerError

ROUNDS = 7
FEW_STEPS, MANY_STEPS = 2, 6
"""Two lengths of one sampling: their difference is steps alone, without loading and decoding."""

TRACED = {"256x256, SD 1.5": (1, 4, 32, 32), "1024x1024, Flux": (1, 16, 128, 128)}
"""Latents whose trace is timed."""

Sampling = Callable[[int, int], prompts.Prompt]
"""Builds a prompt from a round and a number of steps."""


def main() -> int:
    """Run every comparison and print it."""
    try:
        with (
            ComfyServer() as server,
            # What users of a CPU pick for speed; the mode's attention is the same function.
            ComfyServer(arguments=("--use-pytorch-cross-attention",)) as torch_attention,
        ):
            for warm in (server, torch_attention):
                warm.run(_stock(0, FEW_STEPS))
            server.run(_pinned(0, FEW_STEPS))
            print("what                                     ratio (least to most of the rounds)")
            step_s = _compare_steps(
                "a step, Deterministic Mode / core", (server, _pinned), (server, _stock)
            )
            _compare_steps(
                "the same, core with torch's attention",
                (server, _pinned),
                (torch_attention, _stock),
            )
            _compare_steps(
                "a step of 2 images, batch invariant / not",
                (server, _batch(invariant=True)),
                (server, _batch(invariant=False)),
            )
            _print_trace(step_s)
            _compare("Save Image with a record / core", *_savers(server))
            _print_reproduction(server)
    except (ServerError, OSError) as error:
        print(f"dev.py: error: {error}", file=sys.stderr)
        return 1
    return 0


def _stock(round_: int, steps: int) -> prompts.Prompt:
    return prompts.txt2img(
        seed=2000 + round_, steps=steps, width=256, height=256, sampler_class="KSampler"
    )


def _pinned(round_: int, steps: int) -> prompts.Prompt:
    return prompts.in_mode(_stock(round_ + 1000, steps))


def _batch(*, invariant: bool) -> Sampling:
    def build(round_: int, steps: int) -> prompts.Prompt:
        prompt = _stock(round_ + (3000 if invariant else 4000), steps)
        prompt["latent"]["inputs"]["batch_size"] = 2
        return prompts.in_mode(prompt, batch_invariant=invariant)

    return build


def _compare_steps(
    what: str, ours: tuple[ComfyServer, Sampling], others: tuple[ComfyServer, Sampling]
) -> float:
    """Time a step of two samplings in turn, and print the median of the ratios.

    Returns:
        Median seconds of one step of ours.
    """
    ratios, steps_s = [], []
    for round_ in range(ROUNDS):
        (ours_s, others_s) = (_step_seconds(*side, round_) for side in (ours, others))
        ratios.append(ours_s / others_s)
        steps_s.append(ours_s)
    print(f"{what:<42} {_spread(ratios)}")
    return statistics.median(steps_s)


def _step_seconds(server: ComfyServer, build: Sampling, round_: int) -> float:
    few, many = (_seconds(server, build(round_, steps)) for steps in (FEW_STEPS, MANY_STEPS))
    return max(many - few, 1e-6) / (MANY_STEPS - FEW_STEPS)


def _compare(what: str, ours: Callable[[int], float], cores: Callable[[int], float]) -> None:
    """Time ours and core's in turn, and print the median of the ratios."""
    ratios = [ours(round_) / cores(round_) for round_ in range(ROUNDS)]
    print(f"{what:<42} {_spread(ratios)}")


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"


def _print_trace(step_s: float) -> None:
    """Time the trace of one step here, and compare it with a step of the tiny model."""
    for name, shape in TRACED.items():
        latent = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        times_s = []
        for _ in range(ROUNDS + 1):
            tracer = StepTracer(shape[0])
            started = time.monotonic()
            tracer.add(0, 1.0, latent)
            times_s.append(time.monotonic() - started)
        cost_s = statistics.median(times_s[1:])  # the first one prepares the hashes
        share = f", {cost_s / step_s:.2%} of the tiny model's step" if "256" in name else ""
        print(f"{'the trace of a step, ' + name:<42} {cost_s * 1e3:.2f} ms{share}")


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
        prompt = prompts.txt2img(seed=5000 + round_, steps=MANY_STEPS, width=256, height=256)
        started = time.monotonic()
        (path,) = server.images(server.run(prompt))
        plain = time.monotonic() - started
        image = server.upload(path)
        again = {"reproduce": prompts.node("ProvenanceReproduce", image=image)}
        ratios.append(_seconds(server, again) / plain)
    print(f"{'Reproduce / the plain run':<42} {_spread(ratios)}")


def _seconds(server: ComfyServer, prompt: prompts.Prompt) -> float:
    started = time.monotonic()
    server.run(prompt)
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
