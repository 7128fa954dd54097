"""Several processes share one cache, and any of them may die: no error and no wrong digest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

import comfyui_provenance
from comfyui_provenance.digest import digest_text
from comfyui_provenance.materials.cache import DigestCache, FileIdentity

PROCESSES: Final = 4
FILES: Final = 50
DEATHS: Final = 8
SETTLED_NS: Final = 10**12

SCRIPT: Final = """
import itertools, sys
from pathlib import Path
from comfyui_provenance.digest import digest_text
from comfyui_provenance.materials.cache import DigestCache, FileIdentity

database, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
cache, written = DigestCache(database), 0
for number in itertools.count(first):
    identity = FileIdentity(Path(f"/models/{number}"), number, 1, 2, 3, 4)
    cache.put(identity, digest_text(str(number)), 10**12)
    found = DigestCache(database).get(identity)
    assert found == digest_text(str(number)), found
    written += 1
    print(written, flush=True)
    if written == count:
        break
"""


def start_writer(database: Path, first: int, count: int) -> subprocess.Popen[str]:
    """Start a process that keeps `count` digests and reads each back; 0 for without end."""
    source = str(Path(comfyui_provenance.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(database), str(first), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )


def named(number: int) -> FileIdentity:
    return FileIdentity(Path(f"/models/{number}"), number, 1, 2, 3, 4)


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    database = tmp_path / "digests.sqlite"
    # Each writes half of the next one's files, too.
    firsts = [part * FILES // 2 for part in range(PROCESSES)]

    writers = [start_writer(database, first, FILES) for first in firsts]
    ends = [(*writer.communicate(timeout=120), writer.returncode) for writer in writers]

    assert [(errors, code) for _, errors, code in ends] == [("", 0)] * PROCESSES
    known = DigestCache(database)
    for number in range(firsts[-1] + FILES):
        assert known.get(named(number)) == digest_text(str(number))


@pytest.mark.posix  # for a signal that ends a process in the middle of anything
def test_a_process_killed_while_it_writes_spoils_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database, first = tmp_path / "digests.sqlite", 0
    for death in range(DEATHS):
        writer = start_writer(database, first, 0)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.003 * death)
        writer.send_signal(signal.SIGKILL)
        told, errors = writer.communicate(timeout=60)
        told_count = 1 + told.count("\n")

        known = DigestCache(database)

        assert errors == ""
        assert all(
            known.get(named(number)) == digest_text(str(number))
            for number in range(first + told_count)
        )
        last = known.get(named(first + told_count))
        assert last in (None, digest_text(str(first + told_count)))
        first += told_count

    assert first > DEATHS
    assert caplog.messages == []


@pytest.mark.posix  # for a limit on the size of files
def test_a_full_disk_leaves_what_was_kept(tmp_path: Path) -> None:
    database = tmp_path / "digests.sqlite"
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
    )
    script = limited + SCRIPT.replace("DigestCache(database).get", "cache.get")
    source = str(Path(comfyui_provenance.__file__).parents[1])

    ended = subprocess.run(
        [sys.executable, "-c", script, str(database), "0", "1000"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
        timeout=120,
        check=True,
    )

    assert ended.stdout.splitlines()[-1] == "1000"
    assert ended.stderr.count("digests are kept in memory alone") == 1
    known = DigestCache(database)
    kept = [known.get(named(number)) for number in range(1000)]
    assert kept[0] is not None
    assert kept[-1] is None
    assert all(digest in (None, digest_text(str(number))) for number, digest in enumerate(kept))
