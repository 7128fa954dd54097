"""Names of textual inversions in the words of a prompt: `embedding:NAME`.

ComfyUI's tokenizer cuts a name out of the text, up to white space, `<` or `[`, and out of what
brackets and weights leave of it. Only names that all of these cut in one way are read here; what
is left out is not renamed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_WORD: Final = re.compile(
    r"(?<![^\s()])(?<!\\[()])"  # at the start, or where a word or a weighted part begins
    r"embedding:((?:\\.|[^\s\\<\[():,])++)"
    r"(?=,*(?:[\s<\[()]|\Z)|:[-+.\d\s]+\))"  # to the end of the word, or to a weight
)
_ESCAPED: Final = re.compile(r"\\([()])")
_SAFE: Final = re.compile(r"[^\s\\<>\[\](){}:,|]+")
_SUFFIXES: Final = ("", ".safetensors", ".pt", ".bin")
"""What ComfyUI tries after a name, in this order."""


def words_in(text: str) -> list[str]:
    """List the names in a prompt text, each once and as the tokenizer sees it."""
    return list(dict.fromkeys(_unescaped(found[1]) for found in _WORD.finditer(text)))


def owned_words(text: str, name: str, names: Iterable[str]) -> list[str]:
    """List the words of a prompt text that name one file.

    Args:
        text: The prompt text.
        name: The file, below the folder of embeddings.
        names: All files that the text is known to name. A word that can mean several of them
            is no one's.
    """
    return [word for word in words_in(text) if _owner(word, {*names, name}) == name]


def rename_words(text: str, names: Mapping[str, str]) -> str:
    """Put other names for words of a prompt text, all at once.

    Args:
        text: The prompt text.
        names: The new name of each word; each such that `is_word` holds.
    """

    def renamed(found: re.Match[str]) -> str:
        word = _unescaped(found[1])
        return f"embedding:{names[word]}" if word in names else found[0]

    return _WORD.sub(renamed, text)


def is_word(name: str) -> bool:
    """Tell whether a name can stand in any prompt text as it is."""
    return _SAFE.fullmatch(name) is not None


def _owner(word: str, names: Iterable[str]) -> str | None:
    """Give the one file that a word names; the whole name goes before its end."""
    wanted = word.replace("\\", "/")
    forms = {wanted + suffix for suffix in _SUFFIXES}
    whole = [name for name in names if name in forms]
    ends = [name for name in names if any(name.endswith(f"/{form}") for form in forms)]
    found = whole or ends
    return found[0] if len(found) == 1 else None


def _unescaped(written: str) -> str:
    return _ESCAPED.sub(r"\1", written)
