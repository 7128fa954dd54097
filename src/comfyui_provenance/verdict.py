"""Verdicts: how far two things agree, what was checked, and why they may differ."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from .canonical import JsonValue
from .errors import RecordError
from .plain_text import to_plain

_EXACT_INTEGER: Final = 2**53
_SHOWN_CHARS: Final = 120
"""Of one value."""

_SENTENCE_CHARS: Final = 2000
"""Of one sentence: a server's report may hold a stranger's names."""

_REPORT_FIELDS: Final = ("level", "checks", "causes", "pixels", "notes", "divergence")


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


REMEDIES: Final[Mapping[CauseKind, str]] = {
    CauseKind.SEED: "set the recorded seed",
    CauseKind.SAMPLER: "choose the recorded sampler, with its settings",
    CauseKind.SCHEDULER: "choose the recorded scheduler",
    CauseKind.STEPS: "set the recorded number of steps",
    CauseKind.CFG: "set the recorded CFG",
    CauseKind.DENOISE: "set the recorded denoise",
    CauseKind.SIZE: "set the recorded width and height",
    CauseKind.PROMPT_TEXT: "put back the recorded words, to the character",
    CauseKind.NEGATIVE_TEXT: "put back the recorded negative words, to the character",
    CauseKind.MODEL_FILE: "put the file with the recorded sha256 into its model folder, under any "
    "name",
    CauseKind.ADAPTER_FILE: "put the file with the recorded sha256 into its model folder, and use "
    "the adapters in the recorded order",
    CauseKind.ADAPTER_STRENGTH: "set the recorded strengths",
    CauseKind.CONTROLNET: "use the recorded ControlNet, image and strength",
    CauseKind.INPUT_IMAGE: "put back the input image with the recorded sha256",
    CauseKind.GRAPH_EDITED: "undo the change of the workflow, or take the file as it was saved",
    CauseKind.NODE_MISSING: "install the node pack that has this node",
    CauseKind.NODE_PACK: "install the recorded version of the node pack, and take away packs that "
    "change models",
    CauseKind.COMFYUI_VERSION: "run the recorded version of ComfyUI",
    CauseKind.LIBRARY_VERSION: "install the recorded version of the library",
    CauseKind.DEVICE: "run it on the recorded device, with its driver",
    CauseKind.CPU_ISA: "run it on a processor with the recorded instruction set, or set "
    "ATEN_CPU_CAPABILITY as recorded",
    CauseKind.THREADS: "set OMP_NUM_THREADS as recorded",
    CauseKind.PRECISION: "start ComfyUI with the recorded options of precision",
    CauseKind.ATTENTION: "start ComfyUI with the recorded attention, or use Deterministic Mode",
    CauseKind.BATCH: "make the same batch, or use batch_invariant",
    CauseKind.MEMORY: "free memory and run it again, or use Deterministic Mode",
    CauseKind.TILED_VAE: "free memory so that the VAE need not work in tiles, or use the recorded "
    "node",
    CauseKind.NOISE_SOURCE: "choose the recorded source of noise",
    CauseKind.UNSEEDED_NODE: "take this node out, or give it a seed",
    CauseKind.POST_PROCESS: "undo the change after the decoding",
    CauseKind.IMAGE_EDITED: "use the file as it was saved",
    CauseKind.RECORD_EDITED: "use the file as it was saved",
    CauseKind.CACHED_RESULT: "run the graph where every node can be made to run again",
    CauseKind.NUMERICS: "use Deterministic Mode, and compare the steps told here",
}
"""What to do about each cause, where nothing more exact is known."""


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
        remedy: What to do about it; that of its kind if not given.
    """

    kind: CauseKind
    message: str
    recorded: JsonValue
    now: JsonValue
    node_id: str | None = None
    remedy: str = ""

    @property
    def advice(self) -> str:
        """What to do about it."""
        return self.remedy or REMEDIES[self.kind]

    def to_json(self) -> dict[str, JsonValue]:
        """Give the attributes under their names."""
        return {
            "kind": self.kind.value,
            "message": self.message,
            "recorded": _to_safe(self.recorded),
            "now": _to_safe(self.now),
            "node_id": self.node_id,
            "remedy": self.advice,
        }


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where two runs part.

    Attributes:
        phase: What of the work the difference enters, as `differences.Phase` names it.
        node_id: The node of the second run at which it is first seen.
        class_type: Its class.
        message: One sentence for humans.
        step: The first step that differs, if it enters at one; 0 is the noised latent.
        size: How far the latents are apart there, as a part of the latent's norm, if known.
    """

    phase: str
    node_id: str
    class_type: str
    message: str
    step: int | None = None
    size: float | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Give the attributes under their names."""
        return {
            "phase": self.phase,
            "node_id": self.node_id,
            "class_type": self.class_type,
            "message": self.message,
            "step": self.step,
            "size": self.size,
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
        divergence: Where two runs part, as `Divergence.to_json` gives it, or None.
        details: What else was found, by name: `preflight`, `substitutions`, `tolerance`.
    """

    checks: tuple[Check, ...]
    causes: tuple[Cause, ...] = ()
    pixels: dict[str, JsonValue] | None = None
    notes: tuple[str, ...] = ()
    divergence: dict[str, JsonValue] | None = None
    details: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])

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
            "divergence": _to_safe(self.divergence),
            **{name: _to_safe(value) for name, value in self.details.items()},
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
                f"Most likely cause: {to_plain(first.message, _SENTENCE_CHARS)} "
                f"(recorded {_show(first.recorded)}, now {_show(first.now)}{node})"
            )
            lines.append(f"What to do: {to_plain(first.advice, _SENTENCE_CHARS)}")
            if others:
                kinds = dict.fromkeys(cause.kind.value for cause in others)
                lines.append(f"Also: {', '.join(kinds)}")
        if self.divergence is not None:
            lines.append(f"Where: {to_plain(str(self.divergence.get('message')), _SENTENCE_CHARS)}")
        lines += [
            f"- {to_plain(item.name)}: {item.level.label}. "
            f"{to_plain(item.message, _SENTENCE_CHARS)}"
            for item in self.checks
        ]
        told = str((self.divergence or {}).get("message"))
        lines += [
            f"Note: {to_plain(note, _SENTENCE_CHARS)}"
            for note in self.notes
            if not told.startswith(note)
        ]
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
            divergence=_fields(where) if (where := document.get("divergence")) else None,
            details={name: document[name] for name in document if name not in _REPORT_FIELDS},
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
        str(fields.get("remedy", "")),
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
    return to_plain(json.dumps(_to_safe(value), ensure_ascii=False), _SHOWN_CHARS)
