"""The README says what was measured."""

from pathlib import Path

from bench.readme import render

README = Path(__file__).parents[1] / "README.md"


def test_tables_are_those_of_the_results() -> None:
    assert render(README.read_text()) == README.read_text()
