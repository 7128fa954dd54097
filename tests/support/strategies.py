"""Hypothesis strategies: JSON, prompts, pixels and what PNG text may be."""

from __future__ import annotations

from typing import cast

from hypothesis import strategies as st

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.graph.prompt import Input, Link, Node, NodeId, Prompt
from comfyui_provenance.pixels import Pixels
from comfyui_provenance.verdict import Check, Level

EXACT_INTEGER = 2**53 - 1

text = st.text(max_size=20)

canonical_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-EXACT_INTEGER, EXACT_INTEGER)
    | st.floats(-1e15, 1e15)
    | st.floats(min_value=1e21, allow_infinity=False, allow_nan=False)
    | text
)
"""Scalars that have a canonical form."""

prompt_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
) | st.sampled_from([2**64 - 1, 10**600])
"""Scalars that a prompt may hold: any integer, infinities; no NaN, which equals nothing."""


def nested(scalars: st.SearchStrategy[object]) -> st.SearchStrategy[JsonValue]:
    """JSON values with these scalars."""
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=12,
    )
    return cast("st.SearchStrategy[JsonValue]", values)


canonical_values = nested(canonical_scalars)
"""Values that have a canonical form."""


def _is_input(value: JsonValue) -> bool:
    """Tell a literal from the wrapper that parsing takes off it."""
    return not (
        isinstance(value, dict) and len(value) == 1 and isinstance(value.get("__value__"), list)
    )


literals = nested(prompt_scalars).filter(_is_input)
"""Literal inputs, among them lists that look like links."""

node_ids = st.text(min_size=1, max_size=6).map(NodeId)


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    """Prompts without cycles, in any order, of at least one node."""
    ids = draw(st.lists(node_ids, min_size=1, max_size=8, unique=True))
    nodes: dict[NodeId, Node] = {}
    for node_id in ids:
        values: st.SearchStrategy[Input] = literals
        if nodes:
            links = st.builds(Link, st.sampled_from(list(nodes)), st.integers(0, 3))
            values = links | literals
        inputs = draw(st.dictionaries(text, values, max_size=4))
        nodes[node_id] = Node(draw(st.sampled_from(["Load", "Sample", "Save"])), inputs)
    order = draw(st.permutations(ids))
    return Prompt({node_id: nodes[node_id] for node_id in order})


@st.composite
def pixels(draw: st.DrawFn) -> Pixels:
    """Small images of every layout."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    channels = draw(st.integers(1, 4))
    count = height * width * channels
    return Pixels(draw(st.binary(min_size=count, max_size=count)), height, width, channels)


@st.composite
def deep_pixels(draw: st.DrawFn) -> Pixels:
    """Small images of every layout with 16 bits."""
    image = draw(pixels())
    size = len(image.samples) * 2
    samples = draw(st.binary(min_size=size, max_size=size))
    return Pixels(samples, image.height, image.width, image.channels, bits=16)


png_texts = st.text(st.characters(min_codepoint=1, max_codepoint=0x7E), max_size=40)
"""ASCII without NUL."""

_keyword_chars = st.characters(
    min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=("Cc", "Zs")
)

keywords = st.lists(st.text(_keyword_chars, min_size=1, max_size=20), min_size=1, max_size=3).map(
    " ".join
)
"""Keywords as PNG 11.3.4.2 allows them."""

unicode_texts = st.text(
    st.characters(codec="utf-8", min_codepoint=1) | st.sampled_from("\ufeffĀ℀"),
    max_size=40,
)
"""Unicode without NUL and surrogates, among it what can be taken for the other byte order."""

_further_keywords = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,78}", fullmatch=True).filter(
    lambda keyword: keyword not in {"prompt", "workflow", "provenance", "Prompt", "Workflow"}
)


@st.composite
def exif_texts(draw: st.DrawFn) -> dict[str, str]:
    """Texts that EXIF has room for: three of ComfyUI's, `parameters` and two more."""
    own = draw(st.lists(st.sampled_from(["prompt", "workflow", "provenance"]), unique=True))
    further = draw(st.lists(_further_keywords, max_size=2, unique=True))
    texts = {keyword: draw(png_texts) for keyword in own + further}
    if draw(st.booleans()):
        texts["parameters"] = draw(unicode_texts)
    return texts


levels = st.sampled_from(Level)

checks = st.builds(Check, text, levels, canonical_values, canonical_values, text)
