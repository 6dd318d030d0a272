"""The relay: what it writes down, what it trains next, and that no stop loses more than a leg's last minutes."""

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import relay
from bench.ledger import Ledger, Leg
from bench.readme import ROOT
from bench.relay import Places, Relay, alone, deadline_of, progress_of
from coscale.image import Photo, write
from coscale.measurement import Measurement
from coscale.train import loop, recipes
from coscale.weights.manifest import read_manifest
from tests.rows import row_of_json

LEG = Leg("a", "trunk", 0, 100, 3600.0, 0, 0.0, 0, 0.0, 30.0, 40.0, None, False, "p", "float32", "2", "2026-01-01")


def test_the_ledger_sums_trunks_and_branches(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "relay.jsonl")
    assert ledger.growth("a") == math.inf
    ledger.add(LEG)
    ledger.add(replace(LEG, kind="branch", branch_steps=15, branch_seconds=540.0, set5=33.0))
    ledger.add(replace(LEG, trunk_steps=150, trunk_seconds=5400.0))
    ledger.add(replace(LEG, recipe="b", trunk_steps=7))
    ledger.add(replace(LEG, trunk=1, trunk_steps=20, trunk_seconds=720.0))
    again = Ledger(tmp_path / "relay.jsonl")
    assert again.legs == ledger.legs
    assert [leg.steps for leg in again.of("a")] == [100, 100, 150, 170]
    assert [leg.core_hours for leg in again.of("a")] == [1.0, 1.15, 1.65, 1.85]
    assert again.steps("a") == 170
    assert again.growth("a") == pytest.approx(0.7)


def test_the_recipe_with_most_to_gain_is_next(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "relay.jsonl")
    assert ledger.most_to_gain(("a", "b"), {}) == "a"
    assert ledger.most_to_gain(("a", "b"), {"a": 3.0}) == "b"
    ledger.add(replace(LEG, recipe="b", trunk_seconds=36000.0))
    assert ledger.most_to_gain(("a", "b"), {"a": 3.0}) == "a"
    for hours, set5 in ((2, 33.0), (4, 33.0)):  # twice the training brought nothing
        leg = replace(LEG, trunk_seconds=3600.0 * hours, set5=set5)
        ledger.add(replace(leg, kind="branch"))
    assert ledger.most_to_gain(("a", "b"), {}) == "b"


@pytest.fixture
def places(tmp_path: Path, butterfly: Photo, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Four small photos, a Set5 of one, and a recipe of light-x2 whose steps take no time."""
    for i in range(4):
        top, left = (128 * n for n in divmod(i, 2))
        crop = Photo(butterfly.colour[..., top : top + 128, left : left + 128])
        write(tmp_path / "photos" / f"{i}.png", crop)
    write(tmp_path / "sets" / "Set5" / "crop.png", Photo(butterfly.colour[..., :48, :48]))
    small = replace(recipes.find("light-x2"), batch=1, patch=16, warmup=1, graphics=0)
    monkeypatch.setitem(recipes.RECIPES, "light-x2", small)
    monkeypatch.setattr(loop, "WINDOW", 2)
    monkeypatch.setattr(loop, "can_draw", lambda: False)
    monkeypatch.setattr(relay, "SHORTEST_MINUTES", 0.0)
    monkeypatch.setattr(relay, "MEASURING_MINUTES", 0.0)
    results = tmp_path / "results"
    return Places([tmp_path / "photos"], tmp_path / "sets", tmp_path / "runs", results / "relay.jsonl", results, None)


def relay_of(places: Places) -> Relay:
    return Relay(places, ["light-x2"], "float32", compiled=False)


def run_until_branched(places: Places) -> None:
    """For as long as it takes on a busy machine."""
    while not Ledger(places.ledger).of("light-x2", "branch"):
        relay_of(places).run(time.time() + 2, leg_minutes=0.01)


def test_a_trunk_grows_and_is_branched_from(places: Places) -> None:
    run_until_branched(places)
    legs = Ledger(places.ledger).legs
    assert legs[0].kind == "trunk"
    assert {leg.kind for leg in legs} == {"trunk", "branch"}
    assert {leg.trunk for leg in legs} == {0}
    trunks, branches = ([leg for leg in legs if leg.kind == kind] for kind in ("trunk", "branch"))
    assert [leg.trunk_steps for leg in trunks] == sorted(leg.trunk_steps for leg in trunks)
    for leg in branches:
        assert leg.branch_steps == max(1, round(0.15 * leg.steps))
        assert leg.set5 is not None
    assert not any(leg.shipped for leg in legs)
    rates = [json.loads(line)["learning_rate"] for line in (places.runs / "light-x2/trunk/log.jsonl").open()]
    assert set(rates) == {recipes.find("light-x2").lr / 2}
    branch = [json.loads(line) for line in (places.runs / "light-x2/branch/log.jsonl").open()]
    assert branch[-1]["learning_rate"] == pytest.approx(0)
    assert (places.trunks / "light-x2.safetensors").stat().st_size < 1.1e6

    before = legs[-1].steps
    relay_of(places).run(time.time() + 1, leg_minutes=0.01)
    later = Ledger(places.ledger).legs
    assert later[: len(legs)] == legs
    assert later[-1].trunk == 0
    assert later[-1].steps > before


def test_without_its_state_a_trunk_begins_anew_with_its_weights(places: Places) -> None:
    relay_of(places).run(time.time() + 0.5, leg_minutes=0.01)
    steps = Ledger(places.ledger).steps("light-x2")
    (places.runs / "light-x2/trunk/checkpoint.pt").unlink()
    relay_of(places).run(time.time() + 0.5, leg_minutes=0.01)
    ledger = Ledger(places.ledger)
    assert ledger.legs[-1].trunk == 1
    assert ledger.steps("light-x2") > steps
    progress = progress_of(places.runs / "light-x2/trunk")
    assert progress is not None
    assert Path(progress.recipe.start or "").resolve() == (places.trunks / "light-x2.safetensors").resolve()


def test_a_branch_that_was_cut_short_is_finished_first(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    first = relay_of(places)
    first._grow("light-x2", 0.01)

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Relay, "_train", stop)
        with pytest.raises(KeyboardInterrupt):
            first._branch("light-x2")
    assert [leg.kind for leg in Ledger(places.ledger).legs] == ["trunk"]
    relay_of(places).run(time.time() - 1)  # no time for anything new
    assert [leg.kind for leg in Ledger(places.ledger).legs] == ["trunk", "branch"]
    relay_of(places).run(time.time() - 1)
    assert len(Ledger(places.ledger).legs) == 2


@pytest.mark.parametrize(("set5", "alike", "shipped"), [(20.0, 39.0, False), (99.0, 37.9, False), (99.0, 39.0, True)])
def test_only_what_is_better_is_shipped_and_measured_before(
    places: Places, monkeypatch: pytest.MonkeyPatch, set5: float, alike: float, shipped: bool, tmp_path: Path
) -> None:
    rows = tmp_path / "shipped.jsonl"
    commands: list[list[Any]] = []

    def ship(command: list[Any], **_: Any) -> None:
        assert rows.read_text().count("\n") == 2  # measured, and written down, before
        commands.append(command)

    row = Measurement.from_json(row_of_json(psnr_y=set5, lr_psnr_bicubic=alike))
    monkeypatch.setattr(relay, "measure", lambda name, weights, sets: [row])
    monkeypatch.setattr(subprocess, "run", ship)
    monkeypatch.setattr(relay, "STEPS_MINUTES", 0.01)
    trainer = relay_of(replace(places, shipped=rows))
    trainer._grow("light-x2", 0.01)
    trainer._branch("light-x2")
    leg = Ledger(places.ledger).legs[-1]
    assert (leg.shipped, leg.set5) == (shipped, set5)
    # The rescaler, and its learned steps, which are of no use to other weights.
    assert [command[1:3] for command in commands] == [["-m", "bench.ship"]] * 2 * shipped
    assert 20 < read_manifest()["light-x2"].quality["Set5"].psnr_y < 99


def test_two_at_once_refuse_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.relay", "light-x2", "--runs", tmp_path, "--minutes", "0"]
    core = str(min(os.sched_getaffinity(0)))
    with alone(tmp_path), pytest.raises(SystemExit, match="another relay is at work"), alone(tmp_path):
        pass
    with alone(tmp_path):
        refused = subprocess.run([*command, "--core", core], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.strip() == f"another relay is at work in {tmp_path}"


def test_the_end_is_a_time_of_the_day_or_some_minutes_away() -> None:
    now = time.time()
    assert deadline_of(None, None) == math.inf
    assert deadline_of(None, 2.0) == pytest.approx(now + 120, abs=5)
    assert now < deadline_of("00:00", None) <= now + 86400 + 5
    assert deadline_of("23:59", 1.0) <= now + 65
