"""How a preflight tells its facts: short, on one line, and safe for a terminal.

Names and values come from strangers, so they are cut short and what does not print is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ..canonical import JsonValue
from ..environment import Difference
from ..plain_text import to_plain
from ..record import Material
from ..verdict import CauseKind
from .facts import MissingNode, PlacedMaterial, State

_NAME_CHARS: Final = 80
_SENTENCE_CHARS: Final = 300
_DIGITS: Final = 12
_LISTED: Final = 3
_UNITS: Final = ("bytes", "KB", "MB", "GB", "TB")


def tell_nodes(nodes: Sequence[MissingNode]) -> Iterator[str]:
    """Yield what to say of classes that are not installed, if there are any."""
    if nodes:
        names = _listed(node.class_type for node in nodes)
        yield f"{counted(len(nodes), 'node', 'missing')}: {names}"


def tell_materials(materials: Sequence[Material], what: str) -> Iterator[str]:
    """Yield what to say of files in one state, if there are any."""
    unique = list({(item.name, item.sha256): item for item in materials}.values())
    if len(unique) == 1:
        yield f"{counted(1, noun_for(unique), what)}: {named(unique[0])}"
    elif unique:
        names = _listed(material.name for material in unique)
        yield f"{counted(len(unique), noun_for(unique), what)}: {names}"


def tell_state(placed: PlacedMaterial) -> str:
    """Say where a file is that is not under its name."""
    words = {
        State.ELSEWHERE: f"here as {_shown(placed.name_here or '')}",
        State.OTHER: "not here: another file has its name",
        State.MISSING: "missing",
        State.UNKNOWN: "still being hashed" if placed.is_pending else "not known by its digest",
    }
    note = f"; {cut(placed.note)}" if placed.note else ""
    return words[placed.state] + note


def tell_difference(difference: Difference) -> str:
    """Say what was recorded of a machine or its software, and what is here."""
    before, after = (_value(value) for value in (difference.recorded, difference.now))
    return f"{_shown(difference.name)} was {before} and is {after}"


def tell_families(families: Sequence[str]) -> str:
    """Say which computations give other results here."""
    return f"this device gives other results in {_listed(families)}"


def tell_shortly(difference: Difference) -> str:
    """Name a difference of machine or software in two words."""
    if difference.name.startswith("device."):
        return "other device" if difference.name == "device.type" else "other GPU"
    if difference.kind in (CauseKind.DEVICE, CauseKind.CPU_ISA):
        return "other processor"
    if difference.name.startswith("packages."):
        return f"other {_shown(difference.name.removeprefix('packages.'))}"
    words = {
        CauseKind.COMFYUI_VERSION: "other ComfyUI",
        CauseKind.NODE_PACK: "other node packs",
        CauseKind.LIBRARY_VERSION: "other system",
        CauseKind.THREADS: "other number of threads",
        CauseKind.ATTENTION: "other attention",
    }
    return words.get(difference.kind, "other settings")


def noun_for(materials: Iterable[Material]) -> str:
    """Give the word for such files."""
    kinds = {material.kind for material in materials}
    if kinds == {"input"}:
        return "input file"
    return "file" if "input" in kinds else "model"


def counted(count: int, noun: str, what: str) -> str:
    """Count things and say what is with them."""
    return f"{count} {noun}{'' if count == 1 else 's'} {what}"


def named(material: Material) -> str:
    """Give a file's name, the beginning of its digest and its size."""
    known = [f"sha256 {_shown(material.sha256[:_DIGITS])}..."] if material.sha256 else []
    known += [_size(material.size_bytes)] if material.size_bytes is not None else []
    return _shown(material.name) + (f" ({', '.join(known)})" if known else "")


def _size(size_bytes: int) -> str:
    size, unit = float(size_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size_bytes} bytes"


def _listed(names: Iterable[str]) -> str:
    shown = [_shown(name) for name in names]
    more = len(shown) - _LISTED
    return ", ".join(shown if more <= 0 else [*shown[:_LISTED], f"{more} more"])


def _value(value: JsonValue) -> str:
    return "not there" if value is None else _shown(str(value))


def cut(text: str) -> str:
    """Keep a sentence short and on one line."""
    return to_plain(text, _SENTENCE_CHARS)


def _shown(name: str) -> str:
    return to_plain(name, _NAME_CHARS)
