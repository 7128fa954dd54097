"""From an infotext, whoever wrote it, to what it says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from .. import limits
from ..canonical import parse_json
from ..errors import LimitError, RecordError
from ..seeds import MAX_SEED
from .names import to_sampling

_NEGATIVE: Final = "Negative prompt:"
_TEMPLATES: Final = ("Template: ", "Negative template: ")
_HIRES: Final = ("Hires ", "First pass size")
"""Fields of A1111's hires fix, today's and that of 2022."""

_DETAILS_FIELDS: Final = 3
"""A line with fewer is words: A1111's rule."""

_FIELD_COUNT: Final = 4096
"""Fields of one details line. A1111 with many extensions writes under 100."""

_JSON_KEYS: Final = ("Hashes", "Civitai resources", "Civitai metadata")
"""Fields whose value is JSON without quotes around it."""

# Possessive, and never searched for: a stranger's line must cost no more than its length.
_KEY: Final = re.compile(r"\s*+(\w[\w \-/]++):\s*+")
_QUOTED: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"(?=\s*+(?:,|\Z))')
_JSON_PIECE: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]')

_HASH: Final = re.compile(r"[0-9a-fA-F]{8,64}")
_COUNT: Final = re.compile(r"[0-9]{1,9}")
_SEED: Final = re.compile(r"[0-9]{1,20}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,32}(?:\.[0-9]{0,32})?(?:[eE][-+]?[0-9]{1,3})?")
_SIZE: Final = re.compile(r"([0-9]{1,9})x([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Infotext:
    """What a text says; a property is `None` where it says nothing that we can read.

    Nothing is filled in for an absent field: programs leave out what is on their default,
    and their defaults differ.

    Attributes:
        prompt: The positive words.
        negative_prompt: The negative words.
        details: The fields of the details line, unquoted, in their order; of a repeated
            one the last value.
    """

    prompt: str
    negative_prompt: str
    details: Mapping[str, str]

    @property
    def steps(self) -> int | None:
        """Number of steps, from 1."""
        return _to_count(self.details.get("Steps", ""))

    @property
    def sampler(self) -> str | None:
        """ComfyUI's name of the sampler."""
        return to_sampling(self.details)[0]

    @property
    def scheduler(self) -> str | None:
        """ComfyUI's name of the scheduler, also where it ends the sampler's name."""
        return to_sampling(self.details)[1]

    @property
    def cfg(self) -> float | None:
        """Classifier-free guidance scale."""
        return _to_number(self.details.get("CFG scale", ""))

    @property
    def seed(self) -> int | None:
        """0 to 2^64-1."""
        text = self.details.get("Seed", "")
        return int(text) if _SEED.fullmatch(text) and int(text) <= MAX_SEED else None

    @property
    def width(self) -> int | None:
        """In pixels, from 1: of the image, or of what A1111's hires fix then enlarged."""
        return self._size()[0]

    @property
    def height(self) -> int | None:
        """In pixels, as `width`."""
        return self._size()[1]

    @property
    def denoise(self) -> float | None:
        """0 to 1; `None` also where the text gives that of A1111's hires fix."""
        if any(key.startswith(_HIRES) for key in self.details):
            return None
        value = _to_number(self.details.get("Denoising strength", ""))
        return value if value is not None and 0 <= value <= 1 else None

    @property
    def model(self) -> str | None:
        """Name of the model: its file's, mostly without folder and extension."""
        return self.details.get("Model") or None

    @property
    def model_hash(self) -> str | None:
        """Digest of the model's file, as in `hashes`."""
        return self.hashes.get("model")

    @property
    def vae(self) -> str | None:
        """Name of the VAE's file, with or without extension."""
        return self.details.get("VAE") or None

    @property
    def hashes(self) -> dict[str, str]:
        """Digests by `model`, `vae`, `lora:NAME`, `embed:NAME` and the like: hex, lower case.

        Their length tells the kind: 8 AutoV1, 10 AutoV2, 12 AutoV3 (of an embedding, and of
        a LoRA in Forge, SHA-256), 64 a whole digest.
        """
        found: dict[str, str] = {}
        for name, digest in _stated_hashes(self.details):
            kind, colon, rest = name.partition(":")
            if _HASH.fullmatch(digest):
                found.setdefault(f"{kind.lower()}{colon}{rest}", digest.lower())
        return found

    def _size(self) -> tuple[int | None, int | None]:
        size = _SIZE.fullmatch(self.details.get("Size", ""))
        if size is not None:
            return _to_count(size[1]), _to_count(size[2])
        # As Civitai's page copies them.
        return _to_count(self.details.get("width", "")), _to_count(self.details.get("height", ""))


def parse_infotext(text: str) -> Infotext:
    """Read an infotext of A1111, Forge, SD.Next, Civitai or a node of ComfyUI.

    The details are the last line, if it has three fields; else the last line that begins
    with `Steps:`, if it has them, and what an extension wrote below it is not read. A text
    without details is all words.

    Raises:
        LimitError: It has more than `limits.TEXT_BYTES`, or too many fields.
        RecordError: It holds a lone surrogate.
    """
    _refuse_size(text)
    lines = text.replace("\r\n", "\n").rstrip().split("\n")
    at = _find_details(lines)
    words, details = lines[:at], _parse_details(lines[at]) if at < len(lines) else {}
    if details.get("App") == "SD.Next":
        # It repeats, after the words, what they were made from.
        words = words[: _first(words, lambda line: line.startswith(_TEMPLATES))]
    split = _first(words, lambda line: line.lstrip().startswith(_NEGATIVE))
    negative = "\n".join(words[split:]).lstrip().removeprefix(_NEGATIVE).removeprefix(" ")
    return Infotext("\n".join(words[:split]), negative, details)


def _refuse_size(text: str) -> None:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise RecordError(f"expected Unicode text, got {error.reason}") from error
    if size > limits.TEXT_BYTES:
        raise LimitError(f"expected at most {limits.TEXT_BYTES} bytes of infotext, got {size}")


def _first(lines: list[str], is_wanted: Callable[[str], bool]) -> int:
    """Find the first such line; where there is none, the end."""
    return next((at for at, line in enumerate(lines) if is_wanted(line)), len(lines))


def _find_details(lines: list[str]) -> int:
    """Find the details line; where there is none, the end."""
    last = len(lines) - 1
    below = _first(lines[::-1], lambda line: line.startswith("Steps:"))
    places = [at for at in (last, last - below) if at >= 0 and _is_details(lines[at])]
    return places[0] if places else len(lines)


def _is_details(line: str) -> bool:
    return len(list(islice(_fields(line), _DETAILS_FIELDS))) == _DETAILS_FIELDS


def _parse_details(line: str) -> dict[str, str]:
    fields = list(islice(_fields(line), _FIELD_COUNT + 1))
    if len(fields) > _FIELD_COUNT:
        raise LimitError(f"expected at most {_FIELD_COUNT} fields, got more")
    return {key: _unquote(value) for key, value in fields}


def _fields(line: str) -> Iterator[tuple[str, str]]:
    """Yield the keys and raw values of a details line; what is no field is passed over."""
    # Each is tried once: a brace that never closes is followed to the line's end.
    json_keys = {*_JSON_KEYS}
    at = 0
    while at < len(line):
        end = at
        if key := _KEY.match(line, at):
            end = _value_end(line, key.end(), is_json=key[1] in json_keys)
            json_keys.discard(key[1])
            yield key[1].rstrip(), line[key.end() : end].rstrip()
        at = _find_comma(line, end) + 1


def _value_end(line: str, start: int, *, is_json: bool) -> int:
    if is_json and line.startswith(("{", "["), start):
        depth = 0
        for piece in _JSON_PIECE.finditer(line, start):
            depth += (piece[0] in "[{") - (piece[0] in "]}")
            if depth == 0:
                return piece.end()
    quoted = _QUOTED.match(line, start)
    return quoted.end() if quoted else _find_comma(line, start)


def _find_comma(line: str, start: int) -> int:
    at = line.find(",", start)
    return at if at >= 0 else len(line)


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        unquoted = parse_json(value)
    except RecordError:
        return value
    return unquoted if isinstance(unquoted, str) else value


def _stated_hashes(details: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield names and digests, first those that Civitai's own extension writes."""
    try:
        stated = parse_json(details.get("Hashes", ""))
    except RecordError:
        stated = None
    for name, digest in stated.items() if isinstance(stated, dict) else ():
        yield name, digest if isinstance(digest, str) else ""
    yield "model", details.get("Model hash", "")
    yield "vae", details.get("VAE hash", "")
    for key, kind in (("Lora hashes", "lora"), ("TI hashes", "embed")):
        for part in details.get(key, "").split(","):
            name, _, digest = part.rpartition(":")
            yield f"{kind}:{name.strip()}", digest.strip()


def _to_count(text: str) -> int | None:
    return (int(text) or None) if _COUNT.fullmatch(text) else None


def _to_number(text: str) -> float | None:
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    return number if math.isfinite(number) else None
