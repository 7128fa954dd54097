"""Two images compared by what they carry: only what differs, the most consequential first."""

from __future__ import annotations

from collections.abc import Iterator

from .compare import judge
from .differences import compare_records
from .errors import ProvenanceError
from .graph.trace import digest_graph
from .pixels import Difference, Pixels, measure_difference
from .record import Record
from .verdict import Cause, CauseKind, Check, Level, Report


def compare_images(
    first: Record, second: Record, pixels: tuple[Pixels | None, Pixels | None] = (None, None)
) -> Report:
    """Compare two images by their records; nothing is run.

    Args:
        first: Of the first image; its values are called recorded.
        second: Of the other; its values are called present.
        pixels: Of both files, decoded, to measure how far they are apart.

    Returns:
        A report that is bitwise where both have the same pixels, recipe and graph.
    """
    differences = compare_records(first, second)
    checks = [_compare_pixels(first, second), _compare_recipes(first, second)]
    graph = _compare_graphs(first, second)
    checks += [graph] if graph is not None else []
    edited = [*_edited("first", first), *_edited("second", second)]
    checks += [check for check, _ in edited]
    causes = [*differences.causes, *differences.without_effect, *(cause for _, cause in edited)]
    return judge(
        checks,
        causes,
        _measure(*pixels),
        differences.steps,
        divergence=differences.divergence,
    )


def _edited(which: str, record: Record) -> Iterator[tuple[Check, Cause]]:
    """Say so where a record is not as it was written: then what it tells proves nothing."""
    expected, found = record.digest, str(record.actual_digest())
    if expected != found:
        message = f"the record of the {which} image was changed after it was written"
        yield (
            Check(f"{which}_record", Level.MISMATCH, expected, found, message),
            Cause(CauseKind.RECORD_EDITED, message, expected, found),
        )


def _compare_pixels(first: Record, second: Record) -> Check:
    before, after = first.subject.digest, second.subject.digest
    same = before == after
    words = "the same pixels, bit for bit" if same else "not the same pixels"
    level = Level.BITWISE if same else Level.MISMATCH
    if before.algorithm != after.algorithm:
        words = "another size of sample or number of channels"
    return Check("pixels", level, str(before), str(after), words)


def _compare_recipes(first: Record, second: Record) -> Check:
    same = first.recipe == second.recipe
    words = "asked for in the same way" if same else "not asked for in the same way"
    level = Level.BITWISE if same else Level.MISMATCH
    return Check("recipe", level, first.recipe, second.recipe, words)


def _compare_graphs(first: Record, second: Record) -> Check | None:
    """Compare two graphs by what is wired to what; `None` where one is not there."""
    try:
        before = str(digest_graph(first.prompt(), first.output))
        after = str(digest_graph(second.prompt(), second.output))
    except ProvenanceError:
        return None
    same = before == after
    words = "the same graph" if same else "not the same graph"
    return Check("graph", Level.BITWISE if same else Level.MISMATCH, before, after, words)


def _measure(first: Pixels | None, second: Pixels | None) -> Difference | None:
    """Measure how far two files' pixels are apart, where they have one geometry."""
    if first is None or second is None or str(first) != str(second):
        return None
    return measure_difference(first, second)
