"""The lock files, against what pyproject.toml asks for."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.extras import PACKAGES

ROOT = Path(__file__).parents[1]
SYSTEMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]


# Of each lock, the groups of pyproject.toml that it serves, and whether it has the extras.
LOCKS = {"requirements.lock": (["dev"], True), "requirements-test.lock": (["test"], False)}
TOLD = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each line of a lock, with its hashes."""
    lines = [
        line for line in (ROOT / name).read_text().splitlines() if line.strip() and not line.strip().startswith("#")
    ]
    entries = re.split(r"\n(?=\S)", "\n".join(lines))
    return [(Requirement(entry.split("\\\n")[0]), re.findall(r"--hash=(\S+)", entry)) for entry in entries]


def group(name: str) -> list[str]:
    """What a group asks for, with the groups that it includes."""
    found: list[str] = []
    for entry in TOLD["dependency-groups"][name]:
        found += [entry] if isinstance(entry, str) else group(entry["include-group"])
    return found


def wanted(name: str) -> list[Requirement]:
    """Everything that pyproject.toml asks of a lock, torch apart."""
    groups, extras = LOCKS[name]
    found = [*TOLD["project"]["dependencies"], *TOLD["build-system"]["requires"], *group("build")]
    found += [text for name in groups for text in group(name)]
    found += [text for extra in TOLD["project"]["optional-dependencies"].values() for text in extra] if extras else []
    return [requirement for requirement in map(Requirement, found) if requirement.name != "torch"]


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_has_hashes(name: str) -> None:
    entries = locked(name)
    assert len(entries) > 25
    for requirement, hashes in entries:
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", given) for given in hashes), requirement
        assert [clause.operator for clause in requirement.specifier] == ["=="]
        assert requirement.url is None


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS, ids="-".join)
def test_has_what_is_asked_for(name: str, version: str, system: tuple[str, str]) -> None:
    here: dict[str, Any] = dict(default_environment())
    here |= {"python_version": version, "python_full_version": f"{version}.9"}
    here |= {"sys_platform": system[0], "platform_machine": system[1]}
    versions: dict[str, str] = {}
    for requirement, _ in locked(name):
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert requirement.name not in versions, "there is one version for each machine"
            versions[requirement.name] = next(iter(requirement.specifier)).version
    for requirement in wanted(name):
        if requirement.marker and not requirement.marker.evaluate(here):
            continue
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement
    # Of torch there are several builds, and torchvision is not used.
    assert not [name for name in versions if re.match(r"torch|nvidia|cuda|triton", name)]
    assert {"sympy", "networkx", "filelock"} <= versions.keys()  # which torch needs
    assert ("einops" in versions) == ("spandrel" in versions), "which spandrel needs"


def test_the_small_lock_is_a_part_of_the_whole() -> None:
    lines = {f"{found.name}{found.specifier}": hashes for found, hashes in locked("requirements.lock")}
    large = {requirement.name for requirement in wanted("requirements.lock")}
    large -= {requirement.name for requirement in wanted("requirements-test.lock")}
    for requirement, hashes in locked("requirements-test.lock"):
        assert lines[f"{requirement.name}{requirement.specifier}"] == hashes
        assert requirement.name in ("filelock", "jinja2") or requirement.name not in large, "torch needs only these"


def test_make_installs_nothing_else() -> None:
    """Every installation is by a lock, of torch alone, or of this folder without what it needs."""
    makefile = (ROOT / "Makefile").read_text()
    hashed = "$(HASHED) -r requirements"
    assert "HASHED = --require-hashes --no-deps --only-binary :all:\n" in makefile
    default = ["-test.lock", "--no-warn-conflicts -c constraints.txt torch", "--no-deps --no-build-isolation -e ."]
    assert re.findall(r"\$\(PIP\) (.*)", makefile) == [hashed + default[0], *default[1:], f"{hashed}.lock"]
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [Requirement(line).name for line in pinned] == ["torch"]


def test_every_extra_has_its_mark() -> None:
    """Tests can say of each extra that they need it."""
    assert TOLD["project"]["optional-dependencies"].keys() <= PACKAGES.keys()
    assert {"browser", "reference"} <= PACKAGES.keys() & TOLD["dependency-groups"].keys()


def test_no_test_is_skipped_by_other_means() -> None:
    """A module of an extra is asked for by ``tests/extras.py`` alone, so that none can be missed unnoticed."""
    for path in (ROOT / "tests").rglob("*.py"):
        for name in re.findall(r"importorskip\(\"(\w+)", path.read_text()):
            assert name in sys.stdlib_module_names, f"{path} skips where {name} is not installed: see tests/extras.py"
