"""The order of the house: what may import what, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import coscale
from tests.extras import PACKAGES

SOURCE = Path(coscale.__file__).parent
ROOT = Path(__file__).parents[1]
HEAVY = {name for names in PACKAGES.values() for name in names} - {"jinja2"}  # which torch may import
# A module imports only from those before it; the command and the package's own names stand above all.
ORDER = [
    "errors",
    "files",
    "quantize",
    "colour",
    "alpha",
    "quiet",
    "profiles",
    "containers",
    "foreign",
    "image",
    "folders",
    "arrays",
    "resize",
    "areas",
    "lrfile",
    "rescalers",
    "weights",
    "memory",
    "machine",
    "processes",
    "tiles",
    "diagnose",
    "guard",
    "collaborate",
    "encode",
    "decode",
    "pair",
    "metrics",
    "evaluate",
    "workers",
    "export",
    "web",
    "report",
    "reproduce",
    "jobs",
    "batch",
    "train",
    "serve",
    "console",
    "cli",
]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "coscale":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("coscale.")}
    return found & set(ORDER)


def test_modules_import_only_from_above() -> None:
    for path in SOURCE.rglob("*.py"):
        module = path.relative_to(SOURCE).with_suffix("").parts[0]
        if module.startswith("__"):
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
