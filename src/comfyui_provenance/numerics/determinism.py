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
from threading import Lock, get_ident
from typing import Any, Final

import torch

from ..canonical import JsonValue

_ALGORITHMS: Final = "deterministic_algorithms"


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

    Scopes nest within a thread. The flags belong to the process, so a scope of another
    thread joins the one in force, and the last to leave puts the flags back.

    Args:
        strict: Whether an operation without a deterministic version is refused by torch
            with a `RuntimeError`; otherwise it runs and is told. A scope that joins another
            is as strict as that one.

    Yields:
        A list that gets the message of each operation that runs without a deterministic
        version, in order, each once. Other warnings are passed on.
    """
    indeterminate: list[str] = []
    with _scope.entered(indeterminate, strict=strict):
        yield indeterminate


class _Scope:
    """The pinned state of the process: who holds it, and who has joined."""

    def __init__(self) -> None:
        # Held while flags are pinned or put back, so that nobody joins halfway.
        self._lock = Lock()
        self._owner: int | None = None
        self._held: list[ExitStack] = []
        self._left: ExitStack | None = None
        self._joined = 0
        self._listening: list[list[str]] = []

    @contextmanager
    def entered(self, messages: list[str], *, strict: bool) -> Generator[None]:
        """Hold the scope, or join that of another thread."""
        joins = self._enter(messages, strict=strict)
        try:
            yield
        finally:
            self._leave(messages, joins=joins)

    def _enter(self, messages: list[str], *, strict: bool) -> bool:
        """Pin the flags unless another thread has.

        Returns:
            Whether the scope is another thread's.
        """
        with self._lock:
            joins = self._left is not None or self._owner not in (None, get_ident())
            if joins:
                self._joined += 1
            else:
                with ExitStack() as restore:
                    _pin(restore, strict=strict)
                    if not self._held:
                        restore.enter_context(self._hearing())
                    self._held.append(restore.pop_all())
                self._owner = get_ident()
            self._listening.append(messages)
        return joins

    def _leave(self, messages: list[str], *, joins: bool) -> None:
        """Put the flags back, or leave that to the last of those who are still inside."""
        with self._lock:
            # By identity: equal lists of two scopes are two.
            self._listening = [found for found in self._listening if found is not messages]
            restore = None
            if joins:
                self._joined -= 1
            else:
                restore = self._held.pop()
                if not self._held:
                    self._owner = None
                    if self._joined:
                        self._left, restore = restore, None
            if self._left is not None and not self._joined:
                self._left, restore = None, self._left
            if restore is not None:
                restore.close()

    @contextmanager
    def _hearing(self) -> Generator[None]:
        """Hear torch's warnings about operations without a deterministic version."""
        with warnings.catch_warnings():
            warnings.filterwarnings("always", message="(?s).*deterministic")
            shown = warnings.showwarning

            def hear(message: Any, category: Any, *where: Any, **more: Any) -> None:  # noqa: ANN401
                text = str(message)
                if "deterministic" not in text:
                    shown(message, category, *where, **more)
                    return
                for listening in self._listening:
                    if text not in listening:
                        listening.append(text)

            warnings.showwarning = hear
            yield


_scope: Final = _Scope()


def _pin(restore: ExitStack, *, strict: bool) -> None:
    """Pin every flag, and leave it to the stack to put back what was found."""
    for flag in _flags():
        restore.callback(flag.write, flag.found())
        if flag.pinned is not None:
            flag.write((True, not strict) if flag.name == _ALGORITHMS else flag.pinned)
