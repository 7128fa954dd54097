"""One HTML file that shows an audit: no script, nothing loaded from anywhere.

Names and values come from strangers: every text is escaped, what does not print is written out,
and a policy in the page forbids all that the page itself does not need.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import BinaryIO, Final

from ..plain_text import to_plain
from .judging import Audited, State
from .tally import Tally

_WORDS: Final = {
    State.BITWISE: "bitwise",
    State.WITHIN_TOLERANCE: "within tolerance",
    State.UNKNOWN: "unknown",
    State.MISMATCH: "mismatch",
    State.NO_RECORD: "no record",
    State.UNREADABLE: "cannot be read",
}

_SHOWN_GROUPS: Final = 100
_DIGITS: Final = 12

_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Audit of images</title>
<style>
:root { color-scheme: light dark; --line: #c8c8d0; --soft: #5c5c66;
  --good: #1a7f37; --bad: #c2281d; --doubt: #9a6700; }
@media (prefers-color-scheme: dark) {
  :root { --line: #44444e; --soft: #a0a0ac; --good: #4ac26b; --bad: #ff7b72; --doubt: #d9a72c; }
}
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem;
  padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .6rem .4rem 0;
  vertical-align: top; overflow-wrap: anywhere; }
td:first-child { width: 6rem; } td:nth-child(3) { width: 7rem; }
img { display: block; }
small, .soft { color: var(--soft); }
.bitwise, .within_tolerance { color: var(--good); }
.mismatch { color: var(--bad); font-weight: 600; }
.unknown, .unreadable { color: var(--doubt); font-weight: 600; }
</style>
</head>
<body>
"""

_TABLE: Final = """<table>
<thead><tr><th>Image</th><th>File</th><th>Level</th><th>Cause</th><th>Seed</th>
<th>Model</th><th>Recipe</th></tr></thead>
<tbody>
"""


def write_page(
    file: BinaryIO, tally: Tally, found: Iterable[Audited], notes: Sequence[str]
) -> None:
    """Write the page, one file of the audit after the other.

    Args:
        file: Where to.
        tally: Of the same audit, complete.
        found: What it says of each file, in order.
        notes: Sentences for humans.
    """
    file.write(_HEAD.encode("ascii"))
    file.write("".join(_summary(tally, notes)).encode("utf-8"))
    file.write(_TABLE.encode("ascii"))
    for item in found:
        file.write(_row(item).encode("utf-8"))
    file.write(b"</tbody>\n</table>\n</body>\n</html>\n")


def _summary(tally: Tally, notes: Sequence[str]) -> Iterable[str]:
    yield f"<h1>{tally.count} images audited</h1>\n<p>"
    yield ", ".join(
        f'<span class="{state.value}">{tally.states[state]} {_WORDS[state]}</span>'
        for state in State
        if tally.states[state]
    )
    yield "</p>\n"
    if tally.causes:
        causes = (f"{_text(kind)} {count}" for kind, count in tally.causes.most_common())
        yield f"<p>First causes: {', '.join(causes)}</p>\n"
    yield "".join(f'<p class="soft">{_text(note)}</p>\n' for note in notes)
    yield from _groups(
        "The same pixels with different records",
        [", ".join(map(_text, group)) for group in tally.duplicates],
    )
    yield from _groups(
        "Records of other files",
        [f"{_text(file)} carries the record of {_text(other)}" for file, other in tally.foreign],
    )


def _groups(title: str, items: Sequence[str]) -> Iterable[str]:
    if not items:
        return
    yield f"<h2>{title}</h2>\n<ul>\n"
    yield "".join(f"<li>{item}</li>\n" for item in items[:_SHOWN_GROUPS])
    yield "</ul>\n"
    if len(items) > _SHOWN_GROUPS:
        yield f"<p>and {len(items) - _SHOWN_GROUPS} more</p>\n"


def _row(found: Audited) -> str:
    picture = ""
    if found.thumbnail is not None:
        coded = base64.b64encode(found.thumbnail).decode("ascii")
        picture = f'<img alt="" src="data:image/jpeg;base64,{coded}">'
    cause = _text(found.cause or "")
    told = f"<br><small>{_text(found.message)}</small>" if found.message else ""
    checks = " ".join(f"{name}: {level}" for name, level in found.checks.items())
    digest = (found.recipe or "").partition(":")[2][:_DIGITS]
    cells = (
        picture,
        _text(found.file),
        f'<span class="{found.state.value}" title="{_text(checks)}">{_WORDS[found.state]}</span>',
        f"{cause}{told}",
        _text(found.seed or ""),
        _text(found.model or ""),
        _text(digest),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"


def _text(text: str) -> str:
    return escape(to_plain(text, 1000))
