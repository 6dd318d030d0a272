"""Hooks for mkdocs: README.md is the front page, the gallery shows its sources, links into the repository are words."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
_INTO_DOCS = re.compile(r"\]\(docs/")
_EXAMPLE = re.compile(r"\]\(\.\./examples/(\w+)\.py\)")
# A link to what is no page: out of docs/, or, in README.md, to the rest of the repository.
_OUTSIDE = re.compile(r"\[([^\]]*)\]\((?:\.\./|src/|results|bench|tests|examples/)[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    text = _INTO_DOCS.sub("](", (ROOT / "README.md").read_text())
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri == "gallery.md":
        names = _EXAMPLE.findall(markdown)
        markdown = _EXAMPLE.sub(r"](#\1)", markdown)
        markdown += "".join(f"\n## {name}.py {{ #{name} }}\n\n```python\n{_source(name)}```\n" for name in names)
    return _OUTSIDE.sub(r"\1", markdown)


def _source(example: str) -> str:
    return (ROOT / "examples" / f"{example}.py").read_text()
