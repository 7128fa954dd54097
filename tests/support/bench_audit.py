"""What auditing images costs beside only decoding them, as ratios from interleaved runs.

Called by `python dev.py bench`; alone, `python -m support.bench_audit [IMAGES]`. Both use a process
for each core, and start them anew each time. Medians; no timing decides a test.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from PIL import Image, ImageFilter

from comfyui_provenance.cli import main as run_command
from comfyui_provenance.containers import embed
from comfyui_provenance.digest import digest_text
from comfyui_provenance.pixels import decode_pixels, digest_pixels
from comfyui_provenance.record import KEYWORD, seal

ROUNDS: Final = 5
IMAGES: Final = 2000
SIDES_PX: Final = (512, 1024)
DIFFERENT: Final = 4
"""Images of each size that are made; the others are copies of them."""

CHUNK: Final = 8
VECTOR: Final = Path(__file__).parents[1] / "vectors" / "records" / "v1" / "png_img2img.json"

PEAK: Final = """
import io, resource, sys
from comfyui_provenance.cli import main
if __name__ == "__main__":
    assert main(["audit", *sys.argv[1:]], io.StringIO()) == 0
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    print(*(resource.getrusage(who).ru_maxrss for who in whose))
"""


def measure(images: int = IMAGES) -> list[str]:
    """Run every comparison, in a temporary folder that is removed.

    Args:
        images: How many, half of them of each size.
    """
    with tempfile.TemporaryDirectory(prefix="provenance-bench-") as name:
        folder = Path(name)
        write_images(folder / "all", images)
        write_images(folder / "few", images // 8)
        return [
            f"{f'{images} images, decoded by Pillow / audited':<42} {ratio(folder / 'all')}",
            *_memory(folder),
        ]


def write_images(folder: Path, count: int) -> None:
    """Write PNGs whose records hold, most of them copies of the first few."""
    folder.mkdir()
    made = [folder / f"{at:05}.png" for at in range(min(count, DIFFERENT * len(SIDES_PX)))]
    for at, path in enumerate(made):
        path.write_bytes(_with_record(picture(SIDES_PX[at % len(SIDES_PX)])))
    for at in range(len(made), count):
        shutil.copyfile(made[at % len(made)], folder / f"{at:05}.png")


def _with_record(data: bytes) -> bytes:
    """Give a picture the record of a real image, and the texts that ComfyUI saves beside it."""
    document = json.loads(VECTOR.read_text(encoding="utf-8"))
    graph = json.loads(document["graph"])
    source = [document["output"]["node_id"], document["output"]["slot"]]
    prompt = {**graph, "save": {"class_type": "SaveImage", "inputs": {"images": source}}}
    workflow = json.dumps({"nodes": [*prompt.values()] * 3})
    pixels = decode_pixels(data)
    size = {"width": pixels.width, "height": pixels.height}
    subject = {**document["subject"], **size, "digest": str(digest_pixels(pixels))}
    shown = digest_text(workflow).hex
    record = seal({**document, "subject": subject, "workflow_sha256": shown})
    texts = {"prompt": json.dumps(prompt), "workflow": workflow, KEYWORD: record.dump()}
    return embed(data, texts)


def picture(side_px: int) -> bytes:
    """Make a picture that compresses about as far as a photograph does."""
    noise = Image.effect_noise((side_px, side_px), 25).filter(ImageFilter.GaussianBlur(1))
    channels = [noise, noise.transpose(Image.Transpose.ROTATE_90), noise.rotate(180)]
    file = BytesIO()
    Image.merge("RGB", channels).save(file, "PNG", compress_level=4)
    return file.getvalue()


def ratio(folder: Path) -> str:
    """Time the decoding and the audit of a folder in turn, and give the speed of the second.

    Returns:
        Median of the rounds as a part of Pillow's speed, with the least and the most.
    """
    paths = sorted(str(path) for path in folder.iterdir())

    def decode() -> None:
        with get_context("spawn").Pool(_cores()) as pool:
            assert sum(pool.imap(_load, paths, chunksize=CHUNK)) == len(paths)

    def audit() -> None:
        assert run_command(["audit", str(folder)], io.StringIO()) == 0

    ratios = [_seconds(decode) / _seconds(audit) for _ in range(ROUNDS)]
    return f"{statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"


def _load(path: str) -> int:
    with Image.open(path) as image:
        image.load()
    return 1


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory(folder: Path) -> list[str]:
    """Give the most memory that audits of few and of all images take; nothing on Windows."""
    if sys.platform == "win32":
        return []
    peaks = [_peak_mb([str(folder / name)]) for name in ("few", "all")]
    told = " / ".join(f"{peak:.0f} MB" for peak in peaks)
    return [f"{'memory of a process, an eighth / all':<42} {told}"]


def _peak_mb(arguments: Sequence[str]) -> float:
    """Give the largest peak of an audit's processes."""
    # From a file: a new process must find the module that started it.
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "peak.py"
        script.write_text(PEAK, encoding="ascii")
        done = subprocess.run(
            [sys.executable, str(script), *arguments], check=True, capture_output=True, text=True
        )
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return max(int(peak) for peak in done.stdout.split()) / unit


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(*measure(int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES), sep="\n")
