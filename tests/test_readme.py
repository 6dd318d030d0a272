"""The pages say what was measured."""

import pytest

from bench.readme import PAGES, ROOT, render


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_those_of_the_results(page: str) -> None:
    text = (ROOT / page).read_text()
    assert "---: |\n<!-- end" not in text, "a table without rows"
    assert render(text) == text
