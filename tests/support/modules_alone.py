"""Modules of `adapter/` that need nothing of ComfyUI, loaded without it."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from .server import ROOT


def load_alone(name: str) -> ModuleType:
    """Load a module of `adapter/` by itself.

    Args:
        name: such as `setting_changes`.
    """
    source = ROOT / "adapter" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"provenance_{name}", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
