"""Laws of the digest cache: never a digest of another file, whatever happens to the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.digest import Digest, digest_text
from comfyui_provenance.materials.cache import DigestCache, FileIdentity

LATER_NS = 2**80
"""Long after any time of these files."""

KEPT = {
    FileIdentity(Path(f"/models/{number}"), number, 1, 2, 3, 4): digest_text(str(number))
    for number in range(30)
}

few = st.integers(0, 2)
numbers = st.one_of(few, st.integers(-(2**63), 2**64))
paths = st.sampled_from(["/a", "/a/b", "/a/b:1", "/a/b:1:2", "/\udcff"]).map(Path)
identities = st.builds(FileIdentity, paths, numbers, numbers, numbers, numbers, numbers)
similar = st.builds(FileIdentity, paths, few, few, few, few, few)
algorithms = st.sampled_from(["sha256", "sha256-rgb8", "autov3", "blake3"])
puts = st.lists(st.tuples(st.one_of(identities, similar), algorithms, st.text()), max_size=12)


def digest_of(algorithm: str, text: str) -> Digest:
    return Digest(algorithm, digest_text(ascii(text)).hex)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@given(puts, st.one_of(identities, similar), algorithms)
def test_a_digest_is_only_given_for_what_it_was_put_under(
    folder: Path,
    written: list[tuple[FileIdentity, str, str]],
    asked: FileIdentity,
    algorithm: str,
) -> None:
    database = folder / "digests.sqlite"
    database.unlink(missing_ok=True)
    memory, disk = DigestCache(), DigestCache(database)
    expected: dict[tuple[FileIdentity, str], Digest] = {}
    for identity, name, text in written:
        digest = expected[identity, name] = digest_of(name, text)
        for cache in (memory, disk):
            cache.put(identity, digest, LATER_NS)

    cold = DigestCache(database)

    for identity, name in [*expected, (asked, algorithm)]:
        exact = expected.get((identity, name))
        assert memory.get(identity, name) == exact
        assert disk.get(identity, name) == exact
        # On disk a file has one digest of each algorithm: the one that was put last.
        assert cold.get(identity, name) in (None, exact)
    for identity, name, _ in written[-1:]:
        assert cold.get(identity, name) == expected[identity, name]


@pytest.fixture(scope="module")
def intact(folder: Path) -> bytes:
    """A database of several pages that holds all of `KEPT`."""
    database = folder / "intact.sqlite"
    for identity, digest in KEPT.items():
        DigestCache(database).put(identity, digest, LATER_NS)
    return database.read_bytes()


@given(st.data())
def test_no_damage_gives_an_error_or_another_digest(
    folder: Path, intact: bytes, data: st.DataObject
) -> None:
    database = folder / "damaged.sqlite"
    database.with_name("damaged.sqlite-journal").unlink(missing_ok=True)
    content = bytearray(intact)
    places = st.one_of(st.integers(0, 120), st.integers(0, len(content) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(places)
        content[place : place + 8] = data.draw(st.binary(max_size=8))
    database.write_bytes(content[: data.draw(st.integers(0, len(content)))])

    cache = DigestCache(database)

    for identity, digest in KEPT.items():
        assert cache.get(identity) in (None, digest)
    for identity, digest in KEPT.items():
        cache.put(identity, digest, LATER_NS)
        assert cache.get(identity) == digest
        assert DigestCache(database).get(identity) in (None, digest)
