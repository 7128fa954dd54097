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


def with_late_node(class_type: str, **inputs: object) -> Edit:
    """Put a node after the decoding."""

    def edit(graph: Document) -> None:
        graph["late"] = {"class_type": class_type, "inputs": {"image": ["decode", 0], **inputs}}

    return edit


def giving(node_id: str, digest: str) -> Edit:
    """Let a node give an image with this digest."""

    def edit(document: Document) -> None:
        stage = {"node_id": node_id, "slot": 0, "class_type": "", "type": "IMAGE"}
        document["stages"].append({**stage, "digests": [digest]})

    return edit


def all_of(*edits: Edit) -> Edit:
    def edit(document: Document) -> None:
        for each in edits:
            each(document)

    return edit


def test_a_widget_after_the_decoding_cannot_explain_a_step() -> None:
    before = run(
        with_late_node("ImageScale", method="bilinear"),
        finish=giving("late", SAME),
        output="late",
    )
    now = run(
        with_late_node("ImageScale", method="area"),
        told(attention="sub_quad"),
        all_of(LATE, giving("late", OTHER)),
        output="late",
    )

    found = compare_records(before, now)

    assert kinds(found)[:2] == ["attention", "post_process"]


def test_a_widget_before_a_second_sampling_is_no_post_process() -> None:
    def between(method: str) -> Edit:
        def edit(graph: Document) -> None:
            with_late_node("ImageScale", method=method)(graph)
            again = dict(graph["sampler"]["inputs"])
            graph["encode"] = {
                "class_type": "VAEEncode",
                "inputs": {"pixels": ["late", 0], "vae": ["loader", 2]},
            }
            graph["second"] = {
                "class_type": "KSampler",
                "inputs": {**again, "latent_image": ["encode", 0]},
            }
            graph["end"] = {
                "class_type": "VAEDecode",
                "inputs": {"samples": ["second", 0], "vae": ["loader", 2]},
            }

        return edit

    before = run(between("bilinear"), finish=giving("end", SAME), output="end")
    now = run(between("area"), finish=giving("end", OTHER), output="end")

    assert kinds(compare_records(before, now)) == ["graph_edited"]


def test_a_node_that_gives_something_else_from_the_same_image_is_unseeded() -> None:
    before = run(with_late_node("Grain"), finish=giving("late", SAME), output="late")
    now = run(with_late_node("Grain"), finish=giving("late", OTHER), output="late")

    found = compare_records(before, now)

    assert kinds(found) == ["unseeded_node"]
    assert found.causes[0].node_id == "late"
    assert found.divergence is not None
    assert found.divergence.phase == "post_process"


def test_a_change_of_the_node_that_gives_the_same_image_is_no_cause() -> None:
    found = compare_records(run(), run(put("decode", note="other")))

    assert found.causes == ()
    assert [cause.kind.value for cause in found.without_effect] == ["graph_edited"]


def test_of_two_files_at_one_input_only_the_one_that_is_gone_is_told() -> None:
    def files(*digests: str) -> Edit:
        def edit(document: Document) -> None:
            for number, digest in enumerate(digests):
                document["materials"].append(
                    {
                        "kind": "embeddings",
                        "name": f"words{number}.pt",
                        "node_id": "positive",
                        "input": "text",
                        "status": "hashed",
                        "sha256": digest,
                    }
                )

        return edit

    other = {"positive": [{"cross_attn": OTHER}], "negative": [{"cross_attn": SAME}]}
    now = run(inside=told(conditionings=other), finish=all_of(files("e" * 64, "d" * 64), LATE))

    found = compare_records(run(finish=files("d" * 64, "f" * 64)), now)

    assert [(cause.kind.value, cause.recorded) for cause in found.causes] == [
        ("adapter_file", "f" * 64)
    ]


def test_one_image_that_was_made_alone_is_held_against_its_place_in_the_batch() -> None:
    def batch(document: Document) -> None:
        document["subject"] |= {"batch_index": 1, "batch_size": 3}
        for stage in document["stages"]:
            stage["digests"] = [OTHER, SAME, OTHER]

    before = run(inside=told(latent_shape=[3, 4, 16, 16], noise=OTHER), finish=batch)

    same = compare_records(before, run())
    other = compare_records(before, run(finish=parted("decode")))

    assert same.divergence is None
    assert other.divergence is not None
    assert other.divergence.phase == "decode"


def test_what_was_pinned_in_one_of_the_runs_alone_is_named_by_its_kind() -> None:
    def fell_back(document: Document) -> None:
        document["determinism"]["demotions"] = [
            {"node_id": "decode", "kind": "tiled_vae", "message": "worked in tiles"}
        ]
        parted("decode")(document)

    assert kinds(compare_records(run(), run(finish=fell_back))) == ["tiled_vae"]
    assert kinds(compare_records(run(finish=fell_back), run())) == ["tiled_vae"]
    assert kinds(compare_records(run(finish=fell_back), run(finish=fell_back))) == []


def test_another_commit_of_this_pack_is_no_cause_and_of_another_pack_it_is() -> None:
    def commit(pack: str, value: str) -> Edit:
        def edit(document: Document) -> None:
            document["environment"]["node_pack_commits"] = {pack: value}

        return edit

    own = [run(finish=commit("comfyui-provenance", value)) for value in ("1" * 40, "2" * 40)]
    other = [run(finish=commit("a_pack", value)) for value in ("1" * 40, "2" * 40)]

    assert kinds(compare_records(*own)) == []
    assert kinds(compare_records(*other)) == ["node_pack"]
