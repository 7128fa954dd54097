"""Runs a script that must not outlive whoever started it.

The parent keeps this process's standard input open. The system closes it however the parent ends,
a kill included, and then this process ends too. That works alike on Linux, macOS and Windows.

    python orphan_guard.py SCRIPT ARGUMENTS
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from pathlib import Path


def end_with_parent() -> None:
    """Wait for the end of standard input, then end the process without further ado."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def main() -> None:
    """Run the script named on the command line as if it had been started itself."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    del sys.argv[0]
    script = Path(sys.argv[0])
    sys.path[0] = str(script.parent)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
