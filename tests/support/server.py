"""A real ComfyUI in a process of its own, for the tests, the demo, the benchmarks and `serve`.

Knows how to lay out a base directory, start `main.py` on it, talk to it over HTTP and read what it
wrote. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

Json: TypeAlias = Any

ROOT = Path(__file__).resolve().parents[2]
PACK = "comfyui-provenance"
GUARD = Path(__file__).with_name("orphan_guard.py")
LOG_TAIL_LINES = 30
OWN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
# Outside the clone and ComfyUI's folder; without it each start compiles some thousand modules.
BYTECODE = Path(tempfile.gettempdir()) / "provenance-bytecode"
# torch's threads wait for each other by spinning. With several servers on two cores, ten steps took
# 58 s that way and 2 s asleep; the numbers computed are the same.
BUSY_MACHINE = {"OMP_WAIT_POLICY": "PASSIVE"}
DEVICE_FLAGS = {"--cpu", "--gpu-only", "--highvram", "--normalvram", "--lowvram", "--novram"}


class ServerError(Exception):
    """ComfyUI did not start, or ended while it was needed."""


class PromptRefused(Exception):  # noqa: N818 - reads as what happened in `pytest.raises`
    """ComfyUI did not take a prompt.

    Attributes:
        status: the HTTP status.
        body: the parsed answer, with `error` and `node_errors`.
    """

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"expected the prompt to be accepted, got HTTP {status}: {body}")
        self.status = status
        self.body = body


class PromptFailed(Exception):  # noqa: N818 - as above
    """A prompt ended with an error or was interrupted.

    Attributes:
        details: ComfyUI's `execution_error` or `execution_interrupted` message.
    """

    def __init__(self, details: dict[str, Any]) -> None:
        where = f"{details.get('node_type')} (node {details.get('node_id')})"
        super().__init__(f"{where}: {details.get('exception_message', 'interrupted')}")
        self.details = details


@dataclass(frozen=True, slots=True)
class History:
    """What ComfyUI remembers of one finished prompt.

    Attributes:
        prompt_id: the prompt's name.
        outputs: what each output node showed, by node id.
        cached: ids of the nodes whose earlier result was used again.
        entry: the whole entry of `/history`.
    """

    prompt_id: str
    outputs: dict[str, dict[str, Any]]
    cached: tuple[str, ...]
    entry: dict[str, Any]

    @classmethod
    def of(cls, prompt_id: str, entry: dict[str, Any]) -> Self:
        """Read an entry of `/history`.

        Raises:
            PromptFailed: the prompt did not end well.
        """
        messages = dict(entry["status"]["messages"])
        for name in ("execution_error", "execution_interrupted"):
            if name in messages:
                raise PromptFailed(messages[name])
        cached = tuple(messages.get("execution_cached", {}).get("nodes", ()))
        return cls(prompt_id, entry["outputs"], cached, entry)


class ComfyServer:
    """A ComfyUI that runs while this context manager is open.

    Attributes:
        base: the base directory, with `custom_nodes`, `input`, `models`, `output`, `temp`, `user`.
        port: the port on 127.0.0.1, the same after a restart.
    """

    def __init__(
        self,
        *,
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        packs: Sequence[Path] = (),
        with_pack: bool = True,
        base: Path | None = None,
        port: int | None = None,
        comfyui: Path | None = None,
        models: Path | None = None,
        start_timeout_s: float = 180.0,
        to_terminal: bool = False,
    ) -> None:
        """Describe a server; `start` or entering the context starts it.

        Args:
            arguments: more arguments for `main.py`, unchanged.
            environ: variables set on top of this process's.
            packs: folders of further node packs to link into `custom_nodes`.
            with_pack: whether to link this clone into `custom_nodes`.
            base: base directory; without it a temporary one, removed at the end.
            port: port to listen on; without it a free one.
            comfyui: ComfyUI's folder; without it, that of PROVENANCE_COMFYUI.
            models: folder of models to link; without it, that of PROVENANCE_MODELS.
            start_timeout_s: how long to wait for the first answer.
            to_terminal: let ComfyUI print to our own output instead of a file.
        """
        self._comfyui = comfyui or folder_from("PROVENANCE_COMFYUI")
        self._models = models or folder_from("PROVENANCE_MODELS")
        self._temporary = base is None
        self.base = base or Path(tempfile.mkdtemp(prefix="provenance-comfyui-"))
        self.port = port or free_port()
        self._arguments = tuple(arguments)
        self._environ = dict(environ or {})
        self._packs = {pack.name: pack for pack in packs}
        if with_pack:
            self._packs[PACK] = ROOT
        self._start_timeout_s = start_timeout_s
        self._to_terminal = to_terminal
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self.base / "comfyui.log"
        self._log_start = 0
        self._lay_out()

    def own_model(self, name: str) -> Path:
        """Make a linked model file one of this server's own, which a test may change.

        Args:
            name: below `models`, as `checkpoints/a.safetensors`.
        """
        file = self.base / "models" / name
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        return file

    # --- life ---

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start ComfyUI and wait until it answers.

        Raises:
            ServerError: it ended, or did not answer in time; with the end of its log.
        """
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        kept = {k: v for k, v in os.environ.items() if k not in OWN_VARIABLES}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self._comfyui,
                env={
                    **kept,
                    "PYTHONPYCACHEPREFIX": str(BYTECODE),
                    "PYTHONUNBUFFERED": "1",
                    **BUSY_MACHINE,
                    **self._environ,
                },
                stdin=subprocess.PIPE,
                stdout=None if self._to_terminal else log,
                stderr=None if self._to_terminal else subprocess.STDOUT,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def command(self) -> list[str]:
        """Give the command line: on the CPU unless an argument asks for a device's memory.

        The caller's arguments come last, so that they win.
        """
        device = () if DEVICE_FLAGS.intersection(self._arguments) else ("--cpu",)
        return [
            *(sys.executable, str(GUARD), str(self._comfyui / "main.py"), *device),
            *("--port", str(self.port), "--base-directory", str(self.base)),
            *("--database-url", "sqlite:///:memory:", "--disable-auto-launch"),
            *self._arguments,
        ]

    def stop(self) -> None:
        """End ComfyUI; the base directory stays, so that `start` can go on with it."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()

    def kill(self) -> None:
        """End ComfyUI at once, as a system does that runs out of memory."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """End ComfyUI and start it again: same port, base directory, arguments and variables."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End ComfyUI and remove the base directory if it is a temporary one."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.base, ignore_errors=True)

    def wait(self) -> int:
        """Wait until ComfyUI ends by itself and give its exit code."""
        return self._process.wait() if self._process else 0

    def log_text(self) -> str:
        """Read what ComfyUI has logged since it was last started."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def _lay_out(self) -> None:
        for name in ("custom_nodes", "input", "models", "output", "temp", "user"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        for name, folder in self._packs.items():
            link_folder(folder, self.base / "custom_nodes" / name)
        for file in self._models.rglob("*.safetensors"):
            link_file(file, self.base / "models" / file.relative_to(self._models))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline:
            if not self.is_running():
                raise ServerError(
                    f"ComfyUI ended while starting; its log ends:\n{self._log_tail()}"
                )
            with contextlib.suppress(OSError):
                self.get_json("/system_stats")
                return
            time.sleep(0.2)
        raise ServerError(
            f"expected an answer in {self._start_timeout_s:g} s; the log ends:\n{self._log_tail()}"
        )

    def _log_tail(self) -> str:
        return "\n".join(self.log_text().splitlines()[-LOG_TAIL_LINES:])

    def is_running(self) -> bool:
        """Tell whether the process is there."""
        return self._process is not None and self._process.poll() is None

    # --- talk ---

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def request(
        self,
        path: str,
        body: bytes | None = None,
        *,
        content_type: str = "application/json",
        timeout_s: float = 60.0,
    ) -> tuple[int, bytes]:
        """Send a GET, or a POST if there is a body.

        Returns:
            The status, whatever it is, and the body.

        Raises:
            OSError: no answer.
        """
        headers = {"Content-Type": content_type} if body is not None else {}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)  # noqa: S310 - our own address
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def get_json(self, path: str) -> Json:
        """Get a path and parse the answer.

        Raises:
            ServerError: the status is not 200.
        """
        return self._parsed(path, *self.request(path))

    def post_json(self, path: str, value: Json) -> Json:
        """Post a value and parse the answer, `None` if it is empty.

        Raises:
            ServerError: the status is not 200.
        """
        return self._parsed(path, *self.request(path, json.dumps(value).encode()))

    @staticmethod
    def _parsed(path: str, status: int, body: bytes) -> Json:
        if status != 200:
            raise ServerError(f"{path}: expected HTTP 200, got {status}: {body[:2000]!r}")
        return json.loads(body) if body else None

    def submit(self, prompt: Json, **extra: Json) -> str:
        """Queue a prompt.

        Args:
            prompt: in API format.
            **extra: further fields of the request, such as `extra_data` or `prompt_id`.

        Returns:
            The prompt's id.

        Raises:
            PromptRefused: ComfyUI answered 400.
        """
        body = json.dumps({"prompt": prompt, **extra}).encode()
        status, answer = self.request("/prompt", body)
        if status != 200:
            try:
                parsed = json.loads(answer)
            except ValueError:
                parsed = answer.decode("utf-8", "replace")
            raise PromptRefused(status, parsed)
        return str(json.loads(answer)["prompt_id"])

    def run(self, prompt: Json, timeout_s: float = 300.0, **extra: Json) -> History:
        """Queue a prompt and wait for its end.

        Raises:
            PromptRefused: ComfyUI answered 400.
            PromptFailed: a node failed, or the prompt was interrupted.
            ServerError: ComfyUI ended.
            TimeoutError: it takes longer than `timeout_s`.
        """
        return self.wait_for(self.submit(prompt, **extra), timeout_s)

    def wait_for(self, prompt_id: str, timeout_s: float = 300.0) -> History:
        """Wait for the end of a queued prompt; raises as `run`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            entries = self.get_json(f"/history/{prompt_id}") if self.is_running() else None
            if entries is None:
                raise ServerError(f"ComfyUI ended; its log ends:\n{self._log_tail()}")
            if prompt_id in entries:
                return History.of(prompt_id, entries[prompt_id])
            time.sleep(0.05)
        raise TimeoutError(f"prompt {prompt_id}: expected its end in {timeout_s:g} s")

    def interrupt(self) -> None:
        """Stop the prompt that is running."""
        self.post_json("/interrupt", {})

    def free(self) -> None:
        """Make ComfyUI forget cached results and unload models before the next prompt."""
        self.post_json("/free", {"unload_models": True, "free_memory": True})
        # ComfyUI looks at that request between two prompts, at the latest after the first of
        # these; without them the next prompt can overtake it.
        size = {"width": 16, "height": 16, "batch_size": 1, "color": 0}
        blank: dict[str, Any] = {
            "image": {"class_type": "EmptyImage", "inputs": size},
            "show": {"class_type": "PreviewImage", "inputs": {"images": ["image", 0]}},
        }
        for _ in range(2):
            self.run(blank)

    def upload(self, image: Path | bytes, name: str | None = None) -> str:
        """Upload an image to ComfyUI's input folder.

        Args:
            image: a file, or its bytes.
            name: file name to ask for; ComfyUI numbers it if another file has it.

        Returns:
            The name that LoadImage takes.
        """
        content = image if isinstance(image, bytes) else image.read_bytes()
        name = name or (f"{uuid.uuid4().hex}.png" if isinstance(image, bytes) else image.name)
        boundary = uuid.uuid4().hex
        head = f'Content-Disposition: form-data; name="image"; filename="{name}"'
        body = (
            f"--{boundary}\r\n{head}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
            + content
            + f"\r\n--{boundary}--\r\n".encode()
        )
        kind = f"multipart/form-data; boundary={boundary}"
        answer = self._parsed(
            "/upload/image", *self.request("/upload/image", body, content_type=kind)
        )
        return f"{answer['subfolder']}/{answer['name']}".lstrip("/")

    # --- files ---

    @property
    def output_folder(self) -> Path:
        """Where ComfyUI saves images."""
        return self.base / "output"

    @property
    def input_folder(self) -> Path:
        """Where uploaded images are."""
        return self.base / "input"

    def images(self, history: History, node_id: str = "save") -> list[Path]:
        """List the image files that an output node showed, in the order of the batch."""
        return [self.path_of(image) for image in history.outputs[node_id]["images"]]

    def path_of(self, image: Mapping[str, str]) -> Path:
        """Find the file behind an entry of `ui.images`: `type`, `subfolder` and `filename`."""
        return self.base / image["type"] / image["subfolder"] / image["filename"]


def folder_from(variable: str) -> Path:
    """Read a folder from the environment.

    Raises:
        ServerError: it is not set or not a folder.
    """
    folder = Path(os.environ.get(variable, ""))
    if not os.environ.get(variable) or not folder.is_dir():
        raise ServerError(f"expected {variable} to name a folder: run `python dev.py test`")
    return folder.absolute()


def free_port() -> int:
    """Ask the system for a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def link_folder(folder: Path, link: Path) -> None:
    """Make a folder appear under another path, whatever that led to before."""
    if link.exists() and link.samefile(folder):
        return
    if sys.platform == "win32":
        import _winapi

        if os.path.lexists(link):
            link.rmdir()
        # A junction: symbolic links need a privilege on Windows.
        _winapi.CreateJunction(str(folder), str(link))
    else:
        link.unlink(missing_ok=True)
        link.symlink_to(folder, target_is_directory=True)


def link_file(file: Path, link: Path) -> None:
    """Make a file appear under another path; a copy where links are not allowed."""
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(file)
    except OSError:
        shutil.copyfile(file, link)
