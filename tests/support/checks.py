"""`python dev.py test`: every check, in order, up to the first that fails, and a summary.

`dev.py` has installed what the checks need and says where it is.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]

SUITES = {
    "core": ("tests/core", "tests/properties", "tests/security", "tests/vectors"),
    "comfyui": ("tests/adapter", "tests/live"),
    "browser": ("tests/browser",),
}

IN_PARALLEL = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
"""Two processes, each with its own servers; a file's tests share one. A later `-n 0` wins."""

Command = Sequence[str | Path]


class NothingToRunError(Exception):
    """A check would have passed because there is nothing to check."""


@dataclass(frozen=True)
class Step:
    """One check.

    Attributes:
        name: as printed.
        command: gives the command line when the step's turn comes.
    """

    name: str
    command: Callable[[], Command]


def static_steps(node: Path, node_modules: Path) -> Iterator[Step]:
    """List the checks of the Python sources that run nothing of them."""
    python = sys.executable
    pyright = node_modules / "pyright" / "index.js"
    lint = "from importlinter.cli import lint_imports_command as run; run()"
    yield Step("ruff format", lambda: [python, "-m", "ruff", "format", "--check"])
    yield Step("ruff check", lambda: [python, "-m", "ruff", "check"])
    yield Step("mypy", lambda: [python, "-m", "mypy"])
    yield Step("pyright", lambda: [node, pyright, "--pythonpath", python])
    yield Step("lint-imports", lambda: [python, "-c", lint])


def web_steps(node: Path, node_modules: Path) -> Iterator[Step]:
    """List the checks of `web/` that need no browser."""

    def eslint() -> Command:
        # The configuration imports its plugins from the folder that it lies in.
        source = (ROOT / "eslint.config.js").read_bytes()
        name = f"eslint-{hashlib.sha256(source).hexdigest()[:12]}.config.js"
        config = node_modules.parent / name
        config.write_bytes(source)
        script = node_modules / "eslint" / "bin" / "eslint.js"
        folders = [folder for folder in ("web", "tests/web") if (ROOT / folder).is_dir()]
        return [node, script, "--config", config, "--max-warnings", "0", *folders]

    def unit() -> Command:
        tests = sorted((ROOT / "tests" / "web").rglob("*.test.js"))
        if not tests:
            raise NothingToRunError("expected tests in tests/web/*.test.js, found none")
        return [node, "--test", "--test-reporter=spec", *tests]

    tsc = node_modules / "typescript" / "bin" / "tsc"
    yield Step("tsc", lambda: [node, tsc, "-p", "web"])
    yield Step("eslint", eslint)
    yield Step("node --test", unit)


def pytest_step(suite: str, arguments: Sequence[str]) -> Step:
    """Build the step that runs one suite; pytest itself fails when it collects nothing."""

    def command() -> Command:
        folders = [folder for folder in SUITES[suite] if (ROOT / folder).is_dir()]
        if not folders:
            raise NothingToRunError(f"expected tests in {' or '.join(SUITES[suite])}, found none")
        return [sys.executable, "-m", "pytest", "-q", *IN_PARALLEL, *folders, *arguments]

    return Step(f"pytest {suite}", command)


def list_steps(options: argparse.Namespace, pytest_arguments: Sequence[str]) -> Iterator[Step]:
    """List the steps that were asked for, in order."""
    if options.only in (None, "core"):
        yield from static_steps(options.node, options.node_modules)
        yield pytest_step("core", pytest_arguments)
        yield from web_steps(options.node, options.node_modules)
    for suite in ("comfyui", "browser"):
        if options.only in (None, suite):
            yield pytest_step(suite, pytest_arguments)


def run(step: Step) -> bool:
    """Run one step and tell whether it passed; the step ends with us."""
    try:
        command = step.command()
    except NothingToRunError as error:
        print(error, flush=True)
        return False
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            return process.wait() == 0
        except KeyboardInterrupt:
            process.wait()  # it got the same Ctrl+C and tidies up
            raise
        finally:
            process.terminate()


def end_at_sigterm(number: int, _frame: FrameType | None) -> None:
    """End as after an exception, so that what we started ends too."""
    sys.exit(128 + number)


def main(argv: list[str]) -> int:
    """Run the steps and give the exit code."""
    signal.signal(signal.SIGTERM, end_at_sigterm)
    end = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(SUITES))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--node", type=Path)
    parser.add_argument("--node-modules", type=Path)
    options = parser.parse_args(argv[:end])
    if options.full:
        os.environ["PROVENANCE_FULL"] = "1"

    summary: list[str] = []
    passed = True
    for step in list_steps(options, argv[end + 1 :]):
        if not passed:
            summary.append(f"{step.name:16}not run")
            continue
        print(f"--- {step.name}", flush=True)
        started = time.monotonic()
        passed = run(step)
        elapsed_s = time.monotonic() - started
        summary.append(f"{step.name:16}{'ok' if passed else 'FAILED':8}{elapsed_s:6.1f} s")
    print("--- summary", *summary, sep="\n", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
