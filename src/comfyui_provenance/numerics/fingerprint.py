"""The fingerprint of a device: digests of small fixed computations on it.

Two devices with equal fingerprints use, as far as these computations show, the same
kernels; with different ones no image is expected to come out bit for bit. That is
evidence and no proof, since kernels are chosen by shape. The computations run under
the flags that `deterministic` pins, so that a difference is one of device,
instruction set or library, not of precision; and on one thread, so that the number of
threads, which is recorded for itself, does not show.

The shapes are odd where it matters: a vectorised kernel takes another path for the last
elements than for the rest. How each instruction set and library was told apart is in
`tests/core/numerics/test_fingerprint.py`. Measuring takes 15 to 25 ms on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import torch
from torch.nn import functional

from ..canonical import JsonValue
from ..environment import UNKNOWN
from .determinism import deterministic
from .tensors import digest_tensor

_POWERS: Final = tuple(2.0**-power for power in range(8))
"""Of inputs: values of one magnitude would be summed without rounding, in any order."""

_SIXTEEN_BITS: Final = (torch.bfloat16, torch.float16)


class _Inputs:
    """Gives inputs that are the same on every machine.

    A counter is hashed in integer arithmetic that never overflows (two rounds of
    lowbias32's scheme), since torch's own random numbers are themselves under test.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        self._next = 0

    def __call__(self, *shape: int) -> torch.Tensor:
        """Give the next tensor of a shape, with values from -2 to 2."""
        count = math.prod(shape)
        bits = torch.arange(self._next, self._next + count, dtype=torch.int64, device="cpu")
        self._next += count
        for factor in (0x7FEB352D, 0x2C1B3C6D):
            bits = ((bits ^ (bits >> 15)) * factor) & (2**32 - 1)
        # The significand fills the type, so that products and sums round: 24 bits or 8.
        unused = 8 if self.dtype == torch.float32 else 24
        significands = (bits >> unused).to(torch.float32) / 2.0 ** (30 - unused) - 2.0
        powers = torch.tensor(_POWERS, dtype=torch.float32, device="cpu")[bits & 7]
        return (significands * powers).reshape(shape).to(self.device, self.dtype)


def _matmul(make: _Inputs) -> list[torch.Tensor]:
    return [
        functional.linear(_cancelling(make(1, 320)), _mirrored(make(96, 320))),
        functional.linear(_cancelling(make(1, 77)), _mirrored(make(320, 77)), make(320)),
        torch.bmm(make(3, 20, 72), make(3, 72, 24)),
    ]


def _convolution(make: _Inputs) -> list[torch.Tensor]:
    # Above 20480 values, or two images, torch hands a convolution to oneDNN; below, to MKL.
    return [
        functional.conv2d(_cancelling(make(1, 32, 20, 20)), _mirrored(make(48, 32, 3, 3))),
        functional.conv2d(_cancelling(make(2, 16, 9, 9)), _mirrored(make(24, 16, 3, 3))),
        functional.conv2d(make(1, 4, 16, 16), make(32, 4, 3, 3), padding=1),
    ]


def _cancelling(values: torch.Tensor) -> torch.Tensor:
    """Follow values, along axis 1, by their negatives in reverse.

    Against `_mirrored` weights every sum is zero but for its rounding, which is
    then all that is left: a 16-bit result would hide it behind a sum of any size.
    """
    return torch.cat([values, -values.flip(1)], dim=1)


def _mirrored(weights: torch.Tensor) -> torch.Tensor:
    return torch.cat([weights, weights.flip(1)], dim=1)


def _attention(make: _Inputs) -> list[torch.Tensor]:
    attend = functional.scaled_dot_product_attention
    return [
        attend(make(1, 2, 64, 40), make(1, 2, 77, 40), make(1, 2, 77, 40)),
        attend(make(1, 1, 80, 64), make(1, 1, 80, 64), make(1, 1, 80, 64)),
    ]


def _norms(make: _Inputs) -> list[torch.Tensor]:
    return [
        functional.group_norm(make(1, 32, 11, 11), 8, make(32), make(32)),
        functional.layer_norm(make(20, 77), (77,), make(77), make(77)),
        functional.normalize(make(20, 77), dim=-1),
    ]


def _activations(make: _Inputs) -> list[torch.Tensor]:
    x = make(1013)
    return [
        functional.silu(x),
        functional.gelu(x),
        functional.gelu(x, approximate="tanh"),
        functional.mish(x),
        torch.sigmoid(x),
        torch.tanh(x),
        torch.exp(x),
        torch.log(x.abs() + 1),
        torch.erf(x),
        torch.softmax(make(13, 77), dim=-1),
    ]


def _reductions(make: _Inputs) -> list[torch.Tensor]:
    linalg: Any = torch.linalg
    x = torch.exp(make(19, 331))
    return [
        x.sum(),
        x.sum(dim=0),
        x.mean(dim=1),
        x.std(dim=1),
        x.var(dim=0),
        linalg.vector_norm(x, dim=1),
        torch.logsumexp(x, dim=1),
    ]


def _resampling(make: _Inputs) -> list[torch.Tensor]:
    x = make(1, 4, 13, 13)
    return [
        functional.interpolate(x, scale_factor=1.5, mode="bilinear"),
        functional.interpolate(x, scale_factor=1.5, mode="bicubic"),
    ]


def _random_numbers(make: _Inputs) -> list[torch.Tensor]:
    generator = torch.Generator(make.device)
    drawn: list[torch.Tensor] = []
    for count in (7, 2048):
        generator.manual_seed(count)
        drawn.append(torch.randn(count, generator=generator, device=make.device, dtype=make.dtype))
        drawn.append(torch.rand(count, generator=generator, device=make.device, dtype=make.dtype))
    return drawn


def _schedules(make: _Inputs) -> list[torch.Tensor]:
    """Karras sigmas, a model's sigmas and timestep embeddings, as samplers compute them."""
    device, dtype = make.device, make.dtype
    ramp = torch.linspace(0, 1, 333, device=device, dtype=dtype)
    low, high = 0.0292 ** (1 / 7), 14.6146 ** (1 / 7)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 333, device=device, dtype=dtype) ** 2
    kept = torch.cumprod(1 - betas, dim=0)
    angles = torch.exp(-9.2103404 * torch.arange(160, device=device, dtype=dtype) / 160)
    angles = 991 * angles
    return [
        (high + ramp * (low - high)) ** 7,
        ((1 - kept) / kept) ** 0.5,
        torch.exp(ramp * torch.log(ramp + 0.03)),
        torch.cos(angles),
        torch.sin(angles),
    ]


_FAMILIES: Final[dict[str, Callable[[_Inputs], list[torch.Tensor]]]] = {
    "activations": _activations,
    "attention": _attention,
    "convolution": _convolution,
    "matmul": _matmul,
    "norms": _norms,
    "random_numbers": _random_numbers,
    "reductions": _reductions,
    "resampling": _resampling,
    "schedules": _schedules,
}
"""A name stands for its computations for ever: others get another name."""

_IN_SIXTEEN_BITS: Final = ("attention", "convolution", "matmul")
"""Families with kernels of their own for 16 bits; the others compute in float32 and round."""

_measured: dict[tuple[Any, ...], dict[str, JsonValue]] = {}
_lock: Final = Lock()


def measure_fingerprint(device: torch.device) -> dict[str, JsonValue]:
    """Measure the fingerprint of a device, once in a process.

    Global random state, flags, number of threads and the default dtype stay as they are.

    Args:
        device: Where the computations run; `cuda` and `cuda:0` are two names to the
            cache, and one device.

    Returns:
        By family, a digest `sha256-f32` of all its results joined; in float32, and with
        `_bfloat16` or `_float16` after the name in those. `unknown` where the device
        cannot compute it. A GPU has both 16-bit types, a CPU bfloat16 alone: ComfyUI
        computes nothing in float16 there.
    """
    key = (str(device), *_switches())
    with _lock:
        if key not in _measured:
            _measured[key] = _measure(device)
        return dict(_measured[key])


def _measure(device: torch.device) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    sixteen = _SIXTEEN_BITS[:1] if device.type == "cpu" else _SIXTEEN_BITS
    with deterministic(), _one_thread(), torch.inference_mode():
        for name, family in _FAMILIES.items():
            found[name] = _digest(family, device, torch.float32)
            for dtype in sixteen if name in _IN_SIXTEEN_BITS else ():
                found[f"{name}_{str(dtype).removeprefix('torch.')}"] = _digest(
                    family, device, dtype
                )
    return found


@contextmanager
def _one_thread() -> Generator[None]:
    """Keep torch and its libraries to one thread; with more, they split sums by how many.

    Small shapes are no way around it: on a Xeon, `matmul` had other bits with 3 threads than
    with 1, and with MKL's AVX2 kernels `attention` had with 2.
    """
    found = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(found)


def _digest(
    family: Callable[[_Inputs], list[torch.Tensor]], device: torch.device, dtype: torch.dtype
) -> str:
    try:
        results = family(_Inputs(device, dtype))
        joined = torch.cat([result.to(torch.float32).reshape(-1) for result in results])
        return str(digest_tensor(joined))
    # A device's own ways to say that it lacks an operation or a type: an optional probe.
    except Exception:  # noqa: BLE001
        return UNKNOWN


def _switches() -> tuple[bool, ...]:
    """Give the switches between kernels that `deterministic` leaves as they are."""
    backends: Any = torch.backends
    return (
        backends.cudnn.enabled,
        backends.mkldnn.enabled,
        backends.cuda.flash_sdp_enabled(),
        backends.cuda.mem_efficient_sdp_enabled(),
        backends.cuda.math_sdp_enabled(),
        backends.cuda.cudnn_sdp_enabled(),
    )
