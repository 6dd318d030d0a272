"""Training behind a simulated JPEG: what decoders make of real files, drawn by chance that comes again."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from coscale.dct import flat_tables, mean_step, quality_tables
from coscale.image import Photo, write
from coscale.metrics import psnr
from coscale.quantize import quantize
from coscale.rescalers import RESCALERS
from coscale.rescalers.coded import Coded, told_as
from coscale.resize import downscale
from coscale.train import loop
from coscale.train.coded import CodedObjective, through_jpeg
from coscale.train.loop import train
from coscale.train.recipes import TrainingRecipe, _widened, find, prepared
from coscale.weights.load import bundled

TINY = TrainingRecipe("coded-x2", steps=8, batch=2, patch=32, warmup=2, late_share=0, graphics=0.5, coded=True)


@pytest.fixture
def lr(butterfly: Photo) -> torch.Tensor:
    return quantize(downscale(butterfly.colour[..., :192, :160], 2))


@pytest.fixture
def folder(tmp_path: Path, butterfly: Photo) -> Path:
    for number in range(2):
        write(tmp_path / "photos" / f"{number}.png", Photo(butterfly.colour[..., 128 * number :, :128][..., :128, :]))
    return tmp_path / "photos"


def decoded(lr: torch.Tensor, halved: bool, **options: object) -> torch.Tensor:
    """What Pillow's decoder gives of the file that its encoder makes."""
    stream = BytesIO()
    levels = (lr[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(levels).save(stream, "JPEG", subsampling="4:2:0" if halved else "4:4:4", **options)
    with Image.open(stream) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("quality", [8, 30, 60, 90])
def test_the_simulated_jpeg_is_pillows(lr: torch.Tensor, quality: int, halved: bool) -> None:
    """It is far nearer to the decoded file than that is to the image, though its arithmetic is not libjpeg's."""
    real = decoded(lr, halved, quality=quality)
    simulated = through_jpeg(lr, quality_tables(quality)[None], torch.tensor([float(halved)]))
    assert float(psnr(simulated, real)) > max(38, float(psnr(real, lr)) + 7)
    # That of the other sampling of chroma is another image.
    other = through_jpeg(lr, quality_tables(quality)[None], torch.tensor([1.0 - halved]))
    assert float(psnr(other, real)) < float(psnr(simulated, real)) - 8


def test_tables_of_a_batch_go_to_their_own_images(lr: torch.Tensor) -> None:
    tables = torch.stack([flat_tables(4, 4), quality_tables(20)])
    halved = torch.tensor([0.0, 1.0])
    both = through_jpeg(lr.expand(2, -1, -1, -1), tables, halved)
    for number in range(2):
        alone = through_jpeg(lr, tables[number : number + 1], halved[number : number + 1])
        assert torch.equal(both[number : number + 1], alone)
    assert torch.equal(both, quantize(both))


def test_chance_comes_again_with_the_generator_and_covers_what_it_should() -> None:
    objective = CodedObjective(Coded(2, 4, 1))
    size = torch.Size((16, 16))
    first, again, other = (objective.chance(torch.Generator().manual_seed(seed), 400, size) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    tables, halved = first
    assert tables.shape == (400, 2, 64)
    assert bool(((tables >= 1) & (tables <= 255) & (tables == tables.round())).all())
    assert 0.65 < float(halved.mean()) < 0.85
    flat = (tables[:, 0] == tables[:, 0, :1]).all(1).float()
    assert 0.4 < float(flat.mean()) < 0.62
    steps = mean_step(tables)
    assert float(steps.min()) < 2
    assert float(steps.max()) > 60


def test_the_network_is_told_what_its_image_went_through(lr: torch.Tensor) -> None:
    heard: list[torch.Tensor] = []

    class Listening(Coded):
        def restore(self, lr: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
            heard.append(told)
            return super().restore(lr, told)

    objective = CodedObjective(Listening(2, 4, 1), autocast=False)
    hr = lr.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(2, -1, -1, -1)
    tables = torch.stack([flat_tables(2, 2), flat_tables(40, 60)])
    nothing = torch.zeros(2)
    loss, error = objective(hr, lr.expand(2, -1, -1, -1), torch.ones(4), nothing, tables, nothing)
    assert torch.equal(heard[0], told_as(torch.tensor([2.0, 40.0])))
    assert bool(loss.isfinite())
    assert 0 < float(error) < 1
    finer = objective(hr, lr.expand(2, -1, -1, -1), torch.ones(4), nothing, tables[:1].expand(2, -1, -1), nothing)
    assert float(finer[1]) < float(error)


def run(folder: Path, out: Path, **options: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    options = {"say": lambda _: None, "compiled": False, "report_seconds": 0} | options
    return load_file(train(TINY, Coded(2, 4, 1), [folder], out, **options))


def test_a_coded_recipe_trains_and_goes_on_to_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "WINDOW", 2)
    monkeypatch.setattr(loop, "WINDOW_SECONDS", 1e9)

    def stop(step: int, _: int) -> None:
        if step == 6:
            raise KeyboardInterrupt

    whole = run(folder, tmp_path / "whole")
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    assert {"psnr_y", "lr_psnr", "psnr_y_3", "psnr_y_10", "psnr_y_30"} <= rows[-1].keys()
    assert rows[-1]["psnr_y_3"] > rows[-1]["psnr_y_30"]
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "stopped", progress=stop, report_seconds=1000)
    said: list[str] = []
    resumed = run(folder, tmp_path / "stopped", say=said.append)
    assert "going on from step 4" in said  # a window confirms the one before
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    start = Coded(2, 4, 1).state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in whole.items() if "tail" in name)


def test_kernels_are_widened_by_channels_without_an_effect() -> None:
    kernel, own = torch.rand(4, 3, 3, 3), torch.rand(4, 5, 3, 3)
    wide = _widened(kernel, own)
    assert wide.shape == own.shape
    assert torch.equal(wide[:, :3], kernel)
    assert not wide[:, 3:].any()
    x = torch.rand(1, 5, 6, 6)
    assert torch.allclose(torch.conv2d(x, wide), torch.conv2d(x[:, :3], kernel), atol=1e-6)
    for unchanged in (kernel[:, :3], torch.rand(4), torch.rand(4, 6, 3, 3)):
        assert _widened(unchanged, own if unchanged.shape != kernel.shape else kernel) is unchanged


def test_a_coded_pair_begins_as_the_light_one() -> None:
    """The kernel that also takes the plane of the level is that of the light pair, whatever level is told."""
    network = prepared(find("coded-x2"))
    light = load_file(bundled(next(one for one in RESCALERS if one.name == "light-x2")))
    own = network.state_dict()
    shared = [name for name, value in light.items() if name in own and value.ndim == 4]
    assert shared
    widened = [name for name in shared if own[name].shape != light[name].shape]
    assert len(widened) == 1
    assert torch.equal(own[widened[0]][:, :3], light[widened[0]])
    assert not own[widened[0]][:, 3:].any()
