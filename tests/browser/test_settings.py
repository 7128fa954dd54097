"""The settings dialog shows this pack's settings, and the server's change only with its code.

In every supported frontend.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Route, expect

from support import prompts
from support.editor import CLASSIC, Editor
from support.server import ROOT, ComfyServer

SAMPLER = "ProvenanceKSampler"
DETERMINISTIC = "Provenance.Nodes.DeterministicByDefault"
OFFER = "Provenance.Page.OfferOnDrop"
SIDECAR = "Provenance.Server.Sidecar"
PACKS = "Provenance.Server.AllowedPacks"
TXT2IMG = sorted(node["class_type"] for node in prompts.txt2img().values())
# ComfyUI 1.47 gives a node that takes the id of one that is gone that one's values.
NEW_IDS = itertools.count(1000, 100)
CHINESE = ROOT / "locales" / "zh"
QUIET_MS = 1500
FRESH_MS = 1100
"""After these a dialog asks the server again."""


@pytest.fixture
def dialog(editor: Editor) -> Iterator[Editor]:
    """A page whose settings dialog shows this pack's settings."""
    open_dialog(editor)
    yield editor
    close_dialog(editor)


@pytest.fixture
def off(editor: Editor) -> Iterator[Editor]:
    """A page on which new samplers start with Deterministic Mode off."""
    choose(editor, DETERMINISTIC, False)
    yield editor
    choose(editor, DETERMINISTIC, True)


def open_dialog(editor: Editor, name: str = "Provenance") -> None:
    """Open the settings dialog at this pack's settings."""
    editor.command("Comfy.ShowSettingsDialog")
    editor.page.locator("[role=dialog]").get_by_text(name, exact=True).first.click()
    setting(editor, OFFER).wait_for()


def close_dialog(editor: Editor) -> None:
    """Close every dialog."""
    while editor.page.locator("[role=dialog]").count():
        editor.page.keyboard.press("Escape")
        editor.page.wait_for_timeout(200)


def choose(editor: Editor, name: str, value: object) -> None:
    """Give one of the page's settings a value."""
    editor.page.evaluate(
        "([name, value]) => app.extensionManager.setting.set(name, value)", [name, value]
    )


def setting(editor: Editor, name: str) -> Locator:
    """Find a setting in the dialog."""
    return editor.page.locator(f'[data-setting-id="{name}"]')


def on_server(editor: Editor, name: str) -> Any:
    """Give what the server has."""
    return editor.server.get_json("/provenance/settings")["settings"][name]


def give_code(editor: Editor, code: str | None = None) -> None:
    """Type a code into the page's question; the one of the server's console if not given."""
    field = editor.page.locator("[role=dialog] .prompt-dialog-content input")
    field.wait_for()
    field.fill(code or re.findall(r"give the code (\d{6})", editor.server.log_text())[-1])
    field.press("Enter")


def add_sampler(editor: Editor) -> None:
    """Put a sampler on the canvas under an id that no node had."""
    editor.page.evaluate("(id) => (app.graph.state.lastNodeId = id)", next(NEW_IDS))
    editor.add_node(SAMPLER, (400, 120))


def mode_of(editor: Editor) -> Any:
    """Give the value of the only sampler's switch."""
    return editor.page.evaluate(
        """(type) => app.graph.nodes.find((node) => node.type === type)
            .widgets.find(({ name }) => name === "deterministic_mode").value""",
        SAMPLER,
    )


def open_file(editor: Editor, file: Path, types: list[str]) -> None:
    """Open a file, and wait until the graph is there."""
    editor.open(file)
    editor.wait_for_nodes(types)
    editor.page.wait_for_timeout(200)


def test_every_setting_is_shown_with_its_value(any_editor: Editor) -> None:
    dialog = any_editor
    open_dialog(dialog)

    editor = dialog

    for name in (DETERMINISTIC, OFFER):
        expect(setting(editor, name).locator("input, button[role=switch]")).to_have_count(1)
    expect(setting(editor, "Provenance.Server.Redaction").locator("input")).to_be_checked()
    for name in (SIDECAR, "Provenance.Server.RecordInStockSaves"):
        expect(setting(editor, name).locator("input")).not_to_be_checked()
    for name in (PACKS, "Provenance.Server.AllowedClasses"):
        expect(setting(editor, name).locator("textarea")).to_have_value("")
    close_dialog(dialog)


@CLASSIC
def test_a_setting_of_the_server_changes_with_its_code(dialog: Editor) -> None:
    editor = dialog
    switch = setting(editor, SIDECAR).locator("input")

    switch.click()
    give_code(editor)

    expect(setting(editor, SIDECAR)).to_contain_text("Changed.")
    expect(switch).to_be_checked()
    assert on_server(editor, "sidecar") is True

    switch.click()
    expect(switch).to_be_checked()
    give_code(editor)

    expect(setting(editor, SIDECAR)).to_contain_text("Changed.")
    expect(switch).not_to_be_checked()
    assert on_server(editor, "sidecar") is False


@CLASSIC
def test_a_wrong_code_changes_nothing_and_the_old_value_is_shown(dialog: Editor) -> None:
    editor = dialog
    switch = setting(editor, SIDECAR).locator("input")

    switch.click()
    give_code(editor, "no code")
    expect(editor.page.locator(".prompt-dialog-content")).to_contain_text("Not accepted")
    editor.page.keyboard.press("Escape")

    expect(setting(editor, SIDECAR)).to_contain_text("Not changed")
    expect(switch).not_to_be_checked()
    assert on_server(editor, "sidecar") is False


@CLASSIC
def test_packs_are_allowed_and_forgotten_by_name(dialog: Editor) -> None:
    editor = dialog
    field, save = (setting(editor, PACKS).locator(what) for what in ("textarea", "button"))
    expect(save).to_be_disabled()

    field.fill("b pack\na_pack\n")
    save.click()
    give_code(editor)

    expect(field).to_have_value("a_pack\nb pack")
    assert on_server(editor, "allowed_packs") == ["a_pack", "b pack"]

    field.fill("")
    save.click()
    give_code(editor)

    expect(setting(editor, PACKS)).to_contain_text("Changed.")
    assert on_server(editor, "allowed_packs") == []


@CLASSIC
def test_a_switch_is_worked_with_the_keyboard(dialog: Editor) -> None:
    editor = dialog
    switch = editor.page.get_by_role("switch", name="Always write the record beside the image")

    switch.focus()
    editor.page.keyboard.press("Space")
    editor.page.locator(".prompt-dialog-content").wait_for()
    editor.page.keyboard.press("Escape")

    expect(setting(editor, SIDECAR)).to_contain_text("Not changed.")


def fail(route: Route) -> None:
    route.fulfill(status=500, body="<b>no</b>")


def give_none(route: Route) -> None:
    route.abort()


@pytest.mark.parametrize("answer", [fail, give_none], ids=["failing", "gone"])
@CLASSIC
def test_a_server_that_does_not_answer_leaves_the_page_its_settings(
    editor: Editor, answer: Callable[[Route], None]
) -> None:
    routes = re.compile("/provenance/settings")
    editor.page.route(routes, answer)
    editor.page.wait_for_timeout(FRESH_MS)

    open_dialog(editor)

    expect(setting(editor, SIDECAR)).to_contain_text("The server did not tell")
    expect(setting(editor, SIDECAR).locator("input")).to_have_count(0)
    expect(setting(editor, OFFER).locator("input, button[role=switch]")).to_have_count(1)
    close_dialog(editor)
    editor.page.unroute(routes)


@CLASSIC
def test_no_card_is_offered_where_the_user_does_not_want_one(
    editor: Editor, saved: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "made.png"
    file.write_bytes(saved)
    choose(editor, OFFER, False)

    editor.drop(file)
    editor.wait_for_nodes(TXT2IMG)
    editor.page.wait_for_timeout(QUIET_MS)

    expect(editor.card()).to_have_count(0)
    choose(editor, OFFER, True)


def test_a_new_sampler_starts_as_the_user_wants(off: Editor) -> None:
    add_sampler(off)
    assert mode_of(off) is False

    choose(off, DETERMINISTIC, True)
    off.clear()
    add_sampler(off)
    assert mode_of(off) is True


def test_a_workflow_that_is_opened_stays_as_it_is(off: Editor, tmp_path: Path) -> None:
    editor = off
    choose(editor, DETERMINISTIC, True)
    add_sampler(editor)
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(editor.workflow()))
    choose(editor, DETERMINISTIC, False)
    editor.clear()

    open_file(editor, file, [SAMPLER])

    assert mode_of(editor) is True


def test_a_prompt_that_leaves_the_switch_out_means_what_it_meant(
    off: Editor, tmp_path: Path
) -> None:
    prompt = prompts.txt2img(steps=1)
    del prompt["sampler"]["inputs"]["deterministic_mode"]
    file = tmp_path / "prompt.json"
    file.write_text(json.dumps(prompt))

    open_file(off, file, TXT2IMG)

    assert mode_of(off) is True


def test_a_copy_of_a_sampler_is_a_copy(off: Editor) -> None:
    choose(off, DETERMINISTIC, True)
    add_sampler(off)
    choose(off, DETERMINISTIC, False)

    modes = off.page.evaluate(
        """async () => {
            const copy = app.graph.nodes[0].clone();
            app.graph.add(copy);
            await new Promise((resolve) => setTimeout(resolve));
            return app.graph.nodes.map((node) =>
                node.widgets.find(({ name }) => name === "deterministic_mode").value);
        }"""
    )

    assert modes == [True, True]


@pytest.fixture
def chinese(browser: Browser, server: ComfyServer) -> Iterator[Editor]:
    """A page of a user who reads Chinese."""
    server.post_json("/settings/Comfy.Locale", "zh")
    editor = Editor(browser, server, vue_nodes=False)
    yield editor
    editor.close()
    server.post_json("/settings/Comfy.Locale", "en")
    assert editor.problems == []


def test_settings_and_their_words_are_in_the_users_language(chinese: Editor) -> None:
    editor = chinese
    names = json.loads((CHINESE / "settings.json").read_text("utf-8"))
    labels = json.loads((CHINESE / "main.json").read_text("utf-8"))["settingsCategories"]

    open_dialog(editor, labels["Provenance"])

    for name in (DETERMINISTIC, OFFER, SIDECAR, PACKS):
        expect(setting(editor, name)).to_contain_text(names[name.replace(".", "_")]["name"])
    expect(setting(editor, PACKS).locator("button")).to_have_text("\u4fdd\u5b58")
    close_dialog(editor)


@CLASSIC
def test_every_setting_and_command_is_translated(dialog: Editor) -> None:
    editor = dialog
    served = editor.server.get_json("/i18n")["zh"]
    settings = editor.page.eval_on_selector_all(
        "[data-setting-id^=Provenance]", "(all) => all.map(({ dataset }) => dataset.settingId)"
    )
    commands = editor.page.evaluate(
        "() => app.extensionManager.command.commands.map(({ id }) => id)"
    )

    for kind, names in (("settings", settings), ("commands", commands)):
        ours = {name.replace(".", "_") for name in names if name.startswith("Provenance")}
        assert ours == {name for name in served[kind] if name.startswith("Provenance")}, kind
