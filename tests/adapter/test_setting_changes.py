"""A setting changes only for who can read the code that the console showed, soon and once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.modules_alone import load_alone

HOUR_S = 3600


changes = load_alone("setting_changes")
Refused = changes.Refused


class Console:
    """What the console showed, and a clock that a test sets."""

    def __init__(self) -> None:
        self.codes: list[str] = []
        self.descriptions: list[str] = []
        self.now = 0.0
        self.changes: Any = changes.Changes(self.show, lambda: self.now)

    def show(self, code: str, description: str) -> None:
        """Take what is shown."""
        self.codes.append(code)
        self.descriptions.append(description)

    def wrong(self) -> str:
        """Give a code that was never shown."""
        return next(code for code in map("{:06}".format, range(100)) if code not in self.codes)


@pytest.fixture
def console() -> Console:
    return Console()


def test_the_shown_code_confirms_the_change_it_was_shown_for(console: Console) -> None:
    console.changes.ask("sidecar", True, "sidecar from off to on")

    (code,) = console.codes
    assert (len(code), code.isdecimal()) == (6, True)
    assert console.descriptions == ["sidecar from off to on"]
    console.changes.confirm("sidecar", True, code)


def test_a_code_is_good_for_once(console: Console) -> None:
    console.changes.ask("sidecar", True, "")
    console.changes.confirm("sidecar", True, console.codes[0])

    with pytest.raises(Refused, match="no change of sidecar waits"):
        console.changes.confirm("sidecar", True, console.codes[0])


def test_a_code_is_good_for_five_minutes(console: Console) -> None:
    console.changes.ask("sidecar", True, "")
    console.now = 301

    with pytest.raises(Refused, match="no change of sidecar waits"):
        console.changes.confirm("sidecar", True, console.codes[0])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        pytest.param("redaction", True, "no change of redaction waits", id="another setting"),
        pytest.param("sidecar", False, "another value of sidecar", id="another value"),
    ],
)
def test_a_code_is_good_for_nothing_else(
    console: Console, name: str, value: bool, message: str
) -> None:
    console.changes.ask("sidecar", True, "")

    with pytest.raises(Refused, match=message):
        console.changes.confirm(name, value, console.codes[0])


def test_a_newer_change_of_a_setting_takes_the_place_of_the_one_that_waits(
    console: Console,
) -> None:
    console.changes.ask("allowed_packs", ["mine"], "")
    console.changes.ask("allowed_packs", ["theirs"], "")

    with pytest.raises(Refused, match="another value"):
        console.changes.confirm("allowed_packs", ["mine"], console.codes[0])


def test_changes_of_two_settings_wait_side_by_side(console: Console) -> None:
    console.changes.ask("sidecar", True, "")
    console.changes.ask("redaction", False, "")

    console.changes.confirm("redaction", False, console.codes[1])
    console.changes.confirm("sidecar", True, console.codes[0])


def test_five_wrong_codes_end_the_change_even_for_the_right_one(console: Console) -> None:
    console.changes.ask("sidecar", True, "")
    for _ in range(5):
        with pytest.raises(Refused):
            console.changes.confirm("sidecar", True, console.wrong())

    with pytest.raises(Refused, match="5 wrong codes"):
        console.changes.confirm("sidecar", True, console.codes[0])


def guess_with_new_codes(console: Console) -> None:
    """Ask for a new code before each guess."""
    for _ in range(5):
        console.changes.ask("sidecar", True, "")
        with pytest.raises(Refused):
            console.changes.confirm("sidecar", True, console.wrong())


def guess_at_two_settings(console: Console) -> None:
    """Guess at another setting in between."""
    for name in ("sidecar", "redaction", "sidecar", "redaction", "sidecar"):
        console.changes.ask(name, True, "")
        with pytest.raises(Refused):
            console.changes.confirm(name, True, console.wrong())


@pytest.mark.parametrize("guess", [guess_with_new_codes, guess_at_two_settings])
def test_asking_again_gives_no_more_guesses(
    console: Console, guess: Callable[[Console], None]
) -> None:
    guess(console)

    with pytest.raises(Refused, match="5 wrong codes"):
        console.changes.ask("sidecar", True, "")


def test_after_an_hour_changes_are_possible_again(console: Console) -> None:
    guess_with_new_codes(console)
    console.now = HOUR_S + 1

    console.changes.ask("sidecar", True, "")
    console.changes.confirm("sidecar", True, console.codes[-1])


def test_the_console_is_not_flooded(console: Console) -> None:
    for _ in range(30):
        console.changes.ask("sidecar", True, "")

    with pytest.raises(Refused, match="too many changes"):
        console.changes.ask("sidecar", True, "")

    assert len(console.codes) == 30


def test_codes_cannot_be_foreseen(console: Console) -> None:
    for _ in range(20):
        console.changes.ask("sidecar", True, "")

    assert len(set(console.codes)) > 15


@pytest.mark.parametrize("code", ["", "1", "0" * 7, "٣" * 6, "x" * 10_000])
def test_any_text_but_the_code_is_a_wrong_one(console: Console, code: str) -> None:
    console.changes.ask("sidecar", True, "")

    with pytest.raises(Refused, match="not the code"):
        console.changes.confirm("sidecar", True, code)
