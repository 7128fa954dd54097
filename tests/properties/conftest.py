"""How laws are tried: no deadline, since the machines that run them are shared."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("laws", deadline=None, database=None)
settings.load_profile("laws")
