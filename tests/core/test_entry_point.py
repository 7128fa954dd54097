"""Loading the pack's root costs nothing, and its prestartup script sets only what is unset."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_loading_the_root_imports_nothing_of_the_pack_or_of_comfyui() -> None:
    code = (
        "import runpy, sys; before = set(sys.modules); "
        f"runpy.run_path({str(ROOT / '__init__.py')!r}); "
        "print(sorted(m for m in set(sys.modules) - before if '.' not in m))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = done.stdout
    assert not {"torch", "numpy", "PIL", "comfy", "comfy_api"} & set(loaded.split("'"))


def test_the_root_defines_no_node_class_mappings() -> None:
    names = runpy.run_path(str(ROOT / "__init__.py"))

    assert "NODE_CLASS_MAPPINGS" not in names
    assert (ROOT / names["WEB_DIRECTORY"]).is_dir()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(None, ":4096:8", id="unset"),
        pytest.param(":16:8", ":16:8", id="set by the user"),
    ],
)
def test_the_prestartup_script_sets_the_cublas_workspace_unless_it_is_set(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    if before is None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    else:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", before)

    runpy.run_path(str(ROOT / "prestartup_script.py"))

    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == after
