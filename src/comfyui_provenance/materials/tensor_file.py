"""Where the tensors of a safetensors file begin.

Eight bytes hold the length of the header, little-endian; the header is a JSON object that
places each tensor in the bytes after it. Only as much is read as it takes to be sure that
the file is one: its name does not say, since a link's target often has no suffix.
"""

from __future__ import annotations

from io import BufferedReader
from typing import Final

from .. import limits
from ..canonical import JsonValue, parse_json
from ..errors import RecordError

_LENGTH_BYTES: Final = 8
_METADATA: Final = "__metadata__"


def find_tensors(file: BufferedReader, size_bytes: int) -> int | None:
    """Give the offset of the first tensor's bytes, and leave the file at any position.

    Args:
        file: Open at its beginning.
        size_bytes: The file's size.

    Returns:
        `None` if this is not a well-formed safetensors file: if its header is no JSON, is
        larger than `limits.TEXT_BYTES` (those of large models measure under 1 MB), or
        speaks of more or fewer bytes than follow it.

    Raises:
        OSError: The file cannot be read.
    """
    header_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    offset = _LENGTH_BYTES + header_bytes
    if header_bytes > limits.TEXT_BYTES or offset > size_bytes:
        return None
    try:
        header = parse_json(file.read(header_bytes))
    except RecordError:
        return None
    if not isinstance(header, dict):
        return None
    ends = [_end(tensor) for name, tensor in header.items() if name != _METADATA]
    return offset if max(ends, default=0) == size_bytes - offset else None


def _end(tensor: JsonValue) -> float:
    """Give where a tensor's bytes end; infinity, which no file reaches, if it does not say."""
    place = tensor.get("data_offsets") if isinstance(tensor, dict) else None
    if not isinstance(place, list) or len(place) != 2:
        return float("inf")
    end = place[1]
    return end if isinstance(end, int) and not isinstance(end, bool) else float("inf")
