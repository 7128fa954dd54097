"""What this server's owner has chosen, in ComfyUI's private user folder.

The page may show it, and change it with a code that only the server's console tells
(`setting_changes`); by hand the files are edited. What is in them and unknown here stays there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final

from ..src.comfyui_provenance.record import JsonObject, JsonValue
from .private_files import read_private, write_private

_log = logging.getLogger(__name__)

RECORD_IN_STOCK_SAVES: Final = "record_in_stock_saves"
"""Whether core's Save Image and Preview Image carry the record, too."""

REDACTION: Final = "redaction"
"""Whether secrets are taken out of what is saved."""

SIDECAR: Final = "sidecar"
"""Whether Save Image (Provenance) always writes the record beside the image, too."""

_SETTINGS: Final = "settings.json"
_POLICY: Final = "policy.json"

_NAMES: Final = 200
"""Entries of a list of names; a server has tens of packs."""

_NAME_CHARS: Final = 200
"""Of a pack or class."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """One setting.

    Attributes:
        file: Where it is kept.
        default: Its value where the file does not hold it.
    """

    file: str
    default: bool | tuple[str, ...]


_KNOWN: Final[Mapping[str, _Setting]] = {
    RECORD_IN_STOCK_SAVES: _Setting(_SETTINGS, False),
    REDACTION: _Setting(_SETTINGS, True),
    SIDECAR: _Setting(_SETTINGS, False),
    "allowed_packs": _Setting(_POLICY, ()),
    "allowed_classes": _Setting(_POLICY, ()),
}

_lock = Lock()


def is_on(name: str) -> bool:
    """Tell whether a switch is on; a file that is damaged switches nothing from its default."""
    setting = _KNOWN[name]
    try:
        value = read_private(setting.file).get(name, setting.default)
    except (OSError, ValueError):
        _log.warning("%s cannot be read: nothing in it is in force", setting.file, exc_info=True)
        return setting.default is True
    return value if isinstance(value, bool) else setting.default is True


def read_settings() -> JsonObject:
    """Give every setting as it is in force, by name.

    Raises:
        ValueError: A file is damaged, or holds another kind of value.
        OSError: A file cannot be read.
    """
    return {name: _value(name) for name in _KNOWN}


def check_setting(name: str, value: JsonValue) -> bool | list[str]:
    """Give a value for a setting that a client sent, in the form in which it is kept.

    Raises:
        ValueError: There is no such setting, or it has no such value.
    """
    setting = _KNOWN.get(name)
    if setting is None:
        raise ValueError(f"expected one of {', '.join(_KNOWN)}, got {name[:_NAME_CHARS]!a}")
    if isinstance(setting.default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name}: expected true or false, got {type(value).__name__}")
        return value
    if not isinstance(value, list) or len(value) > _NAMES:
        raise ValueError(f"{name}: expected a list of at most {_NAMES} names")
    names = [item for item in value if isinstance(item, str) and _is_plain(item)]
    if len(names) < len(value):
        raise ValueError(f"{name}: expected names of 1 to {_NAME_CHARS} characters that print")
    return sorted(set(names))


def write_setting(name: str, value: bool | list[str]) -> None:
    """Change a setting; see `check_setting`. The rest of its file stays as it is.

    Raises:
        ValueError: The file is damaged: it is for its owner to mend.
        OSError: It cannot be read or written.
    """
    setting = _KNOWN[name]
    with _lock:
        write_private(setting.file, {**read_private(setting.file), name: value})
    _log.warning("the setting %s was changed on the page, with the code of the console", name)


def tell_change(name: str, value: bool | list[str]) -> str:
    """Say what a change would do, whole and in characters that steer no terminal.

    Raises:
        ValueError: The file is damaged.
        OSError: It cannot be read.
    """
    before = _value(name)
    if not isinstance(value, list) or not isinstance(before, list):
        return f"{name} from {_word(before)} to {_word(value)}"
    added = [ascii(item) for item in value if item not in before]
    removed = [ascii(item) for item in before if item not in value]
    parts = [f"adds {', '.join(added)}"] * bool(added)
    parts += [f"removes {', '.join(removed)}"] * bool(removed)
    return f"{name}: {'; '.join(parts) or 'no change'}"


def _value(name: str) -> bool | list[JsonValue]:
    """Give the value of a setting; raises as `read_settings`."""
    setting = _KNOWN[name]
    try:
        value = read_private(setting.file).get(name, setting.default)
    except ValueError as error:
        raise ValueError(f"{setting.file}: cannot be read: {error}") from error
    if isinstance(setting.default, bool):
        return value if isinstance(value, bool) else setting.default
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{setting.file}: expected a list of names as {name!r}")
    return [*value]


def _is_plain(name: str) -> bool:
    return 0 < len(name) <= _NAME_CHARS and name.isprintable()


def _word(value: object) -> str:
    return "on" if value is True else "off"
