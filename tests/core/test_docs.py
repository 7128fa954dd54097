"""What the documents name exists: the tests that are said to show something, and linked files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("web/docs/*.md")])
NODES = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("nodes/*.py"))

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_the_tests_and_folders_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py")]
    functions = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}

    paths = set(re.findall(r"`((?:tests|docs|adapter)/[\w./-]+)`", text))
    named = set(re.findall(r"`(test_\w+)`", text))

    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
    assert sorted(named - functions) == []


@each_page
def test_a_pages_links_to_files_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    pictures = re.findall(r'(?:src|srcset)="([^":]+)"', text)

    assert sorted(link for link in [*links, *pictures] if not (page.parent / link).exists()) == []


def test_every_public_node_has_a_help_page_and_no_other() -> None:
    declared = set(re.findall(r'node_id="(Provenance\w+)"', NODES))

    assert {page.stem for page in ROOT.glob("web/docs/*.md")} == declared
