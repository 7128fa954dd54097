"""The words of A1111 as ComfyUI's text encoder reads them.

A1111 has tags for files in its words, and a grammar of weights, schedules and breaks. The encoder
of ComfyUI knows weights in round brackets and `embedding:NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..plain_text import to_plain

STRENGTH: Final = 100.0
"""Largest strength of ComfyUI's LoraLoader, of either sign."""

# No `<` inside: from each of many the search would go on to the end of the text.
_TAG: Final = re.compile(r"<(\w++):([^<>]++)>")
_LORA_TAGS: Final = ("lora", "lyco")
_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,9}\.?\d{0,32}|\.\d{1,32})", re.ASCII)

_WORD_START: Final = re.compile(r"(?<![^\s()])(?<!\\[()])")
_WORD_END: Final = re.compile(r",*+(?:[\s<\[()]|\Z)|:[-+.\d\s]++\)")

_GRAMMAR: Final = {
    re.compile(r"(?<!\\)\("): (
        "weights in round brackets are kept, but A1111 scales the encoded words by them and "
        "ComfyUI their distance from the empty text"
    ),
    re.compile(r"(?<!\\)\["): (
        "square brackets, which weaken, schedule or alternate words in A1111, are words to ComfyUI"
    ),
    re.compile(r"\bBREAK\b"): "BREAK, which begins a new chunk in A1111, is a word to ComfyUI",
    re.compile(r"\bAND\b"): "AND, which joins several prompts in A1111, is a word to ComfyUI",
}


@dataclass(frozen=True, slots=True)
class LoraTag:
    """A LoRA in the words: `<lora:NAME:0.8>`.

    Attributes:
        name: Its file's, mostly without folder and extension.
        model: Strength for the diffusion model.
        clip: Strength for the text encoder.
    """

    name: str
    model: float
    clip: float


def take_tags(text: str, is_taken: Callable[[str], bool]) -> tuple[str, list[LoraTag], list[str]]:
    """Take the tags out of a text, as A1111 does before it encodes it.

    Args:
        text: The positive words; A1111 reads no tags in the others.
        is_taken: Tells for the name in a tag whether it is a tag at all.

    Returns:
        The words left, the LoRAs in their order, and notes of the tags that say more, or less,
        than ComfyUI can take.
    """
    loras: list[LoraTag] = []
    notes: list[str] = []

    def take(found: re.Match[str]) -> str:
        name = found[2].partition(":")[0]
        if not is_taken(name):
            return found[0]
        lora, is_whole = _to_lora(found[2]) if found[1] in _LORA_TAGS else (None, False)
        if lora is None:
            notes.append(f"the tag {_show(found[0])} is left out: ComfyUI has nothing for it")
        else:
            loras.append(lora)
            if not is_whole:
                notes.append(f"of the tag {_show(found[0])} only the strengths are kept")
        return ""

    return _TAG.sub(take, text), loras, notes


def _to_lora(arguments: str) -> tuple[LoraTag | None, bool]:
    """Read what follows `lora:`, and tell whether that is all it says."""
    items = arguments.split(":")
    positional = [item for item in items if "=" not in item]
    named = dict(item.split("=", 1) for item in items if "=" in item)
    name, *strengths = positional or [""]
    # A1111's order: the text encoder first, and the model like it where it is not told.
    clip = _to_strength(named.pop("te", strengths[0] if strengths else "1"))
    model = clip if len(strengths) < 2 else _to_strength(strengths[1])
    model = _to_strength(named.pop("unet")) if "unet" in named else model
    if not name or model is None or clip is None:
        return None, False
    return LoraTag(name, model, clip), not named and len(strengths) <= 2


def _to_strength(text: str) -> float | None:
    if not _NUMBER.fullmatch(text.strip()):
        return None
    value = float(text)
    return value if abs(value) <= STRENGTH else None


def name_embeddings(text: str, names: Mapping[str, str]) -> str:
    """Mark the names of embeddings in a text, which A1111 finds by themselves.

    Args:
        text: The words, positive or negative.
        names: By name in the text, in any case, what is to stand after `embedding:`; such that
            `embedding_words.is_word` holds.
    """
    if not names:
        return text
    folded = {name.casefold(): local for name, local in names.items()}
    # The longest first: one name may begin another.
    ordered = sorted(names, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?!\w)", re.IGNORECASE)

    def marked(found: re.Match[str]) -> str:
        before = "" if _WORD_START.match(text, found.start()) else " "
        after = "" if _WORD_END.match(text, found.end()) else " "
        local = folded.get(found[0].casefold())
        return f"{before}embedding:{local}{after}" if local else found[0]

    return pattern.sub(marked, text)


def grammar_notes(*texts: str) -> Iterator[str]:
    """Tell what A1111 reads in texts and ComfyUI does not, or reads in another way."""
    for pattern, note in _GRAMMAR.items():
        if any(pattern.search(text) for text in texts):
            yield note


def _show(tag: str) -> str:
    return to_plain(tag, 80)
