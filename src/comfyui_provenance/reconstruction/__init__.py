"""From an infotext to a graph that makes such a picture again, as far as ComfyUI can.

The text tells less than a record, and other programs draw noise and weigh words in other ways. So
nothing here promises equal bits: every assumption is told, and all that was left out.
"""

from __future__ import annotations

from .build import Reconstruction, reconstruct
from .files import KnownFiles

__all__ = ["KnownFiles", "Reconstruction", "reconstruct"]
