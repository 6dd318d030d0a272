"""Hooks for mkdocs: README.md is the front page, the gallery shows its sources, links into the repository are words."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)[^):]*\)")
_EXAMPLE = re.compile(r"\]\(\.\./examples/(\w+)\.py\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri == "index.md":
        return _without_links_outside(markdown, ROOT).replace("](docs/", "](")
    if page.file.src_uri == "gallery.md":
        markdown = _with_sources(markdown)
    return _without_links_outside(markdown, (DOCS / page.file.src_uri).parent)


def _with_sources(gallery: str) -> str:
    sources = [
        f"\n## {name}.py {{ #{name} }}\n\n```python\n{(ROOT / 'examples' / f'{name}.py').read_text()}```\n"
        for name in _EXAMPLE.findall(gallery)
    ]
    return _EXAMPLE.sub(r"](#\1)", gallery) + "".join(sources)


def _without_links_outside(markdown: str, folder: Path) -> str:
    """What links from ``folder`` to a file of the repository that is no page becomes words."""

    def words(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        return link[1] if target.exists() and not target.is_relative_to(DOCS) else link[0]

    return _LINK.sub(words, markdown)
