"""Judges for audits that some files end or delay; a new process finds them by name."""

from __future__ import annotations

import os
import time
from pathlib import Path

from comfyui_provenance.audit import Audited, audit_file


def die_of_deadly_names(path: str, thumbnail: bool) -> Audited:
    """End the process at a file whose name says so; judge any other."""
    if "deadly" in path:
        os._exit(1)
    return audit_file(path, thumbnail=thumbnail)


def dawdle_at_the_first(path: str, thumbnail: bool) -> Audited:
    """Take longer for the first file of every other chunk."""
    if int(Path(path).stem) % 16 == 0:
        time.sleep(0.2)
    return audit_file(path, thumbnail=thumbnail)
