"""The page gets answers about images of the server by name; nothing is run and nothing is stored.

Names never lead out of ComfyUI's folders; what a route reads is bounded; and an answer tells no
path of this machine.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from comfyui_provenance.containers import strip

from support import prompts
from support.prompts import node
from support.reports import report_of
from support.server import ComfyServer
from support.tampering import alter_pixel, edit_graph, edit_record, record_of, set_input

Document = dict[str, Any]

PACK = "comfyui-provenance"
CODE = re.compile(r"give the code (\d{6}) on the page")


@pytest.fixture(scope="module")
def saved(server: ComfyServer) -> Path:
    """An image in a folder of its own below the output folder."""
    prompt = prompts.in_mode(prompts.txt2img(seed=611, steps=2, filename_prefix="routes/fox"))
    (path,) = server.images(server.run(prompt))
    return path


@pytest.fixture(scope="module")
def name(saved: Path) -> str:
    return f"routes/{saved.name} [output]"


def post(
    server: ComfyServer, path: str, body: bytes = b"", content_type: str = "application/json"
) -> tuple[int, Document]:
    status, answer = server.request(f"/api/provenance/{path}", body, content_type=content_type)
    parsed: Document = json.loads(answer)
    return status, parsed


def post_json(server: ComfyServer, path: str, value: object) -> tuple[int, Document]:
    return post(server, path, json.dumps(value).encode())


def form_of(**parts: bytes) -> tuple[bytes, str]:
    """Build a form of files, and its content type."""
    boundary = uuid.uuid4().hex
    pieces = [
        f"--{boundary}\r\nContent-Disposition: form-data; "
        f'name="{part}"; filename="{part}.png"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for part, data in parts.items()
    ]
    return (
        b"".join([*pieces, f"--{boundary}--\r\n".encode()]),
        f"multipart/form-data; boundary={boundary}",
    )


# --- files of the server by name ---


def test_a_file_of_the_server_is_read_by_its_name_as_if_it_were_sent(
    server: ComfyServer, saved: Path, name: str
) -> None:
    by_name = post(server, f"record?image={quote(name)}")
    sent = post(server, "record", saved.read_bytes(), "application/octet-stream")

    assert by_name == sent
    assert by_name[1]["record"] == record_of(saved.read_bytes())


def test_a_preflight_of_a_name_is_that_of_the_file(
    server: ComfyServer, saved: Path, name: str
) -> None:
    sent = post(server, "preflight?name=fox.png", saved.read_bytes(), "application/octet-stream")

    assert post(server, f"preflight?image={quote(name)}") == sent
    assert sent[1]["line"].startswith("ready")


BAD_NAMES = {
    "not there": "nowhere.png [output]",
    "nothing": "",
    "above the folder": "../input/fox.png [output]",
    "above, in the other slashes": "..\\input\\fox.png [output]",
    "absolute": "/etc/hostname",
    "absolute on Windows": "C:\\Windows\\win.ini",
    "the private folder": "../user/__provenance/graphs.txt [output]",
    "with a null": "fox\0.png",
    "endless": "x" * 7000,
}


@pytest.mark.parametrize("bad", BAD_NAMES)
@pytest.mark.parametrize("route", ["record", "preflight"])
def test_a_name_that_leads_to_no_image_is_refused_alike(
    server: ComfyServer, route: str, bad: str
) -> None:
    status, answer = post(server, f"{route}?image={quote(BAD_NAMES[bad])}")

    assert (status, answer.keys()) == (400, {"error"})
    assert answer["error"].startswith("expected an image of this server, got '")
    assert len(answer["error"]) < 500
    assert str(server.base) not in answer["error"]


def test_an_absolute_name_is_refused_though_it_leads_into_the_folder(
    server: ComfyServer, saved: Path
) -> None:
    status, answer = post(server, f"record?image={quote(f'{saved} [output]')}")

    assert (status, answer["error"][:24]) == (400, "expected an image of thi")


def test_a_folder_is_no_image_and_no_path_is_told(server: ComfyServer, saved: Path) -> None:
    status, answer = post(server, f"record?image={quote('routes [output]')}")

    assert status == 400
    assert str(server.base) not in answer["error"]


def test_an_image_is_read_with_the_sidecar_that_was_sent_beside_it(
    server: ComfyServer, saved: Path
) -> None:
    bare = strip(saved.read_bytes())
    sidecar = json.dumps(record_of(saved.read_bytes())).encode()
    form, kind = form_of(image=bare, sidecar=sidecar)

    status, alone = post(server, "preflight", bare, "application/octet-stream")
    _, together = post(server, "preflight?name=fox.png", form, kind)
    _, record = post(server, "record", form, kind)

    assert (status, alone["expect"]) == (200, "cannot_run")
    assert together["line"].startswith("ready")
    assert record["record"] == record_of(saved.read_bytes())


def test_a_form_without_an_image_is_refused(server: ComfyServer) -> None:
    form, kind = form_of(sidecar=b"{}")

    status, answer = post(server, "preflight", form, kind)

    assert (status, answer["error"]) == (400, "expected a part 'image' with a file, got none")


# --- comparing ---


def test_two_images_are_compared_as_the_node_compares_them(
    server: ComfyServer, saved: Path, name: str
) -> None:
    data = edit_graph(saved.read_bytes(), set_input("sampler", "cfg", 6.0), resealed=True)
    other = server.upload(data)
    prompt = {"compare": node("ProvenanceCompareRecords", first=name, second=other)}

    status, answer = post_json(server, "compare", {"first": name, "second": other})

    assert status == 200
    assert answer["report"] == report_of(server.run(prompt))
    assert answer["report"]["level"] == "mismatch"


@pytest.mark.parametrize(
    ("question", "message"),
    [
        pytest.param({"first": "a.png"}, "names of two images", id="one name"),
        pytest.param({"first": ["a"], "second": "b"}, "names of two images", id="a list"),
        pytest.param(["a", "b"], "a JSON object", id="no object"),
        pytest.param({"first": "../x", "second": "../x"}, "an image of this", id="outside"),
        pytest.param({"first": "x" * 70_000, "second": ""}, "at most 65536", id="too long"),
    ],
)
def test_a_question_that_is_none_is_refused(
    server: ComfyServer, question: object, message: str
) -> None:
    status, answer = post_json(server, "compare", question)

    assert status == 400
    assert message in answer["error"]


@pytest.mark.parametrize("route", ["compare", "settings"])
def test_what_another_sites_form_could_send_is_refused(server: ComfyServer, route: str) -> None:
    body = json.dumps({"name": "sidecar", "value": True, "first": "a", "second": "b"}).encode()

    status, answer = post(server, route, body, "text/plain")

    assert status == 415
    assert "expected application/json" in answer["error"]


@pytest.mark.parametrize("path", ["record", "preflight", "compare", "settings"])
def test_a_page_of_another_site_is_refused_in_words(server_with: Any, path: str) -> None:
    # Without this option ComfyUI refuses it itself, of each of its routes.
    server = server_with("--enable-cors-header")
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{server.url}/api/provenance/{path}",
        data=b"{}",
        headers={"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"},
    )

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)  # noqa: S310 - our own address

    with refused.value as answer:
        assert (answer.code, json.loads(answer.read())) == (
            403,
            {"error": "a page of another site cannot ask this server"},
        )


# --- the last images ---


def outputs(server: ComfyServer, count: int = 100) -> list[Document]:
    listed: list[Document] = server.get_json(f"/provenance/outputs?count={count}")["outputs"]
    return listed


def entry_of(server: ComfyServer, path: Path) -> Document:
    (entry,) = [found for found in outputs(server) if found["filename"] == path.name]
    return entry


def write_beside(saved: Path, stem: str, data: bytes) -> Path:
    """Write a file into the folder of an image, newer than all others."""
    path = saved.with_name(f"{stem}-{uuid.uuid4().hex}.png")
    path.write_bytes(data)
    return path


def test_the_newest_image_comes_first_and_tells_itself(server: ComfyServer) -> None:
    first = prompts.txt2img(seed=612, steps=1, filename_prefix="routes/older")
    last = prompts.txt2img(seed=2**64 - 1, steps=1, filename_prefix="routes/newer")
    (older,), (newer,) = (server.images(server.run(prompt)) for prompt in (first, last))

    found = outputs(server, 2)

    assert [entry["filename"] for entry in found] == [newer.name, older.name]
    entry = found[0]
    assert entry["image"] == f"routes/{newer.name} [output]"
    assert (entry["subfolder"], entry["type"]) == ("routes", "output")
    assert server.path_of(entry) == newer
    assert entry["time_ms"] == newer.stat().st_mtime_ns // 1_000_000
    assert (entry["record"], entry["level"], entry["verdict"]) == ("whole", "bitwise", None)
    assert entry["line"] == (
        f"{prompts.CHECKPOINT}, euler, scheduler normal, steps 1, cfg 7, seed {2**64 - 1}"
    )


def test_each_listed_name_can_be_asked_for(server: ComfyServer) -> None:
    for entry in outputs(server, 3):
        status, _ = post(server, f"record?image={quote(entry['image'])}")
        assert status == 200


def test_what_is_wrong_with_a_file_is_told_in_the_list(server: ComfyServer, saved: Path) -> None:
    data = saved.read_bytes()
    files = {
        "altered": alter_pixel(data),
        "damaged": edit_record(data, lambda record: record.pop("tuple")),
        "stripped": strip(data),
        "broken": b"\x89PNG\r\n\x1a\nnothing",
    }
    paths = {stem: write_beside(saved, stem, content) for stem, content in files.items()}

    found = {stem: entry_of(server, path) for stem, path in paths.items()}

    told = {stem: (entry["record"], entry["level"]) for stem, entry in found.items()}
    assert told == {
        "altered": ("whole", "mismatch"),
        "damaged": ("damaged", None),
        "stripped": ("none", None),
        "broken": ("none", None),
    }


def test_a_file_that_changed_is_read_again(server: ComfyServer, saved: Path) -> None:
    path = write_beside(saved, "changing", saved.read_bytes())
    before = entry_of(server, path)["level"]
    path.write_bytes(alter_pixel(saved.read_bytes()))

    assert (before, entry_of(server, path)["level"]) == ("bitwise", "mismatch")


def test_the_last_verdict_on_exactly_these_bytes_is_told(
    server: ComfyServer, saved: Path, name: str
) -> None:
    same = write_beside(saved, "same", saved.read_bytes())
    other = write_beside(saved, "other", alter_pixel(saved.read_bytes()))
    before = entry_of(server, saved)["verdict"]

    server.run({"reproduce": node("ProvenanceReproduce", image=name)})

    assert before is None
    assert entry_of(server, saved)["verdict"] == "bitwise"
    assert entry_of(server, same)["verdict"] == "bitwise"
    assert entry_of(server, other)["verdict"] is None


@pytest.mark.posix
def test_a_link_out_of_the_output_folder_is_not_listed(
    server: ComfyServer, saved: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.png").write_bytes(saved.read_bytes())
    folder, file = saved.with_name("linked"), saved.with_name("linked.png")
    folder.symlink_to(tmp_path, target_is_directory=True)
    file.symlink_to(tmp_path / "secret.png")
    try:
        names = {entry["image"] for entry in outputs(server)}
    finally:
        folder.unlink()
        file.unlink()

    assert not any("linked" in found for found in names)


@pytest.mark.parametrize("count", ["0", "101", "-1", "1e1", "", "9" * 5000, "٣"])
def test_a_count_that_is_none_is_refused(server: ComfyServer, count: str) -> None:
    status, body = server.request(f"/provenance/outputs?count={quote(count)}")

    assert status == 400
    assert "expected 1 to 100" in json.loads(body)["error"]


def test_a_list_of_many_files_is_bounded_in_time(server: ComfyServer, saved: Path) -> None:
    # A week later than anything else, so that these are the newest.
    when = saved.stat().st_mtime + 7 * 86400
    data = saved.read_bytes()
    paths = [write_beside(saved, "many", alter_pixel(data, number)) for number in range(1, 101)]
    for path in paths:
        os.utime(path, (when, when))
    try:
        found = outputs(server)
        again = outputs(server)
    finally:
        for path in paths:
            path.unlink()

    assert len(found) == 100
    assert {entry["level"] for entry in again} == {"mismatch"}


# --- classes ---


def test_the_classes_that_no_seed_decides_are_told(server: ComfyServer) -> None:
    found = server.get_json("/api/provenance/classes")

    assert found["unseeded"]["SVD_img2vid_Conditioning"] == (
        "draws random numbers that no seed decides"
    )
    assert "runs on somebody else's machine" in found["unseeded"].values()
    assert found["unpinned"]["ImageUpscaleWithModel"] == "divides its work by free memory"
    assert not {"KSampler", "CLIPTextEncode", "VAEDecode"} & (
        found["unseeded"].keys() | found["unpinned"].keys()
    )


# --- modules of the page ---


def cache_control(server: ComfyServer, path: str) -> str | None:
    with urllib.request.urlopen(server.url + path) as answer:  # noqa: S310 - our own address
        value: str | None = answer.headers["Cache-Control"]
        return value


def test_browsers_ask_again_for_modules_that_are_loaded_later(server: ComfyServer) -> None:
    assert cache_control(server, f"/extensions/{PACK}/panel.mjs") == "no-cache"
    assert cache_control(server, f"/extensions/{PACK}/main.js") == "no-store"
    assert cache_control(server, "/provenance/classes") is None
