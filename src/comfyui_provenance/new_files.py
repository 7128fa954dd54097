"""Writing files: whole or not at all, and never over another one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

_TEMPORARY: Final = ".provenance-"


@contextmanager
def open_new(path: Path) -> Generator[BinaryIO]:
    """Give a file to write; it gets its name at the end, once it is whole.

    After an error no part of it is left behind.

    Raises:
        FileExistsError: The name is taken, before or after the writing.
        OSError: It cannot be written.
    """
    refuse_taken(path)
    draft = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}.tmp")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_new(path: Path, data: bytes) -> None:
    """Write a file; see `open_new`."""
    with open_new(path) as file:
        file.write(data)


def refuse_taken(path: Path) -> None:
    """Refuse a name that a file has, before the work that would be written under it.

    Raises:
        FileExistsError: There is one; a link that leads nowhere counts.
    """
    if os.path.lexists(path):
        raise _taken(path)


def _publish(draft: Path, path: Path) -> None:
    """Give a draft its name, unless another process took that meanwhile."""
    try:
        path.hardlink_to(draft)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError:
        # File systems without hard links (FAT, some network shares): an empty file takes the name.
        try:
            path.open("xb").close()
        except FileExistsError as error:
            raise _taken(path) from error
        try:
            draft.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(f"{path.name}: expected a new name, got one that is taken")
