"""Writing into the output folder: whole files only, never over another file."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import folder_paths

_TEMPORARY: Final = ".provenance-"

_STALE_S: Final = 3600
"""No single file takes an hour to write."""


@dataclass(frozen=True, slots=True)
class OutputName:
    """Where the images of one save go.

    Attributes:
        folder: Below the output folder.
        stem: File name without counter; may hold `%batch_num%`.
        subfolder: `folder` relative to the output folder, as ComfyUI's page wants it.
        counter: The first number to try.
    """

    folder: Path
    stem: str
    subfolder: str
    counter: int

    def file_name(self, counter: int, batch_index: int) -> str:
        """Give the file name in core's form, without its suffix."""
        return f"{self.stem.replace('%batch_num%', str(batch_index))}_{counter:05}_"


def plan_output(prefix: str, *, width: int, height: int) -> OutputName:
    """Resolve a filename prefix as core's Save Image does, tokens and containment included.

    Args:
        prefix: May hold folders and ComfyUI's tokens, as `%date%` and `%width%`.
        width: Of the first image, in pixels.
        height: Of the first image, in pixels.

    Raises:
        ValueError: The prefix leads out of the output folder.
    """
    try:
        folder, stem, counter, subfolder, _ = folder_paths.get_save_image_path(
            prefix, folder_paths.get_output_directory(), width, height
        )
    except OSError:
        raise
    # Core raises a bare Exception for a prefix that leads out of the folder.
    except Exception as error:
        raise ValueError(
            f"filename_prefix: expected a name below the output folder, got {prefix!r}"
        ) from error
    return OutputName(Path(folder), stem, subfolder, counter)


def remove_stale(folder: Path) -> None:
    """Remove temporary files that a process which was ended left in a folder long ago."""
    try:
        for path in folder.glob(f"{_TEMPORARY}*.tmp"):
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink(missing_ok=True)
    except OSError:
        return  # another process was faster, or the folder cannot be read: nothing is lost


@dataclass(frozen=True, slots=True)
class Draft:
    """A whole file that has no name of its own yet.

    Attributes:
        path: Where its bytes are; hidden.
        suffix: Of the name to come, as `.png`.
    """

    path: Path
    suffix: str

    def discard(self) -> None:
        """Remove it, unless it has a name by now."""
        self.path.unlink(missing_ok=True)


def write_draft(name: OutputName, suffix: str, data: bytes) -> Draft:
    """Write a file to its end, flushed to the disk, without giving it its name.

    Args:
        name: Where it will go.
        suffix: Of the name to come.
        data: All of it.

    Raises:
        OSError: It cannot be written, with words for the user. No part of it is left behind.
    """
    path = name.folder / f"{_TEMPORARY}{secrets.token_hex(8)}.tmp"
    with _explained(name):
        name.folder.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return Draft(path, suffix)


def publish(
    name: OutputName,
    counter: int,
    batch_index: int,
    image: Draft,
    beside: Mapping[str, bytes],
    warnings: list[str],
) -> int:
    """Give an image the first number that is free for all of its files.

    Each file is whole or not there: it gets its name by a hard link, which fails if the name is
    taken, by another process too. The image claims the number.

    Args:
        name: Where to.
        counter: The first number to try.
        batch_index: Position of the image in its batch.
        image: The image's file.
        beside: The bytes of further files, by suffix.
        warnings: Gets a sentence for each of those that cannot be written.

    Returns:
        The number that was used.

    Raises:
        OSError: The image cannot be written, with words for the user.
    """
    with _explained(name):
        while True:
            stem = name.file_name(counter, batch_index)
            names = [f"{stem}{suffix}" for suffix in (image.suffix, *beside)]
            free = not any(os.path.lexists(name.folder / file) for file in names)
            if free and _link_new(image.path, name.folder / names[0]):
                break
            counter += 1
    image.discard()
    for file, (suffix, data) in zip(names[1:], beside.items(), strict=True):
        try:
            draft = write_draft(name, suffix, data)
        except OSError as error:
            warnings.append(f"{file} could not be written: {error}")
            continue
        try:
            if not _link_new(draft.path, name.folder / file):
                warnings.append(f"{file} was not written: the name is taken")
        except OSError as error:
            warnings.append(f"{file} could not be written: {error.strerror}")
        finally:
            draft.discard()
    return counter


@contextmanager
def _explained(name: OutputName) -> Generator[None]:
    """Turn an error of the disk into words for the user, without its paths."""
    try:
        yield
    except OSError as error:
        where = f"the output folder {name.subfolder!r}" if name.subfolder else "the output folder"
        raise OSError(
            f"an image could not be saved in {where}: {error.strerror}. Make room or choose "
            "another folder, and queue the prompt again: what was made is still cached"
        ) from error


def _link_new(temporary: Path, target: Path) -> bool:
    """Give a file its name unless the name is taken."""
    try:
        target.hardlink_to(temporary)
    except FileExistsError:
        return False
    except OSError:
        # File systems without hard links (FAT, some network shares).
        return _claim(temporary, target)
    return True


def _claim(temporary: Path, target: Path) -> bool:
    """Take a name with an empty file, which nobody else can do then, and replace that."""
    try:
        target.open("xb").close()
    except FileExistsError:
        return False
    try:
        temporary.replace(target)
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return True
