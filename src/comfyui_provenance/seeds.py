"""What a seed is, and the two facts about large ones that few users know.

A seed is an integer from 0 to 2^64-1. ComfyUI itself turns `"42"`, `42.7` and `true`
into integers without a word, so that two different files give one image and nobody
can tell which was meant; we refuse them.
"""

from __future__ import annotations

from numbers import Integral
from typing import Final

from .errors import SeedError

MAX_SEED: Final = 2**64 - 1
"""The largest seed: ComfyUI's samplers and torch take unsigned 64-bit integers."""

_BROWSER_EXACT: Final = 2**53
"""Integers up to here survive JavaScript's numbers, which are float64."""

_CPU_NOISE_PERIOD: Final = 2**32
"""Torch's CPU generator (mt19937) is seeded with the low 32 bits alone."""

_SHOWN_CHARS: Final = 80


def parse_seed(value: object, *, name: str = "seed") -> int:
    """Give the seed that a value is.

    Args:
        value: What a link, a widget or an API prompt delivered. NumPy's integers count
            as integers; booleans do not.
        name: The input's name, for the message.

    Raises:
        SeedError: `value` is not an integer, or not from 0 to 2^64-1. The message
            tells the value, its type and what to connect instead.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise SeedError(_refusal(value, name))
    seed = int(value)
    if not 0 <= seed <= MAX_SEED:
        raise SeedError(_refusal(seed, name))
    return seed


def _refusal(value: object, name: str) -> str:
    shown = _show(value)
    return (
        f"{name}: expected an integer from 0 to 18446744073709551615, got {shown} of type "
        f"{type(value).__name__}; connect an INT output, such as Provenance Seed, or type a whole "
        "number"
    )


def _show(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:
        # Python refuses to show an integer of more than 4300 digits.
        return "a number too large"
    return shown if len(shown) <= _SHOWN_CHARS else shown[: _SHOWN_CHARS - 3] + "..."


def seed_warnings(seed: int) -> list[str]:
    """Say what a user of this seed should know, in whole sentences.

    Args:
        seed: From 0 to 2^64-1.
    """
    warnings: list[str] = []
    if seed > _BROWSER_EXACT:
        warnings.append(
            f"seed {seed} is above 2^53: a browser rounds it, so queueing this graph from the page "
            "may use another seed"
        )
    if seed >= _CPU_NOISE_PERIOD:
        warnings.append(
            f"seed {seed} is above 2^32-1: noise made on the CPU uses only its low 32 bits, so it "
            f"gives the same initial noise as seed {seed % _CPU_NOISE_PERIOD}"
        )
    return warnings
