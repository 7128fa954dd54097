"""Exact bytes in give exact bytes out; see README.md for where they come from."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from comfyui_provenance.canonical import dump_canonical, parse_json
from comfyui_provenance.containers.png import embed_text, read_text, remove_text
from comfyui_provenance.errors import CanonicalError
from comfyui_provenance.graph.prompt import Link, NodeId, dump_prompt, parse_prompt
from comfyui_provenance.graph.trace import digest_graph
from comfyui_provenance.integrity import compare_integrity
from comfyui_provenance.pixels import decode_pixels, digest_pixels
from comfyui_provenance.record import KEYWORD, parse_record
from comfyui_provenance.trace import compare_traces, parse_trace
from vectors.regenerate import LAYOUTS, PROMPT, PROVENANCE, XMP, make

FOLDER = Path(__file__).parent


def read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def test_the_script_remakes_every_file() -> None:
    made = make()
    stored = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for folder in {name.partition("/")[0] for name in made}
        for path in (FOLDER / folder).iterdir()
    }

    assert made == stored


@pytest.mark.parametrize("name", ["value", "keys"])
def test_the_examples_of_rfc_8785_have_their_form(name: str) -> None:
    value = parse_json(read(f"canonical/rfc8785_{name}.json"))

    assert dump_canonical(value) == read(f"canonical/rfc8785_{name}.form.json")


@pytest.mark.parametrize("line", read("canonical/rfc8785_numbers.txt").decode().splitlines())
def test_the_numbers_of_rfc_8785_have_their_form(line: str) -> None:
    bits, form = line.split()
    (number,) = struct.unpack(">d", bytes.fromhex(bits))

    # The one place where we read less than the RFC writes: see dump_canonical.
    if form.lstrip("-").isdigit() and abs(int(form)) >= 2**53:
        with pytest.raises(CanonicalError, match="whole number below 2\\^53"):
            dump_canonical(number)
    else:
        assert dump_canonical(number) == form.encode()


@pytest.mark.parametrize("layout", [layout for layout, _, _ in LAYOUTS])
def test_pixels_have_their_digest(layout: str) -> None:
    digests = json.loads(read("pixels/digests.json"))

    assert str(digest_pixels(decode_pixels(read(f"pixels/{layout}.png")))) == digests[layout]


def test_the_text_of_other_tools_is_read() -> None:
    assert read_text(read("png/foreign.png")) == json.loads(read("png/foreign.json"))


def test_embedding_gives_the_exact_file() -> None:
    texts = {"provenance": PROVENANCE, "prompt": PROMPT}

    assert embed_text(read("png/foreign.png"), texts) == read("png/embedded.png")


def test_removing_gives_the_exact_file() -> None:
    keywords = [XMP.decode(), "prompt", "provenance"]

    assert remove_text(read("png/foreign.png"), keywords) == read("png/removed.png")


def test_embedding_and_removing_gives_the_plain_file_back() -> None:
    plain = read("png/plain.png")

    assert remove_text(embed_text(plain, {"provenance": PROVENANCE}), ["provenance"]) == plain


def test_a_prompt_is_dumped_as_the_record_keeps_it() -> None:
    prompt = parse_prompt(read("prompt/page.json"))

    assert dump_prompt(prompt).encode() == read("prompt/dumped.json")


def test_a_graph_has_its_digest() -> None:
    prompt = parse_prompt(read("prompt/dumped.json"))

    assert f"{digest_graph(prompt, Link(NodeId('3'), 0))}\n".encode() == read("prompt/digest.txt")


@pytest.mark.parametrize("release", ["v1/release_0.1.0"])
def test_the_record_of_every_release_is_still_read_and_agrees_with_its_image(release: str) -> None:
    data = read(f"records/{release}.png")
    texts = read_text(data)
    record = parse_record(texts[KEYWORD])

    integrity = compare_integrity(record, decode_pixels(data), texts["prompt"])

    assert {check.level.label for check in integrity.checks} == {"bitwise"}
    assert integrity.causes == ()
    assert record.dump().encode() == texts[KEYWORD].encode() == read(f"records/{release}.json")
    assert record.parameters["seed"] == "9223372036854775819"


def test_a_trace_with_the_longer_sketches_is_still_read() -> None:
    record = parse_record(read("records/v1/trace_sketch_16x26.json"))
    ((node_id, _, entry),) = record.traces

    steps = parse_trace(entry)

    assert node_id == "sampler"
    assert record.actual_digest().hex == record.digest.partition(":")[2]
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    assert compare_traces(steps, steps) is None
