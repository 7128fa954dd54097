"""The measured pairs of runs, as `docs/measured/controls.json` keeps them, and the sets they make.

`measure_controls` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from comfyui_provenance.controls import (
    Control,
    ControlSets,
    Key,
    Measurement,
    make_control_set,
)
from comfyui_provenance.verdict import CauseKind

from support.server import ROOT

RAW: Final = ROOT / "docs" / "measured" / "controls.json"
BUILT_IN: Final = ROOT / "src" / "comfyui_provenance" / "controls.json"
KINDS: Final = ("negative", "positive", "other steps")


@dataclass(frozen=True)
class Case:
    """One picture."""

    seed: int
    scheduler: str
    cfg: float
    positive: str
    steps: int


@dataclass(frozen=True)
class Pair:
    """One pair of runs.

    Attributes:
        kind: one of `KINDS`; `other steps` is a negative of another number of steps than the
            thresholds are made from.
        case: which picture.
        control: how far the two are apart.
    """

    kind: str
    case: Case
    control: Control


def replace_pairs(old: Iterable[Pair], new: Iterable[Pair]) -> list[Pair]:
    """Put new pairs in the place of all old ones of their keys, in the order of the keys."""
    made = [*new]
    keys = {pair.control.key for pair in made}
    kept = [pair for pair in old if pair.control.key not in keys]
    return sorted([*kept, *made], key=lambda pair: pair.control.key)


def make_sets(pairs: Iterable[Pair], conditions: str) -> ControlSets:
    """Make a control set of each key."""
    every = [*pairs]
    sets = ControlSets()
    for key in sorted({pair.control.key for pair in every}):
        of_kind = {
            kind: [pair.control for pair in every if pair.kind == kind and pair.control.key == key]
            for kind in ("negative", "positive")
        }
        sets = sets.with_set(make_control_set(of_kind["negative"], of_kind["positive"], conditions))
    return sets


def dump_raw(pairs: Sequence[Pair], conditions: str) -> str:
    """Dump every pair, a line for each; keys and cases once."""
    keys = [*dict.fromkeys(pair.control.key for pair in pairs)]
    cases = [*dict.fromkeys(pair.case for pair in pairs)]
    head = {
        "conditions": conditions,
        "keys": [asdict(key) for key in keys],
        "cases": [asdict(case) for case in cases],
    }
    lines = [json.dumps(_to_json(pair, keys, cases)) for pair in pairs]
    return json.dumps(head, indent=1)[:-2] + ',\n "pairs": [\n' + ",\n".join(lines) + "\n]}\n"


def parse_raw(text: str) -> tuple[list[Pair], str]:
    """Read what `dump_raw` gives."""
    document = json.loads(text)
    keys = [Key(**fields) for fields in document["keys"]]
    cases = [Case(**fields) for fields in document["cases"]]
    return [_of_json(fields, keys, cases) for fields in document["pairs"]], document["conditions"]


def _to_json(pair: Pair, keys: list[Key], cases: list[Case]) -> dict[str, Any]:
    control = pair.control
    (steps,) = control.measurement.samplings
    return {
        "kind": pair.kind,
        "key": keys.index(control.key),
        "case": cases.index(pair.case),
        "name": control.name,
        "axes": sorted(control.axes),
        "steps": [*(steps or ())],
        "max_abs": control.measurement.max_abs,
        "mean_abs": control.measurement.mean_abs,
        "same_steps": control.measurement.same_steps,
    }


def _of_json(fields: dict[str, Any], keys: list[Key], cases: list[Case]) -> Pair:
    measurement = Measurement(
        (tuple(fields["steps"]),), fields["max_abs"], fields["mean_abs"], fields["same_steps"]
    )
    axes = frozenset(CauseKind(axis) for axis in fields["axes"])
    control = Control(keys[fields["key"]], fields["name"], axes, measurement)
    return Pair(fields["kind"], cases[fields["case"]], control)
