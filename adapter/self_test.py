"""Whether a sampling gives the same bits again here, and if not, at which step and why.

It is run twice, again after another sampling, and again while little memory seems to be
free; then once with another CFG, which must change the result: a pipeline that is stuck on
one image would be repeatable, too.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Final

import comfy.patcher_extension
import torch

from ..src.comfyui_provenance.compare import judge
from ..src.comfyui_provenance.errors import DeterminismError
from ..src.comfyui_provenance.numerics.tensors import digest_tensor
from ..src.comfyui_provenance.pixels import Pixels, digest_pixels
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.seeds import MAX_SEED, parse_seed
from ..src.comfyui_provenance.trace import tell_difference
from ..src.comfyui_provenance.verdict import Cause, CauseKind, Check, Level, Report
from .images import to_pixels
from .mode import Mode
from .pinned_vae import can_pin_vae
from .runs import Run, collect_runs
from .sampling import Settings, sample

CFG_STEP: Final = 0.5
"""How far CFG is moved to see that it matters."""

_FREE_BYTES: Final = 1 << 20
"""What seems to be free under memory pressure."""

_UNRELATED_STEPS: Final = 2

_TELLING: Final = (
    ("noise", CauseKind.NOISE_SOURCE, "another noise"),
    ("conditionings", CauseKind.PROMPT_TEXT, "other conditionings"),
    ("conditionings_per_forward", CauseKind.BATCH, "another number of conditionings per forward"),
    ("images_per_forward", CauseKind.BATCH, "another number of images per forward"),
    ("attention", CauseKind.ATTENTION, "another attention function"),
    ("load", CauseKind.MEMORY, "the model was loaded in another way"),
    ("flags", CauseKind.PRECISION, "other flags of torch were in force"),
)
"""Fields of a sampling's entry that explain a difference, the most telling first."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run.

    Attributes:
        latent: Digest of the sampled latent.
        pixels: Digests of the decoded images; empty without a VAE.
        run: What the sampling reported.
        decoding: What the VAE reported, if it is pinned.
        frames: The decoded images; none without a VAE.
    """

    latent: str
    pixels: tuple[str, ...]
    run: Run
    decoding: Run | None
    frames: tuple[Pixels, ...] = ()


@dataclass(frozen=True, slots=True)
class SelfTest:
    """A sampling to be tested.

    Attributes:
        model: ComfyUI's ModelPatcher; not changed.
        positive: CONDITIONING.
        negative: CONDITIONING.
        latent: LATENT.
        settings: The sampler's settings.
        mode: What to pin.
        vae: VAE to decode with, or none.
    """

    model: Any
    positive: Any
    negative: Any
    latent: dict[str, Any]
    settings: Settings
    mode: Mode
    vae: Any

    def run(self) -> Report:
        """Run the sampling as often as it takes, and judge.

        Raises:
            SeedError: The seed is not one.
            DeterminismError: It cannot run as the mode asks.
        """
        seed = parse_seed(self.settings.seed)
        first = self.sample(self.settings)
        again = self.sample(self.settings)
        other = replace(
            self.settings,
            seed=(seed + 1) % MAX_SEED,
            steps=min(self.settings.steps, _UNRELATED_STEPS),
        )
        self.sample(other)
        after = self.sample(self.settings)
        pressed = self.sample(self.settings, pressed=True)
        moved = self.sample(replace(self.settings, cfg=self.settings.cfg + CFG_STEP))
        compared = [
            _compare("run_again", "run a second time", first, again),
            _compare("after_another", "run after another sampling", first, after),
            _compare("little_memory", "run while little memory seems to be free", first, pressed),
        ]
        checks = [check for check, _ in compared]
        causes = [cause for _, found in compared for cause in found]
        checks.append(_check_cfg(self.settings.cfg, first, moved))
        if checks[-1].level is Level.MISMATCH:
            causes.append(Cause(CauseKind.CACHED_RESULT, checks[-1].message, None, None))
        return judge(checks, causes, None, self._notes(first))

    def sample(self, settings: Settings | None = None, *, pressed: bool = False) -> Outcome:
        """Run it once, with other settings or with little memory if so asked for."""
        model = _pressed_model(self.model) if pressed else self.model
        vae = _pressed_vae(self.vae) if pressed and self.vae is not None else self.vae
        with collect_runs() as decoded:
            latent, _, runs = sample(
                model,
                self.positive,
                self.negative,
                self.latent,
                settings or self.settings,
                self.mode,
                seed_input="seed",
            )
            decoded.clear()
            samples = latent["samples"]
            if getattr(samples, "is_nested", False):
                raise DeterminismError("the self test takes one latent, got several joined ones")
            pixels = to_pixels(_flat(vae.decode(samples))) if vae is not None else []
        return Outcome(
            str(digest_tensor(samples)),
            tuple(str(digest_pixels(image)) for image in pixels),
            runs[-1],
            decoded[-1] if decoded else None,
            tuple(pixels),
        )

    def _notes(self, first: Outcome) -> list[str]:
        reached = "conditioning and VAE batches" if self.vae is not None else "conditioning batches"
        notes = [
            f"little memory was pretended where ComfyUI asks the model's patcher: for {reached}; "
            "attention asks elsewhere"
        ]
        notes += [f"not pinned: {demotion.message}" for demotion in first.run.demotions]
        if self.vae is not None and first.decoding is None:
            notes.append("the VAE is outside Deterministic Mode")
        return notes


def _flat(images: torch.Tensor) -> torch.Tensor:
    """Give the frames of videos as images, as core's VAEDecode does."""
    return images.reshape(-1, *images.shape[-3:]) if images.ndim == 5 else images


def _compare(name: str, how: str, first: Outcome, now: Outcome) -> tuple[Check, list[Cause]]:
    """Compare two runs of one sampling."""
    expected: JsonObject = {"latent": first.latent, "pixels": [*first.pixels]}
    found: JsonObject = {"latent": now.latent, "pixels": [*now.pixels]}
    if expected == found:
        return Check(name, Level.BITWISE, expected, found, f"{how}, it gives the same bits"), []
    if first.latent == now.latent:
        kind, where = CauseKind.MEMORY, "the latent is the same bits, so the decoding differs"
        causes = [Cause(kind, f"{how}: {where}", None, None)]
    else:
        where = tell_difference(first.run.trace or {}, now.run.trace or {})
        causes = [_explain(how, where, first.run.entry, now.run.entry)]
    return Check(
        name, Level.MISMATCH, expected, found, f"{how}, it gives other bits: {where}"
    ), causes


def _explain(how: str, where: str, first: JsonObject, now: JsonObject) -> Cause:
    """Name what the two runs did in another way, as far as they tell."""
    for field, kind, words in _TELLING:
        if first.get(field) != now.get(field):
            return Cause(kind, f"{how}: {words}; {where}", first.get(field), now.get(field))
    return Cause(CauseKind.NUMERICS, f"{how}: nothing recorded differs; {where}", None, None)


def _check_cfg(cfg: float, first: Outcome, moved: Outcome) -> Check:
    changed = first.latent != moved.latent
    message = (
        f"CFG {cfg:g} moved by {CFG_STEP:g} changes the result"
        if changed
        else f"CFG {cfg:g} moved by {CFG_STEP:g} changes nothing: the result comes from a cache, "
        "or the two conditionings are the same"
    )
    level = Level.BITWISE if changed else Level.MISMATCH
    return Check("cfg_matters", level, "another result", moved.latent, message)


def _pressed_model(model: Any) -> Any:
    """Clone a model whose patcher says, while it samples, that little memory is free."""
    kinds = comfy.patcher_extension.CallbacksMP
    pressed = model.clone()

    def press(patcher: Any) -> None:
        patcher.get_free_memory = lambda device: _FREE_BYTES

    def release(patcher: Any) -> None:
        patcher.__dict__.pop("get_free_memory", None)

    pressed.add_callback_with_key(kinds.ON_PRE_RUN, "provenance_self_test", press)
    pressed.add_callback_with_key(kinds.ON_CLEANUP, "provenance_self_test", release)
    return pressed


def _pressed_vae(vae: Any) -> Any:
    """Copy a VAE whose patcher says that little memory is free; a pinned one does not ask."""
    if not can_pin_vae(vae) or hasattr(vae, "provenance_mode"):
        return vae
    pressed = copy.copy(vae)
    pressed.patcher = vae.patcher.clone()
    pressed.patcher.get_free_memory = lambda device: _FREE_BYTES
    return pressed
