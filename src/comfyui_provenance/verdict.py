"""Verdicts: how far two things agree, what was checked, and why they may differ."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from .canonical import JsonValue
from .errors import RecordError

_EXACT_INTEGER: Final = 2**53
_SHOWN_CHARS: Final = 120


class Level(IntEnum):
    """How far something agrees, weakest first, so that `min` gives the weakest."""

    MISMATCH = 0
    UNKNOWN = 1
    WITHIN_TOLERANCE = 2
    BITWISE = 3

    @property
    def label(self) -> str:
        """The name in reports: `mismatch`, `unknown`, `within_tolerance`, `bitwise`."""
        return self.name.lower()


_LEVEL_WORDS: Final = {
    Level.MISMATCH: "Mismatch: what was found is not what was recorded.",
    Level.UNKNOWN: "Unknown: too little could be checked to tell.",
    Level.WITHIN_TOLERANCE: "Within tolerance: not the same bits, but as close as stated.",
    Level.BITWISE: "Bitwise: everything checked is the same, bit for bit.",
}


class CauseKind(StrEnum):
    """Why an image may differ from its record: a closed list."""

    SEED = "seed"
    SAMPLER = "sampler"
    SCHEDULER = "scheduler"
    STEPS = "steps"
    CFG = "cfg"
    DENOISE = "denoise"
    SIZE = "size"
    PROMPT_TEXT = "prompt_text"
    NEGATIVE_TEXT = "negative_text"
    MODEL_FILE = "model_file"
    ADAPTER_FILE = "adapter_file"
    ADAPTER_STRENGTH = "adapter_strength"
    CONTROLNET = "controlnet"
    INPUT_IMAGE = "input_image"
    GRAPH_EDITED = "graph_edited"
    NODE_MISSING = "node_missing"
    NODE_PACK = "node_pack"
    COMFYUI_VERSION = "comfyui_version"
    LIBRARY_VERSION = "library_version"
    DEVICE = "device"
    CPU_ISA = "cpu_isa"
    THREADS = "threads"
    PRECISION = "precision"
    ATTENTION = "attention"
    BATCH = "batch"
    MEMORY = "memory"
    TILED_VAE = "tiled_vae"
    NOISE_SOURCE = "noise_source"
    UNSEEDED_NODE = "unseeded_node"
    POST_PROCESS = "post_process"
    IMAGE_EDITED = "image_edited"
    RECORD_EDITED = "record_edited"
    CACHED_RESULT = "cached_result"
    NUMERICS = "numerics"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison.

    Attributes:
        name: What was compared, in snake_case.
        level: How far it agrees.
        expected: The value that the record or the reference gives.
        found: The value that was found instead or as well.
        message: One sentence for humans.
    """

    name: str
    level: Level
    expected: JsonValue
    found: JsonValue
    message: str

    def to_json(self) -> dict[str, JsonValue]:
        """Give the attributes under their names."""
        return {
            "name": self.name,
            "level": self.level.label,
            "expected": _to_safe(self.expected),
            "found": _to_safe(self.found),
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why things may differ.

    Attributes:
        kind: Which of the closed list.
        message: One sentence for humans.
        recorded: The value in the record.
        now: The present value.
        node_id: The node it is about, if it is about one.
    """

    kind: CauseKind
    message: str
    recorded: JsonValue
    now: JsonValue
    node_id: str | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Give the attributes under their names."""
        return {
            "kind": self.kind.value,
            "message": self.message,
            "recorded": _to_safe(self.recorded),
            "now": _to_safe(self.now),
            "node_id": self.node_id,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A verdict with its grounds.

    Attributes:
        checks: What decides the level.
        causes: Why it may not be bitwise, most likely first; decide nothing.
        pixels: How far the pixels differ, as `pixels.Difference.to_json` gives
            it, or None when they were not compared.
        notes: Sentences for humans; decide nothing.
    """

    checks: tuple[Check, ...]
    causes: tuple[Cause, ...] = ()
    pixels: dict[str, JsonValue] | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def level(self) -> Level:
        """The weakest level, or `UNKNOWN` when nothing was checked."""
        return min((check.level for check in self.checks), default=Level.UNKNOWN)

    @property
    def match(self) -> bool:
        """True for bitwise alone."""
        return self.level is Level.BITWISE

    def to_json(self) -> dict[str, JsonValue]:
        """Give the report as any JSON parser can read it back.

        Infinities and NaN become null; integers past 2^53-1, such as seeds,
        become decimal strings.
        """
        return {
            "level": self.level.label,
            "checks": [check.to_json() for check in self.checks],
            "causes": [cause.to_json() for cause in self.causes],
            "pixels": _to_safe(self.pixels),
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Tell the verdict in a few plain lines: level, causes, checks, notes.

        Values come from strangers: they are cut short, and characters that could
        steer a terminal are escaped.
        """
        lines = [_LEVEL_WORDS[self.level]]
        if self.causes:
            first, *others = self.causes
            node = f", node {_show(first.node_id)}" if first.node_id is not None else ""
            lines.append(
                f"Most likely cause: {_plain(first.message)} (recorded {_show(first.recorded)},"
                f" now {_show(first.now)}{node})"
            )
            if others:
                kinds = dict.fromkeys(cause.kind.value for cause in others)
                lines.append(f"Also: {', '.join(kinds)}")
        lines += [
            f"- {_plain(item.name)}: {item.level.label}. {_plain(item.message)}"
            for item in self.checks
        ]
        lines += [f"Note: {_plain(note)}" for note in self.notes]
        return "\n".join(lines)


def parse_report(value: JsonValue) -> Report:
    """Take a report from the JSON that `Report.to_json` gives, a server's answer for one.

    Raises:
        RecordError: It is not a report, or says another level than its checks do.
    """
    try:
        document = _fields(value)
        pixels = document["pixels"]
        report = Report(
            checks=tuple(_to_check(_fields(check)) for check in _items(document["checks"])),
            causes=tuple(_to_cause(_fields(cause)) for cause in _items(document["causes"])),
            pixels=None if pixels is None else _fields(pixels),
            notes=tuple(str(note) for note in _items(document.get("notes", []))),
        )
        stated = document["level"]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"expected a report: {error!r}") from error
    if report.level.label != stated:
        raise RecordError(f"expected level {report.level.label}, got {stated!r:.80}")
    return report


def _to_check(fields: dict[str, JsonValue]) -> Check:
    return Check(
        str(fields["name"]),
        Level[str(fields["level"]).upper()],
        fields["expected"],
        fields["found"],
        str(fields["message"]),
    )


def _to_cause(fields: dict[str, JsonValue]) -> Cause:
    node_id = fields["node_id"]
    return Cause(
        CauseKind(str(fields["kind"])),
        str(fields["message"]),
        fields["recorded"],
        fields["now"],
        None if node_id is None else str(node_id),
    )


def _fields(value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return value


def _items(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    return value


def _to_safe(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) >= _EXACT_INTEGER:
        return str(value)
    if isinstance(value, list):
        return [_to_safe(item) for item in value]
    if isinstance(value, dict):
        return {key: _to_safe(item) for key, item in value.items()}
    return value


def _show(value: JsonValue) -> str:
    """Show a value on one line, cut short."""
    text = _plain(json.dumps(_to_safe(value), ensure_ascii=False))
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _plain(text: str) -> str:
    """Escape what does not print: line ends, terminal controls, bidirectional overrides."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
