"""The balls: what a projection is, and that a start lies inside."""

import pytest
import torch

from coscale.collaborate.ball import Norm, project, random_point, steepest

NORMS: list[Norm] = ["l2", "linf"]


def norms(x: torch.Tensor, norm: Norm) -> torch.Tensor:
    return torch.linalg.vector_norm(x.flatten(1), ord=2 if norm == "l2" else torch.inf, dim=1)


@pytest.fixture
def points() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([0.001, 0.1, 1, 10]).reshape(4, 1, 1, 1)
    return torch.randn(4, 3, 5, 4, generator=generator, dtype=torch.float64) * sizes


@pytest.mark.parametrize("norm", NORMS)
def test_projection_lands_inside_and_is_idempotent(points: torch.Tensor, norm: Norm) -> None:
    inside = project(points, 0.3, norm)
    assert (norms(inside, norm) <= 0.3 * (1 + 1e-12)).all()
    assert torch.allclose(project(inside, 0.3, norm), inside, rtol=1e-12)
    assert torch.equal(inside[0], points[0])  # it was inside already


@pytest.mark.parametrize("norm", NORMS)
def test_projection_never_expands(points: torch.Tensor, norm: Norm) -> None:
    other = points.flip(0).flip(2)
    apart = norms(project(points, 0.3, norm) - project(other, 0.3, norm), "l2")
    assert (apart <= norms(points - other, "l2") + 1e-12).all()


@pytest.mark.parametrize("norm", NORMS)
def test_projection_to_nothing(points: torch.Tensor, norm: Norm) -> None:
    assert project(points, 0.0, norm).abs().max() == 0
    assert project(torch.zeros_like(points), 0.3, norm).isfinite().all()


@pytest.mark.parametrize("norm", NORMS)
def test_steepest(points: torch.Tensor, norm: Norm) -> None:
    direction = steepest(points, norm)
    assert torch.allclose(norms(direction, norm), torch.ones(4, dtype=torch.float64))
    assert ((direction * points).flatten(1).sum(1) > 0).all()
    assert steepest(torch.zeros(1, 3, 2, 2), norm).abs().max() == 0


@pytest.mark.parametrize("norm", NORMS)
def test_random_point(norm: Norm) -> None:
    shape = torch.Size((50, 3, 4, 4))
    start = random_point(shape, 0.3, norm, torch.Generator().manual_seed(1))
    assert (norms(start, norm) <= 0.3 * (1 + 1e-6)).all()
    assert norms(start, norm).max() > 0.25
    assert torch.equal(start, random_point(shape, 0.3, norm, torch.Generator().manual_seed(1)))
    assert not torch.equal(start, random_point(shape, 0.3, norm, torch.Generator().manual_seed(2)))
