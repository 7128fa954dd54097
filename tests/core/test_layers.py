"""Who may import whom, where import-linter cannot see it: the root folder is not a package.

The sources are read, not run. See STYLE.md, "Who may import whom".
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("adapter", "nodes", "routes", "src")
HOST = {
    "app",
    "comfy",
    "comfy_api",
    "comfy_api_nodes",
    "comfy_config",
    "comfy_execution",
    "comfy_extras",
    "comfy_kitchen",  # kernels that ComfyUI requires
    "comfyui_version",
    "execution",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "nodes",
    "protocol",
    "server",
}
HOST_ALLOWED = {
    "adapter": HOST,
    "nodes": {"comfy_api"},
    "routes": set[str](),
    "src": set[str](),
}
# What a folder may reach in the pack besides itself.
PACK_ALLOWED = {
    "adapter": {"src"},
    "nodes": {"adapter", "src"},
    "routes": {"adapter", "src"},
    "src": set[str](),
}


@dataclass(frozen=True)
class Import:
    """One import statement.

    Attributes:
        file: relative to the root.
        line: counted from 1.
        level: number of leading dots; 0 is absolute.
        module: what follows the dots.
    """

    file: Path
    line: int
    level: int
    module: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {'.' * self.level}{self.module}"

    @property
    def top(self) -> str:
        """The first name of the module."""
        return self.module.partition(".")[0]

    @property
    def target(self) -> Path:
        """The path in the clone that a relative import names; outside it for one dot too many."""
        folder = ROOT / self.file.parent
        for _ in range(self.level - 1):
            folder = folder.parent
        return folder.joinpath(*self.module.split("."))


def imports_in(file: Path, *, whole: bool = True) -> Iterator[Import]:
    """List a file's imports; those of functions too if `whole`, else those run on loading."""
    tree = ast.parse(file.read_bytes(), file)
    shown = file.relative_to(ROOT)
    for node in ast.walk(tree) if whole else run_on_loading(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(shown, node.lineno, 0, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module is None:
            for alias in node.names:
                yield Import(shown, node.lineno, node.level, alias.name)
        elif isinstance(node, ast.ImportFrom):
            yield Import(shown, node.lineno, node.level, node.module or "")


def run_on_loading(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if is_for_type_checkers(node) or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        yield from run_on_loading(node)


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    )


def imports_of(folder: str) -> list[Import]:
    files = sorted((ROOT / folder).rglob("*.py"))
    return [found for file in files for found in imports_in(file)]


def folder_reached(found: Import) -> str:
    """Name the top folder of the clone that a relative import reaches."""
    try:
        return found.target.relative_to(ROOT).parts[0]
    except (ValueError, IndexError):
        return "outside the pack"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_the_parts_of_the_host_that_are_its_business(folder: str) -> None:
    allowed = HOST_ALLOWED[folder]

    wrong = [
        str(found)
        for found in imports_of(folder)
        if found.level == 0 and found.top in HOST - allowed
    ]

    assert wrong == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_reaches_only_the_folders_below_it(folder: str) -> None:
    allowed = PACK_ALLOWED[folder] | {folder}

    wrong = [
        str(found)
        for found in imports_of(folder)
        if found.level > 0 and folder_reached(found) not in allowed
    ]

    assert wrong == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_inside_the_pack_are_relative(folder: str) -> None:
    own = {"adapter", "comfyui_provenance", "routes", "src"}

    wrong = [str(found) for found in imports_of(folder) if found.level == 0 and found.top in own]

    assert wrong == []


@pytest.mark.parametrize("folder", ["adapter", "nodes", "src"])
def test_only_routes_speak_http(folder: str) -> None:
    wrong = [str(found) for found in imports_of(folder) if found.top == "aiohttp"]

    assert wrong == []


@pytest.mark.parametrize("folder", ["adapter", "nodes", "routes"])
def test_outside_libraries_are_left_to_the_core_and_the_adapter(folder: str) -> None:
    allowed = {"adapter": {"torch", "numpy"}, "nodes": {"torch"}, "routes": {"aiohttp"}}[folder]
    known = allowed | sys.stdlib_module_names | HOST

    wrong = [
        str(found) for found in imports_of(folder) if found.level == 0 and found.top not in known
    ]

    assert wrong == []


def test_the_entry_point_imports_nothing_when_loaded() -> None:
    harmless = {"__future__", "typing"}

    wrong = [
        str(found)
        for found in imports_in(ROOT / "__init__.py", whole=False)
        if found.top not in harmless
    ]

    assert wrong == []


@pytest.mark.parametrize("module", ["comfyui_provenance", "comfyui_provenance.cli"])
def test_the_core_loads_without_torch_and_without_the_host(module: str) -> None:
    names = sorted((HOST - {"protocol", "server", "app"}) | {"torch", "aiohttp"})
    script = f"import sys, {module}; print(*sorted(set({names}) & set(sys.modules)))"

    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT / "src",
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stderr == ""
    assert result.stdout.strip() == ""


def test_a_wrong_import_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "nodes").mkdir()
    file = tmp_path / "nodes" / "sampling.py"
    file.write_text("import comfy.sd\nfrom ..routes import http\nfrom ... import outside\n")

    host, sibling, outside = imports_of("nodes")

    assert host.top in HOST - HOST_ALLOWED["nodes"]
    assert folder_reached(sibling) == "routes"
    assert folder_reached(outside) == "outside the pack"
