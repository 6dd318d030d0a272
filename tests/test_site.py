"""The pages build without a warning, hold every public name, and fetch nothing from elsewhere."""

import os
import re
import subprocess
import sys
from inspect import getdoc
from pathlib import Path

import pytest

import coscale
from tests.extras import skip_without

skip_without("docs")
ROOT = Path(__file__).parents[1]
# What a page fetches by itself, which a link does not.
FETCHED = re.compile(r"""<(?:script|img|iframe|source)[^>]*\ssrc="(?:https?:)?//|<link[^>]*\shref="(?:https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        assert not FETCHED.search(page.read_text()), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"""url\(["']?(?:https?:)?//|@import""", sheet.read_text()), sheet


def test_every_public_name_is_there(site: Path) -> None:
    text = "".join(page.read_text() for page in (site / "api").glob("*.html"))
    for name in coscale.__all__:
        assert f'id="coscale.{name}"' in text or f'id="{coscale._HOMES[name]}.{name}"' in text, name
        assert len((getdoc(getattr(coscale, name)) or "").splitlines()[0]) > 20, name
    assert re.search(r"Float.{1,200}b c h w", text, re.DOTALL), "shapes are not legible"


def test_links_into_the_repository_are_words(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not re.findall(r'href="[^":#]*(?:src/|examples/|results["/]|\.md)', page.read_text()), page
    assert "def main()" in re.sub(r"<[^>]*>", "", (site / "gallery.html").read_text())
