"""Collections on a Ray cluster of this machine: two workers, and what kills them."""

import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from coscale.batch import Crew, on_ray, runner
from coscale.batch.on_ray import OnRay
from coscale.batch.worker import Assignment, BatchSettings, Lost, Ready
from coscale.errors import EngineError, SettingsError
from tests.extras import skip_without
from tests.test_batch import (
    PLAIN,
    Run,
    await_rows,
    check_whole,
    failure_of,
    fill_and_grow,
    handlers,
    many,
    photos,
    rows_of,
    run,
    small_disk,
    start,
)

__all__ = ["handlers", "photos", "run", "small_disk"]  # fixtures


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two cores."""
    skip_without("ray")
    import ray

    places = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": places},
    )
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


class Deadly(OnRay):
    """Kills the process of the actor that gets the third job."""

    count = 0

    def give(self, slot: int, job: Assignment) -> None:
        pid = self._ray.get(self._actors[slot].__ray_call__.remote(lambda _: os.getpid()))
        super().give(slot, job)
        self.count += 1
        if self.count == 3:
            os.kill(pid, signal.SIGKILL)


def test_a_killed_actor_is_replaced_and_its_photo_done(
    cluster: str, tmp_path: Path, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[Deadly] = []

    def deadly(settings: BatchSettings, weights_hash: str, _: Crew) -> Deadly:
        engines.append(Deadly(settings, weights_hash, 2, "auto", 1.0, cluster))
        return engines[-1]

    monkeypatch.setattr(runner, "_engine", deadly)
    (photos / "0.png").write_text("no image")
    out = tmp_path / "out"
    result = run(photos, out, "--rescaler", "light-x2", "--effort", "fast")
    assert "5 done, 0 kept, 1 failed" in result.stdout
    assert "0.png is not a JPEG" in result.stderr
    assert Counter(row["tries"] for row in rows_of(out).values()) == {1: 5, 2: 1}
    assert engines[0].slots == 2
    check_whole(out)
    assert len(list(out.rglob("*.png"))) == 5


def test_a_killed_driver_loses_nothing(cluster: str, tmp_path: Path, crop: torch.Tensor, run: Run) -> None:
    folder, out = many(tmp_path / "photos", crop, 40, 40), tmp_path / "out"
    hcd = ("--rescaler", "bicubic-x2", "--method", "hcd", "--hr-steps", 40, "--lr-steps", 40)
    arguments = (folder, out, *hcd, "--engine", "ray", "--address", cluster, "--workers", 1)
    first = start(*arguments)
    await_rows(first, out / "manifest.jsonl", 5)
    first.kill()
    first.communicate()
    for path in out.glob("*.x2.png"):
        assert path.stat().st_size
    second = run(*arguments, "--json")
    assert (second.exit_code, second.stderr) == (0, "")
    counts = json.loads(second.stdout.splitlines()[-1])
    assert counts["done"] + counts["kept"] == 40
    assert counts["kept"] >= 5  # all of them where the machine was fast
    check_whole(out)
    assert len(rows_of(out)) == 40


def test_a_full_disk_loses_nothing(
    cluster: str, tmp_path: Path, small_disk: Path, crop: torch.Tensor, run: Run
) -> None:
    fill_and_grow(many(tmp_path / "photos", crop, 30), small_disk, run, "--engine", "ray", "--workers", 1)


def test_an_actor_that_cannot_work_says_why(cluster: str, photos: Path, tmp_path: Path) -> None:
    from coscale.batch import driver

    engine = OnRay(BatchSettings("light-x2"), "another hash", 1, "cpu", 1.0, None)
    with pytest.raises(EngineError, match="a worker has other weights of light-x2"):
        driver.drive(engine, {"a": Assignment(str(photos / "0.png"), str(tmp_path / "a.x2.png"))}, 1, lambda *_: None)
    reason = failure_of(OnRay(BatchSettings("bicubic-x2"), "", 1, "cpu", 1.0, None), photos / "0.png")
    assert "0.png: its worker failed with AttributeError" in reason


class Slow:
    """An actor that is never done."""

    def ready(self, *_: object) -> Ready:
        return Ready()

    def do(self, job: Assignment) -> None:
        time.sleep(600)


def test_a_photo_that_takes_too_long_ends_its_actor(cluster: str) -> None:
    engine = OnRay(BatchSettings("light-x2"), "", 1, "cpu", 1.0, cluster, timeout=0.5)
    engine._kind = engine._ray.remote(num_cpus=1)(Slow)
    engine.start(0)
    assert engine.wait() == [(0, Ready())]
    engine.give(0, Assignment("a", "b"))
    assert engine.wait() == [(0, Lost("was ended, since it took longer than 0.5 seconds"))]
    assert not engine._actors


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process had no cluster yet."""
    skip_without("ray")
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)


def test_no_cluster_is_said_within_seconds(
    tmp_path: Path, photos: Path, run: Run, unconnected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (photos, tmp_path / "out", *PLAIN, "--engine", "ray")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("Ray is not asked, which would take it two minutes")

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with monkeypatch.context() as patched:
            patched.setattr(on_ray.subprocess, "run", never)
            with pytest.raises(EngineError, match=f"there is no Ray cluster at {address}"):
                run(*options, "--address", address)
        listener.listen()  # and says nothing
        monkeypatch.setattr(on_ray, "_ANSWER", 4.0)
        with pytest.raises(EngineError, match=r"that can be used \(it does not answer\)"):
            run(*options, "--address", address)
    monkeypatch.setattr(on_ray, "_ANSWER", 30.0)
    with pytest.raises(EngineError, match="there is no Ray cluster at no address that can be used"):
        run(*options, "--address", "no address")
    assert not list((tmp_path / "out").iterdir())


def test_the_extra_is_named(tmp_path: Path, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install 'coscale\[ray\]'"):
        run(photos, tmp_path / "out", *PLAIN, "--engine", "ray")


def node(cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus} | ({"GPU": gpus} if gpus else {})}


def test_what_actors_take() -> None:
    share = on_ray._share
    assert share([node(2)], None, "auto", 1.0) == (1, {"num_cpus": 2, "num_gpus": 0})
    assert share([node(2)], 2, "auto", 1.0) == (2, {"num_cpus": 1, "num_gpus": 0})
    assert share([node(16), node(8), node(64, alive=False)], None, "auto", 1.0) == (6, {"num_cpus": 4, "num_gpus": 0})
    assert share([node(16, 2), node(8)], None, "auto", 0.25) == (8, {"num_cpus": 1, "num_gpus": 0.25})
    assert share([node(16, 2)], 3, "cuda", 0.5) == (3, {"num_cpus": 1, "num_gpus": 0.5})
    assert share([node(16, 2)], None, "cpu", 0.5) == (4, {"num_cpus": 4, "num_gpus": 0})
    for nodes, device in (([node(4)], "cuda"), ([node(0)], "auto"), ([], "cpu")):
        with pytest.raises(EngineError, match="no machine of the Ray cluster offers"):
            share(nodes, None, device, 1.0)
