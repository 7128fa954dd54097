"""Two images compared by what they carry: only what differs, the most consequential first."""

from __future__ import annotations

from collections.abc import Iterator

from .compare import judge
from .differences import compare_records
from .errors import ProvenanceError
from .files import RecordedFile
from .graph.trace import digest_graph
from .pixels import Difference, Pixels, measure_difference
from .record import Record
from .stock_record import record_from_prompt
from .verdict import Cause, CauseKind, Check, Level, Report


def compare_files(one: RecordedFile, other: RecordedFile) -> Report:
    """Compare two images by what they carry; nothing is run.

    Args:
        one: The first file; its values are called recorded.
        other: The second; its values are called present.

    Returns:
        A report that is bitwise where both have the same pixels, recipe and graph.

    Raises:
        RecordError: A file has neither a record that can be read nor ComfyUI's prompt.
        GraphError: Of a prompt without a record it cannot be told which image this is.
    """
    first, second = _record_of(one), _record_of(other)
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
        _measure(one.pixels, other.pixels),
        differences.steps,
        divergence=differences.divergence,
    )


def _record_of(file: RecordedFile) -> Record:
    """Give a file's record, or what ComfyUI's own prompt tells in its place."""
    if file.record is None and not file.is_damaged and file.prompt is not None:
        return record_from_prompt(file.prompt, file.decoded())
    return file.required()


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
