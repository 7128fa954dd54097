"""Whatever a record names, a file is looked for and kept below the folder that was given."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

from hypothesis import example, given
from hypothesis import strategies as st

from comfyui_provenance.model_files import name_parts

pieces = st.sampled_from(["..", ".", "a", "b.pt", "C:", "c:x", "", " ", "...", ".. ", "~", "\0"])
names = st.lists(pieces | st.text(max_size=4), max_size=6).flatmap(
    lambda parts: st.sampled_from(["/", "\\", "//"]).map(lambda line: line.join(parts))
)


@given(names)
@example("..\\../a")
@example("\\\\?\\C:\\a")
def test_a_name_stays_below_its_folder_on_every_system(name: str) -> None:
    parts = name_parts(name)

    if parts is None:
        return
    assert parts
    for system in (PurePosixPath, PureWindowsPath):
        below = system("models").joinpath(*parts)
        assert below.parts == ("models", *parts)
    # What Windows makes of a part.
    assert all(part.rstrip(". ") for part in parts)


@given(st.lists(st.from_regex(r"[a-z][a-z0-9 ._-]{0,8}[a-z]", fullmatch=True), min_size=1))
def test_a_plain_name_is_the_same_with_either_slash(parts: list[str]) -> None:
    assert name_parts("/".join(parts)) == name_parts("\\".join(parts)) == tuple(parts)
