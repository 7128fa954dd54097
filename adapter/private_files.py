"""JSON files of this pack in ComfyUI's private user folder, which no HTTP route reaches."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any, Final

import folder_paths

_FOLDER: Final = "provenance"


def private_path(name: str) -> Path:
    """Give the path of a file that belongs to the server's owner."""
    return Path(folder_paths.get_system_user_directory(_FOLDER)) / name


def read_private(name: str) -> dict[str, Any]:
    """Read a file; an empty object where there is none.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a JSON object.
    """
    try:
        document = json.loads(private_path(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, got {type(document).__name__}")
    return document


def write_private(name: str, document: dict[str, Any]) -> None:
    """Write a file whole: whoever reads it meanwhile reads the old one.

    Raises:
        OSError: It cannot be written; the old one stays.
    """
    path = private_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with draft.open("x", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def reason(error: OSError | ValueError) -> str:
    """Say why a file cannot be used, without its path, which is this server's."""
    return str(error.strerror) if isinstance(error, OSError) else str(error)
