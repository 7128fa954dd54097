"""Which graphs this server has run, and which packs its owner allows to reproduce.

Both live in ComfyUI's private user folder, which no HTTP route reaches. The ledger holds
digests alone: nothing of a prompt can be read from it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Lock
from typing import Final

from ..src.comfyui_provenance.errors import PolicyError
from ..src.comfyui_provenance.graph.prompt import Link, Prompt
from ..src.comfyui_provenance.graph.trace import digest_graph
from .private_files import private_path, read_private, reason

_log = logging.getLogger(__name__)

_LEDGER_NAME: Final = "graphs.txt"
_POLICY_NAME: Final = "policy.json"
_lock = Lock()
_known: set[str] = set()
_read_from: Path | None = None


def remember_graph(prompt: Prompt, output: Link) -> None:
    """Note that this server has run a graph.

    A ledger that cannot be written costs a question later, not an image now.
    """
    remember_digests({str(digest_graph(prompt, output))})


def has_run(prompt: Prompt, output: Link) -> bool:
    """Tell whether this server has run exactly this graph before."""
    digest = str(digest_graph(prompt, output))
    with _lock:
        return digest in _load()


def allowed(what: str) -> set[str]:
    """Give what may run from a stranger's image besides core's image-making nodes.

    Args:
        what: `packs`, custom node packs by folder name; or `classes`, core's by class type.

    Raises:
        PolicyError: The policy file is damaged; nothing is allowed by guessing.
    """
    try:
        policy = read_private(_POLICY_NAME)
    except (OSError, ValueError) as error:
        raise PolicyError(f"{_POLICY_NAME}: cannot be read: {reason(error)}") from error
    key = f"allowed_{what}"
    names = policy.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PolicyError(f"{_POLICY_NAME}: expected a list of names as {key!r}")
    return set(names)


def policy_path() -> Path:
    """Give the file in which the server's owner allows packs."""
    return private_path(_POLICY_NAME)


def remember_digests(digests: set[str]) -> None:
    """Note digests of graphs, as `digest_graph` gives them."""
    with _lock:
        new = digests - _load()
        if not new:
            return
        _known.update(new)
        path = _ledger_path()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="ascii") as file:
                file.write("".join(f"{digest}\n" for digest in sorted(new)))
        except OSError:
            _log.warning("could not note the running graph in the ledger", exc_info=True)


def _load() -> set[str]:
    """Give the ledger, read once for each user folder."""
    global _read_from
    path = _ledger_path()
    if _read_from != path:
        _known.clear()
        try:
            _known.update(path.read_text(encoding="ascii").split())
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            _log.warning("the ledger of graphs cannot be read; it counts as empty", exc_info=True)
        _read_from = path
    return _known


def _ledger_path() -> Path:
    return private_path(_LEDGER_NAME)
