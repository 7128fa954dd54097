"""Writing into the output folder: whole files only, never over another file."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
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


def write_new(
    name: OutputName,
    counter: int,
    batch_index: int,
    contents: Mapping[str, bytes],
    warnings: list[str],
) -> int:
    """Write the files of one image under the first number that is free for all of them.

    Each file is whole or not there: the data goes to a temporary file first, is flushed,
    and gets its name by a hard link, which fails if the name is taken, by another process
    too. The first file claims the number.

    Args:
        name: Where to.
        counter: The first number to try.
        batch_index: Position of the image in its batch.
        contents: The bytes by suffix, as `.png`; the image first.
        warnings: Gets a sentence for each file beside the image that cannot be written.

    Returns:
        The number that was used.

    Raises:
        OSError: The image cannot be written, with words for the user. No part of it is left
            behind.
    """
    (image_suffix, image), *beside = contents.items()
    try:
        name.folder.mkdir(parents=True, exist_ok=True)
        while True:
            stem = name.file_name(counter, batch_index)
            targets = {suffix: name.folder / f"{stem}{suffix}" for suffix in contents}
            free = not any(os.path.lexists(target) for target in targets.values())
            if free and _write_whole(targets[image_suffix], image):
                break
            counter += 1
    except OSError as error:
        where = f"the output folder {name.subfolder!r}" if name.subfolder else "the output folder"
        raise OSError(
            f"image {batch_index + 1} could not be saved in {where}: {error.strerror}. Make room "
            "or choose another folder and queue the prompt again: what was made is still cached"
        ) from error
    for suffix, data in beside:
        try:
            written = _write_whole(targets[suffix], data)
        except OSError as error:
            warnings.append(f"{stem}{suffix} could not be written: {error.strerror}")
        else:
            if not written:
                warnings.append(f"{stem}{suffix} was not written: the name is taken")
    return counter


def _write_whole(target: Path, data: bytes) -> bool:
    """Write a whole file under a new name; `False` if the name is taken."""
    temporary = target.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return _link_new(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


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
