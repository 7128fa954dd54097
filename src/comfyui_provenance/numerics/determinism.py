"""Deterministic Mode's torch part: the flags that choose between kernels.

`deterministic` pins them in a scope and puts back exactly what it found, on
success, error and interrupt; scopes nest. `read_flags` says what is in force now.
Which kernel a flag selects, and what no flag reaches, is told in
`docs/determinism.md`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any, Final

import torch

from ..canonical import JsonValue

_ALGORITHMS: Final = "deterministic_algorithms"

# The flags and the warnings filters belong to the process. Of two threads whose scopes
# interleave, the first to leave would unpin the other, and the last pin the process for good.
_scope: Final = RLock()


@dataclass(frozen=True, slots=True)
class _Flag:
    """One global switch of torch.

    Attributes:
        name: Its dotted name below `torch`, as records spell it.
        read: Gives the present value.
        write: Sets it.
        pinned: The value inside `deterministic`; `None` means it is only put back,
            because pinning another flag changes it on the way.
        refused: What it holds where torch refuses to read it though the flags before it
            in the list are pinned.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    pinned: str | bool | tuple[bool, bool] | None
    refused: str | bool | None = None

    def found(self) -> Any:  # noqa: ANN401 - of the flag's own type
        """Give the present value, with the flags before it in the list pinned."""
        try:
            return self.read()
        except RuntimeError:
            if self.refused is None:
                raise
            return self.refused


def _attribute(owner: object, name: str, attribute: str, pinned: str | bool | None) -> _Flag | None:
    """Give the flag at an attribute, or nothing where this torch lacks it."""
    if not hasattr(owner, attribute):
        return None
    return _Flag(
        name=f"{name}.{attribute}",
        read=lambda: getattr(owner, attribute),
        write=lambda value: setattr(owner, attribute, value),
        pinned=pinned,
    )


def _precision_flags() -> list[_Flag | None]:
    backends: Any = torch.backends
    new: list[_Flag | None] = []
    if hasattr(backends.cuda.matmul, "fp32_precision"):
        new = [
            # First, so that what the others inherit is not mistaken for what they hold.
            _attribute(backends, "backends", "fp32_precision", "none"),
            _attribute(backends.cudnn, "backends.cudnn", "fp32_precision", "none"),
            _attribute(backends.mkldnn, "backends.mkldnn", "fp32_precision", "none"),
            _attribute(backends.cudnn.conv, "backends.cudnn.conv", "fp32_precision", "ieee"),
            _attribute(backends.cudnn.rnn, "backends.cudnn.rnn", "fp32_precision", "ieee"),
            _attribute(backends.cuda.matmul, "backends.cuda.matmul", "fp32_precision", "ieee"),
            _attribute(backends.mkldnn.matmul, "backends.mkldnn.matmul", "fp32_precision", "ieee"),
            _attribute(backends.mkldnn.conv, "backends.mkldnn.conv", "fp32_precision", "ieee"),
            _attribute(backends.mkldnn.rnn, "backends.mkldnn.rnn", "fp32_precision", "ieee"),
        ]
    # Torch 2.9 added `fp32_precision` beside the two older flags, and refuses to read one of
    # those while it disagrees with its successors. They come last, because writing one writes
    # its successors too; with those pinned, a refusal means that it allows TF32. They are
    # written because code inside the scope, torch's own included, may read them.
    return [
        *new,
        _Flag(
            "backends.cudnn.allow_tf32",
            lambda: backends.cudnn.allow_tf32,
            lambda value: setattr(backends.cudnn, "allow_tf32", value),
            pinned=False,
            refused=True,
        ),
        _Flag(
            "float32_matmul_precision",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
            "highest",
            refused="high",
        ),
    ]


def _flags() -> list[_Flag]:
    """List the flags this torch has, in the order in which they are pinned."""
    backends: Any = torch.backends
    matmul = backends.cuda.matmul
    name = "backends.cuda.matmul"
    flags = [
        *_precision_flags(),
        _attribute(matmul, name, "allow_fp16_reduced_precision_reduction", pinned=False),
        _attribute(matmul, name, "allow_bf16_reduced_precision_reduction", pinned=False),
        _attribute(matmul, name, "allow_fp16_accumulation", pinned=False),
        _Flag(
            "backends.cuda.fp16_bf16_reduction_math_sdp",
            backends.cuda.fp16_bf16_reduction_math_sdp_allowed,
            backends.cuda.allow_fp16_bf16_reduction_math_sdp,
            pinned=False,
        ),
        _attribute(backends.cudnn, "backends.cudnn", "benchmark", pinned=False),
        _attribute(backends.cudnn, "backends.cudnn", "deterministic", pinned=True),
        _Flag(
            _ALGORITHMS,
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda state: torch.use_deterministic_algorithms(state[0], warn_only=state[1]),
            pinned=(True, True),
        ),
    ]
    return [flag for flag in flags if flag is not None]


def read_flags() -> dict[str, JsonValue]:
    """Give the flags in force now, by dotted name.

    `deterministic_algorithms` is `off`, `warn` (an operation without a deterministic
    version only warns, as under ComfyUI's `--deterministic`) or `error`. A flag that torch
    refuses to read, because an older and a newer one disagree, is `mixed`.
    """
    flags: dict[str, JsonValue] = {}
    for flag in _flags():
        try:
            flags[flag.name] = flag.read()
        except RuntimeError:
            flags[flag.name] = "mixed"
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    flags[_ALGORITHMS] = "off" if not enabled else "warn" if warn_only else "error"
    return flags


@contextmanager
def deterministic(*, strict: bool = False) -> Generator[list[str]]:
    """Pin torch's flags so that each operation uses one repeatable kernel.

    Scopes nest within a thread; another thread waits until the outermost has ended.

    Args:
        strict: Whether an operation without a deterministic version is refused by torch
            with a `RuntimeError`; otherwise it runs and is told.

    Yields:
        A list that, once the scope has ended, holds the message of each operation that
        ran without a deterministic version, in order, each once. Other warnings are
        passed on.
    """
    indeterminate: list[str] = []
    with _scope, ExitStack() as restore:
        for flag in _flags():
            restore.callback(flag.write, flag.found())
            if flag.pinned is not None:
                flag.write((True, not strict) if flag.name == _ALGORITHMS else flag.pinned)
        restore.enter_context(_collect_indeterminate(indeterminate))
        yield indeterminate


@contextmanager
def _collect_indeterminate(messages: list[str]) -> Generator[None]:
    """Gather torch's warnings about operations without a deterministic version."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            passed_on = list(caught)
            caught.clear()
    for warning in passed_on:
        text = str(warning.message)
        if "deterministic" not in text:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
        elif text not in messages:
            messages.append(text)
