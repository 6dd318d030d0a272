"""Tiles whose gain does not matter rest: passes leave them out, and nothing that they see moves."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from coscale.collaborate import Coscale
from coscale.collaborate.coscale import CoscaleState
from coscale.collaborate.method import improve
from coscale.collaborate.problem import Problem
from coscale.objectives import mse
from coscale.quantize import quantize
from coscale.rescalers.steps import LearnedSteps
from coscale.tiles import Tiling
from coscale.weights.load import Loaded, load


@pytest.fixture(scope="module")
def pair() -> Loaded:
    return load("light-x2")


@pytest.fixture(scope="module")
def under_sky(crop: Tensor) -> Tensor:
    """A photo whose upper three quarters are as good as flat."""
    sky = torch.linspace(0.6, 0.7, 3 * crop.shape[-2])[:, None].expand(3, -1, crop.shape[-1])[None]
    return torch.cat([sky, crop], 2)


@pytest.fixture(autouse=True)
def small_tiles_may_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coscale.collaborate.coscale._AROUND", 10.0)


def test_none_rests_where_its_margins_would_be_much_of_the_photo(
    pair: Loaded, under_sky: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coscale.collaborate.coscale._AROUND", 0.2)
    problem = problem_of(pair, under_sky)
    assert not any(state.resting for state in course(Coscale("balanced"), problem))


def problem_of(pair: Loaded, photo: Tensor) -> Problem:
    assert pair.steps
    return Problem(pair.rescaler, photo, tiling=Tiling(40, 8), steps=LearnedSteps(pair.steps))


def course(method: Coscale, problem: Problem) -> Iterator[CoscaleState]:
    state = method.begin(problem)
    while not state.finished:
        state = method.step(problem, state)
        yield state


def test_flat_sky_rests(pair: Loaded, under_sky: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def restored(problem: Problem) -> tuple[float, float]:
        result = improve(method, problem, method.begin(problem))
        with torch.no_grad():
            found = quantize(pair.rescaler.upscale(quantize(result.lr)))
        return float(10 * mse(found, under_sky).log10().neg()), problem.work / problem.gradients

    method = Coscale("balanced")
    with_rest, share = restored(problem_of(pair, under_sky))
    monkeypatch.setattr("coscale.collaborate.coscale._LITTLE", -1.0)
    without, whole = restored(problem_of(pair, under_sky))
    assert share < 0.7
    assert whole == pytest.approx(1)
    assert with_rest > without - 0.02


def test_what_rests_is_known_as_if_it_were_looked_at(pair: Loaded, under_sky: Tensor) -> None:
    method, problem = Coscale("balanced"), problem_of(pair, under_sky)
    rested = 0
    for state in course(method, problem):
        if state.phase == "descend" and state.resting:
            found, _ = problem.gradient_by_tiles(state.x, method._errors(state.chroma_weight))
            for number in state.resting:
                torch.testing.assert_close(found[number, 0], state.seen.shares[number, 0], rtol=1e-3, atol=1e-9)
                rested += 1
    assert rested


def test_something_is_always_left_to_do(pair: Loaded, crop: Tensor) -> None:
    same = torch.cat([crop] * 2, 3)
    method, problem = Coscale("balanced"), problem_of(pair, same)
    for state in course(method, problem):
        assert len(state.resting) < len(problem.tiling.tiles(same.shape[-2] // 2, same.shape[-1] // 2))
