"""Threads and allocation."""

import os
from pathlib import Path

import pytest
import torch

from coscale import machine


@pytest.mark.parametrize(
    ("quota", "cores"), [("150000 100000\n", 2), ("10000 100000\n", 1), ("9900000 100000\n", 4), ("max 100000\n", 4)]
)
def test_a_containers_quota_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
    assert machine.cores() == cores


def test_no_quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "none")
    assert machine.cores() == 3


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
