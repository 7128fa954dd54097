"""`python dev.py serve`: ComfyUI with this pack and the tiny models, in the foreground."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from support.server import ComfyServer, ServerError


def main(argv: list[str]) -> int:
    """Run ComfyUI until it ends or Ctrl+C, and give its exit code."""
    end = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="base directory (default: a temporary one)")
    parser.add_argument("--port", type=int, default=8188)
    options = parser.parse_args(argv[:end])
    try:
        with ComfyServer(
            arguments=argv[end + 1 :], base=options.base, port=options.port, to_terminal=True
        ) as server:
            print(f"ComfyUI with this pack: {server.url} (files in {server.base})", flush=True)
            return server.wait()
    except ServerError as error:
        print(f"dev.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
