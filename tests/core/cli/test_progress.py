"""Progress is drawn over itself, not too often, and only for somebody who looks."""

from __future__ import annotations

import io
from itertools import count

from comfyui_provenance.cli.progress import Progress


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_a_bar_tells_how_much_is_done_and_left() -> None:
    terminal, clock = Terminal(), count()

    with Progress(terminal, "files", lambda: float(next(clock))) as progress:
        progress(25, 100)

    assert "[######..................] 25 of 100 files, 0:03 left" in terminal.getvalue()


def test_bytes_are_told_in_their_unit() -> None:
    terminal, clock = Terminal(), count()

    with Progress(terminal, "bytes", lambda: float(next(clock))) as progress:
        progress(1_500_000_000, 6_000_000_000)

    assert "1.5 GB of 6.0 GB" in terminal.getvalue()


def test_it_is_drawn_ten_times_a_second_at_most() -> None:
    terminal, clock = Terminal(), count()

    with Progress(terminal, "files", lambda: next(clock) / 100) as progress:
        for done in range(100):
            progress(done, 100)

    assert terminal.getvalue().count("[") <= 11


def test_the_line_is_taken_away_at_the_end() -> None:
    terminal = Terminal()

    with Progress(terminal, "files") as progress:
        progress(1, 2)

    assert terminal.getvalue().endswith("\r")
    assert terminal.getvalue().split("\r")[-2].strip() == ""


def test_nothing_is_written_where_no_one_looks() -> None:
    stream = io.StringIO()

    with Progress(stream, "files") as progress:
        progress(1, 2)

    assert stream.getvalue() == ""


def test_nothing_to_do_is_all_done() -> None:
    terminal = Terminal()

    with Progress(terminal, "bytes") as progress:
        progress(0, 0)

    assert "0 bytes of 0 bytes" in terminal.getvalue()
