"""The pages say what was measured, stay short, and name what exists."""

import re
from pathlib import Path

import click
import pytest

from bench.readme import PAGES, ROOT, render
from coscale.cli import cli

COMMANDS = [
    (page, line.strip())
    for page in PAGES
    for line in (ROOT / page).read_text().replace("\\\n", "").splitlines()
    if line.startswith("    coscale ")
]


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_those_of_the_results(page: str) -> None:
    text = (ROOT / page).read_text()
    assert "---: |\n<!-- end" not in text, "a table without rows"
    assert render(text) == text


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_short(page: str) -> None:
    assert len((ROOT / page).read_text().splitlines()) <= (130 if page == "README.md" else 200)


@pytest.mark.parametrize("page", PAGES)
def test_a_cell_of_a_table_has_one_number(page: str) -> None:
    rows = [line for line in (ROOT / page).read_text().splitlines() if line.startswith("|")]
    for cell in (cell.strip() for row in rows for cell in row.strip("|").split("|")):
        if re.match(r"[+-]?\d", cell):
            assert re.fullmatch(r"[+-]?[\d.,]+( ?%)?", cell), cell


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target, _, section in re.findall(r"\]\((?!\w+:)([^)#\s]*)(#([^)\s]*))?\)", path.read_text()):
        linked = (path.parent / target).resolve() if target else path
        assert linked.exists(), target
        assert not section or section in sections(linked), f"{target}#{section}"


def test_what_the_code_says_of_the_pages_is_there() -> None:
    """An address without a section in it, such as docs/upscalers.md#{section}, is followed up in test_diagnose.py."""
    named = {
        found
        for folder in ("src", "bench", "examples")
        for source in (ROOT / folder).rglob("*.py")
        for found in re.findall(r"\bdocs/([\w/-]+\.(?:md|png|svg))(?:#([\w-]+))?", source.read_text())
    }
    assert ("upscalers.md", "") in named
    assert any(section for _, section in named)
    for page, section in named:
        assert (ROOT / "docs" / page).exists(), page
        assert not section or section in sections(ROOT / "docs" / page), f"{page}#{section}"


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda text: str(text))
def test_commands_have_their_options(page: str, line: str) -> None:
    command: click.Command = cli
    words = line.split("#")[0].split()[1:]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found, line
        command = found
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known


def sections(page: Path) -> set[str]:
    """What can stand behind the # of a link to a page: its headings, as GitHub and mkdocs write them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
