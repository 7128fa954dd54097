"""Every record is what `docs/record.schema.json` says, and nothing else passes for one.

`support.tampering.record_of` holds every record that the tests of a real ComfyUI read to the
same schema.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # has no types

from comfyui_provenance.canonical import JsonValue
from comfyui_provenance.carriage import plan_texts
from comfyui_provenance.containers import embed
from comfyui_provenance.pixels import encode_png
from comfyui_provenance.prompt_text import mark_characters
from comfyui_provenance.record import KEYWORD, failed_record, parse_record
from comfyui_provenance.redaction import redact_record
from comfyui_provenance.verdict import CauseKind

from support.records import IMAGE, Document, Edit, at
from support.tampering import SCHEMA, record_of, schema_problems

RECORDS = Path(__file__).resolve().parents[1] / "vectors" / "records"
NAMES = sorted(
    path.relative_to(RECORDS).with_suffix("").as_posix() for path in RECORDS.rglob("*.json")
)
DEFINITIONS: Document = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]

FULL = "v1/png_img2img"
"""The record with the most kinds of fields."""

LOSSY = "v1/webp_lossy"
GRAPHLESS = "v1/jpeg_without_graph"
BATCH = "v1/stock_batch"
TWICE = "v1/sampled_twice"
NO_RECORD = "v1/record_error"
OLDEST_TRACE = "v1/trace_sketch_16x26"

MODE = ("samplings", 0, "mode")
OPERATION = ("operations", 0)
STEP = ("trace", 0, "steps", 0)
CHARACTER = ("samplings", 0, "positive", 0, "characters", 0)
CONTROL = ("samplings", 0, "conditionings", "positive", 0, "control", 0)

Place = tuple[str | int, ...]

WRONG: JsonValue = [[{}]]
"""A value that no field has."""


@cache
def _text_of(name: str) -> str:
    return (RECORDS / f"{name}.json").read_text(encoding="ascii")


def kept(name: str) -> Document:
    document: Document = json.loads(_text_of(name))
    return document


def without(*path: str | int) -> Edit:
    """Give an edit that takes one value out of the document."""

    def edit(document: Document) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return edit


def places_of(value: object, path: Place = ()) -> Iterator[tuple[Place, object]]:
    """Yield every value inside a document with its path, the document itself first."""
    yield path, value
    children = {}
    if isinstance(value, dict):
        children = value
    elif isinstance(value, list):
        children = dict(enumerate(value))
    for key, child in children.items():
        yield from places_of(child, (*path, key))


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", NAMES)
def test_every_kept_record_is_what_the_schema_says(name: str) -> None:
    assert schema_problems(kept(name)) == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != NO_RECORD])
def test_every_kept_record_is_still_read_and_its_digest_holds(name: str) -> None:
    record = parse_record(_text_of(name))

    assert record.digest == str(record.actual_digest())
    assert record.recipe == str(record.actual_recipe())


def test_a_record_in_an_image_that_the_schema_refuses_fails_whatever_test_reads_it() -> None:
    document = kept(FULL)
    del document["materials"]
    image = embed(encode_png(IMAGE), {KEYWORD: json.dumps(document)})

    with pytest.raises(AssertionError, match="'materials' is a required property"):
        record_of(image)


@pytest.mark.parametrize("name", [FULL, BATCH])
def test_no_field_has_a_value_of_another_type(name: str) -> None:
    document = kept(name)
    # What a widget whose name begins with `strength` holds is up to its node. Of each list the
    # first entries stand for the rest.
    places = [
        place
        for place, _ in places_of(document)
        if place and "strengths" not in place[:-1] and not {*range(3, 100)}.intersection(place)
    ]

    passed = []
    for place in places:
        changed = copy.deepcopy(document)
        at(*place, value=WRONG)(changed)
        if not schema_problems(changed):
            passed.append(place)

    assert len(places) > 100
    assert passed == []


REFUSALS: dict[str, tuple[str, Edit]] = {
    "a newer version": (FULL, at("version", value=2)),
    "a version as text": (FULL, at("version", value="1")),
    "no generator": (FULL, without("generator")),
    "a local time": (FULL, at("created", value="2026-01-01T00:00:00+01:00")),
    "a time with fractions": (FULL, at("created", value="2026-01-01T00:00:00.5+00:00")),
    "no graph": (FULL, without("graph")),
    "a graph that is left out and there": (FULL, at("left_out", value=["graph"])),
    "a trace that is left out and there": (FULL, at("left_out", value=["trace"])),
    "nothing left out": (FULL, at("left_out", value=[])),
    "a graph back in its place": (GRAPHLESS, at("graph", value="{}")),
    "no word of the graph that is missing": (GRAPHLESS, at("left_out", value=["prompt"])),
    "a digest of another algorithm": (FULL, at("digest", value="md5:" + "a" * 64)),
    "a digest in capitals": (FULL, at("digest", value="sha256:" + "A" * 64)),
    "a short digest": (FULL, at("recipe", value="sha256:" + "a" * 63)),
    "a named digest for a bare one": (FULL, at("graph_sha256", value="sha256:" + "a" * 64)),
    "pixels as a tensor": (FULL, at("subject", "digest", value="sha256-f32:" + "a" * 64)),
    "pixels of 12 bits": (FULL, at("subject", "digest", value="sha256-rgb12:" + "a" * 64)),
    "a negative slot": (FULL, at("output", "slot", value=-1)),
    "no pixels": (FULL, without("subject", "digest")),
    "five channels": (FULL, at("subject", "channels", value=5)),
    "no width": (FULL, at("subject", "width", value=0)),
    "a file of another kind": (FULL, at("subject", "format", "kind", value="gif")),
    "16 bits of webp": (LOSSY, at("subject", "format", "bits", value=16)),
    "webp that may be lossy or not": (LOSSY, without("subject", "format", "lossless")),
    "a lossy file without its quality": (LOSSY, without("subject", "format", "quality")),
    "a lossy file without what it decodes to": (LOSSY, without("subject", "stored")),
    "a quality of a png": (FULL, at("subject", "format", "quality", value=90)),
    "a batch with the digest of one": (
        BATCH,
        at("subject", "digest", value="sha256-rgb8:" + "a" * 64),
    ),
    "a place in a batch that is told whole": (BATCH, at("subject", "batch_index", value=0)),
    "a batch of one, told whole": (
        BATCH,
        at("subject", "digests", value=["sha256-rgb8:" + "a" * 64]),
    ),
    "a seed as a number": (FULL, at("tuple", "seed", value=42)),
    "a negative seed": (FULL, at("samplings", 0, "seed", value="-1")),
    "a seed with a zero before it": (FULL, at("tuple", "seed", value="042")),
    "a tuple without a seed": (FULL, without("tuple", "seed")),
    "another word for unresolved": (FULL, at("tuple", "model_version", value="unknown")),
    "an adapter without a digest": (FULL, without("tuple", "adapters", 0, "sha256")),
    "another source": (FULL, at("samplings", 0, "source", value="widgets")),
    "a sampling without words": (FULL, without("samplings", 0, "positive")),
    "a field that no graph tells": (FULL, at("samplings", 0, "from_graph", value=["noise"])),
    "noise of another origin": (FULL, at("samplings", 0, "noise_source", "mode", value="gpu")),
    "half a model": (FULL, at("samplings", 0, "load", "state", value="half")),
    "another precision": (FULL, at(*MODE, "precision", value="fp16")),
    "half a mode": (FULL, without(*MODE, "noise")),
    "21 messages": (FULL, at("samplings", 0, "log", value=[str(at) for at in range(21)])),
    "forwards of no number": (FULL, at("samplings", 0, "images_per_forward", value={"one": 1})),
    "a ControlNet without a strength": (TWICE, without(*CONTROL, "strength")),
    "a hint in pixels": (TWICE, at(*CONTROL, "hint", value="sha256-rgb8:" + "a" * 64)),
    "noise at a place before the first": (
        TWICE,
        at("samplings", 0, "noise_source", "images", value=[-1]),
    ),
    "a sampling before the first": (TWICE, at("trace", 0, "index", value=-1)),
    "noise of other steps": (TWICE, at("samplings", 0, "noise_source", "steps", value="none")),
    "16 bits of jpeg": (GRAPHLESS, at("subject", "format", "bits", value=16)),
    "12 bits": (FULL, at("subject", "format", "bits", value=12)),
    "a quality past the best": (LOSSY, at("subject", "format", "quality", value=101)),
    "no quality": (LOSSY, at("subject", "format", "quality", value=0)),
    "a jpeg without its quality": (GRAPHLESS, without("subject", "format", "quality")),
    "another fallback": (FULL, at(*MODE, "on_fallback", value="guess")),
    "another noise": (FULL, at(*MODE, "noise", value="gpu")),
    "another batch of conditionings": (FULL, at(*MODE, "cond_batch", value="both")),
    "one field of the graph twice": (
        FULL,
        at("samplings", 0, "from_graph", value=["cfg", "cfg"]),
    ),
    "a character of no kind": (FULL, at(*CHARACTER, "kind", value="emoji")),
    "a character without its name": (FULL, without(*CHARACTER, "name")),
    "a character as it is": (FULL, at(*CHARACTER, "character", value="U+x")),
    "a character before the first": (FULL, at(*CHARACTER, "first", value=-1)),
    "a character that is not there": (FULL, at(*CHARACTER, "count", value=0)),
    "a blank with a name": (FULL, at(*CHARACTER, "kind", value="leading_blank")),
    "65 characters": (
        FULL,
        at(*CHARACTER[:-1], value=[{"kind": "more", "first": 0, "count": 1}] * 65),
    ),
    "a stage of 65 images": (
        FULL,
        at("stages", 0, "digests", value=["blake3-f32:" + "a" * 64] * 65),
    ),
    "21 messages of an operation": (
        FULL,
        at(*OPERATION, "log", value=[str(at) for at in range(21)]),
    ),
    "a trace without states": (FULL, at("trace", 0, "steps", value=[])),
    "an older trace with a short digest": (OLDEST_TRACE, at(*STEP, 1, value="a" * 22)),
    "an older trace with a short sketch": (OLDEST_TRACE, at(*STEP, 2, value="a" * 71)),
    "an older trace without a sketch": (OLDEST_TRACE, at(*STEP, value=[1.0, "a" * 43])),
    "no characters": (FULL, at("samplings", 0, "positive", 0, "characters", value=[])),
    "another operation": (FULL, at(*OPERATION, "operation", value="vae_tile")),
    "a decoding without tiles told": ("docs-example", without("operations", 2, "tiled")),
    "an integer as a number": (
        FULL,
        at("computed", 0, value={"node_id": "a", "slot": 0, "type": "INT", "value": 4}),
    ),
    "an integer with a fraction": (
        FULL,
        at("computed", 0, value={"node_id": "a", "slot": 0, "type": "INT", "value": "4.0"}),
    ),
    "a stage of a model": (FULL, at("stages", 0, "type", value="MODEL")),
    "a stage of no images": (FULL, at("stages", 0, "digests", value=[])),
    "a stage in sha256": (FULL, at("stages", 0, "digests", value=["sha256-f32:" + "a" * 64])),
    "another status": (FULL, at("materials", 0, "status", value="found")),
    "a hashed file without its size": (FULL, without("materials", 0, "size_bytes")),
    "a hashed file without its digest": (FULL, without("materials", 0, "sha256")),
    "a missing file with a digest": (FULL, at("materials", 0, "status", value="missing")),
    "a file that came back": (FULL, at("materials", 0, "on_disk", value="hashed")),
    "an option that is off": (FULL, at("environment", "launch", "cpu", value=False)),
    "a fingerprint in sha256": (
        FULL,
        at("fingerprint", "cpu", "norms", value="sha256:" + "a" * 64),
    ),
    "another kind of cause": (
        FULL,
        at(
            "determinism",
            "demotions",
            value=[{"node_id": "a", "class_type": "A", "message": "m", "kind": "luck"}],
        ),
    ),
    "a step without a sketch": (FULL, at(*STEP, value=[1.0, "a" * 22])),
    "a step with a whole digest": (FULL, at(*STEP, 1, value="a" * 43)),
    "an older sketch": (FULL, at(*STEP, 2, value="a" * 76)),
    "a redaction of no input": (FULL, without("redactions", 0, "input")),
    "one warning twice": (FULL, at("warnings", value=["a", "a"])),
    "a copy that is not redacted": ("v1/redacted", at("redacted", value=False)),
    "a reason with a digest": (NO_RECORD, at("digest", value="sha256:" + "a" * 64)),
    "a reason without a version": (NO_RECORD, without("version")),
}


@pytest.mark.parametrize("phrase", REFUSALS)
def test_one_change_that_the_page_forbids_is_refused(phrase: str) -> None:
    name, edit = REFUSALS[phrase]
    document = kept(name)
    edit(document)

    assert schema_problems(document) != []


TOGETHER: dict[Place, set[str]] = {
    ("generator",): set(),
    ("output",): set(),
    ("subject", "format"): set(),
    ("samplings", 0, "noise_source"): {"images"},
    ("samplings", 0, "load"): set(),
    ("samplings", 0, "patches"): set(),
    ("samplings", 0, "positive", 0): {"text", "characters"},
    MODE: set(),
    CONTROL: {"hint"},
    ("computed", 0): set(),
    ("stages", 0): set(),
    ("trace", 0): {"index"},
    ("determinism", "demotions", 0): {"kind"},
}
"""Objects of the record that was sampled twice, and the fields that each may lack."""


@pytest.mark.parametrize("place", TOGETHER, ids=lambda place: ".".join(map(str, place)))
def test_an_object_lacks_no_field_but_those_that_the_page_says_it_may(place: Place) -> None:
    document = kept(TWICE)
    document["computed"] = kept(FULL)["computed"]
    found: Any = document
    for key in place:
        found = found[key]

    taken = set()
    for field in found:
        changed = copy.deepcopy(document)
        without(*place, field)(changed)
        if not schema_problems(changed):
            taken.add(field)

    assert taken == TOGETHER[place] & found.keys()


MEASURES = {"cfg", "denoise", "steps", "strength", "width", "height"}
"""Numbers that the page does not bound: they are what was asked for."""


@pytest.mark.parametrize("name", [FULL, TWICE])
def test_no_count_and_no_place_is_negative(name: str) -> None:
    document = kept(name)
    counts = [
        place
        for place, value in places_of(document)
        if isinstance(value, int)
        and not isinstance(value, bool)
        and MEASURES.isdisjoint(place[-1:])
        and {"strengths", "trace"}.isdisjoint(place)
    ]

    passed = []
    for place in counts:
        changed = copy.deepcopy(document)
        at(*place, value=-1)(changed)
        if not schema_problems(changed):
            passed.append(place)

    assert len(counts) > 10
    assert passed == []


ALLOWED: dict[str, tuple[str, Edit]] = {
    "a seed of 2^64-1": (FULL, at("tuple", "seed", value=str(2**64 - 1))),
    "parameters that are not known": (
        FULL,
        at("tuple", value={**dict.fromkeys(kept(FULL)["tuple"], "unresolved"), "adapters": []}),
    ),
    "an adapter that is not known": (
        FULL,
        at("tuple", "adapters", 0, "sha256", value="unresolved"),
    ),
    "patches that are too large": (
        FULL,
        at("samplings", 0, "patches", "digest", value="unresolved"),
    ),
    "no mode": (FULL, at("determinism", "mode", value="unresolved")),
    "an image that was not sampled": (FULL, at("tuple", value={})),
    "no flags in force": (FULL, at("determinism", "in_force", value="unresolved")),
    "words that are not known": (
        FULL,
        at(
            "samplings",
            0,
            "positive",
            value=[{"node_id": "a", "input": "text", "sha256": "unresolved"}],
        ),
    ),
    "a trace in a format of the future": (FULL, at("trace", 0, "format", value="other")),
    "an image without a number in its trace": (FULL, at(*STEP, 2, value=None)),
    "a folder type of another pack": (FULL, at("materials", 0, "kind", value="ultralytics")),
    "an operation that gave nothing": (FULL, at(*OPERATION, "output", value=None)),
    "no fingerprint": (FULL, without("fingerprint")),
}


@pytest.mark.parametrize("phrase", ALLOWED)
def test_one_change_that_the_page_allows_is_taken(phrase: str) -> None:
    name, edit = ALLOWED[phrase]
    document = kept(name)
    edit(document)

    assert schema_problems(document) == []


MAPS = {
    "conditionings",
    "conditionings_per_forward",
    "fingerprint",
    "flags",
    "images_per_forward",
    "in_force",
    "launch",
    "node_pack_commits",
    "node_packs",
    "packages",
    "sampler_options",
    "variables",
}
"""Objects whose keys are no fields, and whose values have one type."""


@pytest.mark.parametrize("name", [FULL, BATCH, "v1/release_0.1.0"])
def test_an_unknown_field_is_taken_in_every_object(name: str) -> None:
    document = kept(name)
    objects = [place for place, value in places_of(document) if isinstance(value, dict)]
    others = [place for place in objects if MAPS.isdisjoint(place)]

    for place in others:
        at(*place, "of_another_program", value=WRONG)(document)

    assert len(others) > 15
    assert schema_problems(document) == []


def test_the_kinds_of_causes_are_those_of_the_code() -> None:
    demotion = DEFINITIONS["determinism"]["properties"]["demotions"]["items"]

    assert demotion["properties"]["kind"]["enum"] == [kind.value for kind in CauseKind]


@given(st.text(max_size=80) | st.text("a e\u0435\u2019\u200b\u3000 \n\t\u0301", max_size=200))
def test_what_is_told_of_any_text_is_what_the_schema_says(text: str) -> None:
    marked = mark_characters(text)
    document = kept(FULL)
    entry = {"node_id": "a", "input": "text", "sha256": "unresolved", "characters": marked}
    document["samplings"][0]["positive"] = [entry] if marked else []

    assert schema_problems(document) == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != NO_RECORD])
def test_a_copy_made_to_be_shown_is_what_the_schema_says(name: str) -> None:
    assert schema_problems(redact_record(kept(name))) == []
    assert schema_problems(redact_record(kept(name), keep_graph=False)) == []


@pytest.mark.parametrize("size", [1_000, 20_000, 40_000, 60_000, 70_000])
def test_what_a_jpeg_file_leaves_out_leaves_a_record_that_the_schema_takes(size: int) -> None:
    hosts = {"prompt": "p" * size, "workflow": "w" * size, "other": "o" * size}
    for name in ("graph", "stages", "recipe"):
        document = kept(FULL)
        del document["digest"]
        # One of three parts is made large: one that gives way, one that does late, one never.
        if name == "stages":
            document["stages"] = document["stages"] * (size // 200)
        elif name == "graph":
            document["graph"] = json.dumps({"note": "g" * size})
        else:
            document["of_another_program"] = "x" * size

        carried = plan_texts("jpeg", hosts, document, parameters=True)

        assert carried.whole is not None
        assert schema_problems(json.loads(carried.whole)) == []
        assert schema_problems(json.loads(carried.texts[KEYWORD])) == []


def test_the_reason_why_there_is_no_record_is_what_the_schema_says() -> None:
    assert schema_problems(json.loads(failed_record("a \u2028 reason \ud800" * 1000))) == []
