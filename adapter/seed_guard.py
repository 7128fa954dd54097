"""Refuse seeds in API prompts before ComfyUI turns them into integers.

Core's validation calls `int()` on a value before any node sees it, so that `"42"`, `42.7`
and `true` become seeds without a word. A handler on the incoming prompt sees the raw
value and marks it: the mark refuses to become an integer, and core answers 400 with our
words.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from ..src.comfyui_provenance.errors import SeedError
from ..src.comfyui_provenance.seeds import parse_seed, seed_warnings

_SEED_INPUTS: Final = {
    "ProvenanceKSampler": "seed",
    "ProvenanceKSamplerAdvanced": "noise_seed",
    "ProvenanceSelfTest": "seed",
    "ProvenanceSeed": "seed",
}
"""The seed input of each node of this pack; other packs' nodes are not ours to refuse."""

_WRAPPER: Final = "__value__"


class RefusedSeed(str):
    """A value that is not a seed, as text that tells why when an integer is asked for.

    It is a string so that core can put it into its JSON answer.
    """

    __slots__ = ("reason",)

    reason: str

    def __new__(cls, value: object, reason: str) -> RefusedSeed:
        """Mark a value."""
        marked = super().__new__(cls, f"{value!r:.80} of type {type(value).__name__}")
        marked.reason = reason
        return marked

    def __int__(self) -> NoReturn:
        raise SeedError(self.reason)


def refuse_bad_seeds(json_data: dict[str, Any]) -> dict[str, Any]:
    """Mark every seed of this pack's nodes that is not one.

    A handler for `PromptServer.add_on_prompt_handler`: it gets the request as it came and
    must return it, whatever it holds.
    """
    prompt = json_data.get("prompt")
    for node in prompt.values() if isinstance(prompt, dict) else ():
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict):
            _mark_seed(node.get("class_type"), node["inputs"])
    return json_data


def _mark_seed(class_type: object, inputs: dict[str, Any]) -> None:
    name = _SEED_INPUTS.get(class_type) if isinstance(class_type, str) else None
    if name is None or name not in inputs or _is_link(inputs[name]):
        return
    value = inputs[name]
    if isinstance(value, dict) and _WRAPPER in value:
        value = value[_WRAPPER]
    try:
        parse_seed(value, name=name)
    except SeedError as error:
        inputs[name] = RefusedSeed(value, str(error))


def _is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def check_seed(value: object) -> tuple[int, list[str]]:
    """Give a seed, and what its user should know about it.

    Raises:
        SeedError: The value is not a seed.
    """
    seed = parse_seed(value)
    return seed, seed_warnings(seed)
