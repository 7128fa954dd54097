"""Graphs of numbers that are none, of endless texts and of crowds; see `hostile_graphs`."""

from __future__ import annotations

from typing import Final

from .hostile import Hostile, graph, with_graph_text
from .hostile_work import chain
from .prompts import node
from .tampering import Edit, Graph, set_input

_WIDTHS: Final[dict[str, tuple[object, str]]] = {
    "of a billion": (10**9, "at most 8192"),
    "of 1e308": (1e308, "at most 8192"),
    "of 400 digits": (10**400, "a number from 0"),
    "below zero": (-64, "a number from 0"),
    "of nothing": (0, "cannot run here"),
    "that is no number": (float("nan"), "a number from 0"),
    "without end": (float("inf"), "a number from 0"),
    "below all numbers": (float("-inf"), "a number from 0"),
    "as a text": ("16384", "at most 8192"),
    "in another script": ("\uff11\uff16\uff13\uff18\uff14", "at most 8192"),
    "of truth": (True, "cannot run here"),
    "of null": (None, "cannot be bounded"),
    "in a list": ([64, 64, 64], "a number from 0"),
    "in a wrapper": ({"__value__": 16384}, "at most 8192"),
    "in two wrappers": ({"__value__": {"__value__": 64}}, "a number from 0"),
    "in an object": ({"a": 64}, "a number from 0"),
}

_SEEDS: Final[dict[str, object]] = {
    "below zero": -1,
    "of 65 bits": 2**64,
    "as a text": "42",
    "with a fraction": 42.7,
    "of truth": True,
    "of null": None,
    "without end": float("inf"),
    "in a list": [1, 2, 3],
}


def _strange_number(found: Graph) -> None:
    found["size"] = node("GetImageSize", image=["decoy", 0])
    found["decoy"] = node("EmptyImage", width=64, height=64, batch_size=1, color=0)
    found["latent"]["inputs"]["width"] = ["size", 0]


def _shared_words(found: Graph) -> None:
    """One text of some length for many encoders."""
    found["words"] = node("PrimitiveStringMultiline", value="a fox " * 500)
    for at in range(20):
        found[f"encoder{at}"] = node("CLIPTextEncode", text=["words", 0], clip=["loader", 1])
        found[f"mean{at}"] = node(
            "ConditioningAverage",
            conditioning_to=[f"encoder{at}", 0],
            conditioning_from=[f"mean{at - 1}" if at else "positive", 0],
            conditioning_to_strength=0.5,
        )
    found["sampler"]["inputs"]["positive"] = ["mean19", 0]


def _crowd(count: int) -> Edit:
    return chain(count, "ImageInvert", "image")


def _crowded(text: str) -> str:
    strangers = (f'"{at}":{{"class_type":"A","inputs":{{}}}}' for at in range(100_000))
    return text[:-1] + "," + ",".join(strangers) + "}"


NUMBERS: Final = [
    *(
        graph(f"a width {name}", set_input("latent", "width", value), message)
        for name, (value, message) in _WIDTHS.items()
    ),
    *(
        graph(f"a seed {name}", set_input("sampler", "seed", value), "expected an integer from 0")
        for name, value in _SEEDS.items()
    ),
    graph("a width that another node computes", _strange_number, "cannot be bounded"),
    graph(
        "a value of very many letters",
        set_input("sampler", "cfg", "x" * 500_000),
        "characters",
    ),
    graph("a hundred thousand letters", set_input("positive", "text", "a" * 100_000), "characters"),
    graph(
        "a list of letters that becomes a text",
        set_input("positive", "text", {"__value__": ["a"] * 50_000}),
        "characters",
    ),
    graph("one text for many encoders", _shared_words, "characters"),
    graph("two thousand nodes", _crowd(2000), "at most 1000 nodes"),
    Hostile("a hundred thousand nodes", with_graph_text(_crowded), "refused", "10000 nodes"),
]
