"""`python dev.py bench`: what the pack costs, as ratios from interleaved runs.

Small on purpose: Deterministic Mode and the saving node beside core's, each pair of runs one
after the other so that a busy machine slows both. Medians; no timing decides a test.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO

import torch
from PIL import Image, ImageFilter

from comfyui_provenance.numerics.step_trace import StepTracer

from support import bench_hashing, bench_page, prompts
from support.server import ComfyServer, History, ServerError

ROUNDS = 7
LARGE_GRAPH = 300
HASHED_BYTES = 2 * 10**9
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
            ComfyServer(with_pack=False) as without,
        ):
            for warm in (server, torch_attention):
                warm.run(_stock(0, FEW_STEPS))
            server.run(_pinned(0, FEW_STEPS))
            print("what                                     ratio (least to most of the rounds)")
            _print_import(server)
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
            _compare("saving 4 1024x1024 PNGs / core", *_savers(server, without))
            _print_first_run(server, without)
            _print_large_graph(server, without)
            _print_reproduction(server)
            print(*bench_page.measure(server, without), sep="\n", flush=True)
            print(*bench_hashing.measure(HASHED_BYTES), sep="\n", flush=True)
            # In a process of its own: what it starts would inherit the peak memory of this one.
            subprocess.run([sys.executable, "-m", "support.bench_audit"], check=True)
    except (ServerError, OSError) as error:
        print(f"dev.py: error: {error}", file=sys.stderr)
        return 1
    return 0


def _print_import(server: ComfyServer) -> None:
    """Tell how long ComfyUI's start waits for this pack, by ComfyUI's own list."""
    times_s = []
    for _ in range(3):
        server.restart()
        times = server.log_text().partition("Import times for custom nodes:")[2]
        line = next(line for line in times.splitlines() if "comfyui-provenance" in line)
        times_s.append(float(line.split("seconds")[0].split()[-1]))
    print(f"{'ComfyUI imports the pack in':<42} {statistics.median(times_s):.1f} s")


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


def _picture(size: int) -> bytes:
    """Make a picture that compresses about as far as a photograph does."""
    noise = Image.effect_noise((size, size), 25).filter(ImageFilter.GaussianBlur(1))
    channels = [noise, noise.transpose(Image.Transpose.ROTATE_90), noise.rotate(180)]
    file = BytesIO()
    Image.merge("RGB", channels).save(file, "PNG")
    return file.getvalue()


def _savers(
    server: ComfyServer, without: ComfyServer
) -> tuple[Callable[[int], float], Callable[[int], float]]:
    """Save four pictures with ours, and with core's where this pack is not installed."""

    def saver(where: ComfyServer, save_class: str) -> Callable[[int], float]:
        name = where.upload(_picture(1024))
        prompt = {
            "picture": prompts.node("LoadImage", image=name),
            "batch": prompts.node("RepeatImageBatch", image=["picture", 0], amount=4),
            "save": prompts.node(save_class, images=["batch", 0], filename_prefix="warm"),
        }
        where.run(prompt)

        def save(round_: int) -> float:
            prompt["save"]["inputs"]["filename_prefix"] = f"bench{round_}"
            return _seconds(where, prompt)

        return save

    return saver(server, "ProvenanceSaveImage"), saver(without, "SaveImage")


def _print_first_run(server: ComfyServer, without: ComfyServer) -> None:
    """Run a graph of many nodes for the first time, with the pack and without it."""

    def first(where: ComfyServer, round_: int) -> float:
        prompt = {"0": prompts.node("EmptyImage", width=64, height=64, batch_size=1, color=round_)}
        for at in range(1, LARGE_GRAPH - 1):
            prompt[str(at)] = prompts.node("ImageInvert", image=[str(at - 1), 0])
        last = str(LARGE_GRAPH - 2)
        prompt["save"] = prompts.node("SaveImage", images=[last, 0], filename_prefix="first")
        return _seconds(where, prompt)

    _compare(
        f"{LARGE_GRAPH} nodes, with the pack / without",
        lambda round_: first(server, 6000 + round_),
        lambda round_: first(without, 6000 + round_),
    )


def _print_large_graph(server: ComfyServer, without: ComfyServer) -> None:
    """Save the result of a graph of 300 nodes, all cached but the saving one."""

    def saver(where: ComfyServer, save_class: str) -> Callable[[int], float]:
        prompt = {"0": prompts.node("EmptyImage", width=64, height=64, batch_size=1, color=7)}
        for at in range(1, LARGE_GRAPH - 1):
            prompt[str(at)] = prompts.node("ImageInvert", image=[str(at - 1), 0])
        last = str(LARGE_GRAPH - 2)
        prompt["save"] = prompts.node(save_class, images=[last, 0], filename_prefix="warm")
        where.run(prompt)

        def save(round_: int) -> float:
            prompt["save"]["inputs"]["filename_prefix"] = f"graph{round_}"
            return _seconds(where, prompt)

        return save

    ours, cores = saver(server, "ProvenanceSaveImage"), saver(without, "SaveImage")
    added_s = statistics.median(ours(round_) - cores(round_) for round_ in range(ROUNDS * 3))
    print(f"{f'a record of {LARGE_GRAPH} nodes adds':<42} {added_s * 1e3:.1f} ms")


def _print_reproduction(server: ComfyServer) -> None:
    """Time a plain run and its reproduction in turn."""
    ratios = []
    for round_ in range(ROUNDS):
        prompt = prompts.txt2img(seed=5000 + round_, steps=MANY_STEPS, width=256, height=256)
        history = server.run(prompt)
        (path,) = server.images(history)
        image = server.upload(path)
        again = {"reproduce": prompts.node("ProvenanceReproduce", image=image)}
        ratios.append(_seconds(server, again) / _span_s(history))
    print(f"{'Reproduce / the plain run':<42} {_spread(ratios)}")


def _seconds(server: ComfyServer, prompt: prompts.Prompt) -> float:
    return _span_s(server.run(prompt))


def _span_s(history: History) -> float:
    """Give how long a prompt took by ComfyUI's own clock."""
    messages = dict(history.entry["status"]["messages"])
    ended_ms = messages["execution_success"]["timestamp"]
    return float(ended_ms - messages["execution_start"]["timestamp"]) / 1e3


if __name__ == "__main__":
    sys.exit(main())
