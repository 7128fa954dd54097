"""Attack: an image that is shared hands its user's keys to whoever opens it.

Node packs take keys as widgets. ComfyUI writes every widget into every image, twice: into
`prompt` and into `workflow`; this pack's record holds the graph once more. And a hostile file
must not turn the search for keys against the one who runs it.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from comfyui_provenance.graph.prompt import dump_prompt, to_prompt
from comfyui_provenance.redaction import (
    MARK,
    redact_prompt,
    redact_record,
    redact_value,
    redacted_inputs,
)

from support.prompts import node

KEY = "sk-" + "a1B2c3D4e5F6g7H8" * 3
PASSWORD = "correct horse"  # noqa: S105  # of no shape at all

PROMPT: dict[str, Any] = {
    "1": node("AskLLM", prompt="describe a fox", api_key=KEY, seed=7),
    "2": node("Download", url=f"https://me:{PASSWORD.replace(' ', '-')}@host/x", password=PASSWORD),
    "3": node("CLIPTextEncode", text=["1", 0], clip=["4", 0]),
    "4": node("CheckpointLoaderSimple", ckpt_name="model.safetensors"),
}
WORKFLOW: dict[str, Any] = {
    "last_node_id": 9,
    "nodes": [
        {
            "id": 1,
            "type": "AskLLM",
            "inputs": [
                {"name": "prompt", "type": "STRING", "widget": {"name": "prompt"}, "link": None},
                {"name": "api_key", "type": "STRING", "widget": {"name": "api_key"}, "link": None},
                {"name": "seed", "type": "INT", "widget": {"name": "seed"}, "link": None},
            ],
            "widgets_values": ["describe a fox", KEY, 7, "fixed"],
        },
        # From an older page: no names at all. What the prompt gave away is found here.
        {"id": 2, "type": "Download", "widgets_values": ["https://host/x", PASSWORD]},
        {"id": 9, "type": "Note", "widgets_values": [f"my password is {PASSWORD}!"]},
    ],
    "extra": {"ds": {"scale": 0.9}},
}


def test_no_part_of_a_saved_file_holds_the_key() -> None:
    redacted = redact_prompt(PROMPT)

    graph = dump_prompt(to_prompt(redacted.nodes))
    written = json.dumps([redacted.nodes, redact_value(WORKFLOW, redacted.secrets), graph])

    assert KEY not in written
    assert PASSWORD not in written
    assert PASSWORD.replace(" ", "-") not in written
    assert "describe a fox" in written
    assert redacted.places == (("1", "api_key"), ("2", "url"), ("2", "password"))


def test_the_rest_of_the_workflow_stays_for_the_page() -> None:
    result: Any = redact_value(WORKFLOW, redact_prompt(PROMPT).secrets)

    asked, downloaded, noted = result["nodes"]
    assert asked == {
        **WORKFLOW["nodes"][0],
        "widgets_values": ["describe a fox", MARK, 7, "fixed"],
    }
    assert downloaded["widgets_values"] == ["https://host/x", MARK]
    assert noted["widgets_values"] == [f"my password is {MARK}!"]
    assert result["extra"] is WORKFLOW["extra"]


def test_a_reader_can_tell_which_inputs_are_missing() -> None:
    prompt = to_prompt(redact_prompt(PROMPT).nodes)

    assert redacted_inputs(prompt) == [("1", "api_key"), ("2", "url"), ("2", "password")]


def test_a_key_in_a_record_of_someone_else_is_not_shown() -> None:
    document: Any = {"graph": json.dumps(PROMPT), "warnings": [f"used {PASSWORD}"]}

    assert PASSWORD not in json.dumps(redact_record(document))
    assert KEY not in json.dumps(redact_record(document, keep_graph=False))


@pytest.mark.parametrize(
    "piece",
    [
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "://a:",
        "?key=",
        "&token=a",
        '"a":"',
        '\\"a\\":\\"',
        '"',
        "Bearer ",
        "Bearer aaaaaa ",
        "a-",
        "a=",
        "api_key=aaaaaaaaaaaaaaaa=",
        "glpat-",
        "eyJ",
        "eyJaaaaaaaaa.",
        "sk-",
        "sk-a1",
        "a1",
        "[redacted",
        "[redacted]",
    ],
)
def test_a_hostile_text_takes_linear_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))

    began = time.perf_counter()
    redact_value({"api_key_" + text: text, "x": [text + '"', "-----BEGIN PRIVATE KEY-----" + text]})

    # A few seconds; one step for each pair of characters would take an hour.
    assert time.perf_counter() - began < 60


def test_a_hostile_number_of_keys_takes_linear_time() -> None:
    text = " ".join(f"token=a1b2c3d4e5f6g7h8{number}" for number in range(40_000))

    began = time.perf_counter()
    redacted = redact_value(
        {"x": text, "y": {f"hf_{number:040}": number for number in range(40_000)}}
    )

    assert "a1b2" not in json.dumps(redacted)
    assert time.perf_counter() - began < 60
