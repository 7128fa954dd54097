"""A digest is given only for the file it was computed from; doubt is a miss, trouble no error."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import pytest

from comfyui_provenance.digest import Digest, digest_bytes
from comfyui_provenance.materials import cache, digest_store
from comfyui_provenance.materials.cache import DigestCache, FileIdentity, identify

SETTLED_NS = 10**12
"""A time long after every file of `NAMED` changed."""

IN_MEMORY_ALONE = "digests are kept in memory alone from now on: "

NAMED = FileIdentity(Path("/models/a.safetensors"), 7, 1, 2, 3, 4)
WEIGHTS = digest_bytes(b"weights")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "user" / "digests.sqlite"


def filled(database: Path) -> None:
    DigestCache(database).put(NAMED, WEIGHTS, SETTLED_NS)


def change(database: Path, statement: str) -> None:
    connection = sqlite3.connect(database)
    with connection:
        assert connection.execute(statement).rowcount
    connection.close()


def test_what_was_put_is_given() -> None:
    known = DigestCache()

    known.put(NAMED, WEIGHTS, SETTLED_NS)

    assert known.get(NAMED) == WEIGHTS
    assert known.find(NAMED, ["sha256", "autov3"]) == {"sha256": WEIGHTS}


def test_what_was_put_is_given_by_another_process_s_cache(database: Path) -> None:
    filled(database)

    assert DigestCache(database).get(NAMED) == WEIGHTS


@pytest.mark.parametrize("algorithm", ["autov3", "sha256-rgb8", "blake3"])
def test_algorithms_are_kept_side_by_side(database: Path, algorithm: str) -> None:
    filled(database)
    other = Digest(algorithm, digest_bytes(b"other").hex)

    DigestCache(database).put(NAMED, other, SETTLED_NS)

    assert DigestCache(database).find(NAMED, ["sha256", algorithm]) == {
        "sha256": WEIGHTS,
        algorithm: other,
    }


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"path": Path("/models/b.safetensors")}, id="another path"),
        pytest.param({"size_bytes": 8}, id="another size"),
        pytest.param({"mtime_ns": 0}, id="an older time"),
        pytest.param({"ctime_ns": 5}, id="another change of the inode"),
        pytest.param({"inode": 2**64 - 1}, id="another inode"),
        pytest.param({"device": 0}, id="another device"),
    ],
)
def test_another_file_is_a_miss(database: Path, changes: dict[str, int | Path]) -> None:
    filled(database)
    other = replace(NAMED, **changes)  # type: ignore[arg-type]  # each has its field's type

    assert DigestCache(database).get(other) is None


def test_numbers_do_not_run_into_each_other(database: Path) -> None:
    put, asked = replace(NAMED, mtime_ns=11), replace(NAMED, size_bytes=71, mtime_ns=1)

    DigestCache(database).put(put, WEIGHTS, SETTLED_NS)

    assert DigestCache(database).get(asked) is None


def test_a_name_that_is_no_unicode_is_kept(database: Path) -> None:
    strange = replace(NAMED, path=Path("/models/\udcff.safetensors"))

    DigestCache(database).put(strange, WEIGHTS, SETTLED_NS)

    assert DigestCache(database).get(strange) == WEIGHTS
    assert DigestCache(database).get(replace(NAMED, path=Path("/models/?.safetensors"))) is None


@pytest.mark.posix  # Windows keeps no time of the inode's change
def test_a_replaced_file_with_its_time_set_back_is_a_miss(database: Path, path: Path) -> None:
    before = identify(path)
    DigestCache(database).put(before, WEIGHTS, before.mtime_ns + SETTLED_NS)
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(before.mtime_ns, before.mtime_ns))

    after = identify(path)

    assert (after.size_bytes, after.mtime_ns) == (before.size_bytes, before.mtime_ns)
    assert DigestCache(database).get(after) is None


def test_the_same_content_elsewhere_is_a_miss(database: Path, path: Path) -> None:
    original = identify(path)
    DigestCache(database).put(original, WEIGHTS, original.mtime_ns + SETTLED_NS)
    copy = path.with_name("copy")
    os.link(path, copy)

    assert DigestCache(database).get(identify(copy)) is None


@pytest.mark.parametrize("since_ns", [-2 * 10**9, 0, 10**9, 2 * 10**9])
@pytest.mark.parametrize("changed", ["mtime_ns", "ctime_ns"])
def test_a_file_changed_just_now_is_not_kept(changed: str, since_ns: int, database: Path) -> None:
    changed_ns = SETTLED_NS - since_ns
    mtime_ns, ctime_ns = (changed_ns, 1) if changed == "mtime_ns" else (1, changed_ns)
    settling = replace(NAMED, mtime_ns=mtime_ns, ctime_ns=ctime_ns)
    known = DigestCache(database)

    known.put(settling, WEIGHTS, SETTLED_NS)

    assert known.get(settling) is None
    assert DigestCache(database).get(settling) is None


def test_a_file_changed_a_little_longer_ago_is_kept() -> None:
    settled = replace(NAMED, mtime_ns=SETTLED_NS - 2 * 10**9 - 1)
    known = DigestCache()

    known.put(settled, WEIGHTS, SETTLED_NS)

    assert known.get(settled) == WEIGHTS


def test_memory_holds_the_newest_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_IN_MEMORY", 2)
    known = DigestCache()
    first, second, third = (replace(NAMED, inode=inode) for inode in range(3))
    known.put(first, WEIGHTS, SETTLED_NS)
    known.put(second, WEIGHTS, SETTLED_NS)
    known.get(first)

    known.put(third, WEIGHTS, SETTLED_NS)

    assert [known.get(file) for file in (first, second, third)] == [WEIGHTS, None, WEIGHTS]


def test_the_disk_holds_the_newest_used(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_store, "_ROWS", 20)
    files = [replace(NAMED, path=Path(f"/models/{number}")) for number in range(40)]
    for file in files[:19]:
        DigestCache(database).put(file, WEIGHTS, SETTLED_NS)
    DigestCache(database).get(files[0])

    for file in files[19:]:
        DigestCache(database).put(file, WEIGHTS, SETTLED_NS)
        DigestCache(database).get(files[0])

    kept = [file for file in files if DigestCache(database).get(file) is not None]
    assert kept[0] == files[0]
    assert kept[-1] == files[-1]
    assert 10 < len(kept) <= 20


def test_a_file_hashed_again_takes_the_place_of_its_older_digest(database: Path) -> None:
    filled(database)

    DigestCache(database).put(replace(NAMED, mtime_ns=9), WEIGHTS, SETTLED_NS)

    connection = sqlite3.connect(database)
    assert connection.execute("SELECT count(*) FROM digests").fetchone() == (1,)
    connection.close()


@pytest.mark.posix  # Windows has no such modes
def test_the_database_is_for_its_owner_alone(database: Path) -> None:
    filled(database)

    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert [*database.parent.iterdir()] == [database]


def test_the_database_holds_paths_and_digests_alone(database: Path) -> None:
    filled(database)

    connection = sqlite3.connect(database)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(digests)")]
    connection.close()

    assert columns == ["id", "place", "algorithm", "hex", "seal"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("UPDATE digests SET hex = CAST('0' || substr(hex, 2) AS BLOB)", id="hex"),
        pytest.param("UPDATE digests SET hex = 7", id="a number for the hex"),
        pytest.param("UPDATE digests SET hex = CAST(x'ff' AS TEXT)", id="text that is no UTF-8"),
        pytest.param("UPDATE digests SET seal = zeroblob(16)", id="seal"),
        pytest.param("UPDATE digests SET place = x'00'", id="place"),
        pytest.param("UPDATE digests SET algorithm = x'00'", id="algorithm"),
    ],
)
def test_a_damaged_row_is_a_miss_until_it_is_put_again(
    database: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    filled(database)
    change(database, damage)

    found = DigestCache(database).get(NAMED)
    filled(database)

    assert WEIGHTS.hex[0] != "0"
    assert found is None
    assert DigestCache(database).get(NAMED) == WEIGHTS
    assert caplog.messages == []


def test_a_well_sealed_row_that_is_no_digest_is_a_miss(database: Path) -> None:
    entry = cache._entry(NAMED, "sha256")
    digest_store.DigestStore(database).keep(entry, "not hex")

    assert DigestCache(database).get(NAMED) is None


@pytest.mark.parametrize("version", [0, 2, 2**31 - 1])
def test_a_database_of_another_version_is_emptied(
    database: Path, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    filled(database)
    connection = sqlite3.connect(database)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()

    found = DigestCache(database).get(NAMED)
    filled(database)

    assert found is None
    assert DigestCache(database).get(NAMED) == WEIGHTS
    assert caplog.messages == []


def overwrite(database: Path) -> None:
    database.write_bytes(os.urandom(8192))


def cut(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def tear_pages(database: Path) -> None:
    header_bytes = 100
    content = database.read_bytes()
    database.write_bytes(content[:header_bytes] + b"\xff" * (len(content) - header_bytes))


def drop_the_table(database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("DROP TABLE digests")
    connection.close()


def exhaust_ids(database: Path) -> None:
    change(database, "UPDATE digests SET id = 9223372036854775807")


@pytest.mark.parametrize("damage", [overwrite, cut, tear_pages, drop_the_table, exhaust_ids])
def test_a_damaged_database_is_set_aside_and_begun_anew(
    database: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    other = replace(NAMED, path=Path("/models/b"))
    filled(database)
    damage(database)
    damaged = database.read_bytes()

    known = DigestCache(database)
    found = known.get(NAMED)
    known.put(other, WEIGHTS, SETTLED_NS)

    assert found in (None, WEIGHTS)
    assert DigestCache(database).get(other) == WEIGHTS
    assert database.with_name("digests.sqlite.damaged").read_bytes() == damaged
    assert [message.partition(" as ")[0] for message in caplog.messages] == [
        "set the damaged cache of digests aside"
    ]


def test_the_new_database_of_another_process_is_not_set_aside(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(database)
    overwrite(database)
    late = digest_store.DigestStore(database)
    attempt, entry = late._attempt, cache._entry(NAMED, "sha256")

    def attempt_late(work: Callable[[sqlite3.Connection], str | None]) -> str | None:
        try:
            return attempt(work)
        except sqlite3.DatabaseError:
            filled(database)  # by a process that met the damage at the same time
            raise

    monkeypatch.setattr(late, "_attempt", attempt_late)

    assert late.find(entry) == WEIGHTS.hex


def test_an_emptied_file_is_a_new_database(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(database)
    os.truncate(database, 0)

    filled(database)

    assert DigestCache(database).get(NAMED) == WEIGHTS
    assert caplog.messages == []


def make_a_folder(database: Path) -> None:
    database.mkdir(parents=True)


def make_its_folder_a_file(database: Path) -> None:
    database.parent.write_bytes(b"")


def make_it_read_only(database: Path) -> None:
    # To SQLite, and to root as well: a format that is written by a later version.
    filled(database)
    with database.open("r+b") as file:
        file.seek(18)
        file.write(b"\x03")


@pytest.mark.parametrize("spoil", [make_a_folder, make_its_folder_a_file, make_it_read_only])
def test_a_disk_that_cannot_be_used_is_warned_of_once(
    database: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(database)
    known, other = DigestCache(database), replace(NAMED, path=Path("/models/b"))

    for file in (NAMED, other):
        known.get(file)
        known.put(file, WEIGHTS, SETTLED_NS)

    assert [known.get(file) for file in (NAMED, other)] == [WEIGHTS, WEIGHTS]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(IN_MEMORY_ALONE)


def test_a_locked_database_is_not_waited_for_twice(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(digest_store, "_BUSY_S", 0.05)
    filled(database)
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    known = DigestCache(database)

    found = known.get(NAMED)
    known.put(NAMED, WEIGHTS, SETTLED_NS)
    holder.close()

    assert found is None
    assert known.get(NAMED) == WEIGHTS
    assert caplog.messages == [IN_MEMORY_ALONE + "database is locked"]


def test_threads_that_meet_a_locked_database_warn_once(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(digest_store, "_BUSY_S", 0.2)
    filled(database)
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    known, start = DigestCache(database), Barrier(2)

    def ask() -> None:
        start.wait()
        known.get(NAMED)

    threads = [Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holder.close()

    assert caplog.messages == [IN_MEMORY_ALONE + "database is locked"]


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        identify(tmp_path / "gone")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="expected a regular file"):
        identify(tmp_path)


def test_two_names_of_one_file_are_one_file(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)

    assert identify(link) == identify(path)


def test_an_identity_is_all_that_a_replaced_file_would_change(path: Path) -> None:
    status = path.stat()

    assert identify(path) == FileIdentity(
        path=path.resolve(),
        size_bytes=7,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
        device=status.st_dev,
    )


def test_what_is_given_as_a_path_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = Path(":memory:" if sys.platform != "win32" else "memory")

    filled(name)

    assert DigestCache(tmp_path / name).get(NAMED) == WEIGHTS
