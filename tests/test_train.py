"""The training loop on a few small photos and a small network."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coscale import resize
from coscale.errors import DataError
from coscale.image import Photo, read, write
from coscale.rescalers import IRN
from coscale.train.data import Photos, load
from coscale.train.loop import learning_rate, loss, train
from coscale.train.muon import Muon, orthogonalize
from coscale.train.recipes import RECIPES, Recipe

TINY = Recipe("tiny", blocks=(1,), steps=12, batch=2, patch=16, warmup=2)


@pytest.fixture
def folder(tmp_path: Path, butterfly: Photo) -> Path:
    """Four photos of 128 x 128, and one that is too small."""
    for i in range(4):
        top, left = divmod(i, 2)
        write(
            tmp_path / "photos" / f"{i}.png",
            Photo(butterfly.colour[..., 128 * top : 128 * (top + 1), 128 * left : 128 * (left + 1)]),
        )
    write(tmp_path / "photos" / "small.png", Photo(butterfly.colour[..., :20, :20]))
    return tmp_path / "photos"


def test_data(folder: Path) -> None:
    photos, crops = load([folder], patch=16)
    assert len(photos.images) == 3
    assert crops.shape == (1, 3, 128, 128)
    assert torch.equal(crops, read(folder / "0.png").colour)
    with pytest.raises(DataError, match="fewer than 2 images"):
        load([folder], patch=500)


def test_batches_are_seeded_crops(folder: Path) -> None:
    photos, _ = load([folder], patch=16)
    first, again, other = (photos.batch(3, 16, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert first.shape == (3, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_crops_come_in_all_eight_ways() -> None:
    image = torch.tensor([[0, 1], [2, 3]], dtype=torch.uint8).expand(3, 2, 2)
    crops = Photos([image]).batch(200, 2, torch.Generator().manual_seed(0))
    assert len({tuple((255 * crop[0]).round().int().flatten().tolist()) for crop in crops}) == 8


def test_muon_makes_orthogonal_steps() -> None:
    matrices = torch.randn(2, 8, 30, generator=torch.Generator().manual_seed(0))
    for batch in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonalize(batch))
        assert values.min() > 0.5
        assert values.max() < 1.3
    kernel = torch.nn.Parameter(torch.zeros(8, 3, 3, 3))
    kernel.grad = matrices[0, :, :27].reshape(8, 3, 3, 3).clone()
    Muon([kernel], lr=0.1).step()
    step = kernel.detach().flatten(1)
    assert (step * kernel.grad.flatten(1)).sum() < 0
    assert torch.linalg.svdvals(step).max() < 0.1 * 0.2 * 27**0.5 * 1.3


def test_schedule() -> None:
    factors = [learning_rate(TINY, step) for step in range(TINY.steps + 1)]
    assert factors[0] < factors[1] > factors[2]
    assert factors[-1] == pytest.approx(0)


def weights_after(folder: Path, out: Path, say: Callable[[str], None] = lambda _: None) -> dict[str, torch.Tensor]:
    """Train TINY, with a report and a checkpoint at every step."""
    return load_file(train(TINY, [folder], out, say=say, compiled=False, report_seconds=0))


def test_training_learns(folder: Path, tmp_path: Path) -> None:
    network = IRN((1,))
    _, crops = load([folder], patch=16)
    bicubic = resize.downscale(crops, 2)
    start = loss(network, TINY, crops, bicubic, 0.0, late=False)
    network.load_state_dict(weights_after(folder, tmp_path / "out"))
    assert loss(network, TINY, crops, bicubic, 0.0, late=False) < start
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(TINY.steps + 1))


def test_interrupted_training_ends_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if json.loads(line)["step"] == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights_after(folder, tmp_path / "stopped", stop)
    said: list[str] = []
    resumed = weights_after(folder, tmp_path / "stopped", said.append)
    assert said[0] == "going on from step 6"
    whole = weights_after(folder, tmp_path / "whole")
    for name, value in whole.items():
        assert torch.equal(resumed[name], value)


def test_recipes_name_themselves() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.guidance[0][0] == 0
        assert replace(recipe, steps=1).name == name
