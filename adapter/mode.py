"""Deterministic Mode: what was asked for, and the scope in which it is in force."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch

from ..src.comfyui_provenance.errors import DeterminismError
from ..src.comfyui_provenance.numerics.determinism import deterministic
from ..src.comfyui_provenance.record import JsonObject
from ..src.comfyui_provenance.verdict import CauseKind

KEY: Final = "provenance"
"""The key of this pack's wrappers and of its mode on a model."""

PRECISIONS: Final = ("as loaded", "fp32")
FALLBACKS: Final = ("record", "error")
NOISES: Final = ("comfy", "portable")
COND_BATCHES: Final = ("separate", "together")

_KITCHEN_BACKEND: Final = "eager"
"""The one of comfy-kitchen's backends that every machine has, and that picks no other by shape."""


@dataclass(frozen=True, slots=True)
class Mode:
    """What Deterministic Mode was asked to do; the defaults are those of its node.

    Attributes:
        deterministic: Whether anything is pinned; otherwise the sampling is only watched.
        batch_invariant: Whether each image of a batch is made as if alone.
        precision: One of `PRECISIONS`: the type in which the models compute.
        on_fallback: One of `FALLBACKS`: whether what had to be done in another way is
            recorded or is an error.
        noise: One of `NOISES`: core's noise, or one that is the same on every machine.
        cond_batch: One of `COND_BATCHES`: conditionings in one forward or in several.
    """

    deterministic: bool = True
    batch_invariant: bool = False
    precision: str = "as loaded"
    on_fallback: str = "record"
    noise: str = "comfy"
    cond_batch: str = "separate"

    def __post_init__(self) -> None:
        for name, choices in (
            ("precision", PRECISIONS),
            ("on_fallback", FALLBACKS),
            ("noise", NOISES),
            ("cond_batch", COND_BATCHES),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        if self.batch_invariant and not self.deterministic:
            raise ValueError(
                "batch_invariant: expected Deterministic Mode with it, got it switched off; "
                "switch both on, or both off"
            )

    @property
    def is_strict(self) -> bool:
        """Whether a fallback is an error."""
        return self.on_fallback == "error"

    def to_json(self) -> JsonObject:
        """Give the attributes under their names."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Demotion:
    """One thing that Deterministic Mode could not pin.

    Attributes:
        kind: Which kind of cause of a difference it can be.
        message: One sentence without a full stop.
    """

    kind: CauseKind
    message: str


def mode_of(model: Any) -> Mode | None:
    """Give the mode that a model was pinned with."""
    mode = model.get_attachment(KEY)
    return mode if isinstance(mode, Mode) else None


@contextmanager
def pinned_scope(mode: Mode, demotions: list[Demotion]) -> Generator[None]:
    """Pin torch's flags and comfy-kitchen's backend as the mode asks, and put them back.

    Args:
        mode: What was asked for.
        demotions: Gets one for each operation that ran without a deterministic version,
            when the scope ends.

    Raises:
        DeterminismError: Such an operation was about to run, and the mode is strict.
    """
    if not mode.deterministic:
        yield
        return
    messages: list[str] = []
    try:
        with deterministic(strict=mode.is_strict) as messages, _kitchen_scope():
            yield
    except RuntimeError as error:
        if not mode.is_strict or "deterministic" not in str(error):
            raise
        raise DeterminismError(
            "on_fallback = error: an operation of this model has no deterministic version; set "
            f"on_fallback to record to let it run and be listed. Torch says: {error}"
        ) from error
    finally:
        demotions.extend(Demotion(CauseKind.NUMERICS, message) for message in messages)


@contextmanager
def seeded_random(seed: int, drawn: torch.Size | None = None) -> Generator[None]:
    """Seed torch's global generators on every device in use, and put their states back.

    Args:
        seed: 0 to 2^64-1.
        drawn: Size of a float32 tensor of normal numbers to draw and drop first: where core
            has just drawn its noise, code that uses the global generator goes on from there.
    """
    with ExitStack() as restore:
        # A device that nothing uses must not be waked for this.
        if torch.cuda.is_initialized():
            devices = range(torch.cuda.device_count())
            restore.enter_context(torch.random.fork_rng(devices=devices))
        else:
            restore.enter_context(torch.random.fork_rng(devices=()))
        if torch.backends.mps.is_available():
            restore.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
        torch.manual_seed(seed)
        if drawn is not None:
            torch.randn(drawn, dtype=torch.float32, device="cpu")
        yield


def _kitchen_scope() -> AbstractContextManager[Any]:
    """Use the one backend of comfy-kitchen, where it is installed and has it."""
    try:
        import comfy_kitchen  # older versions of ComfyUI do without

        available = comfy_kitchen.registry.is_available(_KITCHEN_BACKEND)
    except (ImportError, AttributeError):
        return nullcontext()
    return comfy_kitchen.use_backend(_KITCHEN_BACKEND) if available else nullcontext()
