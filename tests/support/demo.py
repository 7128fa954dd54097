"""`python dev.py demo`: from nothing to a verdict, as a short table.

Each line is a claim about a real ComfyUI and is checked; the exit status is 0 only if all of
them held.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from comfyui_provenance.errors import ProvenanceError

from support import prompts
from support.reports import Report, kinds, reproduce, verify
from support.server import ComfyServer, PromptFailed, PromptRefused, ServerError
from support.tampering import alter_pixel, edit_graph, record_of, set_input

SEED = 20260101
CFG, CHANGED_CFG = 7.0, 7.1
NEW_BAR = "  0%|"
"""How ComfyUI's log shows that a sampler started."""


@dataclass(frozen=True)
class Line:
    """One row of the table.

    Attributes:
        step: what was done.
        shown: what came out.
        holds: whether that is what this pack promises.
        seconds: how long it took.
    """

    step: str
    shown: str
    holds: bool
    seconds: float


def demonstrate(server: ComfyServer) -> Iterator[Line]:
    """Generate, save, reproduce, verify, tamper; yield a line for each."""
    started = time.monotonic()
    (path,) = server.images(server.run(prompts.txt2img(seed=SEED, steps=8, cfg=CFG)))
    data = path.read_bytes()
    record = record_of(data)
    sampling = record["samplings"][0]
    yield _line(
        "generated",
        f"{path.name}, {record['subject']['digest'][:24]}...",
        sampling["source"] == "sampling" and not sampling["cached"],
        started,
    )
    weights = next(entry for entry in record["materials"] if entry["kind"] == "checkpoints")
    yield Line(
        "saved with a record",
        f"seed {record['tuple']['seed']}, cfg {record['tuple']['cfg']}, weights "
        f"{weights['sha256'][:12]}..., recipe {record['recipe'][:18]}...",
        record["tuple"]["seed"] == str(SEED) and weights["status"] == "hashed",
        0.0,
    )
    started = time.monotonic()
    server.restart()
    yield _line("server restarted", "nothing left but the file and the models", True, started)
    yield _reproduced(server, data)
    yield _judged("verified", lambda: verify(server, data, data), "bitwise")
    yield _judged(
        f"CFG changed to {CHANGED_CFG} in its graph",
        lambda: reproduce(server, edit_graph(data, set_input("sampler", "cfg", CHANGED_CFG))),
        "mismatch",
        ("cfg", "graph_edited"),
        (7, CHANGED_CFG),
    )
    yield _judged(
        "one pixel of the file changed",
        lambda: reproduce(server, alter_pixel(data)),
        "mismatch",
        ("image_edited",),
    )


def _reproduced(server: ComfyServer, data: bytes) -> Line:
    before = server.log_text().count(NEW_BAR)
    line = _judged("reproduced from the file", lambda: reproduce(server, data), "bitwise")
    ran = server.log_text().count(NEW_BAR) - before
    shown = f"{line.shown}; the sampler ran {ran} time{'' if ran == 1 else 's'}"
    return Line(line.step, shown, line.holds and ran == 1, line.seconds)


def _judged(
    step: str,
    judge: Callable[[], Report],
    level: str,
    causes: tuple[str, ...] = (),
    values: tuple[object, object] | None = None,
) -> Line:
    """Compare a report with the level and the first causes that it must have."""
    started = time.monotonic()
    report = judge()
    found = kinds(report)
    holds = report["level"] == level and tuple(found[: len(causes)]) == causes
    shown = str(report["level"])
    if causes or found:
        shown += f"; causes: {', '.join(found) or 'none'}"
    if found:
        first = report["causes"][0]
        if values is not None:
            holds = holds and (first["recorded"], first["now"]) == values
            shown += f" ({first['kind']} was {first['recorded']}, now {first['now']})"
    return _line(step, shown, holds, started)


def _line(step: str, shown: str, holds: bool, started: float) -> Line:
    return Line(step, shown, holds, time.monotonic() - started)


def _print(line: Line) -> None:
    mark = "ok" if line.holds else "NO"
    print(f"  {mark}  {line.step:<32} {line.shown}  [{line.seconds:.1f} s]", flush=True)


def main(argv: list[str]) -> int:
    """Run the demo and give its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the server up")
    options = parser.parse_args(argv)
    try:
        print("starting ComfyUI ...", flush=True)
        with ComfyServer() as server:
            held = True
            for line in demonstrate(server):
                _print(line)
                held = held and line.holds
            print(
                "\nEverything above was shown by running it."
                if held
                else "\nNot everything above held."
            )
            if options.keep:
                print(f"ComfyUI is up at {server.url}; Ctrl+C ends it.", flush=True)
                server.wait()
            return 0 if held else 1
    except (ServerError, PromptRefused, PromptFailed, ProvenanceError, OSError) as error:
        print(f"dev.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
