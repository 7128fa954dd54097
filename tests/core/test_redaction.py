"""A secret leaves no trace in what is handed on, and everything else is as it was.

Keys are put together here, so that no search for leaked keys takes this file for one. Their forms
are those that their issuers document.
"""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from typing import Any

import pytest

from comfyui_provenance import limits
from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.graph.prompt import NodeId, to_prompt
from comfyui_provenance.record import parse_record, seal
from comfyui_provenance.redaction import (
    MARK,
    is_redacted,
    is_secret_name,
    redact_prompt,
    redact_record,
    redact_value,
    redacted_inputs,
)

from support.prompts import node
from support.records import document_of

BODY = "a1B2c3D4e5F6g7H8i9J0" * 4
HEX = "0123456789abcdef" * 4
KEY = "hunter2-Castle"
HELD = "open sesame"


@pytest.mark.parametrize(
    "name",
    [
        "api_key", "apikey", "api-key", "apiKey", "APIKey", "API_KEY", "OPENAI_API_KEY",
        "openai_api_key", "openaiApiKey", "api_key_comfy_org", "auth_token_comfy_org", "token",
        "hfToken", "HF_TOKEN", "hf_token", "access_token", "accessToken", "auth", "authorization",
        "bearer", "bearer_token", "password", "user_password", "passwd", "pwd", "passphrase",
        "secret", "client_secret", "clientSecret", "secret_key", "aws_secret_access_key",
        "private_key", "privateKey", "credentials", "cookie", "session_id", "sessionId",
        "session_key", "civitai_key", "geminiKey", "api_key_1", "token2", "oauth_token",
        "http_auth", "jwt", "license_key",
    ],
)  # fmt: skip
def test_a_name_tells_a_secret_however_it_is_spelt(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "tokens", "max_tokens", "maxTokens", "token_normalization", "token_weight", "token_count",
        "tokenizer", "tokenizer_name", "eos_token", "trigger_token", "instance_token",
        "mask_token", "key", "keys", "sort_key", "key_frame", "keyframe", "monkey", "hotkey",
        "author", "authors", "author_name", "compass", "passes", "pass", "password_length",
        "api_key_env", "token_file", "secretary", "session", "seed", "cfg", "text", "prompt",
        "clip_l", "signature", "bypass", "passthrough", "cookies_file", "sampler_name", "123",
        "model_key",
    ],
)  # fmt: skip
def test_a_name_that_only_sounds_like_one_tells_nothing(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("sk-" + BODY[:48], id="OpenAI"),
        pytest.param("sk-proj-" + BODY[:40] + "_" + BODY[:40], id="OpenAI project"),
        pytest.param("sk-ant-api03-" + BODY + "-" + BODY[:10], id="Anthropic"),
        pytest.param("sk-or-v1-" + HEX, id="OpenRouter"),
        pytest.param("sk-" + HEX[:32], id="DeepSeek"),
        pytest.param("hf_" + BODY[:34], id="Hugging Face"),
        pytest.param("ghp_" + BODY[:36], id="GitHub personal"),
        pytest.param("gho_" + BODY[:36], id="GitHub OAuth"),
        pytest.param("ghs_" + BODY[:36], id="GitHub app"),
        pytest.param("github_pat_" + BODY[:22] + "_" + BODY[:59], id="GitHub fine-grained"),
        pytest.param("glpat-" + BODY[:20], id="GitLab"),
        pytest.param("xoxb-" + "123456789012-" + BODY[:24], id="Slack"),
        pytest.param("AKIA" + "ABCDEFGH12345678", id="AWS"),
        pytest.param("AIza" + BODY[:35], id="Google"),
        pytest.param("r8_" + BODY[:37], id="Replicate"),
        pytest.param("gsk_" + BODY[:52], id="Groq"),
        pytest.param("comfyui-" + HEX, id="ComfyUI"),
        pytest.param("eyJ" + BODY[:30] + ".eyJ" + BODY[:40] + "." + BODY[:43], id="JWT"),
        pytest.param(
            "-----BEGIN RSA PRIVATE KEY-----\n" + BODY + "\n-----END RSA PRIVATE KEY-----",
            id="PEM",
        ),
        pytest.param("-----BEGIN PRIVATE KEY-----\n" + BODY, id="PEM without an end"),
    ],
)
def test_a_key_is_known_by_its_shape_anywhere_in_a_text(secret: str) -> None:
    text = f"a fox, key={secret}"

    assert redact_value(secret) == MARK
    assert redact_value(text) == f"a fox, key={MARK}"
    assert redact_value({"widgets_values": [{secret: [text, 7]}]}) == {
        "widgets_values": [{MARK: [f"a fox, key={MARK}", 7]}]
    }


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        pytest.param("Bearer " + BODY[:40], f"Bearer {MARK}", id="bearer"),
        pytest.param("Authorization: Bearer simple", f"Authorization: Bearer {MARK}", id="header"),
        pytest.param(
            '{"Authorization": "Basic dXNlcjpwYXNz"}', f'{{"Authorization": "{MARK}"}}', id="basic"
        ),
        pytest.param("https://me:pw@host/x.png", f"https://{MARK}@host/x.png", id="in a URL"),
        pytest.param("ftp://:pw@host", f"ftp://{MARK}@host", id="in a URL without a user"),
        pytest.param(
            "https://civitai.com/api/download/models/1?type=Model&token=" + HEX[:32],
            f"https://civitai.com/api/download/models/1?type=Model&token={MARK}",
            id="Civitai",
        ),
        pytest.param("http://h/x?api_key=abc&w=1", f"http://h/x?api_key={MARK}&w=1", id="api_key"),
        pytest.param("http://h/x?key=abc#top", f"http://h/x?key={MARK}#top", id="key"),
        pytest.param(
            f"https://b.s3.amazonaws.com/x?X-Amz-Expires=60&X-Amz-Signature={HEX}",
            f"https://b.s3.amazonaws.com/x?X-Amz-Expires=60&X-Amz-Signature={MARK}",
            id="signed URL",
        ),
        pytest.param("token=" + HEX[:32], f"token={MARK}", id="assigned"),
        pytest.param(
            "note: this_is_my_openai_api_key: " + HEX[:32],
            f"note: this_is_my_openai_api_key: {MARK}",
            id="assigned to what was assigned",
        ),
        pytest.param(f"HF_TOKEN: '{BODY[:30]}'", f"HF_TOKEN: '{MARK}'", id="assigned in YAML"),
        pytest.param(
            '{"model": "x", "api_key": "hunter2", "n": 1}',
            f'{{"model": "x", "api_key": "{MARK}", "n": 1}}',
            id="in JSON",
        ),
        pytest.param('{"password": "a \\" b"}', f'{{"password": "{MARK}"}}', id="in JSON, escaped"),
    ],
)
def test_only_the_secret_part_of_a_text_is_replaced(text: str, redacted: str) -> None:
    assert redact_value(text) == redacted
    assert redact_value(redacted) is redacted


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("sk-", id="a prefix alone"),
        pytest.param("sk- and hf_ and ghp_ and eyJ", id="prefixes alone"),
        pytest.param("a task-oriented, desk-mounted, risk-averse robot", id="words with sk-"),
        pytest.param("sk-learn-based-portrait-classifier", id="words after sk-"),
        pytest.param("sk-character01_style_v2.safetensors", id="LoRA after sk-"),
        pytest.param("hf_hub, hf_transfer, hf_xet", id="names with hf_"),
        pytest.param("ghp_style_lora_v1_final.safetensors", id="LoRA after ghp_"),
        pytest.param("<lora:add_detail_XL-v1.0:0.8>, masterpiece, (best quality:1.2)", id="prompt"),
        pytest.param("flux1-dev-fp8-e4m3fn.safetensors", id="model"),
        pytest.param("SDXL/juggernautXL_v9Rdphoto2Lightning.safetensors", id="model in a folder"),
        pytest.param(HEX, id="sha256"),
        pytest.param("sha256:" + HEX, id="digest"),
        pytest.param("sha256-rgb8:" + HEX, id="pixel digest"),
        pytest.param("550e8400-e29b-41d4-a716-446655440000", id="uuid"),
        pytest.param("comfyui-" + HEX[:40], id="folder named by a commit"),
        pytest.param("comfyui-provenance, comfyui-impact-pack", id="packs"),
        pytest.param("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ.png", id="base64"),
        pytest.param("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCA==", id="data URL"),
        pytest.param("clipspace/clipspace-mask-1234567.9.png [input]", id="mask"),
        pytest.param("http://127.0.0.1:8188/view?filename=a.png&type=temp&rand=0.3", id="URL"),
        pytest.param("https://example.com:8443/@user/post", id="URL with an at sign"),
        pytest.param("me@example.com", id="address"),
        pytest.param(
            "a bearer of the ring, the standard bearer 2024-winter_collection", id="bearer"
        ),
        pytest.param("token: golden, secret: a hidden garden, key: low", id="words with colons"),
        pytest.param('{"subject": "fox", "token": "golden coin", "secret": "garden"}', id="JSON"),
        pytest.param("Password: required", id="a sign in the picture"),
        pytest.param("BEGIN PRIVATE KEY", id="words of PEM"),
        pytest.param("AKIRA, AKIAxyz", id="words like AWS"),
        pytest.param("max_tokens=4096, tokenizer: t5xxl_fp16_scaled_v2", id="settings"),
    ],
)
def test_words_names_of_files_and_digests_are_never_taken_for_keys(text: str) -> None:
    assert redact_value(text) is text


def test_an_input_with_a_secrets_name_is_replaced_whole_and_nothing_else_changes() -> None:
    prompt: dict[str, Any] = {
        "1": {
            **node("Ask", model="gpt", api_key=KEY, temperature=0.5, stop=["a", "b"]),
            "_meta": {"title": "Ask"},
        },
        "2": node("Save", text=["1", 0], seed=2**64 - 1, scale=float("inf")),
    }
    before = copy.deepcopy(prompt)

    result = redact_prompt(prompt)

    assert prompt == before
    expected = copy.deepcopy(before)
    expected["1"]["inputs"]["api_key"] = MARK
    assert result.nodes == expected
    assert json.dumps(result.nodes) == json.dumps(expected)
    assert result.nodes["2"] is prompt["2"]
    assert result.places == ((NodeId("1"), "api_key"),)
    assert result.secrets == {KEY}


@pytest.mark.parametrize(
    "value",
    [7, 0.5, True, None, "", "  ", "none", "Default", f" {MARK}", ["1", 0], ["a", "b"], {"x": "y"}],
)
def test_what_cannot_be_a_secret_stays_under_a_secrets_name(value: JsonValue) -> None:
    prompt = {"1": node("Text", value=1), "2": node("Ask", token=value)}

    result = redact_prompt(prompt)

    assert result.nodes is prompt
    assert (result.places, result.secrets) == ((), frozenset())


def test_a_secret_is_taken_out_of_every_text_of_the_prompt() -> None:
    prompt = {
        "1": node("Ask", api_key=KEY),
        "2": node("Call", headers=f"X-Key: {KEY}", options={"deep": [{"token": "x" * 9}, KEY]}),
        "3": {**node("Text", text="words"), "_meta": {"title": f"not {KEY}"}},
    }

    result = redact_prompt(prompt)

    assert KEY not in json.dumps(result.nodes)
    assert result.nodes["2"]["inputs"] == {
        "headers": f"X-Key: {MARK}",
        "options": {"deep": [{"token": MARK}, MARK]},
    }
    assert result.places == (("1", "api_key"), ("2", "headers"), ("2", "options"))
    assert result.secrets == {KEY, "x" * 9}


def test_a_secret_that_a_primitive_holds_is_followed_over_links() -> None:
    prompt = {
        "1": node("PrimitiveString", value="pass"),
        "2": node("Reroute", any=["1", 0]),
        "3": node("Ask", api_key=["2", 0], prompt=["4", 0], model=["5", 0]),
        "4": node("PrimitiveString", value="a fox"),
        "5": node("Loader", text="words", name="x"),
    }

    result = redact_prompt(prompt)

    assert result.nodes["1"]["inputs"] == {"value": MARK}
    assert [result.nodes[name] is prompt[name] for name in "2345"] == [True] * 4
    assert result.places == ((NodeId("1"), "value"),)


def test_a_circle_of_links_at_a_secrets_name_ends() -> None:
    prompt = {"1": node("Reroute", any=["2", 0]), "2": node("Reroute", token=["1", 0])}

    assert redact_prompt(prompt).nodes is prompt


@pytest.mark.parametrize(
    "prompt",
    [
        {},
        {"1": None},
        {"1": {"class_type": "Save"}},
        {"1": {"inputs": ["a"]}, "2": []},
        {"1": node("Ask", api_key=["9", 0])},
        {"1": {"inputs": {3: "x"}}},
    ],
)
def test_what_is_no_prompt_is_let_be(prompt: dict[str, Any]) -> None:
    assert redact_prompt(prompt).nodes is prompt


def test_a_short_secret_counts_only_where_it_is_the_whole_text_and_no_number() -> None:
    value: JsonValue = ["abc", "abcabc", {"abc": "abc"}, "123", "1234"]

    assert redact_value(value, {"abc", "123"}) == [MARK, "abcabc", {MARK: MARK}, "123", "1234"]


@pytest.mark.parametrize("secret", ['quo"te\\s', "caf\u00e9-\U0001f98a", "line\nfeed"])
def test_a_secret_is_found_in_json_within_a_text(secret: str) -> None:
    texts = [json.dumps([secret]), json.dumps([secret], ensure_ascii=False), f"<{secret}>"]

    assert redact_value([*texts], {secret}) == [f'["{MARK}"]', f'["{MARK}"]', f"<{MARK}>"]


def test_a_secret_that_holds_another_is_removed_whole() -> None:
    assert redact_value("x abcdefgh y", {"abcdef", "abcdefgh"}) == f"x {MARK} y"


def test_a_secret_made_of_the_marks_own_letters_does_not_eat_the_mark() -> None:
    text = f"redacted {MARK}"

    once = redact_value(text, {"redacted", "[redac"})

    assert once == f"{MARK} {MARK}"
    assert redact_value(once, {"redacted", "[redac"}) is once


def test_keys_made_equal_by_redaction_keep_their_values() -> None:
    value: JsonValue = {"hf_" + BODY[:34]: 1, "hf_" + BODY[1:35]: 2, MARK: 3, "x": 4}

    assert redact_value(value) == {MARK: 1, f"{MARK} 2": 2, f"{MARK} 3": 3, "x": 4}


def workflow_node(
    values: object, *names: str, linked: str = "", **fields: object
) -> dict[str, Any]:
    """Build a node as the editor writes it: widgets named at its inputs, values in a list."""
    inputs: list[Any] = [{"name": "model", "type": "MODEL", "link": 1}]
    inputs += [
        {"name": name, "widget": {"name": name}, "link": 2 if name in linked.split() else None}
        for name in names
    ]
    return {"id": 5, "type": "Ask", "mode": 2, "inputs": inputs, "widgets_values": values, **fields}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            workflow_node(["a fox", "pass", "gpt"], "text", "api_key", "model"),
            ["a fox", MARK, "gpt"],
            id="counted",
        ),
        pytest.param(
            workflow_node([1, "fixed", "a fox", "pass"], "seed", "text", "api_key"),
            [1, "fixed", "a fox", MARK],
            id="counted past the switch after a seed",
        ),
        pytest.param(
            workflow_node(["a fox", "", "gpt"], "text", "api_key", "model"),
            ["a fox", "", "gpt"],
            id="empty",
        ),
        pytest.param(
            workflow_node(["a fox", "pass", "image", 3], "text", "api_key"),
            [MARK, MARK, MARK, 3],
            id="more values than names",
        ),
        pytest.param(
            workflow_node([3, "randomize", "pass"], "api_key"),
            [3, "randomize", MARK],
            id="a choice of the page",
        ),
        pytest.param(
            workflow_node([3, "pass"], "api_key", "seed"),
            [3, MARK],
            id="no text where it should be",
        ),
        pytest.param(
            workflow_node(["a fox", "pass"], "api_key", "text", linked="api_key text"),
            [MARK, MARK],
            id="order of an older page",
        ),
        pytest.param(
            workflow_node(["a fox", KEY, "image"], "text", "api_key"),
            ["a fox", MARK, "image"],
            id="known from the prompt",
        ),
        pytest.param(
            workflow_node(["pass", 3], outputs=[{"name": "S", "widget": {"name": "api_key"}}]),
            [MARK, 3],
            id="a primitive",
        ),
        pytest.param(
            workflow_node(["pass"], properties={"proxyWidgets": [["12", "api_key"]]}),
            [MARK],
            id="a subgraph's own",
        ),
        pytest.param(
            workflow_node({"text": "a fox", "api_key": "pass"}),
            {"text": "a fox", "api_key": MARK},
            id="by name",
        ),
        pytest.param(
            workflow_node(["a fox", "pass"], "text", "title"), ["a fox", "pass"], id="none"
        ),
        pytest.param(
            workflow_node(["a fox", "pass"], "max_tokens", "title", properties={"proxyWidgets": 3}),
            ["a fox", "pass"],
            id="none, oddly",
        ),
    ],
)
def test_a_muted_nodes_secret_is_found_in_the_editors_workflow(
    before: dict[str, Any], after: object
) -> None:
    kept = copy.deepcopy(before)
    workflow: dict[str, Any] = {
        "nodes": [before],
        "definitions": {"subgraphs": [{"nodes": [copy.deepcopy(before)]}]},
    }

    result: Any = redact_value(workflow, {KEY})

    assert before == kept
    for found in (result["nodes"][0], result["definitions"]["subgraphs"][0]["nodes"][0]):
        assert found == {**kept, "widgets_values": after}


def test_a_muted_nodes_secret_is_taken_out_of_the_rest_of_the_workflow() -> None:
    workflow: dict[str, Any] = {
        "extra": {"note": f"use {KEY}"},
        "nodes": [workflow_node([KEY], "api_key")],
    }

    assert KEY not in json.dumps(redact_value(workflow))


def test_subclasses_and_tuples_are_searched_and_other_objects_let_be() -> None:
    thing = object()
    value: Any = OrderedDict(b=("x", KEY), a=[thing, {KEY: 1, 2: KEY}], c=b"x")

    result: Any = redact_value(value, {KEY})

    assert list(result) == ["b", "a", "c"]
    assert result["b"] == ("x", MARK)
    assert result["a"] == [thing, {MARK: 1, 2: MARK}]


def test_what_is_too_deep_or_circular_to_search_is_removed() -> None:
    deep: Any = KEY
    for _ in range(100_000):
        deep = [deep]
    circle: Any = {"x": 1}
    circle["self"] = [circle, circle]

    found = redact_prompt({"1": node("Ask", value=deep)})

    assert json.dumps(found.nodes["1"]["inputs"]["value"]).count("[") <= limits.JSON_DEPTH + 1
    assert found.places == ((NodeId("1"), "value"),)
    assert redact_value(circle) == {"x": 1, "self": [MARK, MARK]}


def test_the_inputs_of_a_graph_that_were_redacted_are_told() -> None:
    prompt = to_prompt(
        {
            "1": node("Ask", api_key=MARK, text=f"{MARK} fox", n=1, link=["2", 0]),
            "2": node("Call", options={"a": [{MARK: 1}]}, text="fox"),
        }
    )

    assert redacted_inputs(prompt) == [("1", "api_key"), ("1", "text"), ("2", "options")]
    assert not is_redacted({"text": "[redact]", "n": [1, None]})
    assert is_redacted((1, {"a": MARK}))


def private_document() -> dict[str, Any]:
    """Build a record that tells as much as one can, as JSON."""
    document: dict[str, Any] = json.loads(json.dumps(document_of()))
    graph = json.loads(document["graph"])
    graph["picture"] = node("LoadImage", image="me at home.png")
    graph["words"] = node("Text", text="Bob")
    graph["holder"] = node("PrimitiveString", value=HELD)
    graph["loader"]["inputs"]["ckpt_name"] = "SD 1.5/tiny model.safetensors"
    document["materials"][0]["name"] = "SD 1.5/tiny model.safetensors"
    graph["ask"] = node(
        "Ask",
        api_key=KEY,
        token=["holder", 0],
        note="portrait",
        mode="fast",
        options={"a": ["b c"]},
    )
    document["graph"] = json.dumps(graph)
    document["materials"].append(
        {
            "kind": "input",
            "name": "me at home.png",
            "node_id": "picture",
            "input": "image",
            "status": "missing",
        }
    )
    document["samplings"][0] |= {
        "log": ["loaded embedding of Ann"],
        "conditionings": {"positive": [{"cross_attn": "sha256-f32:" + HEX, "said": "a den"}]},
        "sampler_options": {"eta": 1, "kind": "fast"},
        "note": "kept",
    }
    document["samplings"][0]["positive"].append(
        {"text": "portrait", "sha256": HEX, "characters": [{"kind": "quote"}]}
    )
    document["warnings"] = ["input file 'me at home.png' is missing"]
    document["computed"] = [
        {"node_id": "n", "slot": 0, "type": "STRING", "value": "Ann"},
        {"node_id": "n", "slot": 1, "type": "COMBO", "value": "karras"},
        {"node_id": "n", "slot": 2, "type": "COMBO", "value": "portrait"},
        {"node_id": "n", "slot": 3, "type": "INT", "value": "18446744073709551615"},
    ]
    document["unknown"] = {"of": f"later versions {KEY}, {HELD}"}
    return document


def test_a_record_to_be_shown_tells_no_words_and_no_pictures_of_its_user() -> None:
    document = private_document()
    before = copy.deepcopy(document)

    shown: Any = redact_record(document)

    assert document == before
    text = json.dumps(shown)
    for private in ("fox's den", "home", "Ann", "portrait", KEY, HELD, "b c", "a den", "Bob"):
        assert private not in text, private
    assert shown["redacted"] is True
    assert shown["warnings"] == [f"input file {MARK} is missing"]
    assert shown["unknown"] == {"of": f"later versions {MARK}, {MARK}"}
    assert shown["materials"][-1] == {**before["materials"][-1], "name": MARK}


def test_a_record_to_be_shown_keeps_parameters_models_and_digests() -> None:
    document = private_document()

    shown: Any = redact_record(document)

    changed = {"computed", "graph", "materials", "samplings", "unknown", "warnings"}
    kept = set(document) - changed
    assert {name: shown[name] for name in kept} == {name: document[name] for name in kept}
    assert shown["materials"][:-1] == document["materials"][:-1]
    sampling, original = shown["samplings"][0], document["samplings"][0]
    assert sampling["positive"][0] == {
        name: value for name, value in original["positive"][0].items() if name != "text"
    }
    assert sampling["positive"][1] == {"sha256": HEX}
    assert sampling["conditionings"]["positive"] == [
        {"cross_attn": "sha256-f32:" + HEX, "said": MARK}
    ]
    assert (sampling["log"], sampling["note"]) == ([MARK], "kept")
    assert sampling["sampler_options"] == {"eta": 1, "kind": "fast"}
    assert sampling["seed"] == original["seed"]
    values = [entry["value"] for entry in shown["computed"]]
    assert values == [MARK, "karras", MARK, "18446744073709551615"]


def test_the_graph_of_a_record_to_be_shown_keeps_its_wires_numbers_and_choices() -> None:
    document = private_document()

    record = parse_record(seal(redact_record(document)).dump())
    graph = json.loads(str(record.document["graph"]))
    original = json.loads(document["graph"])

    assert graph["sampler"] == original["sampler"]
    assert graph["loader"] == original["loader"]
    assert graph["lora"] == original["lora"]
    assert graph["positive"]["inputs"]["text"] == MARK
    assert graph["ask"]["inputs"] == {
        "api_key": MARK,
        "token": ["holder", 0],
        "note": MARK,
        "mode": "fast",
        "options": {"a": [MARK]},
    }
    assert graph.keys() == original.keys()
    assert record.graph_sha256 == document["graph_sha256"]


def test_a_short_name_of_a_picture_is_found_where_a_message_quotes_it() -> None:
    picture = {"kind": "input", "name": "a.png", "node_id": "1", "input": "image"}
    document: dict[str, Any] = {
        "materials": [picture],
        "warnings": ["input file 'a.png' is not there"],
        "determinism": {"demotions": [{"kind": "batch", "message": "of 'a.png'"}]},
    }

    shown = redact_record(document)

    assert shown["warnings"] == [f"input file {MARK} is not there"]
    assert shown["determinism"] == {"demotions": [{"kind": "batch", "message": f"of {MARK}"}]}


@pytest.mark.parametrize("graph", ["[]", "{", '{"1":{"class_type":"A","inputs":{"x":["2",0]}}}'])
def test_a_graph_that_cannot_be_read_is_not_shown(graph: str) -> None:
    document = {**document_of(), "graph": graph}

    assert redact_record(document)["graph"] == MARK
    assert redact_record(document_of(), keep_graph=False)["graph"] == MARK


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"samplings": 3, "materials": ["x"], "graph": 3},
        {"samplings": [{"positive": ["a", {"text": 3}], "log": "a b", "negative": {}}]},
        {"materials": [{"kind": "input"}, {"kind": [], "name": {}, "node_id": 1, "input": []}]},
        {"graph": '{"1":{"class_type":"A","inputs":{"x":{"a":[1]},"y":[[]]}}}'},
    ],
)
def test_a_document_that_is_no_record_is_redacted_all_the_same(document: dict[str, Any]) -> None:
    shown = redact_record(document)

    assert shown["redacted"] is True
    assert shown.keys() == {*document, "redacted"}


@pytest.mark.parametrize("word", ["inputs", "class_type"])
def test_a_secret_that_is_a_word_of_every_prompt_leaves_a_prompt(word: str) -> None:
    nodes = {"1": {"class_type": "Ask", "inputs": {"password": word, "text": f"say {word}"}}}

    redacted = redact_prompt(nodes).nodes

    assert redacted["1"] == {
        "class_type": "Ask",
        "inputs": {"password": MARK, "text": f"say {MARK}"},
    }
