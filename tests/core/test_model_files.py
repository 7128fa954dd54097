"""A recorded file is the one with its digest, whatever its name; only likely files are hashed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from comfyui_provenance.graph.prompt import NodeId
from comfyui_provenance.materials import hashing
from comfyui_provenance.materials.cache import DigestCache
from comfyui_provenance.materials.hasher import Hasher, Job
from comfyui_provenance.materials.hashing import SHA256
from comfyui_provenance.model_files import State, count_states, find_files, name_parts
from comfyui_provenance.record import Material
from comfyui_provenance.verdict import CauseKind

from support.recorded_images import MODEL, sha256, write_files


class CountingHasher(Hasher):
    """Notes what it is asked to hash."""

    def __init__(self, cache: DigestCache | None = None) -> None:
        super().__init__(cache or DigestCache())
        self.asked: list[str] = []

    def submit(self, path: Path, algorithms: Collection[str] = (SHA256,)) -> Job:
        """Note the file, and hash it."""
        self.asked.append(path.name)
        return super().submit(path, algorithms)


def material_of(
    name: str = "a.safetensors", data: bytes | None = MODEL, kind: str = "checkpoints"
) -> Material:
    if data is None:
        return Material(kind, name, NodeId("1"), "ckpt_name", "missing")
    return Material(kind, name, NodeId("1"), "ckpt_name", "hashed", len(data), sha256(data))


def state_of(material: Material, *folders: Path) -> State:
    (placed,) = find_files([material], folders, Hasher(DigestCache()))
    return placed.state


@pytest.mark.parametrize(
    ("place", "kind", "name"),
    [
        pytest.param("checkpoints/a.pt", "checkpoints", "a.pt", id="below its kind"),
        pytest.param("checkpoints/sd/a.pt", "checkpoints", "sd/a.pt", id="in a folder"),
        pytest.param("checkpoints/sd/a.pt", "checkpoints", "sd\\a.pt", id="named on Windows"),
        pytest.param("a.pt", "checkpoints", "a.pt", id="in a folder of one kind"),
        pytest.param("unet/a.pt", "diffusion_models", "a.pt", id="in the old folder of its kind"),
        pytest.param("clip/a.pt", "text_encoders", "a.pt", id="another old folder"),
        pytest.param("input/a.png", "input", "a.png [input]", id="an annotated input image"),
    ],
)
def test_a_file_with_its_digest_under_its_name_is_here(
    tmp_path: Path, place: str, kind: str, name: str
) -> None:
    write_files(tmp_path, {place: MODEL})

    assert state_of(material_of(name, kind=kind), tmp_path) is State.HERE


@pytest.mark.parametrize(
    ("files", "data", "state"),
    [
        pytest.param({}, MODEL, State.MISSING, id="nothing there"),
        pytest.param({"b.pt": MODEL[::-1]}, MODEL, State.MISSING, id="one of its size"),
        pytest.param({"x/b.pt": MODEL}, MODEL, State.ELSEWHERE, id="another name"),
        pytest.param(
            {"x/a.safetensors": MODEL}, MODEL, State.ELSEWHERE, id="its name in another folder"
        ),
        pytest.param({"a.safetensors": b"short"}, MODEL, State.OTHER, id="another size"),
        pytest.param({"a.safetensors": MODEL[::-1]}, MODEL, State.OTHER, id="another digest"),
        pytest.param({"a.safetensors": MODEL}, None, State.NOT_RECORDED, id="no digest"),
    ],
)
def test_states(tmp_path: Path, files: dict[str, bytes], data: bytes | None, state: State) -> None:
    write_files(tmp_path, files)

    assert state_of(material_of(data=data), tmp_path) is state


def test_the_digest_of_another_file_is_told_where_it_was_hashed(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.safetensors": MODEL[::-1]})

    (placed,) = find_files([material_of()], [tmp_path], Hasher(DigestCache()))
    cause = placed.cause()

    assert placed.sha256 == sha256(MODEL[::-1])
    assert cause is not None
    assert (cause.kind, cause.recorded, cause.now) == (
        CauseKind.MODEL_FILE,
        sha256(MODEL),
        sha256(MODEL[::-1]),
    )


def test_only_files_of_the_recorded_size_are_hashed_and_its_name_comes_first(
    tmp_path: Path,
) -> None:
    hasher = CountingHasher()
    write_files(tmp_path, {"b.pt": MODEL[::-1], "c.pt": b"another size"})

    find_files([material_of("a.pt")], [tmp_path], hasher)
    assert hasher.asked == ["b.pt"]

    write_files(tmp_path, {"a.pt": b"its name, and another size"})
    find_files([material_of("a.pt")], [tmp_path], hasher)
    assert hasher.asked == ["b.pt", "b.pt"]

    write_files(tmp_path, {"a.pt": MODEL})
    find_files([material_of("a.pt")], [tmp_path], hasher)
    assert hasher.asked == ["b.pt", "b.pt", "a.pt"]


def test_a_file_of_its_name_and_another_size_is_not_hashed(tmp_path: Path) -> None:
    hasher = CountingHasher()
    write_files(tmp_path, {"a.safetensors": b"another size"})

    (placed,) = find_files([material_of()], [tmp_path], hasher)

    assert (placed.state, placed.sha256) == (State.OTHER, None)
    assert "the file of that name has another size" in placed.message
    assert hasher.asked == []


def test_a_second_run_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = write_files(tmp_path / "models", {"a.safetensors": MODEL})
    database = tmp_path / "digests.sqlite"
    later_ns = (models / "a.safetensors").stat().st_ctime_ns + 10**12

    def run() -> State:
        cache = DigestCache(database, now_ns=lambda: later_ns)
        (placed,) = find_files([material_of()], [models], Hasher(cache))
        return placed.state

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was read")

    assert run() is State.HERE
    monkeypatch.setattr(hashing, "hash_file", refuse)
    assert run() is State.HERE


def test_several_folders_are_searched_in_turn(tmp_path: Path) -> None:
    first = write_files(tmp_path / "first", {"a.safetensors": MODEL[::-1]})
    second = write_files(tmp_path / "second", {"checkpoints/a.safetensors": MODEL})

    (placed,) = find_files([material_of()], [first, second], Hasher(DigestCache()))

    assert placed.state is State.HERE
    assert placed.path == second / "checkpoints" / "a.safetensors"
    assert placed.place == "checkpoints/a.safetensors"


def test_a_file_that_two_nodes_name_is_told_once(tmp_path: Path) -> None:
    placed = find_files([material_of(), material_of()], [tmp_path], Hasher(DigestCache()))

    assert count_states(placed) == "1 missing, of 1 recorded"


@pytest.mark.posix
def test_a_file_that_cannot_be_read_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Hasher, path: Path, algorithms: Collection[str] = ()) -> Job:
        raise PermissionError(f"no permission for {path.name}")

    write_files(tmp_path, {"a.safetensors": MODEL})
    monkeypatch.setattr(Hasher, "submit", refuse)

    assert state_of(material_of(), tmp_path) is State.UNREADABLE


@pytest.mark.parametrize(
    "name",
    [
        "../a", "a/../../b", "..\\a", "/etc/passwd", "\\a", "C:\\a", "C:a", "a/b:stream", "",
        "a\0b", "//server/share/a", "\\\\server\\share\\a", ".", "./",
    ],
)  # fmt: skip
def test_a_name_that_leads_out_of_its_folder_names_nothing(name: str, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    write_files(tmp_path, {"a": MODEL, "b": MODEL})

    assert name_parts(name) is None
    assert state_of(material_of(name), models) is State.MISSING
    assert state_of(material_of("a", kind="../"), models) is State.MISSING


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="expected a folder of models"):
        find_files([], [tmp_path / "absent"], Hasher(DigestCache()))
