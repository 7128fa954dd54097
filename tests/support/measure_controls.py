"""`python -m support.measure_controls`: measures the control sets that come with the library.

The same graphs are made on real servers that differ in what should change nothing but rounding
(negative controls), and with small changes (positive controls). Every pair goes into
`docs/measured/controls.json`; what the library needs of them into its own `controls.json`.
`docs/tolerances.md` tells what was chosen and why.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from comfyui_provenance.control_files import dump_controls
from comfyui_provenance.controls import Control, Key
from comfyui_provenance.pixels import Pixels, decode_pixels, measure_difference
from comfyui_provenance.tolerance import key_of, measure
from comfyui_provenance.trace import Step, parse_trace
from comfyui_provenance.verdict import CauseKind

from support import prompts
from support.control_pairs import (
    BUILT_IN,
    KINDS,
    RAW,
    Case,
    Pair,
    dump_raw,
    make_sets,
    parse_raw,
    replace_pairs,
)
from support.prompts import Prompt, in_mode, node, one_of_batch
from support.server import ROOT, ComfyServer, ServerError, folder_from, link_file
from support.tampering import record_of

SCARCE_MEMORY: Final = ROOT / "tests" / "packs" / "scarce_memory"
ROUNDED: Final = "provenance_tiny_fp8.safetensors"
UNET: Final = "model.diffusion_model."

NO_MEMORY: Final = 2**20
IMAGES: Final = 3
DIGITS: Final = 4
STEPS: Final = 6
OTHER_STEPS: Final = (3, 12)
SAMPLERS: Final = ("euler", "euler_ancestral", "dpmpp_2m", "heun")

Axes = frozenset[CauseKind]
Change = Callable[[Prompt], object]


@dataclass(frozen=True)
class Precision:
    """In which types a model is kept and computes.

    Attributes:
        name: for people.
        arguments: of ComfyUI.
        compute: what core's ModelComputeDtype is set to; without it the node is left out.
        samplers: which ones are measured.
    """

    name: str
    arguments: tuple[str, ...] = ()
    compute: str = ""
    samplers: tuple[str, ...] = SAMPLERS


PRECISIONS: Final = (
    Precision("fp32"),
    # On a CPU this keeps the weights in bfloat16 and computes in float32.
    Precision("bf16 weights", ("--bf16-unet",), samplers=SAMPLERS[:1]),
    Precision("bf16", ("--bf16-unet",), "bf16"),
)


@dataclass(frozen=True)
class Variant:
    """Another server, on which the same graph should give the same but for rounding."""

    name: str
    axes: Axes
    environ: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


_ISA: Final = frozenset({CauseKind.CPU_ISA})
_ATTENTION: Final = frozenset({CauseKind.ATTENTION})
_AVX2: Final = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}

VARIANTS: Final = (
    Variant("torch without vectors", _ISA, {"ATEN_CPU_CAPABILITY": "default"}),
    Variant("AVX2", _ISA, _AVX2),
    Variant("MKL's compatible kernels", _ISA, {"MKL_CBWR": "COMPATIBLE"}),
    Variant("one thread", frozenset({CauseKind.THREADS}), {"OMP_NUM_THREADS": "1"}),
    Variant("split attention", _ATTENTION, arguments=("--use-split-cross-attention",)),
    Variant("torch's attention", _ATTENTION, arguments=("--use-pytorch-cross-attention",)),
    Variant(
        "AVX2, one thread, torch's attention",
        frozenset({CauseKind.CPU_ISA, CauseKind.THREADS, CauseKind.ATTENTION}),
        {**_AVX2, "OMP_NUM_THREADS": "1"},
        ("--use-pytorch-cross-attention",),
    ),
)
"""Sub-quadratic attention is what ComfyUI chooses on this CPU, so it is the first side of each."""


CASES: Final = (
    Case(11, "normal", 7.0, "a red fox in the snow", STEPS),
    Case(22, "karras", 5.0, "a lighthouse at dusk, oil painting", STEPS),
    Case(33, "normal", 4.5, "portrait of an old sailor", STEPS),
    Case(44, "simple", 8.0, "a bowl of green apples on a wooden table, soft light", STEPS),
)

POSITIVES: Final[tuple[tuple[str, Change], ...]] = (
    ("CFG +0.01", lambda prompt: _move(prompt, "sampler", cfg=0.01)),
    ("CFG -0.01", lambda prompt: _move(prompt, "sampler", cfg=-0.01)),
    (
        "LoRA strength +0.01",
        lambda prompt: _move(prompt, "lora", strength_model=0.01, strength_clip=0.01),
    ),
    (
        "LoRA strength -0.01",
        lambda prompt: _move(prompt, "lora", strength_model=-0.01, strength_clip=-0.01),
    ),
    (
        "weights rounded to fp8 e4m3",
        lambda prompt: prompt["loader"]["inputs"].update(ckpt_name=ROUNDED),
    ),
    ("one step fewer", lambda prompt: _move(prompt, "sampler", steps=-1)),
)


@dataclass(frozen=True)
class Run:
    """One picture that was made."""

    key: Key
    steps: tuple[Step, ...]
    pixels: Pixels
    place: int


def main(argv: list[str]) -> int:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(prog="support.measure_controls", description=__doc__)
    parser.add_argument("--only", choices=[item.name for item in PRECISIONS], action="append")
    parser.add_argument("--raw", type=Path, default=RAW, help="file for every pair")
    parser.add_argument("--sets", type=Path, default=BUILT_IN, help="file for the thresholds")
    options = parser.parse_args(argv)
    chosen = [item for item in PRECISIONS if not options.only or item.name in options.only]
    pairs = parse_raw(options.raw.read_text("ascii"))[0] if options.raw.exists() else []
    conditions = ""
    try:
        with tempfile.TemporaryDirectory() as folder:
            models = Path(folder)
            add_rounded_model(models)
            for precision in chosen:
                found, conditions = _measure_precision(models, precision)
                pairs = replace_pairs(pairs, found)
                options.raw.write_text(dump_raw(pairs, conditions), encoding="ascii")
    except (ServerError, OSError) as error:
        print(f"measure_controls: error: {error}", file=sys.stderr)
        return 1
    options.sets.write_text(dump_controls(make_sets(pairs, conditions)), encoding="ascii")
    return 0


def add_rounded_model(folder: Path) -> None:
    """Fill a folder with the tiny models, and the checkpoint with its UNet one format down."""
    import torch
    from safetensors.torch import load_file, save_file

    source = folder_from("PROVENANCE_MODELS")
    for file in source.rglob("*.safetensors"):
        link_file(file, folder / file.relative_to(source))
    weights = load_file(source / "checkpoints" / prompts.CHECKPOINT)
    for name, weight in weights.items():
        if name.startswith(UNET):
            weights[name] = weight.to(torch.float8_e4m3fn).to(weight.dtype)
    save_file(weights, folder / "checkpoints" / ROUNDED)


def _measure_precision(models: Path, precision: Precision) -> tuple[list[Pair], str]:
    """Make every pair of one precision: first sides on one server, the others on theirs."""
    firsts: dict[tuple[str, Case], Run] = {}
    pairs: list[Pair] = []
    cases = [(sampler, case) for case in CASES for sampler in precision.samplers]
    others = [
        (sampler, replace(CASES[0], steps=steps))
        for steps in OTHER_STEPS
        for sampler in precision.samplers[:2]
    ]
    with _server(models, precision) as server:
        conditions = _conditions(server)
        for sampler, case in [*cases, *others]:
            firsts[sampler, case] = _run(server, _build(precision, sampler, case))
        for sampler, case in cases:
            pairs += _pairs_of_one_server(server, precision, sampler, case, firsts[sampler, case])
        with _no_memory(server):
            for sampler, case in [*cases, *others]:
                now = _run(server, _build(precision, sampler, case))
                axes = frozenset({CauseKind.MEMORY, CauseKind.BATCH})
                pairs.append(_pair("no free memory", axes, case, firsts[sampler, case], now))
    for variant in VARIANTS:
        with _server(models, precision, variant) as server:
            for sampler, case in [*cases, *others]:
                now = _run(server, _build(precision, sampler, case))
                first = firsts[sampler, case]
                pairs.append(_pair(variant.name, variant.axes, case, first, now))
    places = {case: at for at, (_, case) in enumerate([*cases, *others])}
    pairs.sort(key=lambda pair: (KINDS.index(pair.kind), places[pair.case], pair.control.name))
    return pairs, conditions


def _pairs_of_one_server(
    server: ComfyServer, precision: Precision, sampler: str, case: Case, first: Run
) -> Iterator[Pair]:
    """Make the pairs that need no other server: of Deterministic Mode, batches and changes."""

    def run(change: Change, **options: Any) -> Run:
        return _run(server, _build(precision, sampler, case, change=change, **options))

    pinned = {"attention", "batch"}
    mode = run(lambda prompt: _pin(prompt))
    axes = frozenset(CauseKind(kind) for kind in pinned)
    yield _pair("Deterministic Mode", axes, case, first, mode)
    together = run(lambda prompt: _pin(prompt, cond_batch="together"))
    batch = frozenset({CauseKind.BATCH})
    yield _pair("conditionings together", batch, case, mode, together)
    place = case.seed % IMAGES
    # Noise that depends on the image alone: else a stochastic sampler's steps get another one.
    alone = run(lambda prompt: one_of_batch(_pin(prompt, noise="portable"), place), images=IMAGES)
    of_batch = run(lambda prompt: _pin(prompt, noise="portable"), images=IMAGES, place=place)
    yield _pair("in a batch of three", batch, case, alone, of_batch)
    with_lora = run(lambda prompt: None, lora=True) if case in CASES[:2] else None
    for name, change in POSITIVES if with_lora else ():
        is_lora = name.startswith("LoRA")
        changed = run(change, lora=is_lora)
        recorded = with_lora if is_lora and with_lora else first
        yield _pair(name, frozenset(), case, recorded, changed, kind="positive")


def _build(
    precision: Precision,
    sampler: str,
    case: Case,
    *,
    change: Change = lambda prompt: None,
    lora: bool = False,
    images: int = 1,
    place: int = 0,
) -> tuple[Prompt, int]:
    """Build a picture that is followed from inside, and say which of the batch is meant."""
    build = prompts.lora if lora else prompts.txt2img
    prompt = build(
        seed=case.seed,
        steps=case.steps,
        cfg=case.cfg,
        sampler_name=sampler,
        scheduler=case.scheduler,
        positive=case.positive,
        batch_size=images,
    )
    inputs = prompt["sampler"]["inputs"]
    inputs["deterministic_mode"] = False
    change(prompt)
    if precision.compute:
        prompt["compute"] = node(
            "ModelComputeDtype", model=inputs["model"], dtype=precision.compute
        )
        inputs["model"] = ["compute", 0]
    return prompt, place


def _pin(prompt: Prompt, **options: str) -> Prompt:
    prompt["sampler"]["inputs"]["deterministic_mode"] = True
    return in_mode(prompt, **options)


def _move(prompt: Prompt, node_id: str, **inputs: float) -> None:
    for name, step in inputs.items():
        moved = prompt[node_id]["inputs"][name] + step
        prompt[node_id]["inputs"][name] = round(moved, 4)


def _run(server: ComfyServer, built: tuple[Prompt, int]) -> Run:
    """Make a picture and read it back from the saved file."""
    prompt, place = built
    data = server.images(server.run(prompt))[place].read_bytes()
    record = record_of(data)
    (sampling,), (trace,) = record["samplings"], record["trace"]
    key = key_of(sampling, record["tuple"]["model_version"], record["environment"])
    assert key is not None, f"expected a sampling seen from inside, got {sampling}"
    return Run(key, parse_trace(trace), decode_pixels(data), place)


def _pair(
    name: str, axes: Axes, case: Case, recorded: Run, now: Run, kind: str = "negative"
) -> Pair:
    """Measure a pair."""
    if case.steps != STEPS:
        kind = "other steps"
    assert kind == "positive" or recorded.key == now.key, f"{name}: {recorded.key} {now.key}"
    found = measure(
        [recorded.steps],
        [now.steps],
        measure_difference(recorded.pixels, now.pixels),
        places=(recorded.place, now.place),
    )
    (steps,) = found.samplings
    assert steps is not None, f"{name}: expected steps that can be compared"
    rounded = replace(
        found,
        samplings=(tuple(float(f"{step:.{DIGITS - 1}e}") for step in steps),),
        mean_abs=float(f"{found.mean_abs:.{DIGITS - 1}e}"),
    )
    return Pair(kind, case, Control(recorded.key, name, axes, rounded))


@contextmanager
def _server(
    models: Path, precision: Precision, variant: Variant = Variant("", frozenset())
) -> Iterator[ComfyServer]:
    started = time.monotonic()
    # Without AVX-512 oneDNN emulates 16-bit types: a step took fifty times as long.
    left_out = {"ONEDNN_MAX_CPU_ISA"} if precision.compute else set[str]()
    with ComfyServer(
        arguments=(*precision.arguments, *variant.arguments),
        environ={name: value for name, value in variant.environ.items() if name not in left_out},
        packs=(SCARCE_MEMORY,),
        models=models,
    ) as server:
        yield server
    print(f"{precision.name}: {variant.name or 'first sides'}: {time.monotonic() - started:.0f} s")


@contextmanager
def _no_memory(server: ComfyServer) -> Iterator[None]:
    server.post_json("/test/free_memory", {"bytes": NO_MEMORY})
    try:
        yield
    finally:
        server.post_json("/test/free_memory", {"bytes": None})


def _conditions(server: ComfyServer) -> str:
    """Say what the controls are made with."""
    stats = server.get_json("/system_stats")["system"]
    cores = os.cpu_count()
    return (
        f"ComfyUI {stats['comfyui_version']}, torch {stats['pytorch_version']}, {cores} cores, "
        f"128 x 128 pixels, {STEPS} steps"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
