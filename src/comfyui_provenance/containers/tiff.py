"""The directories of EXIF, which is a small TIFF: read within bounds, written by piexif.

piexif reads what a count says, four billion values of one byte if need be, so reading is
done here. What is carried over an edit is what piexif can write: the tags that it knows,
of the type that it knows them to have. Thumbnails and offsets into the old bytes are not.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, cast

import piexif  # type: ignore[import-untyped]  # see _Piexif

from .. import limits
from ..errors import ContainerError, LimitError

ASCII: Final = 2
SHORT: Final = 3
LONG: Final = 4
RATIONAL: Final = 5
UNDEFINED: Final = 7

_FORMATS: Final = {
    1: "B",
    SHORT: "H",
    LONG: "L",
    RATIONAL: "LL",
    6: "b",
    8: "h",
    9: "l",
    10: "ll",
    11: "f",
    12: "d",
}
"""How `struct` names the numbers of each type; texts and undefined bytes are kept as bytes."""

_POINTERS: Final = {"Exif": ("0th", 0x8769), "GPS": ("0th", 0x8825), "Interop": ("Exif", 0xA005)}
"""Where the offset of each further directory stands."""

_OFFSETS: Final = frozenset({0x0111, 0x0144, 0x014A, 0x0201, 0x0202, 0x8769, 0x8825, 0xA005})
"""Tags that say where something stands in the bytes that an edit leaves behind."""

Value = bytes | tuple[object, ...]
"""A value as piexif takes it: bytes of a text or undefined, else numbers or pairs of them."""

Directories = dict[str, dict[int, Value]]
"""Values by tag, by piexif's names of the directories: `0th`, `Exif`, `GPS`, `Interop`."""


class _Piexif(Protocol):
    """What is used of piexif, which has no types."""

    TAGS: Mapping[str, Mapping[int, Mapping[str, object]]]

    def dump(self, exif_dict: Directories, /) -> bytes: ...


_piexif = cast("_Piexif", piexif)


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a directory.

    Attributes:
        kind: The type, as TIFF numbers them.
        raw: The value's bytes, in the file's order.
    """

    kind: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Tiff:
    """What was read.

    Attributes:
        order: `<` where the least significant byte comes first, else `>`.
        directories: Entries by tag, by the directory's name, see `Directories`.
    """

    order: str
    directories: dict[str, dict[int, Entry]]


def parse_tiff(data: bytes) -> Tiff:
    """Read the main directory and those that EXIF hangs onto it.

    Of two entries with one tag the later one counts. Types that TIFF does not define are
    passed over.

    Raises:
        LimitError: The bytes exceed `limits.TEXT_TOTAL_BYTES`, or a directory
            `limits.EXIF_ENTRY_COUNT`.
        ContainerError: The bytes are no TIFF, an offset or count leads outside, or
            directories or values overlap.
    """
    if len(data) > limits.TEXT_TOTAL_BYTES:
        raise LimitError(
            f"expected EXIF of at most {limits.TEXT_TOTAL_BYTES} bytes, got {len(data)}"
        )
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        raise ContainerError(f"expected a TIFF header in EXIF, got {data[:8]!r}")
    (offset,) = struct.unpack_from(f"{order}L", data, 4)
    # The values' bytes are never more than the file's, unless some overlap: with that as a
    # budget no arrangement of offsets makes a reader copy more than it was given.
    found = {"0th": _read_directory(data, order, offset, len(data))}
    visited = {offset}
    for name, (parent, tag) in _POINTERS.items():
        pointer = found.get(parent, {}).get(tag)
        if pointer is None or pointer.kind != LONG or len(pointer.raw) != 4:
            continue
        (offset,) = struct.unpack(f"{order}L", pointer.raw)
        if offset in visited:
            raise ContainerError(f"expected EXIF directories apart, got two at offset {offset}")
        visited.add(offset)
        used_bytes = sum(len(item.raw) for items in found.values() for item in items.values())
        found[name] = _read_directory(data, order, offset, len(data) - used_bytes)
    return Tiff(order, found)


def to_directories(tiff: Tiff) -> Directories:
    """Convert what was read to what piexif can write, leaving out the rest."""
    return {
        name: {
            tag: value
            for tag, entry in entries.items()
            if tag not in _OFFSETS and (value := _to_value(name, tag, entry, tiff.order))
        }
        for name, entries in tiff.directories.items()
    }


def dump_tiff(directories: Directories) -> bytes:
    r"""Write directories, beginning with `Exif\0\0`; none at all give no bytes.

    Args:
        directories: Values of the types that piexif gives their tags.
    """
    filled = {name: values for name, values in directories.items() if values}
    # Interop alone: piexif hangs it onto an Exif directory, which it expects to be there.
    return _piexif.dump({"0th": {}, "Exif": {}, **filled}) if filled else b""


def _read_directory(data: bytes, order: str, offset: int, left_bytes: int) -> dict[int, Entry]:
    (count,) = struct.unpack_from(f"{order}H", data, offset) if offset + 2 <= len(data) else (0,)
    if offset + 2 > len(data) or offset + 2 + 12 * count > len(data):
        raise ContainerError(f"expected an EXIF directory at offset {offset}, got one cut off")
    if count > limits.EXIF_ENTRY_COUNT:
        raise LimitError(
            f"expected at most {limits.EXIF_ENTRY_COUNT} entries in an EXIF directory, got {count}"
        )
    entries: dict[int, Entry] = {}
    for at in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, values, start = struct.unpack_from(f"{order}HHLL", data, at)
        unit = "B" if kind in (ASCII, UNDEFINED) else _FORMATS.get(kind)
        if unit is None:
            continue
        size = values * struct.calcsize(f"={unit}")
        if size <= 4:
            start = at + 8
        elif start + size > len(data):
            raise ContainerError(
                f"expected {size} bytes for tag {tag:#06x} at offset {start}, got EXIF cut off"
            )
        left_bytes -= size
        if left_bytes < 0:
            raise ContainerError(f"expected EXIF values apart, got overlap at tag {tag:#06x}")
        entries[tag] = Entry(kind, data[start : start + size])
    return entries


def _to_value(directory: str, tag: int, entry: Entry, order: str) -> Value | None:
    """Give a value as piexif takes it, or None where it cannot carry it."""
    known = _piexif.TAGS[directory].get(tag, {}).get("type")
    if entry.kind in (ASCII, UNDEFINED):
        value = entry.raw.removesuffix(b"\0") if entry.kind == ASCII else entry.raw
        return value if known == entry.kind else None
    if not 0 < len(entry.raw) <= limits.EXIF_NUMBERS_BYTES:
        return None
    unit = _FORMATS[entry.kind]
    numbers = struct.unpack(
        f"{order}{len(entry.raw) // struct.calcsize(f'={unit[0]}')}{unit[0]}", entry.raw
    )
    # Sizes in pixels are SHORT in one file and LONG in the next.
    is_either = {known, entry.kind} == {SHORT, LONG} and max(numbers) <= 0xFFFF
    if known != entry.kind and not is_either:
        return None
    return tuple(zip(numbers[::2], numbers[1::2], strict=True)) if len(unit) == 2 else numbers
