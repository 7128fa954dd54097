"""What an image file carries, and what gives way where it cannot hold it all.

PNG and WebP hold everything. A JPEG file holds 64 KB in one segment that readers know: what is
left out is named in the record, whose digests of it stay, and a sidecar holds the whole record.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from .canonical import JsonValue
from .containers.exif import dump_exif
from .containers.jpeg import fits
from .errors import ContainerError, LimitError, ProvenanceError
from .infotext import dump_infotext
from .record import KEYWORD, JsonObject, failed_record, seal

PARAMETERS: Final = "parameters"
"""The keyword of the text that A1111 and Civitai read."""

_GIVING_WAY: Final = ("workflow", "others", "prompt", "graph", PARAMETERS, "trace", "record")
"""In this order, until the rest fits. `others` are texts of other packs; `trace` stands for what
only tells where two runs part: `trace`, `stages` and `operations`."""

_DETAILS: Final = ("trace", "stages", "operations")


@dataclass(frozen=True, slots=True)
class Carried:
    """The texts of one image file.

    Attributes:
        texts: By keyword, in the order in which they are written.
        whole: The whole record's text, for a sidecar; `None` where there is none.
        left_out: What gave way, in words of `_GIVING_WAY`.
        problem: Why there is no record.
    """

    texts: Mapping[str, str]
    whole: str | None
    left_out: tuple[str, ...] = ()
    problem: str | None = None


def plan_texts(
    kind: str, hosts: Mapping[str, str], document: JsonObject | str | None, *, parameters: bool
) -> Carried:
    """Choose the texts for one image file.

    Args:
        kind: `png`, `webp` or `jpeg`.
        hosts: What ComfyUI writes itself: `prompt`, `workflow` and those of other packs.
        document: The record, not sealed; or the reason why there is none; `None` for neither.
        parameters: Whether to write the text that A1111 and Civitai read, too.
    """
    held, refused = _split(kind, hosts)
    if document is None:
        return Carried(_fitting(kind, held), None)
    if isinstance(document, str):
        return _failed(kind, held, document)
    try:
        whole = seal(document).dump()
        text = dump_infotext(document) if parameters else None
        held, refused = _split(kind, {**({PARAMETERS: text} if text else {}), **hosts})
        for count in range(len(_GIVING_WAY)):
            left_out = _GIVING_WAY[:count]
            reduced = _reduced(document, held.keys(), refused, left_out)
            record = whole if reduced is document else seal(reduced).dump()
            texts = {**_kept(held, left_out), KEYWORD: record}
            if _fits(kind, texts):
                return Carried(texts, whole, tuple(_names(reduced)))
    except ProvenanceError as error:
        return _failed(kind, held, f"{type(error).__name__}: {error}")
    reason = f"the record is larger than a {kind} file can hold"
    return Carried({KEYWORD: failed_record(reason)}, whole, _GIVING_WAY, reason)


def _failed(kind: str, hosts: Mapping[str, str], reason: str) -> Carried:
    texts = {**hosts, KEYWORD: failed_record(reason)}
    return Carried(_fitting(kind, texts), None, problem=reason)


def _fitting(kind: str, texts: Mapping[str, str]) -> Mapping[str, str]:
    """Leave texts out, those that give way first, until the rest fits."""
    for count in range(len(_GIVING_WAY)):
        kept = _kept(texts, _GIVING_WAY[:count])
        if _fits(kind, kept):
            return kept
    return {}


def _fits(kind: str, texts: Mapping[str, str]) -> bool:
    return kind != "jpeg" or fits(texts)


def _split(kind: str, texts: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Take out the texts that a kind of file has no place for, whatever their size."""
    held: dict[str, str] = {}
    refused: list[str] = []
    for keyword, text in texts.items():
        try:
            if kind != "png":
                dump_exif({**held, KEYWORD: "", keyword: text})
        except LimitError:
            pass  # larger than the place, which is for the order of giving way to settle
        except ContainerError:
            refused.append(keyword)
            continue
        held[keyword] = text
    return held, refused


def _kept(texts: Mapping[str, str], left_out: tuple[str, ...]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if _word(name) not in left_out}


def _word(keyword: str) -> str:
    """Give the word by which a text gives way."""
    return keyword if keyword in (*_GIVING_WAY, KEYWORD) else "others"


def _reduced(
    document: JsonObject,
    keywords: Collection[str],
    refused: Collection[str],
    left_out: tuple[str, ...],
) -> JsonObject:
    """Take out of a record what gives way, and say in it what did."""
    texts = {*refused, *(name for name in keywords if _word(name) in left_out)}
    fields = {"graph"} if "graph" in left_out else set[str]()
    fields |= set(_DETAILS) if "trace" in left_out else set()
    names: list[JsonValue] = [*sorted(texts | (fields & document.keys()))]
    if not names:
        return document
    kept = {name: value for name, value in document.items() if name not in fields}
    return {**kept, "left_out": names}


def _names(document: JsonObject) -> list[str]:
    names = document.get("left_out")
    return [str(name) for name in names] if isinstance(names, list) else []
