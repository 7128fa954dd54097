"""Settings are the owner's: the page changes one only with a code that no route ever tells."""

from __future__ import annotations

import json
import re
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfyui_provenance.containers import extract

from support import prompts
from support.events import Events
from support.prompts import node
from support.reports import report_of
from support.server import ComfyServer
from support.tampering import record_of

Document = dict[str, Any]

CODE = re.compile(r"give the code (\d{6}) on the page")


def post(server: ComfyServer, question: object) -> tuple[int, Document]:
    status, answer = server.request("/api/provenance/settings", json.dumps(question).encode())
    parsed: Document = json.loads(answer)
    return status, parsed


@pytest.fixture
def private(server: ComfyServer) -> Iterator[Path]:
    """The owner's folder, whose files are put back."""
    folder = server.base / "user" / "__provenance"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("settings.json", "policy.json")]
    before = [file.read_bytes() if file.exists() else None for file in files]
    yield folder
    for file, data in zip(files, before, strict=True):
        if data is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(data)


def settings_of(server: ComfyServer) -> Document:
    settings: Document = server.get_json("/api/provenance/settings")["settings"]
    return settings


def ask_for(server: ComfyServer, name: str, value: object) -> tuple[Document, str]:
    """Ask for a change; give the answer, and the code that the console shows."""
    before = len(server.log_text())
    status, answer = post(server, {"name": name, "value": value})
    assert status == 202, answer
    (code,) = CODE.findall(server.log_text()[before:])
    return answer, code


def change(server: ComfyServer, name: str, value: object) -> Document:
    _, code = ask_for(server, name, value)
    status, answer = post(server, {"name": name, "value": value, "code": code})
    assert status == 200, answer
    settings: Document = answer["settings"]
    return settings


@pytest.mark.usefixtures("private")
def test_the_settings_begin_safe(server: ComfyServer) -> None:
    assert settings_of(server) == {
        "record_in_stock_saves": False,
        "redaction": True,
        "sidecar": False,
        "allowed_packs": [],
        "allowed_classes": [],
    }


def test_a_setting_changes_with_the_code_of_the_console_and_the_rest_of_its_file_stays(
    server: ComfyServer, private: Path
) -> None:
    file = private / "policy.json"
    file.write_text(json.dumps({"allowed_classes": ["LoadImageMask"], "of the owner": [1]}))

    changed = change(server, "allowed_packs", ["second", "first", "first"])

    assert changed == settings_of(server)
    assert json.loads(file.read_text()) == {
        "allowed_classes": ["LoadImageMask"],
        "of the owner": [1],
        "allowed_packs": ["first", "second"],
    }
    assert [path.name for path in private.glob(".*")] == []


@pytest.mark.usefixtures("private")
def test_nothing_changes_before_the_code(server: ComfyServer) -> None:
    before = settings_of(server)

    answer, code = ask_for(server, "sidecar", True)

    assert settings_of(server) == before
    assert answer.keys() == {"confirm"}
    assert code not in answer["confirm"]


@pytest.mark.usefixtures("private")
def test_a_wrong_code_changes_nothing_and_a_right_one_works_once(server: ComfyServer) -> None:
    _, code = ask_for(server, "sidecar", True)
    question = {"name": "sidecar", "value": True}
    wrong = f"{(int(code) + 1) % 1_000_000:06}"

    refused = post(server, {**question, "code": wrong})
    before = settings_of(server)["sidecar"]
    first = post(server, {**question, "code": code})
    second = post(server, {**question, "code": code})

    assert (refused[0], before) == (403, False)
    assert "not the code" in refused[1]["error"]
    assert (first[0], second[0]) == (200, 403)


@pytest.mark.usefixtures("private")
def test_no_route_tells_the_code(server: ComfyServer) -> None:
    with Events(server, uuid.uuid4().hex) as page:
        subscribe = json.dumps({"clientId": page.client_id, "enabled": True}).encode()
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{server.url}/internal/logs/subscribe",
            data=subscribe,
            headers={"Content-Type": "application/json"},
            method="PATCH",
        )
        urllib.request.urlopen(request).close()  # noqa: S310
        _, code = ask_for(server, "sidecar", True)
        served = [server.request(f"/internal/logs{end}")[1].decode() for end in ("", "/raw")]
        post(server, {"name": "sidecar", "value": True, "code": code})
        logged = page.wait_for("logs")
        after = server.request("/internal/logs")[1].decode()

    # The log that is served does hold what this pack logs.
    assert "the setting sidecar was changed" in after
    assert "the setting sidecar was changed" in json.dumps(logged)
    assert "give the code" not in "".join([*served, after, json.dumps(logged)])
    assert code not in "".join(served)


@pytest.mark.usefixtures("private")
def test_the_console_says_what_a_change_would_do(server: ComfyServer) -> None:
    change(server, "allowed_packs", ["kept", "dropped"])

    ask_for(server, "allowed_packs", ["kept", "new"])

    assert "allowed_packs: adds 'new'; removes 'dropped'." in server.log_text()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        pytest.param("nonsense", True, "expected one of", id="another name"),
        pytest.param("sidecar", "true", "expected true or false, got str", id="a text"),
        pytest.param("sidecar", 1, "expected true or false, got int", id="a number"),
        pytest.param("sidecar", None, "expected true or false, got NoneType", id="nothing"),
        pytest.param("allowed_packs", "mine", "expected a list", id="no list"),
        pytest.param("allowed_packs", [1], "expected names", id="a number as a name"),
        pytest.param("allowed_packs", [""], "expected names", id="an empty name"),
        pytest.param("allowed_packs", ["a\x1b[2J"], "expected names", id="a control code"),
        pytest.param("allowed_packs", ["x"] * 201, "at most 200 names", id="too many"),
        pytest.param("allowed_classes", ["x" * 201], "expected names", id="too long"),
    ],
)
def test_a_value_that_a_setting_cannot_have_is_refused_before_any_code(
    server: ComfyServer, name: str, value: object, message: str
) -> None:
    before = len(server.log_text())

    status, answer = post(server, {"name": name, "value": value})

    assert status == 400
    assert message in answer["error"]
    assert not CODE.findall(server.log_text()[before:])


def test_a_damaged_file_is_told_and_never_written_over(server: ComfyServer, private: Path) -> None:
    (private / "policy.json").write_text("{damaged")

    status, body = server.request("/provenance/settings")
    refused, answer = post(server, {"name": "allowed_packs", "value": []})

    assert (status, refused) == (409, 409)
    assert "policy.json: cannot be read" in answer["error"]
    assert str(server.base) not in body.decode()
    assert (private / "policy.json").read_text() == "{damaged"


@pytest.mark.usefixtures("private")
def test_a_sidecar_is_written_with_every_image_while_that_is_on(server: ComfyServer) -> None:
    def sidecars(seed: int) -> list[bool]:
        prompt = prompts.txt2img(seed=seed, steps=1, batch_size=2)
        paths = server.images(server.run(prompt))
        return [path.with_name(f"{path.stem}.provenance.json").exists() for path in paths]

    before = sidecars(621)
    change(server, "sidecar", True)

    assert (before, sidecars(622)) == ([False, False], [True, True])


@pytest.mark.usefixtures("private")
def test_without_redaction_secrets_are_written_and_the_record_says_so(server: ComfyServer) -> None:
    def save(seed: int) -> Path:
        prompt = prompts.in_mode(prompts.txt2img(seed=seed, steps=1))
        prompt["latent"]["inputs"]["api_key"] = "plain-words-9921"
        workflow = {"nodes": [], "note": "sk-proj-4Tq8vZ1mK9xW2rB7nY5cD3fG6hJ0pL"}
        extra = {"extra_pnginfo": {"workflow": workflow}}
        (path,) = server.images(server.run(prompt, extra_data=extra))
        return path

    before = save(631)
    change(server, "redaction", False)
    after = save(632)
    change(server, "redaction", True)
    again = save(633)

    texts = extract(after.read_bytes())
    record = record_of(after.read_bytes())
    assert "plain-words-9921" in texts["prompt"]
    assert "sk-proj-4Tq8" in texts["workflow"]
    assert "plain-words-9921" in record["graph"]
    assert record["redactions"] == []
    assert any("redaction is switched off" in text for text in record["warnings"])
    for path in (before, again):
        assert b"plain-words-9921" not in path.read_bytes()
        assert b"sk-proj-4Tq8" not in path.read_bytes()
        assert not any("switched off" in text for text in record_of(path.read_bytes())["warnings"])
    history = server.run(
        {"reproduce": node("ProvenanceReproduce", image=server.upload(after.read_bytes()))}
    )
    assert report_of(history)["level"] == "bitwise"
