"""Inside the scope every flag is pinned; after it, everything is exactly as it was found."""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from comfyui_provenance.numerics.determinism import deterministic, read_flags

BACKENDS: Any = torch.backends

PRECISIONS: list[tuple[str, Any]] = [
    ("all", BACKENDS),
    ("cudnn", BACKENDS.cudnn),
    ("mkldnn", BACKENDS.mkldnn),
    ("cudnn.conv", BACKENDS.cudnn.conv),
    ("cudnn.rnn", BACKENDS.cudnn.rnn),
    ("cuda.matmul", BACKENDS.cuda.matmul),
    ("mkldnn.matmul", BACKENDS.mkldnn.matmul),
    ("mkldnn.conv", BACKENDS.mkldnn.conv),
    ("mkldnn.rnn", BACKENDS.mkldnn.rnn),
]

SWITCHES: list[tuple[Any, str]] = [
    (BACKENDS.cudnn, "benchmark"),
    (BACKENDS.cudnn, "deterministic"),
    (BACKENDS.cuda.matmul, "allow_fp16_reduced_precision_reduction"),
    (BACKENDS.cuda.matmul, "allow_bf16_reduced_precision_reduction"),
]

PINNED = {
    "backends.cudnn.allow_tf32": False,
    "backends.cudnn.benchmark": False,
    "backends.cudnn.deterministic": True,
    "backends.cuda.matmul.allow_fp16_reduced_precision_reduction": False,
    "backends.cuda.matmul.allow_bf16_reduced_precision_reduction": False,
    "backends.cuda.fp16_bf16_reduction_math_sdp": False,
    "float32_matmul_precision": "highest",
    "deterministic_algorithms": "warn",
}


class Interrupt(BaseException):
    """Stands for KeyboardInterrupt, which would end the test run if it escaped."""


def readable(read: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever torch gives
    try:
        return read()
    except RuntimeError:
        return "refused"


def state() -> dict[str, Any]:
    """Read all that the scope may touch, through torch alone."""
    found = {name: owner.fp32_precision for name, owner in PRECISIONS}
    found |= {name: getattr(owner, name) for owner, name in SWITCHES}
    found["cudnn.allow_tf32"] = readable(lambda: BACKENDS.cudnn.allow_tf32)
    found["matmul.allow_tf32"] = readable(lambda: BACKENDS.cuda.matmul.allow_tf32)
    found["matmul"] = readable(torch.get_float32_matmul_precision)
    found["sdp"] = BACKENDS.cuda.fp16_bf16_reduction_math_sdp_allowed()
    found["algorithms"] = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    found["filters"] = list(warnings.filters)
    found["shown by"] = warnings.showwarning
    return found


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    """Put back torch's flags after each test, by torch's own words."""
    before = state()
    yield
    for _, owner in PRECISIONS:
        owner.fp32_precision = "none"
    torch.set_float32_matmul_precision(before["matmul"])
    BACKENDS.cudnn.allow_tf32 = before["cudnn.allow_tf32"]
    for name, owner in PRECISIONS:
        owner.fp32_precision = before[name]
    for owner, name in SWITCHES:
        setattr(owner, name, before[name])
    BACKENDS.cuda.allow_fp16_bf16_reduction_math_sdp(before["sdp"])
    torch.use_deterministic_algorithms(before["algorithms"][0], warn_only=before["algorithms"][1])


def disturb(chance: random.Random) -> None:
    """Set some of the flags to anything, by the older and the newer names in any mixture."""
    for _, owner in PRECISIONS:
        if chance.random() < 0.5:
            owner.fp32_precision = chance.choice(["none", "ieee", "tf32"])
    if chance.random() < 0.5:
        BACKENDS.cudnn.allow_tf32 = chance.random() < 0.5
    if chance.random() < 0.5:
        torch.set_float32_matmul_precision(chance.choice(["highest", "high", "medium"]))
    for owner, name in SWITCHES:
        setattr(owner, name, chance.random() < 0.5)
    BACKENDS.cuda.allow_fp16_bf16_reduction_math_sdp(chance.random() < 0.5)
    torch.use_deterministic_algorithms(chance.random() < 0.5, warn_only=chance.random() < 0.5)


def is_pinned() -> bool:
    flags = read_flags()
    precise = all(owner.fp32_precision in ("none", "ieee") for _, owner in PRECISIONS)
    return precise and {**flags, **PINNED} == flags


def test_inside_the_scope_every_flag_is_pinned() -> None:
    with deterministic():
        assert is_pinned()
        assert BACKENDS.cuda.matmul.allow_tf32 is False


@pytest.mark.parametrize("seed", range(150))
def test_any_flags_are_pinned_and_put_back(seed: int) -> None:
    disturb(random.Random(seed))  # noqa: S311 - a fixed choice, not a secret
    before = state()

    with deterministic():
        assert is_pinned()

    assert state() == before


@pytest.mark.parametrize("error", [ValueError, Interrupt, GeneratorExit, SystemExit])
def test_flags_are_put_back_whatever_ends_the_scope(error: type[BaseException]) -> None:
    disturb(random.Random(7))  # noqa: S311 - a fixed choice, not a secret
    before = state()

    with pytest.raises(error), deterministic():
        raise error

    assert state() == before


def test_scopes_nest() -> None:
    before = state()

    with deterministic():
        outer = state()
        with pytest.raises(Interrupt), deterministic():
            raise Interrupt
        assert state() == outer
        with deterministic():
            assert is_pinned()
        assert state() == outer

    assert state() == before


@pytest.mark.parametrize("leaves_last", ["owner", "joined"])
def test_a_scope_of_another_thread_joins_and_the_last_puts_back(leaves_last: str) -> None:
    before = state()
    inside, leave = threading.Event(), threading.Event()
    pinned: list[bool] = []

    def enter() -> None:
        with deterministic() as indeterminate:
            inside.set()
            leave.wait(10)
            pinned.append(is_pinned())
            warnings.warn("y is not deterministic", UserWarning, stacklevel=1)
        pinned.append(indeterminate == ["y is not deterministic"])

    other = threading.Thread(target=enter)
    with deterministic():
        other.start()
        # The owner may be waiting for the other thread: it must not wait for the owner.
        assert inside.wait(10)
        if leaves_last == "owner":
            leave.set()
            other.join(10)
            assert is_pinned()
    if leaves_last == "joined":
        assert is_pinned()
        with deterministic():
            assert is_pinned()
        leave.set()
        other.join(10)

    assert pinned == [True, True]
    assert state() == before


def test_what_the_scope_changed_by_itself_is_put_back_too() -> None:
    before = state()

    with deterministic():
        disturb(random.Random(3))  # noqa: S311 - a fixed choice, not a secret

    assert state() == before


def test_a_flag_that_cannot_be_set_leaves_the_others_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = state()

    def refuse(*args: object, **kw: object) -> None:
        raise Interrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "set_float32_matmul_precision", refuse)
        with pytest.raises(Interrupt), deterministic():
            pytest.fail("the scope was entered")

    assert state() == before


def test_an_operation_without_a_deterministic_version_is_told_once() -> None:
    with deterministic() as indeterminate:
        warnings.warn("x does not have a deterministic implementation", UserWarning, stacklevel=1)
        warnings.warn("x does not have a deterministic implementation", UserWarning, stacklevel=1)

    assert indeterminate == ["x does not have a deterministic implementation"]


def test_other_warnings_are_shown_as_often_as_outside() -> None:
    def warn() -> None:
        warnings.warn("about something else", UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        with deterministic():
            for _ in range(5):
                warn()

    assert len(heard) == 1


def test_a_strict_scope_refuses_such_an_operation() -> None:
    with deterministic(strict=True):
        assert read_flags()["deterministic_algorithms"] == "error"
        with deterministic():
            assert read_flags()["deterministic_algorithms"] == "warn"
        assert read_flags()["deterministic_algorithms"] == "error"


def test_other_warnings_are_passed_on() -> None:
    with pytest.warns(UserWarning, match="about something else"), deterministic() as indeterminate:
        warnings.warn("about something else", UserWarning, stacklevel=1)

    assert indeterminate == []


@pytest.mark.parametrize(
    ("enabled", "warn_only", "expected"),
    [
        pytest.param(False, False, "off", id="off"),
        pytest.param(True, True, "warn", id="warn"),
        pytest.param(True, False, "error", id="error"),
    ],
)
def test_the_mode_of_algorithms_is_one_word(enabled: bool, warn_only: bool, expected: str) -> None:
    torch.use_deterministic_algorithms(enabled, warn_only=warn_only)

    assert read_flags()["deterministic_algorithms"] == expected


def test_flags_that_torch_refuses_to_read_are_mixed() -> None:
    BACKENDS.cudnn.conv.fp32_precision = "tf32"
    BACKENDS.cudnn.rnn.fp32_precision = "ieee"

    assert read_flags()["backends.cudnn.allow_tf32"] == "mixed"
