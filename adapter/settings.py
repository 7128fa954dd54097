"""What this server's owner has switched on, in ComfyUI's private user folder."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

import folder_paths

_log = logging.getLogger(__name__)

_FOLDER: Final = "provenance"
_NAME: Final = "settings.json"

RECORD_IN_STOCK_SAVES: Final = "record_in_stock_saves"
"""Whether core's Save Image and Preview Image carry the record, too."""


def is_on(name: str) -> bool:
    """Tell whether a setting is on; a file that is not there or damaged switches nothing on."""
    path = settings_path()
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError):
        _log.warning("%s cannot be read: nothing in it is in force", _NAME, exc_info=True)
        return False
    return isinstance(settings, dict) and settings.get(name) is True


def settings_path() -> Path:
    """Give the file in which the server's owner switches things on."""
    return Path(folder_paths.get_system_user_directory(_FOLDER)) / _NAME
