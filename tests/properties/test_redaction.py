"""Laws of redaction: it is done once, changes nothing else, and leaves no key behind."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.graph.prompt import Prompt
from comfyui_provenance.prompt_text import mark_characters
from comfyui_provenance.redaction import MARK, is_secret_name, redact_prompt, redact_value

from support.strategies import nested, prompt_scalars, prompts

alphanumeric = "ABCXYZabcxyz0123456789"
bodies = st.text(alphanumeric, min_size=40, max_size=60).filter(
    lambda body: re.search("[A-Za-z]{1,15}[0-9]", body) is not None
)
prefixes = st.sampled_from(["hf_", "ghp_", "glpat-", "r8_", "AIza", "xoxb-", "github_pat_"])
keys = st.builds("".join, st.tuples(prefixes, bodies)) | st.builds(
    lambda head, claims, signature: f"eyJ{head}.eyJ{claims}.{signature}", bodies, bodies, bodies
)

# An oracle apart from the code: what a search for leaked keys would take for one.
MARKED_NAME = re.compile(rf'"name": "[^"]*{re.escape(MARK)}')

LEAK = re.compile(
    r"(?<![A-Za-z0-9_-])(?:hf_[A-Za-z0-9]{34}|ghp_[A-Za-z0-9]{36}|glpat-[A-Za-z0-9_-]{20}"
    r"|r8_[A-Za-z0-9]{37}|AIza[A-Za-z0-9_-]{35}|xox[abprs]-[A-Za-z0-9-]{20}"
    r"|github_pat_[A-Za-z0-9_]{36}|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.)"
)

texts = st.lists(
    keys
    | st.text(max_size=6)
    | st.sampled_from([MARK, "[redac", "ted]", "?key=", "&token=", "://", "user:pass@"])
    | st.sampled_from([" ", "-", "_", ".", "=", ":", '"', "\\", "sk-", "eyJ", "Bearer "])
    | st.sampled_from(["api_key", "token"])
    | st.sampled_from(["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"]),
    max_size=8,
).map("".join)
names = st.sampled_from(["api_key", "token", "text", "seed", "widgets_values", "name"]) | texts
scalars = prompt_scalars | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
secrets = st.sets(st.text(min_size=1, max_size=10) | st.sampled_from(["redacted", "[reda"]))

_widgets = st.lists(
    st.fixed_dictionaries(
        {"name": names, "widget": st.fixed_dictionaries({"name": names})},
        optional={"link": st.none() | st.integers(0, 3)},
    ),
    max_size=4,
)
nodes = st.fixed_dictionaries(
    {"inputs": _widgets, "widgets_values": st.lists(scalars, max_size=5)},
    optional={"outputs": _widgets, "properties": values},
)

inputs = st.dictionaries(names, values | st.tuples(st.sampled_from("123"), st.just(0)).map(list))
foreign_prompts = st.dictionaries(
    st.sampled_from("123") | names,
    st.fixed_dictionaries({"class_type": st.just("Ask"), "inputs": inputs}),
    max_size=4,
)


@given(values | nodes, secrets)
@example(
    {
        "inputs": [{"name": "api_key", "widget": {"name": "token"}}],
        "widgets_values": [None, "0", "of another node"],
    },
    {"of another node"},
)
def test_redacting_twice_changes_nothing(value: JsonValue, known: set[str]) -> None:
    once = redact_value(value, known)
    # By their names widgets are told apart: where one of those is gone, more texts count as secret.
    assume(not MARKED_NAME.search(json.dumps(once)))

    # A known secret may have accounted for a widget with a secret's name. Its mark does so only for
    # who knows that; for others any text could be the secret, and more is hidden, never less.
    assert redact_value(once, {*known, MARK}) is once
    assert _changes(once, redact_value(once, known)) <= {MARK}


def _changes(before: object, after: object) -> set[object]:
    """Collect what stands in `after` in the places where `before` had something else."""
    if isinstance(before, dict) and isinstance(after, dict):
        assert list(before) == list(after)
        return _changes(list(before.values()), list(after.values()))
    if isinstance(before, list) and isinstance(after, list):
        pairs = zip(before, after, strict=True)
        return {change for one, other in pairs for change in _changes(one, other)}
    return set() if before is after else {after}


@given(foreign_prompts)
def test_redacting_a_prompt_twice_changes_nothing(prompt: dict[str, Any]) -> None:
    once = redact_prompt(prompt)

    twice = redact_prompt(once.nodes)
    assert twice.nodes is once.nodes
    assert twice.places == ()


@given(foreign_prompts, secrets)
def test_what_is_redacted_is_not_changed_itself(prompt: dict[str, Any], known: set[str]) -> None:
    before = copy.deepcopy(prompt)

    result = redact_prompt(prompt)
    redact_value(prompt, known | result.secrets)

    assert repr(prompt) == repr(before)


@given(values | nodes)
def test_no_key_is_left_in_what_is_written(value: JsonValue) -> None:
    assert not LEAK.search(json.dumps(redact_value(value)))


@given(foreign_prompts)
def test_no_key_is_left_in_a_prompt(prompt: dict[str, Any]) -> None:
    assert not LEAK.search(json.dumps(redact_prompt(prompt).nodes))


@given(foreign_prompts)
def test_no_text_is_left_under_a_secrets_name(prompt: dict[str, Any]) -> None:
    result = redact_prompt(prompt)

    for node_id, node in result.nodes.items():
        for name, value in node["inputs"].items():
            old = prompt.get(node_id, {"inputs": {}})["inputs"].get(name)
            if is_secret_name(name) and isinstance(old, str) and len(old.strip()) > 8:
                assert value == MARK


@given(foreign_prompts, values, st.text(alphanumeric, min_size=12))
def test_a_secret_of_the_prompt_is_left_nowhere(
    prompt: dict[str, Any], workflow: JsonValue, secret: str
) -> None:
    secret = f"!{secret}!"
    prompt = {**prompt, "ask": {"class_type": "Ask", "inputs": {"api_key": secret}}}
    beside: JsonValue = [workflow, f"say {secret}", {secret: [json.dumps({"x": secret})]}]

    found = redact_prompt(prompt)

    assert secret in found.secrets
    assert secret not in json.dumps(found.nodes)
    assert secret not in json.dumps(redact_value(beside, found.secrets))


@given(foreign_prompts)
def test_nodes_and_inputs_keep_their_number_and_order(prompt: dict[str, Any]) -> None:
    result = redact_prompt(prompt).nodes

    assert len(result) == len(prompt)
    for old, new in zip(prompt.values(), result.values(), strict=True):
        assert list(new) == list(old)
        assert len(new["inputs"]) == len(old["inputs"])


@given(prompts(), nested(prompt_scalars))
def test_what_holds_no_secret_comes_back_itself(prompt: Prompt, value: JsonValue) -> None:
    api = prompt.to_json()

    assert redact_prompt(api).nodes is api
    assert redact_value(value) is value


@given(st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)))
def test_plain_words_have_no_special_characters(words: list[str]) -> None:
    assert mark_characters(" ".join(words)) == []


@given(st.text())
def test_any_text_gives_entries_in_order_that_stand_in_it(text: str) -> None:
    entries = mark_characters(text)

    firsts = [int(str(entry["first"])) for entry in entries]
    assert firsts == sorted(firsts)
    for entry in entries:
        if "character" in entry:
            char = chr(int(str(entry["character"])[2:], 16))
            assert text[int(str(entry["first"]))] == char
