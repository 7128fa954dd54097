"""A verdict is read on the node that reached it, whoever wrote the image, and changes no graph."""

from __future__ import annotations

from playwright.sync_api import expect

from support import prompts
from support.editor import Editor
from support.tampering import Graph, edit_graph, edit_record, set_input

HOSTILE = "<img src=x onerror=\"window.hacked = 'yes'\"><script>window.hacked = 'yes'</script>"
DIFFERENT_CFG = set_input("sampler", "cfg", 7.1)
JUST_ABOVE_32_BITS = 2**32 + 1


def reproduce(editor: Editor, image: bytes) -> None:
    """Put Reproduce on the canvas with an image, and run it."""
    editor.add_node("ProvenanceReproduce", (40, 60), image=editor.server.upload(image))
    editor.run()


def hostile_recorded_values(record: Graph) -> None:
    """Write markup where a verdict shows a recorded value."""
    record["tuple"]["sampler"] = HOSTILE
    record["materials"][0]["name"] = HOSTILE


def test_a_faithful_image_is_shown_as_bitwise(editor: Editor, saved: bytes) -> None:
    reproduce(editor, saved)

    panel = editor.panel("bitwise")
    expect(panel).to_be_visible()
    expect(panel).to_contain_text("Bitwise")
    expect(panel).to_contain_text("reproduction")
    expect(panel.locator(".provenance-cause")).to_have_count(0)


def test_an_edited_image_is_shown_as_a_mismatch_with_both_values(
    editor: Editor, saved: bytes
) -> None:
    reproduce(editor, edit_graph(saved, DIFFERENT_CFG))

    panel = editor.panel("mismatch")
    expect(panel).to_be_visible()
    expect(panel).to_contain_text("Mismatch")
    expect(panel.locator(".provenance-kind")).to_have_text("cfg")
    expect(panel.locator(".provenance-recorded")).to_have_text("7")
    expect(panel.locator(".provenance-now")).to_have_text("7.1")


def test_verify_shows_its_verdict_too(editor: Editor, saved: bytes) -> None:
    name = editor.server.upload(saved)
    load = editor.add_node("LoadImage", (40, 60), image=name)
    verify = editor.add_node("ProvenanceVerify", (400, 60), reference=name)
    editor.connect(load, 0, verify, "images")

    editor.run()

    expect(editor.panel("bitwise")).to_contain_text("Bitwise")


def test_a_verdict_can_be_selected_and_fits_its_node(editor: Editor, saved: bytes) -> None:
    reproduce(editor, edit_graph(saved, DIFFERENT_CFG))

    panel = editor.panel("mismatch")
    expect(panel).to_be_visible()
    assert panel.evaluate("(element) => getComputedStyle(element).userSelect") == "text"
    assert panel.evaluate("({ parentElement: box }) => box.scrollWidth <= box.clientWidth")
    editor.page.wait_for_function(
        """() => {
            const box = document.querySelector(".provenance-panel");
            return box.clientHeight > 100 && box.scrollHeight <= box.clientHeight;
        }"""
    )


def test_a_verdict_adds_nothing_to_the_prompt_or_the_workflow(editor: Editor, saved: bytes) -> None:
    name = editor.server.upload(saved)
    editor.add_node("ProvenanceReproduce", (40, 60), image=name)
    prompt, workflow = editor.prompt(), editor.workflow()

    editor.run()
    expect(editor.panel("bitwise")).to_be_visible()

    (node,), (node_before,) = editor.workflow()["nodes"], workflow["nodes"]
    assert editor.prompt() == prompt
    assert list(prompt["1"]["inputs"]) == ["image"]
    assert {**node, "size": 0} == {**node_before, "size": 0}


def test_a_verdict_is_marked_as_earlier_once_another_image_is_chosen(
    editor: Editor, saved: bytes
) -> None:
    reproduce(editor, saved)
    panel = editor.panel("bitwise")
    expect(panel).to_be_visible()
    fresh = panel.inner_text()

    editor.set_widget("ProvenanceReproduce", "image", editor.server.upload(saved))
    chosen = panel.inner_text()
    editor.run()

    assert "earlier" not in fresh
    assert "earlier" in chosen
    expect(panel).not_to_contain_text("earlier", use_inner_text=True)


def test_a_verdict_is_still_there_when_its_tab_is_shown_again(editor: Editor, saved: bytes) -> None:
    reproduce(editor, saved)
    expect(editor.panel("bitwise")).to_be_visible()

    editor.command("Comfy.NewBlankWorkflow")
    expect(editor.panel()).to_have_count(0)
    editor.command("Workspace.PreviousOpenedWorkflow")

    expect(editor.panel("bitwise")).to_be_visible()
    expect(editor.panel()).to_contain_text("earlier", use_inner_text=True)


def test_markup_in_a_record_is_shown_as_text_and_does_nothing(editor: Editor, saved: bytes) -> None:
    reproduce(editor, edit_record(saved, hostile_recorded_values))

    panel = editor.panel("mismatch")
    expect(panel).to_be_visible()
    expect(panel.locator(".provenance-recorded")).to_have_text(HOSTILE)
    assert panel.locator("img, script").count() == 0
    assert editor.page.evaluate("() => window.hacked") is None


def test_markup_is_text_in_a_summary_too(editor: Editor, saved: bytes) -> None:
    name = editor.server.upload(edit_record(saved, hostile_recorded_values))
    editor.add_node("ProvenanceReadRecord", (40, 60), image=name)

    editor.run()

    panel = editor.panel()
    expect(panel).to_contain_text(f"sampler: {HOSTILE}")
    assert panel.locator("img, script").count() == 0
    assert editor.page.evaluate("() => window.hacked") is None


def test_a_warning_that_two_nodes_give_is_shown_once_a_run(editor: Editor) -> None:
    editor.reload()  # a page tells a fact once
    editor.clear()
    prompt = prompts.txt2img(seed=JUST_ABOVE_32_BITS)
    (made,) = editor.server.images(editor.server.run(prompt))
    editor.drop(made)
    editor.wait_for_nodes(sorted(node["class_type"] for node in prompt.values()))

    history = editor.run()

    warning = f"seed {JUST_ABOVE_32_BITS} is above 2^32-1"
    expect(editor.toasts().filter(has_text=warning)).to_have_count(1)
    texts = [str(shown.get("provenance_warnings")) for shown in history.outputs.values()]
    assert sum(warning in text for text in texts) == 2
