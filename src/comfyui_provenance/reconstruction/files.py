"""The model files of this machine, found by what an infotext says of them.

A digest decides. A name is a guess, and is told as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..plain_text import to_plain

KINDS: Final = {
    "checkpoints": "checkpoint",
    "vae": "VAE",
    "loras": "LoRA",
    "embeddings": "embedding",
}
"""The kinds that are looked for, and one file of each in words."""


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """The model files of this machine.

    Attributes:
        names: By kind, as in `KINDS`, the files below the folders of that kind.
        find: Takes a kind, a digest and the name in the text, if any; gives the file of that kind
            that has the digest, or `None` where none is known to. The digest is lower-case hex,
            and its length tells its kind, as in `Infotext.hashes`. A file of that name is the
            likeliest, and worth reading first.
    """

    names: Mapping[str, Sequence[str]]
    find: Callable[[str, str, str | None], str | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file as an infotext tells it.

    Attributes:
        kind: As in `KINDS`.
        name: Its name, mostly without folder and extension.
        digest: As in `Infotext.hashes`.
    """

    kind: str
    name: str | None
    digest: str | None

    def __str__(self) -> str:
        """Name it on one line that is safe to print."""
        name = f" {_quote(self.name)}" if self.name else ""
        digest = f" (hash {self.digest})" if self.digest else ""
        return f"{KINDS[self.kind]}{name}{digest}"


@dataclass(frozen=True, slots=True)
class Found:
    """A file of this machine, and what to tell of how it was found."""

    name: str
    note: str | None


def find_file(files: KnownFiles, wanted: Wanted) -> Found | None:
    """Find a file by its digest, else the one that has its name."""
    if wanted.digest is not None:
        found = files.find(wanted.kind, wanted.digest, wanted.name)
        if found is not None:
            is_named = wanted.name is None or _named([found], wanted.name) is not None
            return Found(found, None if is_named else f"the {wanted}: here it is {_quote(found)}")
    named = _named(files.names.get(wanted.kind, ()), wanted.name or "")
    if named is None:
        return None
    doubt = "is not known to have that hash" if wanted.digest else "may be another, without a hash"
    return Found(named, f"the {wanted}: taken by its name; {_quote(named)} {doubt}")


def _named(names: Sequence[str], wanted: str) -> str | None:
    """Give the one file of a name; the likeliest way to write it goes before the others."""
    for here, there in (
        (_with_slashes, _with_slashes),
        (_without_extension, _with_slashes),
        (_base, _base),
        (_stem, _base),
        (_loose_stem, _loose),
    ):
        found = [name for name in names if here(name) == there(wanted)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _quote(name: str) -> str:
    return f"'{to_plain(name, 80)}'"


def _with_slashes(name: str) -> str:
    return name.replace("\\", "/")


def _without_extension(name: str) -> str:
    folders, slash, base = _with_slashes(name).rpartition("/")
    return f"{folders}{slash}{base.rpartition('.')[0] or base}"


def _base(name: str) -> str:
    return _with_slashes(name).rpartition("/")[2]


def _stem(name: str) -> str:
    return _base(_without_extension(name))


def _loose(name: str) -> str:
    # A1111 leaves these two characters out of a model's name.
    return re.sub("[,:]", "", _base(name)).casefold().strip()


def _loose_stem(name: str) -> str:
    return _loose(_stem(name))
