"""Words that name textual inversions are found and renamed where ComfyUI's tokenizer cuts them.

The oracle is a plain copy of how the tokenizer of ComfyUI 0.30 takes a text without brackets apart.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_provenance.embedding_words import is_word, owned_words, rename_words, words_in

PIECES = st.sampled_from(
    ["fox", "embedding:fox", "embedding:deep/fox.pt", " ", "\n", ",", "a", "embedding:", "<", "["]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)
NAMES = st.text("abc/._-é", min_size=1, max_size=8)


def cut_by_tokenizer(text: str) -> list[str]:
    """Cut names out of a text without brackets and backslashes."""
    names: list[str] = []
    for at, part in enumerate(re.split(r"(?<=\s)embedding:", text)):
        if at or part.startswith("embedding:"):
            words = (part if at else part.removeprefix("embedding:")).split()
            names += [re.split(r"[<\[]", words[0])[0]] if words else []
    return [name for name in names if name]


@given(TEXTS)
def test_every_name_that_is_found_is_one_that_the_tokenizer_cuts_out(text: str) -> None:
    cut = [name.strip(",") for name in cut_by_tokenizer(text)]

    assert set(words_in(text)) <= set(cut)


@given(TEXTS, NAMES)
def test_renaming_changes_the_name_and_nothing_else(text: str, name: str) -> None:
    words = words_in(text)

    renamed = rename_words(text, dict.fromkeys(words, name))

    assert words_in(renamed) == ([name] if words else [])
    without = (re.sub(r"embedding:[^\s,<\[]*", "", item) for item in (text, renamed))
    assert len(set(without)) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("embedding:a", ["a"], id="alone"),
        pytest.param("fox embedding:a,, embedding:b", ["a", "b"], id="with a comma"),
        pytest.param("(ugly embedding:deep/a:1.2)", ["deep/a"], id="with a weight"),
        pytest.param("(embedding:a)", ["a"], id="in brackets"),
        pytest.param(r"embedding:a\(1\)", ["a(1)"], id="with escaped brackets"),
        pytest.param("embedding:a<b", ["a"], id="before an angle"),
        pytest.param(r"embedding:deep\a", [r"deep\a"], id="with a backslash"),
        pytest.param("xembedding:a", [], id="inside a word"),
        pytest.param(r"\)embedding:a", [], id="behind an escaped bracket"),
        pytest.param("embedding: a", [], id="without a name"),
        pytest.param("embedding:a,b", [], id="with a comma inside"),
        pytest.param("embedding:a:b", [], id="with a colon inside"),
    ],
)
def test_a_name_is_read_as_it_is_typed(text: str, words: list[str]) -> None:
    assert words_in(text) == words


@pytest.mark.parametrize(
    ("word", "name"),
    [
        pytest.param("fox", "fox.safetensors", id="without the suffix"),
        pytest.param("fox.pt", "fox.pt", id="with the suffix"),
        pytest.param("fox", "deep/fox.bin", id="without the folder"),
        pytest.param(r"deep\fox", "deep/fox.pt", id="as Windows writes it"),
    ],
)
def test_a_word_names_a_file_with_or_without_folder_and_suffix(word: str, name: str) -> None:
    assert owned_words(f"a embedding:{word}", name, [name, "other.pt"]) == [word]


def test_of_two_files_the_one_whose_whole_name_it_is_owns_a_word() -> None:
    names = ["fox.pt", "deep/fox.pt"]

    assert owned_words("embedding:fox", "fox.pt", names) == ["fox"]
    assert owned_words("embedding:fox", "deep/fox.pt", names) == []


def test_a_word_that_can_mean_two_files_is_no_ones() -> None:
    names = ["one/fox.pt", "two/fox.pt"]

    assert [owned_words("embedding:fox", name, names) for name in names] == [[], []]


def test_two_files_that_changed_names_are_renamed_at_once() -> None:
    text = rename_words("embedding:a embedding:b", {"a": "b", "b": "a"})

    assert text == "embedding:b embedding:a"


@pytest.mark.parametrize(
    "name", ["a b", "a(b", "a)", "a:1", "a,b", "a[b", "a<b", r"a\b", "", "{a}"]
)
def test_a_name_that_a_text_would_take_apart_is_no_word(name: str) -> None:
    assert not is_word(name)


def test_a_name_with_folders_and_suffix_is_a_word() -> None:
    assert is_word("deep/zoo_füchse-2.safetensors")
