r"""Texts in EXIF, in ComfyUI's own scheme, and A1111's `parameters`.

A text is the value of an ASCII tag, as `keyword:text`: `prompt` under Model, `workflow`
under Make, further keywords under the tags below those. `parameters` alone is the
UserComment, which can hold any text. Camera tags that stand beside are carried along.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Mapping
from typing import Final

from .. import limits
from ..errors import ContainerError, LimitError
from . import tiff
from .tiff import Directories, Tiff

PREFIX: Final = b"Exif\0\0"
PARAMETERS: Final = "parameters"

_TAGS: Final = {"prompt": 0x0110, "workflow": 0x010F, "provenance": 0x010E}
_FURTHER_TAGS: Final = (0x010D, 0x000B)
"""DocumentName and ProcessingSoftware: all texts below ImageDescription that piexif writes."""

_ORIENTATION: Final = 0x0112
_USER_COMMENT: Final = 0x9286

_KEYWORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,78}")
_ALIASES: Final = {"Prompt": "prompt", "Workflow": "workflow"}
"""Keywords that ComfyUI's page takes for others."""

_UNICODE: Final = b"UNICODE\0"
_BOM: Final = b"\xfe\xff"


def read_exif(data: bytes) -> dict[str, str]:
    r"""Read the texts of EXIF by keyword.

    Any text of the main directory in the form `keyword:text` counts, whatever its tag; of
    two with one keyword that of the higher tag wins, as on ComfyUI's page. The UserComment
    is `parameters`, whatever wrote it.

    Args:
        data: TIFF, with or without `Exif\0\0` before it.

    Raises:
        LimitError: The bytes or the directories exceed `limits`.
        ContainerError: The bytes are not EXIF, or are damaged.
    """
    return _to_texts(_parse(data))


def dump_exif(texts: Mapping[str, str]) -> bytes:
    r"""Write texts as EXIF, beginning with `Exif\0\0`.

    Args:
        texts: ASCII by keyword; under `parameters` any text.

    Raises:
        LimitError: The texts exceed `limits.TEXT_TOTAL_BYTES`.
        ContainerError: A keyword or a text cannot be written, or there are more further
            keywords than tags for them.
    """
    return edit_exif(b"", texts.keys(), texts)


def edit_exif(data: bytes, removed: Collection[str], texts: Mapping[str, str]) -> bytes:
    r"""Take texts out of EXIF and put others in, carrying the rest over.

    A camera's own Model, Make or ImageDescription gives way to the text that needs its tag.

    Args:
        data: EXIF as for `read_exif`; no bytes where there was none.
        removed: Keywords whose texts are taken out.
        texts: What to put in, as for `dump_exif`; its keywords are among `removed`.

    Returns:
        EXIF as `dump_exif` gives it, or no bytes where nothing is left in it. Data without
        any of the keywords is given back as it came when nothing is put in.

    Raises:
        LimitError: The data or the texts exceed `limits`.
        ContainerError: The data is damaged, or a text cannot be written.
    """
    parsed = _parse(data) if data else Tiff(">", {"0th": {}})
    found = {keyword for keyword, _ in _keyed(parsed).values()} | _to_texts(parsed).keys()
    if not texts and found.isdisjoint(removed):
        return data
    edited = tiff.dump_tiff(_place(parsed, removed, texts))
    if len(edited) > limits.TEXT_TOTAL_BYTES:
        raise LimitError(
            f"expected EXIF of at most {limits.TEXT_TOTAL_BYTES} bytes, got {len(edited)}"
        )
    return edited


def keep_orientation(data: bytes) -> bytes:
    """Give EXIF with nothing but the orientation that this EXIF tells viewers to apply.

    Returns:
        No bytes where there is none, or where what there is cannot be read.
    """
    try:
        parsed = _parse(data)
    except (ContainerError, LimitError):
        return b""
    entry = parsed.directories["0th"].get(_ORIENTATION)
    if entry is None or entry.kind != tiff.SHORT or len(entry.raw) != 2:
        return b""
    (orientation,) = struct.unpack(f"{parsed.order}H", entry.raw)
    turns = 2 <= orientation <= 8
    return tiff.dump_tiff({"0th": {_ORIENTATION: (orientation,)}}) if turns else b""


def _parse(data: bytes) -> Tiff:
    return tiff.parse_tiff(data.removeprefix(PREFIX))


def _to_texts(parsed: Tiff) -> dict[str, str]:
    texts: dict[str, str] = {}
    for keyword, value in _keyed(parsed).values():
        texts[keyword] = _decode(value)
    comment = parsed.directories.get("Exif", {}).get(_USER_COMMENT)
    if comment is not None and comment.raw.strip(b"\0"):
        texts[PARAMETERS] = _parse_comment(comment.raw, parsed.order)
    return texts


def _keyed(parsed: Tiff) -> dict[int, tuple[str, bytes]]:
    """Find the tags of the main directory that hold a text under a keyword, in their order."""
    found: dict[int, tuple[str, bytes]] = {}
    for tag, entry in sorted(parsed.directories["0th"].items()):
        keyword, colon, text = entry.raw.partition(b"\0")[0].partition(b":")
        name = keyword[:80].decode("latin-1")
        if entry.kind == tiff.ASCII and colon and _KEYWORD.fullmatch(name):
            found[tag] = (_ALIASES.get(name, name), text)
    return found


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _place(parsed: Tiff, removed: Collection[str], texts: Mapping[str, str]) -> Directories:
    """Give every text a tag: the keyword's own, else the next that is free."""
    directories: Directories = {"0th": {}, "Exif": {}, **tiff.to_directories(parsed)}
    main, keyed = directories["0th"], _keyed(parsed)
    for tag, (keyword, _) in keyed.items():
        if keyword in removed:
            main.pop(tag, None)
    if PARAMETERS in removed:
        directories["Exif"].pop(_USER_COMMENT, None)
    written = {keyword: _to_value(keyword, text) for keyword, text in texts.items()}
    if PARAMETERS in written:
        directories["Exif"][_USER_COMMENT] = written.pop(PARAMETERS)
    own = {_TAGS[keyword]: value for keyword, value in written.items() if keyword in _TAGS}
    # A text that another pack put under a tag that is needed, or that piexif cannot write.
    moved = {
        keyword: keyword.encode("ascii") + b":" + text
        for tag, (keyword, text) in keyed.items()
        if keyword not in removed and (tag in own or tag not in main)
    }
    main.update(own)
    further = {keyword: value for keyword, value in written.items() if keyword not in _TAGS}
    for keyword, value in (moved | further).items():
        main[_find_tag(keyword, main.keys())] = value
    return directories


def _find_tag(keyword: str, taken: Collection[int]) -> int:
    for tag in (_TAGS.get(keyword), *_FURTHER_TAGS):
        if tag is not None and tag not in taken:
            return tag
    raise ContainerError(f"expected a free EXIF tag for {keyword!r}, got all of them in use")


def _to_value(keyword: str, text: str) -> bytes:
    if not _KEYWORD.fullmatch(keyword) or keyword in _ALIASES:
        raise ContainerError(
            f"expected a keyword of ASCII letters, digits and _.- in EXIF, got {keyword[:100]!r}"
        )
    if keyword == PARAMETERS:
        return _dump_comment(text)
    if not text.isascii() or "\0" in text:
        raise ContainerError(f"expected ASCII without NUL under {keyword!r} in EXIF")
    return f"{keyword}:{text}".encode("ascii")


def _dump_comment(text: str) -> bytes:
    if "\0" in text:
        raise ContainerError(f"expected text without NUL under {PARAMETERS!r} in EXIF")
    try:
        body = text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise ContainerError(f"expected Unicode under {PARAMETERS!r}: {error.reason}") from error
    # No byte order mark, which A1111 would show as a character, unless the guess that a
    # reader has to make without one would be wrong: for a text of U+0100 alone, say.
    comment = _UNICODE + body
    return comment if _parse_comment(comment, ">") == text else _UNICODE + _BOM + body


def _parse_comment(comment: bytes, order: str) -> str:
    """Decode a UserComment by the code that its first 8 bytes name, or by its looks."""
    code, body = comment[:8].upper(), comment[8:]
    if code == _UNICODE:
        return _decode_utf_16(body, order).rstrip("\0")
    if code == b"ASCII\0\0\0":
        return _decode(body.rstrip(b"\0"))
    if code == b"JIS\0\0\0\0\0":
        # The standard's JIS X 0208 shifts with escapes; piexif writes Shift-JIS instead.
        encoding = "iso2022_jp" if b"\x1b" in body else "shift_jis"
        return body.rstrip(b"\0").decode(encoding, errors="replace")
    text = body if code == bytes(8) else comment
    if text.startswith((_BOM, b"\xff\xfe")) or b"\0" in text.rstrip(b"\0"):
        return _decode_utf_16(text, order).rstrip("\0")
    return _decode(text.rstrip(b"\0"))


def _decode_utf_16(body: bytes, order: str) -> str:
    if body.startswith((_BOM, b"\xff\xfe")):
        is_big = body.startswith(_BOM)
        body = body[2:]
    else:
        # EXIF says the file's own order; piexif, and so A1111, writes the big one whatever
        # the file's. In most texts the many bytes of NUL tell.
        high, low = body[::2].count(0), body[1::2].count(0)
        is_big = order == ">" if high == low else high > low
    return body.decode("utf-16-be" if is_big else "utf-16-le", errors="replace")
