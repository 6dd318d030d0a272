"""Drawn training images: the same from the same seed, of every size and kind, and of many colours."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch import Tensor

from coscale.train import graphics
from coscale.train.brush import Brush
from coscale.train.graphics import KINDS, Kind, checkerboard, drawn, flat, sheet

EVERY = [kind for _, kinds in KINDS for kind in dict.fromkeys(kinds)]
SHAPES = [(8, 8), (64, 64), (127, 127), (128, 128), (1, 1), (1, 5), (5, 1), (2, 3), (40, 128)]


@pytest.fixture(scope="module")
def many() -> list[Tensor]:
    return sheet(600, 48, seed=5)


def brush(seed: int, grey: bool = False) -> Brush:
    return Brush(np.random.default_rng(seed), grey)


def is_grey(image: Tensor) -> bool:
    return bool((image == image[:1]).all())


def codes(image: Tensor) -> Tensor:
    """Give each pixel's colour as one number, red first."""
    return (image.long() * torch.tensor([65536, 256, 1]).reshape(3, 1, 1)).sum(0)


def test_the_same_seed_draws_the_same_images_and_another_draws_others() -> None:
    first = sheet(40, 32, seed=1)
    assert all(map(torch.equal, first, sheet(40, 32, seed=1)))
    assert sum(map(torch.equal, first, sheet(40, 32, seed=2))) < 3


def test_global_randomness_is_neither_used_nor_moved() -> None:
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]
    sheet(60, 24, seed=3)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_an_image_takes_one_number_of_the_generator_whatever_is_drawn() -> None:
    one, other = torch.Generator().manual_seed(7), torch.Generator().manual_seed(7)
    for size in (8, 33):
        drawn(size, one)
        torch.randint(2**63 - 1, (), generator=other)
    assert torch.equal(one.get_state(), other.get_state())


@pytest.mark.parametrize("size", [1, 2, 8, 64, 127, 128])
def test_images_are_bytes_of_three_channels(size: int) -> None:
    for image in sheet(30, size, seed=size):
        assert image.shape == (3, size, size)
        assert image.dtype == torch.uint8
        assert image.is_contiguous()


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_kind_draws_any_shape_and_greys_alone_with_a_grey_brush(kind: Kind) -> None:
    for (height, width), seed, grey in itertools.product(SHAPES, range(4), (False, True)):
        picture = kind(height, width, brush(seed, grey))
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8
        assert not grey or (picture == picture[..., :1]).all()


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_kind_draws_something_and_something_else_each_time(kind: Kind) -> None:
    pictures = [kind(64, 64, brush(seed)) for seed in range(20)]
    assert len({picture.tobytes() for picture in pictures}) >= 15
    plain = sum(len(np.unique(picture.reshape(-1, 3), axis=0)) == 1 for picture in pictures)
    assert plain == 20 if kind is flat else plain <= 4
    assert sum(not (picture == picture[..., :1]).all() for picture in pictures) >= 8


def test_about_half_are_grey_or_of_two_colours(many: list[Tensor]) -> None:
    assert 0.3 < np.mean([is_grey(image) for image in many]) < 0.55
    assert 0.4 < np.mean([is_grey(image) or len(codes(image).unique()) == 2 for image in many]) < 0.7


def test_colours_are_spread_over_the_whole_cube(many: list[Tensor]) -> None:
    values = torch.stack(many)
    cells = torch.cat([codes(image // 32) for image in many]).unique()
    assert len(cells) > 400  # of 512
    assert {0, 0xFF, 0xFF00, 0xFFFF, 0xFF0000, 0xFF00FF, 0xFFFF00, 0xFFFFFF} <= set(
        torch.cat([codes(image) for image in many]).unique().tolist()
    )
    counts = torch.bincount(values.flatten().long() // 32, minlength=8) / values.numel()
    assert counts.min() > 0.03


def test_saturated_primaries_fill_large_areas(many: list[Tensor]) -> None:
    primaries = {0xFF, 0xFF00, 0xFFFF, 0xFF0000, 0xFF00FF, 0xFFFF00}
    found = set()
    for image in many:
        shown, counts = codes(image).unique(return_counts=True)
        if counts.max() > 48 * 48 / 2:
            found.add(int(shown[counts.argmax()]))
    assert primaries <= found


def test_the_finest_patterns_of_mean_grey_are_drawn() -> None:
    fine = 0
    for seed in range(100):
        picture = checkerboard(16, 16, brush(seed, grey=True)).astype(int)
        swaps = (picture[1:] != picture[:-1]).all() and (picture[:, 1:] != picture[:, :-1]).all()
        fine += bool(swaps and abs(picture.mean() - 127.5) < 4)
    assert fine >= 4


def test_two_colours_can_be_told_apart() -> None:
    for seed, grey in itertools.product(range(300), (False, True)):
        first, second = brush(seed, grey).pair()
        assert np.abs(first - second).max() >= 4
        assert min(first.min(), second.min()) >= 0
        assert max(first.max(), second.max()) <= 255


def test_images_are_split_in_regions_of_different_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    areas: list[tuple[int, int]] = []

    def recorded(height: int, width: int, brush: Brush) -> np.ndarray:
        areas.append((height, width))
        return np.full((height, width, 3), len(areas), np.uint8)

    monkeypatch.setattr(graphics, "KINDS", tuple((weight, (recorded,)) for weight, _ in KINDS))
    counts = []
    generator = torch.Generator().manual_seed(9)
    for _ in range(200):
        image = drawn(32, generator)
        counts.append(len(areas))
        assert sum(height * width for height, width in areas) == 32 * 32
        assert image.unique().tolist() == list(range(1, len(areas) + 1))
        assert min(map(min, areas)) >= 4
        areas.clear()
    assert set(counts) == {1, 2, 4}
    assert 90 < counts.count(1) < 150
