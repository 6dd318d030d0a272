"""Threads and allocation."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from coscale import machine
from coscale.rescalers import fastest


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The control groups of a machine of 4 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(machine, "_GROUPS", tmp_path)
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "membership")
    (tmp_path / "membership").write_text("0::/\n")
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "cores"), [("150000 100000\n", 2), ("10000 100000\n", 1), ("9900000 100000\n", 4), ("max 100000\n", 4)]
)
def test_a_containers_quota_counts(groups: Path, quota: str, cores: int) -> None:
    group(groups, cpu__max=quota)
    assert machine.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("150000\n", 2), ("-1\n", 4)])
def test_a_quota_by_the_first_version_of_control_groups_counts(groups: Path, quota: str, cores: int) -> None:
    (groups / "membership").write_text("4:memory:/a\n3:cpu,cpuacct:/docker/seen/by/the/host\n0::/\n")
    group(groups / "cpu,cpuacct", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000\n")
    group(groups / "memory" / "a", cpu__max="10000 100000\n")  # which is not of the cores
    assert machine.cores() == cores


def test_the_quota_of_a_service_and_of_what_is_around_it_counts(groups: Path) -> None:
    (groups / "membership").write_text("0::/system.slice/page.service\n")
    group(groups / "system.slice" / "page.service", cpu__max="300000 100000\n")
    assert machine.cores() == 3
    group(groups / "system.slice", cpu__max="200000 100000\n")
    assert machine.cores() == 2


def test_no_quota(groups: Path) -> None:
    assert machine.cores() == 4
    (groups / "membership").unlink()
    assert machine.cores() == 4


@pytest.mark.parametrize(("major", "precision"), [(7, "float32"), (8, "bfloat16")])
def test_bfloat16_is_taken_where_the_hardware_has_it(
    monkeypatch: pytest.MonkeyPatch, major: int, precision: str
) -> None:
    """A GPU of before Ampere computes it too, but slowly."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(major=major))
    monkeypatch.setattr("torch.cuda._check_bf16_tensor_supported", lambda _: True)
    assert fastest(torch.device("cuda")) == precision


def test_the_users_number_of_threads_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setattr(machine, "cores", lambda: 1)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        machine.settle()
        assert torch.get_num_threads() == 2
        monkeypatch.delenv("OMP_NUM_THREADS")
        machine.settle()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_few_operations_are_kept_and_what_the_user_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    try:
        for name in names:
            monkeypatch.delenv(name, raising=False)
        machine.settle()
        assert [os.environ[name] for name in names] == ["256", "256"]
        monkeypatch.setenv(names[0], "1024")
        machine.settle()
        assert os.environ[names[0]] == "1024"
    finally:
        torch.set_num_threads(before)


def test_freed_memory_is_kept() -> None:
    """By GNU's allocator; elsewhere nothing happens."""
    if not machine.keep_freed_memory():
        pytest.skip("the C library here is not GNU's")
    first = torch.ones(4 * 2**20)  # 16 MB, which would otherwise be given back at once
    resident = _resident()
    del first
    assert _resident() > resident - 2**20
    machine.give_back_freed_memory()
    assert _resident() < resident - 12 * 2**20


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a process")
def test_a_peak_is_that_of_what_came_after_its_reset() -> None:
    cpu = torch.device("cpu")

    def peak_of(megabytes: int) -> int:
        machine.reset_peak(cpu)
        torch.ones(megabytes, 2**18)
        found = machine.peak(cpu)
        assert found is not None
        return found

    large, small = peak_of(400), peak_of(10)
    assert large - small > 300e6
