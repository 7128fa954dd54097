"""Controls on the user's own model: how far rounding moves it here, and what small changes do.

The sampling is run for several seeds, each once as it is and again in ways that should give the
same but for rounding; and with small changes, which a tolerance should see. What comes out holds
for exactly these weights, in this type, on this device, with this sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import comfy.model_management
import comfy.utils
import torch

from ..src.comfyui_provenance.controls import Control, ControlSet, Key, make_control_set
from ..src.comfyui_provenance.errors import ProvenanceError
from ..src.comfyui_provenance.graph.prompt import Link, NodeId
from ..src.comfyui_provenance.pixels import measure_difference
from ..src.comfyui_provenance.recipe import model_version
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.seeds import MAX_SEED, parse_seed
from ..src.comfyui_provenance.tolerance import key_of, measure
from ..src.comfyui_provenance.trace import Step, parse_trace
from ..src.comfyui_provenance.verdict import CauseKind, Report
from .digests import Patience
from .live_prompt import LivePrompt, live_prompt
from .loaded_files import to_material
from .materials import find_files
from .probes import capture_environment
from .self_test import Outcome, SelfTest
from .tolerances import keep_controls

SEEDS: Final = 8
"""Four ways of running each make 32 pairs, of which 21 give the height: a bound of 4.5 %."""

CFG_CHANGE: Final = 0.01


@dataclass(frozen=True, slots=True)
class _Variant:
    """One way of running a sampling that should differ by rounding alone, or by a small change."""

    name: str
    change: Callable[[SelfTest], SelfTest]
    axes: frozenset[CauseKind] = frozenset()
    threads: int | None = None


def measure_controls(
    test: SelfTest, version: str, environment: Mapping[str, Any], conditions: str
) -> ControlSet:
    """Run the controls of a sampling.

    Args:
        test: The sampling, with a VAE.
        version: As `model_version` in a record's `tuple`.
        environment: As in a record.
        conditions: What they are made with, for people.

    Raises:
        ProvenanceError: There is no VAE, its file is not established, or it cannot run so.
        ValueError: The runs do not make a control set: fewer than two differ at all.
    """
    if test.vae is None:
        raise ProvenanceError("controls compare pixels, too: connect a vae")
    seed = parse_seed(test.settings.seed)
    variants = [*_negatives(test), *_positives(test)]
    bar = comfy.utils.ProgressBar(SEEDS * (len(variants) + 1))
    negatives: list[Control] = []
    positives: list[Control] = []
    for number in range(SEEDS):
        of_seed = replace(
            test, settings=replace(test.settings, seed=(seed + number) % (MAX_SEED + 1))
        )
        base = of_seed.sample()
        bar.update(1)
        key = _key(base, version, environment)
        for variant in variants:
            comfy.model_management.throw_exception_if_processing_interrupted()
            control = _compare(key, variant, base, of_seed)
            bar.update(1)
            (negatives if variant.axes else positives).append(control)
    return make_control_set(negatives, positives, conditions)


def add_controls(report: Report, test: SelfTest, dynprompt: Any, node_id: str) -> Report:
    """Measure the controls of a sampling that is repeatable, keep them, and tell of them.

    Args:
        report: That it is.
        test: The sampling.
        dynprompt: The running prompt, from `Hidden.dynprompt`.
        node_id: The node that asks, whose input `model` leads to the model.

    Raises:
        ProvenanceError: As `measure_controls`.
        OSError: They cannot be kept.
    """
    environment = capture_environment(set())
    conditions = f"{SEEDS} seeds by Self Test, torch {torch.__version__}"
    version = _model_version(live_prompt(dynprompt), node_id)
    try:
        found = measure_controls(test, version, environment, conditions)
    except ValueError as error:
        note = f"no controls could be made: {error}"
        return replace(report, notes=(*report.notes, note))
    keep_controls(found)
    seen = [item.name for item in found.positives if item.is_seen(any_steps=False)]
    unseen = [item.name for item in found.positives if item.name not in seen]
    note = (
        f"controls of {found.negatives} pairs are kept for these weights; of small changes a "
        f"tolerance would see {', '.join(seen) or 'none'}"
        + (f", and not {', '.join(unseen)}" if unseen else "")
    )
    return replace(report, notes=(*report.notes, note))


def _model_version(live: LivePrompt, node_id: str) -> str:
    """Give the digest of the weights behind the input `model` of a node."""
    model = live.node(node_id).inputs.get("model")
    prompt = live.upstream(node_id)
    patience = Patience(NodeId(node_id))
    materials = [to_material(live, item, patience) for item in find_files(prompt)]
    return model_version(prompt, model if isinstance(model, Link) else None, materials)


def _negatives(test: SelfTest) -> Iterator[_Variant]:
    """Give the ways of running that should give the same but for rounding."""
    as_core = replace(test.mode, deterministic=False, batch_invariant=False)
    other = "separate" if test.mode.cond_batch == "together" else "together"
    yield _Variant(
        "as core runs it",
        lambda found: replace(found, mode=as_core),
        frozenset({CauseKind.ATTENTION, CauseKind.MEMORY}),
    )
    yield _Variant(
        f"conditionings {other}",
        lambda found: replace(found, mode=replace(found.mode, cond_batch=other)),
        frozenset({CauseKind.BATCH, CauseKind.MEMORY}),
    )
    yield _Variant("first of a batch of two", _doubled, frozenset({CauseKind.BATCH}))
    threads = torch.get_num_threads()
    yield _Variant(
        "other threads",
        lambda found: found,
        frozenset({CauseKind.THREADS}),
        threads=max(1, threads // 2) if threads > 1 else 2,
    )


def _positives(test: SelfTest) -> Iterator[_Variant]:
    """Give small changes of what is asked for."""
    for change in (CFG_CHANGE, -CFG_CHANGE):
        yield _Variant(f"CFG {change:+g}", _with_settings(cfg=test.settings.cfg + change))
    if test.settings.steps > 1:
        yield _Variant("one step fewer", _with_settings(steps=test.settings.steps - 1))


def _with_settings(**changes: Any) -> Callable[[SelfTest], SelfTest]:
    return lambda test: replace(test, settings=replace(test.settings, **changes))


def _doubled(test: SelfTest) -> SelfTest:
    """Let the image be the first of a batch of two, whose noise comes after its own."""
    samples = test.latent["samples"]
    return replace(
        test,
        latent={**test.latent, "samples": torch.cat([samples, samples])},
        mode=replace(test.mode, batch_invariant=False),
    )


def _compare(key: Key, variant: _Variant, base: Outcome, test: SelfTest) -> Control:
    with _threads(variant.threads):
        now = variant.change(test).sample()
    difference = measure_difference(base.frames[0], now.frames[0])
    measurement = measure([_steps(base)], [_steps(now)], difference)
    return Control(key, variant.name, variant.axes, measurement)


def _steps(outcome: Outcome) -> tuple[Step, ...]:
    return parse_trace(outcome.run.trace or {})


def _key(outcome: Outcome, version: str, environment: Mapping[str, Any]) -> Key:
    entry: JsonObject = {"source": "sampling", **outcome.run.entry}
    key = key_of(entry, version, environment)
    if key is None:
        raise ProvenanceError(
            "controls need to know the model's file and type, and this sampling does not tell them"
        )
    return key


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch work on so many threads, and take that back."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
