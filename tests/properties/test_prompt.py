"""Laws of prompts: the text and the value are the same thing."""

from __future__ import annotations

from hypothesis import given

from comfyui_provenance.graph.prompt import Prompt, dump_prompt, parse_prompt, to_prompt
from comfyui_provenance.graph.rebuild import rename

from support.strategies import prompts


@given(prompts())
def test_a_dumped_prompt_parses_to_the_same_prompt(prompt: Prompt) -> None:
    text = dump_prompt(prompt)

    assert text.isascii()
    assert parse_prompt(text) == prompt
    assert dump_prompt(parse_prompt(text)) == text


@given(prompts())
def test_the_object_of_a_prompt_is_taken_back(prompt: Prompt) -> None:
    assert to_prompt(prompt.to_json()) == prompt


@given(prompts())
def test_prefixes_add_up(prompt: Prompt) -> None:
    assert rename(rename(prompt, "b."), "a.") == rename(prompt, "a.b.")
