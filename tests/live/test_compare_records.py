"""Compare Records tells what makes two saved images differ, the most consequential first."""

from __future__ import annotations

from typing import Any

import pytest

from comfyui_provenance.containers import strip

from support import prompts
from support.prompts import node
from support.reports import Report, kinds, report_of
from support.server import ComfyServer, PromptFailed
from support.tampering import edit_graph, set_input


@pytest.fixture(scope="module")
def images(server: ComfyServer) -> dict[str, bytes]:
    """Two pictures of one recipe, and others with one change each."""
    graphs: dict[str, Any] = {
        "one": prompts.txt2img(seed=51, steps=2),
        "words": prompts.txt2img(seed=51, steps=2, positive="a red fox in the\u00a0snow"),
        "steps": prompts.txt2img(seed=51, steps=3),
        "stock": prompts.txt2img(
            seed=51, steps=2, sampler_class="KSampler", save_class="SaveImage"
        ),
        "other stock": prompts.txt2img(
            seed=52, steps=2, cfg=5.0, sampler_class="KSampler", save_class="SaveImage"
        ),
    }
    return {
        name: server.images(server.run(graph))[0].read_bytes() for name, graph in graphs.items()
    }


def compare(server: ComfyServer, first: bytes, second: bytes) -> tuple[Report, bool]:
    """Compare two files: the report, and whether the node calls them the same."""
    prompt = {
        "compare": node(
            "ProvenanceCompareRecords", first=server.upload(first), second=server.upload(second)
        ),
        "show": node("PreviewAny", source=["compare", 0]),
    }
    history = server.run(prompt)
    (text,) = history.outputs["show"]["text"]
    return report_of(history), text == "True"


def test_one_image_is_the_same_as_itself(server: ComfyServer, images: dict[str, bytes]) -> None:
    report, same = compare(server, images["one"], images["one"])

    assert (report["level"], report["causes"], same) == ("bitwise", [], True)


def test_words_are_compared_to_the_character(server: ComfyServer, images: dict[str, bytes]) -> None:
    report, same = compare(server, images["one"], images["words"])

    told = [cause["message"] for cause in report["causes"]] + report["notes"]
    assert not same
    assert any("U+00A0 NO-BREAK SPACE" in text for text in told), told


def test_a_parameter_is_told_with_both_values_and_how_far_the_pixels_are_apart(
    server: ComfyServer, images: dict[str, bytes]
) -> None:
    report, same = compare(server, images["one"], images["steps"])

    cause = report["causes"][0]
    assert not same
    assert (cause["kind"], cause["recorded"], cause["now"]) == ("steps", 2, 3)
    assert cause["remedy"]
    assert report["divergence"]["phase"] == "sigmas"
    assert report["pixels"]["max_abs"] > 0


def test_stock_images_are_compared_by_their_prompts(
    server: ComfyServer, images: dict[str, bytes]
) -> None:
    report, _ = compare(server, images["stock"], images["other stock"])

    assert kinds(report)[:2] == ["seed", "cfg"]


def test_an_edited_file_differs_from_itself(server: ComfyServer, images: dict[str, bytes]) -> None:
    edited = edit_graph(images["one"], set_input("sampler", "sampler_name", "heun"))

    report, same = compare(server, images["one"], edited)

    assert not same
    assert kinds(report)[0] == "sampler"


def test_a_file_that_tells_nothing_is_an_error_with_words(
    server: ComfyServer, images: dict[str, bytes]
) -> None:
    with pytest.raises(PromptFailed, match="carries no record"):
        compare(server, images["one"], strip(images["one"]))
