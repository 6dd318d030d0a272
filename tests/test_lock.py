"""The lock file, against what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SYSTEMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]


def locked() -> list[tuple[Requirement, list[str]]]:
    """Each line of the lock, with its hashes."""
    lines = [
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]
    entries = re.split(r"\n(?=\S)", "\n".join(lines))
    return [(Requirement(entry.split("\\\n")[0]), re.findall(r"--hash=(\S+)", entry)) for entry in entries]


def wanted() -> list[Requirement]:
    """Everything that pyproject.toml asks for, torch apart."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [told["project"]["dependencies"], *told["project"]["optional-dependencies"].values()]
    groups += [told["build-system"]["requires"], *told["dependency-groups"].values()]
    found = [Requirement(text) for group in groups for text in group]
    return [requirement for requirement in found if requirement.name != "torch"]


def test_every_line_has_hashes() -> None:
    entries = locked()
    assert len(entries) > 50
    for requirement, hashes in entries:
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", given) for given in hashes), requirement
        assert [clause.operator for clause in requirement.specifier] == ["=="]
        assert requirement.url is None


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS, ids="-".join)
def test_has_what_is_asked_for(version: str, system: tuple[str, str]) -> None:
    here: dict[str, Any] = dict(default_environment())
    here |= {"python_version": version, "python_full_version": f"{version}.9"}
    here |= {"sys_platform": system[0], "platform_machine": system[1]}
    versions: dict[str, str] = {}
    for requirement, _ in locked():
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert requirement.name not in versions, "there is one version for each machine"
            versions[requirement.name] = next(iter(requirement.specifier)).version
    for requirement in wanted():
        if requirement.marker and not requirement.marker.evaluate(here):
            continue
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement
    # Of torch there are several builds, and torchvision is not used.
    assert not [name for name in versions if re.match(r"torch|nvidia|cuda|triton", name)]
    assert {"sympy", "networkx", "filelock", "einops"} <= versions.keys()  # which torch and spandrel need


def test_make_installs_nothing_else() -> None:
    """Every installation is by the lock, of torch alone, or of this folder without what it needs."""
    text = (ROOT / "Makefile").read_text().split(".venv/installed: ")[1].split("touch")[0]
    given = re.findall(r"\$\(PIP\) (.*)", text)
    assert len(given) == 3
    assert "--require-hashes --no-deps" in given[0]
    assert given[0].endswith("-r requirements.lock")
    assert given[1].endswith("-c constraints.txt torch")
    assert given[2] == "--no-deps --no-build-isolation -e ."
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [Requirement(line).name for line in pinned] == ["torch"]
