"""No image is half-written, overwritten or lost: not by a kill, a full disk or another server."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyui_provenance.containers import extract
from comfyui_provenance.pixels import decode_pixels

from support import prompts
from support.server import ComfyServer, PromptFailed

SHIM = Path(__file__).parents[1] / "support" / "failing_disk.c"
KILLS = 3


def many(color: int, count: int, prefix: str, size: int = 64) -> prompts.Prompt:
    """Build a prompt that saves many images without any model."""
    return {
        "empty": prompts.node("EmptyImage", width=size, height=size, batch_size=count, color=color),
        "save": prompts.node(
            "ProvenanceSaveImage", images=["empty", 0], filename_prefix=prefix, sidecar=True
        ),
    }


def assert_whole(path: Path) -> None:
    data = path.read_bytes()
    if path.suffix == ".json":
        assert data.endswith(b"}")
        return
    assert decode_pixels(data).width > 0
    assert "provenance" in extract(data)


@pytest.fixture
def victim() -> Iterator[ComfyServer]:
    """A server that may be killed."""
    with ComfyServer() as started:
        yield started


@pytest.mark.posix
def test_a_server_that_is_killed_while_saving_leaves_only_whole_images(
    victim: ComfyServer,
) -> None:
    chance = random.Random(20_261)  # noqa: S311 - when to kill
    folder = victim.output_folder / "killed"
    known: dict[str, bytes] = {}
    for round_ in range(KILLS):
        victim.submit(many(round_, 400, "killed/a"))
        deadline = time.monotonic() + 60
        before = len(known)
        while time.monotonic() < deadline and len(list(folder.glob("*.png"))) < before + 20:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.1)

        victim.kill()

        for path in folder.iterdir():
            if path.name.startswith(".provenance-"):
                continue  # temporary: no image's name
            assert_whole(path)
            data = path.read_bytes()
            assert known.setdefault(path.name, data) == data, f"{path.name} was overwritten"
        assert before < len(known) < (round_ + 1) * 800
        victim.restart()


def test_what_a_kill_left_behind_is_removed_by_a_later_save(server: ComfyServer) -> None:
    folder = server.output_folder / "stale"
    folder.mkdir()
    old, young = folder / ".provenance-0123.tmp", folder / ".provenance-4567.tmp"
    for path in (old, young):
        path.write_bytes(b"part of an image")
    os.utime(old, (time.time() - 7200, time.time() - 7200))

    server.run(many(1, 1, "stale/a"))

    assert (old.exists(), young.exists()) == (False, True)


def test_two_servers_that_save_into_one_folder_lose_nothing(tmp_path: Path) -> None:
    shared = ("--output-directory", str(tmp_path))
    with ComfyServer(arguments=shared) as first, ComfyServer(arguments=shared) as second:
        jobs = [(s, s.submit(many(at + 1, 500, "both"))) for at, s in enumerate((first, second))]
        histories = [server.wait_for(job) for server, job in jobs]

    named = [image["filename"] for h in histories for image in h.outputs["save"]["images"]]
    assert len(set(named)) == 1000
    assert {path.name for path in tmp_path.glob("*.png")} == set(named)
    for path in tmp_path.iterdir():
        assert_whole(path)
    colours = [decode_pixels((tmp_path / name).read_bytes()).samples[2] for name in named]
    assert colours == [1] * 500 + [2] * 500


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A server for which one output folder is full and another read-only."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "expected a C compiler (cc) on PATH, as the README says"
    library = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True
    )
    base = tmp_path_factory.mktemp("base").resolve()
    environ = {
        "LD_PRELOAD": str(library),
        "FULL_FOLDER": str(base / "output" / "full"),
        "READ_ONLY_FOLDER": str(base / "output" / "fixed"),
    }
    with ComfyServer(base=base, environ=environ) as started:
        for name in ("full", "fixed"):
            (started.output_folder / name).mkdir()
        yield started


@pytest.mark.linux
@pytest.mark.parametrize(
    ("folder", "reason"),
    [("full", "No space left on device"), ("fixed", "Read-only file system")],
    ids=["a full disk", "a read-only folder"],
)
def test_an_image_that_cannot_be_written_is_an_error_with_words_and_leaves_nothing(
    failing: ComfyServer, folder: str, reason: str
) -> None:
    with pytest.raises(PromptFailed, match=f"could not be saved.*{reason}") as failed:
        failing.run(many(5, 2, f"{folder}/a", size=512))

    assert list((failing.output_folder / folder).iterdir()) == []
    assert str(failing.base) not in str(failed.value)
    # The same server goes on saving elsewhere.
    (first, _) = failing.images(failing.run(many(6, 2, "elsewhere/a")))
    assert_whole(first)
