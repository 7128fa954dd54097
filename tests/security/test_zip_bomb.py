"""Attack: a small compressed text chunk that inflates to gigabytes.

Deflate packs a run of zeros about a thousand times. Inflating stops one byte past
the limit, and the texts of a file share one budget.
"""

from __future__ import annotations

import tracemalloc
import zlib

import pytest

from comfyui_provenance import limits
from comfyui_provenance.containers.png import embed_text, read_text
from comfyui_provenance.errors import LimitError

from support.builders import chunk_of, png_of

BOMB = zlib.compress(bytes(64 * 1024**2), 9)


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(chunk_of(b"zTXt", b"prompt\0\0" + BOMB), id="zTXt"),
        pytest.param(chunk_of(b"iTXt", b"prompt\0\1\0\0\0" + BOMB), id="iTXt"),
    ],
)
def test_a_bomb_is_refused_without_being_inflated(
    chunk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TEXT_BYTES", 1024**2)
    file = png_of(chunk)
    tracemalloc.start()

    try:
        with pytest.raises(LimitError, match=r"at most 1048576 bytes of text in .TXt chunk"):
            read_text(file)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 8 * 1024**2


def test_many_small_bombs_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT_TOTAL_BYTES", 2500)
    small = zlib.compress(bytes(1000))
    chunks = [chunk_of(b"zTXt", b"%d\0\0" % at + small) for at in range(3)]

    assert len(read_text(png_of(*chunks[:2]))) == 2
    with pytest.raises(LimitError, match="at most 500 bytes of text"):
        read_text(png_of(*chunks))


def test_plain_text_counts_against_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT_TOTAL_BYTES", 2500)
    chunks = [chunk_of(b"tEXt", b"%d\0" % at + b"x" * 1000) for at in range(3)]

    with pytest.raises(LimitError, match="at most 500 bytes of text"):
        read_text(png_of(*chunks))


def test_a_bomb_is_never_inflated_to_edit_the_file() -> None:
    bomb = chunk_of(b"zTXt", b"other\0\0" + BOMB)

    assert embed_text(png_of(bomb), {"a": "b"}) == png_of(chunk_of(b"tEXt", b"a\0b"), bomb)
