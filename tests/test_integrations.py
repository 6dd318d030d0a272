"""Nodes for ComfyUI, run by a stand-in for it, and the functions for hosts of BGR arrays."""

import ast
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import coscale
from coscale.collaborate import PLAIN
from coscale.collaborate.curvature import curvature_of
from coscale.errors import ImageError, RescalerError, SettingsError
from integrations import plain
from tests.comfy_host import Host, InterruptError, loaded, saved

PACK = Path(__file__).parents[1] / "integrations" / "comfyui"
DOWN, UP = "coscale_downscale", "coscale_restore"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(PACK)
    monkeypatch.setattr(sys, "modules", modules := dict(sys.modules))
    host.enter(modules)
    return host


@pytest.fixture(scope="module")
def image(butterfly_path: Path) -> Tensor:
    """As the host's node for loading gives it."""
    return loaded(butterfly_path)[:, 60:93, 100:146]


def model(scale: int = 2, channels: int = 3, **needs: Any) -> SimpleNamespace:
    """What the host's loader of upscale models makes, in inference mode, as spandrel describes it."""
    with torch.inference_mode():
        last = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        network = nn.Sequential(nn.Upsample(scale_factor=scale), last)
        network.eval().register_buffer("white", torch.ones(1))
        nn.init.dirac_(last.weight)
    sides = SimpleNamespace(**{"minimum": 0, "multiple_of": 1, "square": False} | needs)
    return SimpleNamespace(
        model=network, scale=scale, input_channels=channels, output_channels=channels, size_requirements=sides
    )


def planes(images: Tensor) -> Tensor:
    return images.clone().movedim(-1, 1)


def test_nodes_are_found_and_say_what_they_are(host: Host) -> None:
    assert host.titles == {DOWN: "coscale: downscale for an upscaler", UP: "coscale: restore"}
    for node in host.nodes.values():
        assert node.RETURN_TYPES == ("IMAGE",)
        assert "seed" not in str(node.INPUT_TYPES())


def test_pack_imports_nothing_else() -> None:
    """It is copied alone into the host's folder."""
    found = {
        name.split(".")[0]
        for path in PACK.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert found <= {"copy", "typing", "collections", "itertools", "comfy", "coscale", "torch"}


def test_there_and_back_through_files(host: Host, image: Tensor, tmp_path: Path) -> None:
    """It is what the Python interface gives, and nothing is lost where the host saves the small image."""
    pair = coscale.load("light-x2")
    small = host.run(DOWN, image=image, effort="fast")
    assert small.shape == (1, 17, 23, 3)
    assert small.dtype == torch.float32
    assert torch.equal(planes(small), pair.downscale(planes(image), coscale.Coscale("fast")))
    (path,) = saved(small, tmp_path)
    assert torch.equal(loaded(path), small)
    restored = host.run(UP, image=loaded(path), width=46, height=33)
    assert torch.equal(planes(restored), pair.upscale(planes(small), (33, 46)))
    assert host.run(UP, image=small).shape == (1, 34, 46, 3)
    assert (host.bars[0].done, host.bars[0].total) == (2, 2)


def test_every_rescaler_and_method_that_can_be_chosen(host: Host, image: Tensor) -> None:
    asked = host.nodes[DOWN].INPUT_TYPES()["required"]
    for name in asked["rescaler"][0]:
        small = host.run(DOWN, image=image[:, :16, :16], rescaler=name, method="none")
        assert host.run(UP, image=small, rescaler=name).shape[0] == 1
    for method in ("none", "coscale"):
        assert method in asked["method"][0]
    plain = host.run(DOWN, image=image, method="none")
    assert not torch.equal(plain, host.run(DOWN, image=image, effort="instant"))


def test_batch_is_its_images(host: Host, image: Tensor) -> None:
    batch = torch.cat((image, image.flip(2)))
    small = host.run(DOWN, image=batch, effort="instant")
    assert torch.equal(small[:1], host.run(DOWN, image=batch[:1], effort="instant"))
    assert torch.equal(small[1:], host.run(DOWN, image=batch[1:], effort="instant"))
    assert host.run(UP, image=small, width=46, height=33).shape == batch.shape


def test_half_precision_and_overshoot(host: Host, image: Tensor, tmp_path: Path) -> None:
    """The host's other nodes may give either; half precision loses levels where the host saves it."""
    small = host.run(DOWN, image=(image * 1.1 - 0.05).half(), method="none")
    assert small.dtype == torch.float32
    (path,) = saved(small, tmp_path)
    assert torch.equal(loaded(path), small)


@pytest.mark.parametrize("channels", [1, 3])
def test_upscale_model_is_improved_for_and_left_alone(host: Host, image: Tensor, channels: int) -> None:
    described = model(channels=channels, multiple_of=4)
    before = {name: (value.clone(), value.device) for name, value in described.model.state_dict().items()}
    given = {"upscale_model": described}
    errors = []
    for method in ("none", "coscale"):
        small = host.run(DOWN, image=image, method=method, **given)
        restored = host.run(UP, image=small, width=46, height=33, **given)
        errors.append(float((restored - image).square().mean()))
    assert errors[1] < 0.98 * errors[0]
    for name, value in described.model.state_dict().items():
        assert value.is_inference()
        assert torch.equal(value, before[name][0])
        assert value.device == before[name][1]
    assert all(value.requires_grad for value in described.model.parameters())


def test_upscale_model_in_half_precision(host: Host, image: Tensor) -> None:
    described = model()
    with torch.inference_mode():
        described.model.half()
    small = host.run(DOWN, image=image, effort="instant", upscale_model=described)
    assert host.run(UP, image=small, upscale_model=described).shape == (1, 34, 46, 3)
    assert next(described.model.parameters()).dtype == torch.float16


@pytest.mark.parametrize("described", [model(1), model(channels=4)])
def test_upscale_model_that_is_none(host: Host, image: Tensor, described: SimpleNamespace) -> None:
    with pytest.raises(RescalerError, match=r"this upscale model goes from . to . channels at x.; give one"):
        host.run(DOWN, image=image, upscale_model=described)


@pytest.mark.parametrize("node", [DOWN, UP])
@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 32, 32), "a MASK, of shape .*Convert Mask to Image"),
        ((32, 32), "a MASK, of shape .*Convert Mask to Image"),
        ((1, 32, 32, 4), "4 channels.*Split Image with Alpha"),
        ((32,), "no IMAGE.*height x width x 3"),
        ((1, 1, 32, 32, 3), "no IMAGE.*height x width x 3"),
        ((1, 32, 32, 2), "no IMAGE.*height x width x 3"),
        ((1, 3, 32, 32), "no IMAGE.*height x width x 3"),
        ((0, 32, 32, 3), "has shape"),
    ],
)
def test_what_is_no_image_is_told_in_one_sentence(host: Host, node: str, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ImageError, match=said) as told:
        host.run(node, image=torch.zeros(shape))
    assert "\n" not in str(told.value)


def test_wrong_sizes_and_values(host: Host, image: Tensor) -> None:
    with pytest.raises(SettingsError, match="give both"):
        host.run(UP, image=image, width=92)
    with pytest.raises(SettingsError, match="height, width"):
        host.run(UP, image=image, width=10, height=10)
    with pytest.raises(ImageError, match="not a number"):
        host.run(DOWN, image=image * float("nan"))


def test_a_stop_is_heard(host: Host, image: Tensor) -> None:
    host.stopped = True
    with pytest.raises(InterruptError):
        host.run(DOWN, image=image)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_does_not_matter_where_gradients_are_off(image: Tensor, mode: Any) -> None:
    """Neither for images and networks made there, nor for what is measured of a network only once."""
    expected = coscale.load("srcnn-x2").downscale(planes(image), coscale.Coscale("fast"))
    with mode():
        pair = coscale.load("srcnn-x2")
        assert torch.equal(pair.downscale(planes(image), coscale.Coscale("fast")), expected)
        own = coscale.load_upscaler(model().model)
        assert own.downscale(planes(image), coscale.Coscale("fast")).shape == (1, 3, 17, 23)
    with torch.no_grad():
        assert curvature_of(own.rescaler, 0.37, own.device) is not None


def test_bgr_arrays(image: Tensor) -> None:
    pair = coscale.load("light-x2")
    rgb = image[0].numpy()
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    small = plain.downscale(bgr, pair, PLAIN)
    assert small.dtype == np.float32
    assert small.flags.c_contiguous
    assert np.array_equal(small[..., ::-1], pair.downscale(rgb, PLAIN))
    restored = plain.restore(small, pair, rgb.shape[:2])
    assert restored.shape == bgr.shape
    assert np.array_equal(restored[..., ::-1], pair.upscale(np.ascontiguousarray(small[..., ::-1]), (33, 46)))
    assert np.abs(restored - bgr).mean() < 0.03
    assert not np.array_equal(plain.downscale(bgr, pair), small), "it is improved unless another method is given"


@pytest.mark.parametrize("shape", [(33, 46), (33, 46, 1)])
def test_grey_arrays(image: Tensor, shape: tuple[int, ...]) -> None:
    pair = coscale.load("light-x2")
    grey = image[0, :, :, 1].numpy().reshape(shape)
    small = plain.downscale(grey, pair, PLAIN)
    assert small.shape == (17, 23, *shape[2:])
    assert plain.restore(small, pair, (33, 46)).shape == shape


def test_arrays_that_are_no_images() -> None:
    pair = coscale.load("bicubic-x2")
    with pytest.raises(ImageError, match="opacity in its fourth channel"):
        plain.downscale(np.zeros((8, 8, 4), np.float32), pair)
    for shape in [(8,), (8, 8, 2), (1, 8, 8, 3)]:
        with pytest.raises(ImageError, match="has shape"):
            plain.restore(np.zeros(shape, np.float32), pair)
