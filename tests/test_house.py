"""The order of the house: what may import what, and what importing costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import coscale
from tests.extras import PACKAGES

SOURCE = Path(coscale.__file__).parent
ROOT = Path(__file__).parents[1]
HEAVY = {name for names in PACKAGES.values() for name in names} - {"jinja2"}  # which torch may import


def order() -> list[str]:
    """The modules as ARCHITECTURE.md has them in its table: each imports only from those before it."""
    section = (ROOT / "ARCHITECTURE.md").read_text().split("\n## The order\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\|((?: `\w+`)+) \|", section, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


ORDER = order()


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "coscale":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("coscale.")}
    return found & set(ORDER)


def test_the_order_has_every_module_once() -> None:
    """The command's entry, the package's own names and its version stand above all."""
    modules = [path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert sorted(ORDER) == sorted(name for name in modules if not name.startswith("_"))


def test_modules_import_only_from_above() -> None:
    for path in SOURCE.rglob("*.py"):
        module = path.relative_to(SOURCE).with_suffix("").parts[0]
        if module.startswith("_"):
            continue
        allowed = set(ORDER[: ORDER.index(module) + 1])
        assert imports(path) <= allowed, f"{path} imports from below: {imports(path) - allowed}"


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


def test_core_tests_import_no_extra() -> None:
    """Somebody who changes the mathematics runs its tests with what is installed by default."""
    code = (
        "import sys, pytest\n"
        "failed = pytest.main(['-p', 'no:cacheprovider', '-p', 'no:xdist', 'tests/test_ball.py'])\n"
        f"print(*sorted({HEAVY!r} & sys.modules.keys()), int(failed))"
    )
    *_, told = run(code).splitlines()
    assert told == "0"


def test_import_is_light() -> None:
    assert run("import sys, coscale, coscale.cli; print('torch' in sys.modules)") == "False"


def test_commands_do_not_import_the_compiler(tmp_path: Path) -> None:
    """It takes as long as all of torch beside it, and only --compile and training need it."""
    lr = tmp_path / "lr.png"
    lines = [
        ["downscale", str(ROOT / "examples" / "butterfly.png"), "-o", str(lr), "--effort", "instant"],
        ["upscale", str(lr)],
    ]
    code = (
        "import sys; from coscale.cli import cli\n"
        f"for line in {lines}: cli.main(line, standalone_mode=False)\n"
        "print('torch' in sys.modules, 'torch._dynamo' in sys.modules)"
    )
    assert run(code).splitlines()[-1] == "True False"


def test_version_is_fast() -> None:
    """Nothing is imported for it but the standard library, click, and modules of ours that take no more."""
    code = (
        "import sys; from importlib.metadata import packages_distributions; before = set(sys.modules)\n"
        "from coscale.cli import main\n"
        "sys.argv = ['coscale', '--version']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "loaded = {name.partition('.')[0] for name in sys.modules.keys() - before}\n"
        "print(*sorted(loaded & packages_distributions().keys()))"
    )
    *_, loaded = run(code).splitlines()
    assert set(loaded.split()) <= {"click", "coscale", "colorama"}


def test_public_names_stay_what_they_are() -> None:
    modules = {path.stem for path in SOURCE.glob("*.py")} | {path.name for path in SOURCE.iterdir() if path.is_dir()}
    assert modules.isdisjoint(coscale.__all__)
    assert set(coscale.__all__) == set(coscale._HOMES)
    for name in coscale.__all__:
        assert callable(getattr(coscale, name))


PAGES = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


@pytest.mark.parametrize("page", PAGES)
def test_what_pages_for_contributors_link_to_is_there(page: str) -> None:
    for target in re.findall(r"\]\(([^):]+)\)", (ROOT / page).read_text()):
        assert (ROOT / target).exists(), target


def test_the_version_is_the_same_everywhere() -> None:
    assert f"\nversion: {coscale.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## [{coscale.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_ci_runs_the_commands_that_contributors_are_told_of() -> None:
    ran = re.findall(r"^make (.*)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert ran == ["lint types test-all"]
    assert f"make {ran[0]}" in (ROOT / "CONTRIBUTING.md").read_text()
    # The README may name the short tests, the whole ones, or both.
    assert re.search(r"^    make test(-all)?\b", (ROOT / "README.md").read_text(), re.MULTILINE)


NO_VERBS = {
    *(
        "A",
        "All",
        "An",
        "As",
        "Both",
        "Each",
        "Every",
        "For",
        "From",
        "HR",
        "How",
        "In",
        "It",
        "LR",
        "Mean",
        "Of",
        "One",
    ),
    *("PSNR", "SSIM", "The", "Their", "This", "What", "Where", "Whether", "Which", "With"),
}


def test_docstrings_begin_with_a_verb() -> None:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                first = (ast.get_docstring(node) or "Give").split()[0]
                assert first not in NO_VERBS, f"{path}:{node.lineno}: {first}"
                assert not first.startswith("`"), f"{path}:{node.lineno}: {first}"
