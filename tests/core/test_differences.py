"""Of two runs, what can explain the first difference is named first, and what had no effect never.

A run parts nowhere from itself; what the digests show to have changed nothing is told as a note.
"""

from __future__ import annotations

import pytest

from comfyui_provenance.differences import Differences, compare_records
from comfyui_provenance.digest import digest_text
from comfyui_provenance.graph.prompt import dump_prompt, to_prompt
from comfyui_provenance.record import seal

from support.records import Document, Edit, graph_of
from support.seen_runs import INSIDE, OTHER, SAME, parted, put, run, told


def kinds(differences: Differences) -> list[str]:
    return [cause.kind.value for cause in differences.causes]


LATE = parted("sampler", "decode")


def test_one_run_parts_nowhere_from_itself() -> None:
    found = compare_records(run(), run())

    assert found.causes == ()
    assert found.divergence is None
    assert found.compared > 5


CHANGES: dict[str, tuple[Edit, Edit, str, str]] = {
    "seed": (put("sampler", seed=5), told(seed="5", noise=OTHER), "seed", "noise"),
    "steps": (put("sampler", steps=9), told(steps=9, sigmas=OTHER), "steps", "sigmas"),
    "scheduler": (
        put("sampler", scheduler="karras"),
        told(scheduler="karras", sigmas=OTHER),
        "scheduler",
        "sigmas",
    ),
    "cfg": (put("sampler", cfg=7.1), told(cfg=7.1), "cfg", "step"),
    "sampler": (
        put("sampler", sampler_name="heun"),
        told(sampler="heun", sampler_function="sample_heun"),
        "sampler",
        "step",
    ),
    "words": (
        put("positive", text="a wolf"),
        told(
            conditionings={
                "positive": [{"cross_attn": OTHER}],
                "negative": [{"cross_attn": SAME}],
            }
        ),
        "prompt_text",
        "conditioning",
    ),
    "strength": (
        put("lora", strength_model=0.7),
        told(patches={**INSIDE["patches"], "digest": "sha256:" + "1" * 64}, weights_sample="x"),
        "adapter_strength",
        "step",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_the_graph_is_the_first_cause_and_tells_where_it_enters(name: str) -> None:
    edit, inside, kind, phase = CHANGES[name]

    found = compare_records(run(), run(edit, inside, LATE))

    assert kinds(found)[0] == kind
    assert found.divergence is not None
    assert found.divergence.phase == phase


@pytest.mark.parametrize(
    ("inside", "kind"),
    [
        (told(attention="sub_quad"), "attention"),
        (told(model_dtype="bfloat16"), "precision"),
        (told(flags={"float32_matmul_precision": "medium"}), "precision"),
        (told(conditionings_per_forward={"2": 4}), "memory"),
        (
            told(conditionings_per_forward={"2": 4}, mode={"cond_batch": "together"}),
            "batch",
        ),
        (told(weights_sample="sha256-f32-sample32:" + "1" * 64), "node_pack"),
        (told(load={"state": "partial"}), "memory"),
    ],
)
def test_what_a_run_did_otherwise_is_named_where_nobody_chose_anything(
    inside: Edit, kind: str
) -> None:
    before = run(inside=told(load={"state": "full"}))

    found = compare_records(before, run(inside=inside, finish=LATE))

    assert kinds(found)[0] == kind


def test_words_whose_conditioning_is_the_same_are_no_cause() -> None:
    now = run(put("positive", text="a  fox's den"), told(attention="sub_quad"), LATE)

    found = compare_records(run(), now)

    assert kinds(found) == ["attention"]
    assert [cause.kind.value for cause in found.without_effect] == ["prompt_text"]
    assert any("without effect" in note for note in found.notes)


def test_negative_words_at_a_cfg_of_one_are_no_cause() -> None:
    def edit(graph: Document) -> None:
        put("sampler", cfg=1)(graph)
        put("negative", text="bad")(graph)

    other = {"positive": [{"cross_attn": SAME}], "negative": [{"cross_attn": OTHER}]}
    before = run(put("sampler", cfg=1), told(cfg=1))
    now = run(
        edit,
        told(cfg=1, conditionings=other, attention="sub_quad"),
        LATE,
    )

    assert "negative_text" not in kinds(compare_records(before, now))


def test_a_seed_that_gave_the_same_noise_is_a_cause_only_for_a_sampler_that_draws() -> None:
    def of(sampler: str) -> list[str]:
        inside = told(sampler=sampler)
        changed = run(
            lambda graph: put("sampler", sampler_name=sampler, seed=5)(graph),
            told(sampler=sampler, seed="5", attention="sub_quad"),
            LATE,
        )
        return kinds(compare_records(run(put("sampler", sampler_name=sampler), inside), changed))

    assert "seed" not in of("euler")
    assert "seed" in of("euler_ancestral")


def test_a_difference_after_the_sampling_is_not_laid_to_what_came_before_it() -> None:
    found = compare_records(run(), run(put("sampler", cfg=7.1), told(cfg=7.1), parted("decode")))

    assert "cfg" not in kinds(found)
    assert found.divergence is not None
    assert found.divergence.phase == "decode"
    assert found.divergence.node_id == "decode"


def test_what_can_explain_the_first_difference_comes_before_what_cannot() -> None:
    def edit(graph: Document) -> None:
        put("sampler", cfg=7.1)(graph)
        put("positive", text="a wolf")(graph)

    other = {"positive": [{"cross_attn": OTHER}], "negative": [{"cross_attn": SAME}]}

    found = compare_records(run(), run(edit, told(cfg=7.1, conditionings=other), LATE))

    assert kinds(found)[:2] == ["prompt_text", "cfg"]


def test_a_node_added_after_the_decoding_is_a_post_process() -> None:
    def add(graph: Document) -> None:
        graph["invert"] = {"class_type": "ImageInvert", "inputs": {"image": ["decode", 0]}}

    document = run()
    graph = graph_of()
    add(graph)
    text = dump_prompt(to_prompt(graph))
    changed = dict(document.document) | {
        "graph": text,
        "graph_sha256": digest_text(text).hex,
        "output": {"node_id": "invert", "slot": 0},
    }

    found = compare_records(document, seal(changed))

    assert kinds(found) == ["post_process"]
    assert found.causes[0].node_id == "invert"


def test_a_file_of_another_content_is_told_with_both_digests() -> None:
    def replace(document: Document) -> None:
        document["materials"][0]["sha256"] = "c" * 64
        LATE(document)

    found = compare_records(run(), run(inside=told(weights_sample="x"), finish=replace))

    assert kinds(found)[0] == "model_file"
    assert (found.causes[0].recorded, found.causes[0].now) == ("a" * 64, "c" * 64)
    assert "node_pack" not in kinds(found)


def test_another_machine_comes_after_what_somebody_chose() -> None:
    def move(document: Document) -> None:
        document["environment"]["cpu"]["capability"] = "DEFAULT"
        LATE(document)

    alone = compare_records(run(), run(finish=move))
    both = compare_records(run(), run(put("sampler", cfg=7.1), told(cfg=7.1), move))

    assert kinds(alone)[0] == "cpu_isa"
    assert kinds(both)[:2] == ["cfg", "cpu_isa"]


def test_a_node_that_computed_another_value_is_unseeded() -> None:
    def words(graph: Document) -> None:
        graph["words"] = {"class_type": "SomeWords", "inputs": {}}
        graph["positive"]["inputs"]["text"] = ["words", 0]

    def gave(text: str) -> Edit:
        def edit(document: Document) -> None:
            value = {"node_id": "words", "slot": 0, "type": "STRING", "value": text}
            document["computed"] = [value]
            if text != "a fox":
                LATE(document)

        return edit

    found = compare_records(run(words, finish=gave("a fox")), run(words, finish=gave("a wolf")))

    assert kinds(found) == ["unseeded_node"]
    assert (found.causes[0].recorded, found.causes[0].now) == ("a fox", "a wolf")


def test_two_runs_of_which_nothing_is_known_have_no_causes() -> None:
    def forget(document: Document) -> None:
        document |= {"left_out": ["graph"], "stages": [], "materials": [], "samplings": []}
        del document["graph"]

    found = compare_records(run(finish=forget), run(finish=forget))

    assert found == Differences()
