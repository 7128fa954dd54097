"""What hashing files costs beside what users would run, as ratios from interleaved runs.

Called by `python dev.py bench`; alone, `python -m support.bench_hashing [GB]`. The file is half
random bytes and half a hole. Medians; no timing decides a test.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from comfyui_provenance.digest import Digest
from comfyui_provenance.materials.cache import DigestCache, identify
from comfyui_provenance.materials.hasher import Hasher
from comfyui_provenance.materials.hashing import AUTOV3, SHA256, hash_file

ROUNDS: Final = 5
LOOKUPS: Final = 1000
GB: Final = 10**9
LATER_NS: Final = 3600 * 10**9

COLD_LOOKUP: Final = """
import sys, time
from pathlib import Path
from comfyui_provenance.materials.cache import DigestCache, identify
identity = identify(Path(sys.argv[2]))
started = time.perf_counter()
found = DigestCache(Path(sys.argv[1])).get(identity)
elapsed_s = time.perf_counter() - started
assert found is not None
print(elapsed_s)
"""


def measure(size_bytes: int = GB) -> list[str]:
    """Run every comparison, in a temporary folder that is removed.

    Args:
        size_bytes: Of the one large file. Several files have half as much in all.
    """
    with tempfile.TemporaryDirectory(prefix="provenance-bench-") as folder:
        place = Path(folder)
        large = place / "large.safetensors"
        write_mixed(large, size_bytes)
        lines = [*_one_file(large), *_several_files(place, size_bytes)]
        return [*lines, *_lookups(place / "cache.sqlite", large)]


def write_mixed(path: Path, size_bytes: int) -> None:
    """Write a safetensors file whose one tensor is random bytes and then a hole."""
    tensor = {"dtype": "U8", "shape": [size_bytes], "data_offsets": [0, size_bytes]}
    text = json.dumps({"weight": tensor}).encode("ascii")
    header = len(text).to_bytes(8, "little") + text
    with path.open("wb") as file:
        file.write(header)
        for _ in range(size_bytes // 2 // 2**20):
            file.write(os.urandom(2**20))
        file.truncate(len(header) + size_bytes)


def _one_file(path: Path) -> list[str]:
    def ours() -> None:
        hash_file(path)

    def both() -> None:
        hash_file(path, algorithms=(SHA256, AUTOV3))

    def library() -> None:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")

    program = shutil.which("sha256sum")
    rivals: list[tuple[str, Callable[[], object]]] = [("hashlib.file_digest", library)]
    if program is not None:
        command = (program, str(path))
        rivals.append(("sha256sum", lambda: _run(command)))
    lines = [_compare(f"one file, ours / {name}", ours, rival) for name, rival in rivals]
    return [*lines, _compare("one file, sha256 and AutoV3 / sha256", both, ours)]


def _several_files(folder: Path, size_bytes: int) -> list[str]:
    count = max(2, min(os.cpu_count() or 1, 4))
    paths = [folder / f"part-{index}" for index in range(count)]
    for path in paths:
        write_mixed(path, size_bytes // (2 * count))

    def side_by_side() -> None:
        hasher = Hasher(DigestCache())
        hasher.wait([hasher.submit(path) for path in paths])

    def in_turn() -> None:
        for path in paths:
            hash_file(path)

    return [_compare(f"{count} files, side by side / in turn", side_by_side, in_turn)]


def _lookups(database: Path, path: Path) -> list[str]:
    identity = identify(path)
    warm = DigestCache(database)
    warm.put(identity, Digest(SHA256, "0" * 64), identity.mtime_ns + LATER_NS)
    command = (sys.executable, "-c", COLD_LOOKUP, str(database), str(path))
    memory_s = [_seconds(lambda: warm.get(identity)) for _ in range(LOOKUPS)]
    disk_s = [_seconds(lambda: DigestCache(database).get(identity)) for _ in range(LOOKUPS)]
    cold_s = [float(_run(command)) for _ in range(ROUNDS)]
    return [
        _times("a known digest, from memory", memory_s),
        _times("a known digest, from disk", disk_s),
        _times("the same, first of a new process", cold_s),
    ]


def _compare(what: str, ours: Callable[[], object], others: Callable[[], object]) -> str:
    """Time two things in turn, and give the median of the ratios."""
    ratios = [_seconds(ours) / _seconds(others) for _ in range(ROUNDS)]
    spread = f"{statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"{what:<42} {spread}"


def _times(what: str, times_s: Sequence[float]) -> str:
    return f"{what:<42} {statistics.median(times_s) * 1e3:.3f} ms, most {max(times_s) * 1e3:.2f}"


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    print(*measure(int(float(sys.argv[1]) * GB) if len(sys.argv) > 1 else GB), sep="\n")
