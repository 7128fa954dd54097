"""Digests: an algorithm's name and the hex it gave.

The name fixes every parameter, so equal names mean comparable values. `sha256`
is of bytes as they are; `sha256-rgb8` and its like, see `pixels`, are of a
preimage that binds more than the bytes; `autov3`, see `materials.hashing`, is the
SHA-256 of a safetensors file's tensors without the header.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .canonical import JsonValue, dump_canonical
from .errors import RecordError

_HEX_CHARS: Final = {"sha256": 64, "blake3": 64, "autov3": 64}
"""Characters of the hex by family: the name's part before the first hyphen."""

_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_HEX: Final = re.compile(r"[0-9a-f]+")
_NAME_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest; `str()` gives `algorithm:hex`.

    Attributes:
        algorithm: A family, `sha256`, `blake3` or `autov3`, and what was hashed
            where the family does not say it: `sha256-rgb8`. Lower case.
        hex: Lower case, as long as the family's digests are.

    Raises:
        ValueError: The algorithm is unknown, or the hex is not its hex.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        family = self.algorithm[:_NAME_CHARS].partition("-")[0]
        expected = _HEX_CHARS.get(family)
        if (
            expected is None
            or len(self.algorithm) > _NAME_CHARS
            or not _NAME.fullmatch(self.algorithm)
        ):
            raise ValueError(
                f"expected a digest of {' or '.join(_HEX_CHARS)}, got {self.algorithm[:80]!r}"
            )
        if len(self.hex) != expected:
            raise ValueError(f"expected {expected} hex characters, got {len(self.hex)}")
        if not _HEX.fullmatch(self.hex):
            raise ValueError(f"expected lower-case hex, got {self.hex!r}")

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def parse_digest(text: str) -> Digest:
    """Parse `algorithm:hex`.

    Raises:
        RecordError: The text is not a digest of a known algorithm.
    """
    algorithm, separator, hex_text = text.partition(":")
    if not separator:
        raise RecordError(f"expected a digest as algorithm:hex, got {text[:80]!r}")
    try:
        return Digest(algorithm, hex_text)
    except ValueError as error:
        raise RecordError(str(error)) from error


def digest_bytes(data: bytes, algorithm: str = "sha256") -> Digest:
    """Digest bytes as they are.

    Args:
        data: The bytes, or the preimage that a longer name stands for.
        algorithm: `sha256`, or a name of that family.

    Raises:
        ValueError: The algorithm is not of the sha256 family.
    """
    if algorithm.partition("-")[0] != "sha256":
        raise ValueError(f"expected sha256, got {algorithm!r}")
    return Digest(algorithm, hashlib.sha256(data).hexdigest())


def digest_text(text: str) -> Digest:
    """Digest the exact UTF-8 of a text; nothing is trimmed or normalised.

    Raises:
        ValueError: The text holds a lone surrogate and so has no UTF-8.
    """
    return digest_bytes(text.encode("utf-8"))


def digest_file(path: Path) -> Digest:
    """Digest a file's bytes, reading it in pieces.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())


def digest_value(value: JsonValue) -> Digest:
    """Digest the canonical form of a value.

    Raises:
        CanonicalError: The value has no canonical form.
    """
    return digest_bytes(dump_canonical(value))
