"""Exported upscalers, as ONNX Runtime runs them, against PyTorch."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.extras import skip_without

skip_without("export")

import numpy as np
import onnx
import onnxruntime
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from coscale import export, resize
from coscale.choices import ExportPrecision
from coscale.cli import cli
from coscale.errors import ExportError, RescalerError
from coscale.export import export_onnx
from coscale.image import Photo
from coscale.lrfile import KEY
from coscale.quantize import quantize, to_uint8
from coscale.rescalers import IRN, SRCNN, HCFlow, Light, Rescaler, SuperResolution
from coscale.weights.load import Loaded, load
from coscale.weights.upscaler import load_upscaler
from tests.command import coscale, fails


def levels_apart(file: Path, rescaler: Rescaler, hr: Tensor) -> int:
    """Between what the file restores and what PyTorch does, from the LR that the rescaler makes of ``hr``."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        lr = quantize(rescaler.downscale(hr))
        restored = session.run(None, {"lr": lr.numpy()})[0]
        assert isinstance(restored, np.ndarray)
        assert restored.dtype == np.float32
        wanted = rescaler.upscale(lr)
    assert restored.shape == wanted.shape
    return int((to_uint8(torch.from_numpy(restored)).int() - to_uint8(wanted).int()).abs().max())


@pytest.fixture(autouse=True)
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes how long is shown, not tested."""
    monkeypatch.setattr(export, "_ROUNDS", 1)


def agrees(file: Path, rescaler: Rescaler, photo: Tensor) -> None:
    onnx.checker.check_model(str(file), full_check=True)
    assert levels_apart(file, rescaler, resize.cut(photo[..., :128, :160], rescaler.scale)) <= 1
    assert levels_apart(file, rescaler, photo[..., : 23 * rescaler.scale, : 37 * rescaler.scale]) <= 1


@pytest.mark.parametrize(
    ("name", "precision"),
    [("light-x2", "float32"), ("light-x4", "float16")],
)
def test_agrees_with_pytorch(name: str, precision: ExportPrecision, butterfly: Photo, tmp_path: Path) -> None:
    pair, file = load(name), tmp_path / "model.onnx"
    row = export_onnx(pair, file, precision)
    agrees(file, pair.rescaler, butterfly.colour)
    assert row["bytes"] == file.stat().st_size
    assert row["worst"] <= 1
    again, lr = load_upscaler(file).rescaler, quantize(pair.rescaler.downscale(butterfly.colour))
    with torch.no_grad():
        assert (again.upscale(lr) - pair.rescaler.upscale(lr).clamp(0, 1)).abs().max() < 1 / 255
    assert row["share"] < 0.05
    model = onnx.load(file)
    assert {prop.key for prop in model.metadata_props} == {KEY}
    note = json.loads(model.metadata_props[0].value)
    assert note == export.metadata_of(pair, precision)
    assert (note["rescaler"], note["scale"], note["weights_hash"]) == (name, pair.scale, pair.weights_hash)
    assert isinstance(pair.rescaler, nn.Module)
    parameters = sum(p.numel() for p in pair.rescaler.parameters())
    # Of light pairs only the upscaler goes along, and half as many bytes in half precision.
    assert file.stat().st_size < parameters * (2 if precision == "float16" else 4) * 1.1 + 200_000
    assert str(Path(export.__file__).parent) not in file.read_bytes().decode("latin1")


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_pair_that_is_told_a_level(precision: ExportPrecision, butterfly: Photo, tmp_path: Path) -> None:
    pair, file = load("coded-x2"), tmp_path / "model.onnx"
    assert export_onnx(pair, file, precision)["worst"] <= 1
    assert export.metadata_of(pair, precision)["takes_level"]
    session = onnxruntime.InferenceSession(os.fspath(file), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["lr", "level"]
    lr = quantize(pair.rescaler.downscale(butterfly.colour[..., :60, :90]))

    def restored(level: int) -> Tensor:
        told = {"lr": lr.numpy(), "level": np.array([level / 255], np.float32)}
        return torch.from_numpy(session.run(None, told)[0])

    for level in (0, 77, 180):
        with torch.no_grad():
            wanted = pair.rescaler.told(level).upscale(lr).clamp(0, 1)
        assert (restored(level) - wanted).abs().max() < 1.5 / 255
    assert (restored(180) - restored(0)).abs().max() > 2 / 255
    with pytest.raises(RescalerError, match="takes 2 inputs"):
        load_upscaler(file)


class Windowed(nn.Module):
    """A network that takes sides of multiples of 8 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        windows = x.reshape(b, c, h // 8, 8, w // 8, 8).mean((3, 5), keepdim=True)
        return nn.functional.pixel_shuffle(self.conv(x + 0 * windows.expand(b, c, -1, 8, -1, 8).reshape(x.shape)), 2)


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        *(("luma", "float32"), ("windows", "float32"), ("hcflow", "float32"), ("irn", "float16")),
        *(("light-x3", "float32"), ("light-x8", "float16")),
    ],
)
def test_networks_of_ones_own(kind: str, precision: ExportPrecision, butterfly: Photo, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = {
        "luma": lambda: SuperResolution(SRCNN(4, widths=(8, 8)), 4, channels=1),
        "windows": lambda: SuperResolution(Windowed(), 2, multiple=8),
        "hcflow": lambda: HCFlow(1, 1, (0, 0)),
        "irn": lambda: IRN([1]),
        "light-x3": lambda: Light(3, 16, 1),
        "light-x8": lambda: Light(8, 16, 1),
    }[kind]()
    network.requires_grad_(False).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_onnx(Loaded(kind, network, "", torch.device("cpu")), tmp_path / "model.onnx", precision)
    agrees(tmp_path / "model.onnx", network, butterfly.colour)
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Wrong(SuperResolution):
    """Two grey levels brighter than when it was traced."""

    def upscale(self, lr: Tensor) -> Tensor:
        plain = resize.upscale(lr, 2)
        return plain if torch.compiler.is_compiling() else plain + 2 / 255


class Untraceable(SuperResolution):
    """What it does depends on the values of the pixels."""

    def upscale(self, lr: Tensor) -> Tensor:
        return resize.upscale(lr, 2) if lr.mean() > 0.5 else resize.upscale(lr.flip(-1), 2)


@pytest.mark.parametrize(
    ("network", "message"), [(Wrong, "by up to 2 grey levels"), (Untraceable, "cannot be exported in float32")]
)
def test_what_fails_leaves_no_file(network: type[SuperResolution], message: str, tmp_path: Path) -> None:
    pair = Loaded("mine", network(nn.Identity(), 2), "", torch.device("cpu"))
    with pytest.raises(ExportError, match=message):
        export_onnx(pair, tmp_path / "sub" / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match=r"exporting needs onnxscript .*pip install 'coscale\[export\]'"):
        export_onnx(load("bicubic-x2"), tmp_path / "model.onnx")


def test_command(butterfly: Photo, tmp_path: Path) -> None:
    done = coscale("export", "bicubic-x2", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("bicubic-x2 -> bicubic-x2.onnx  ")
    assert " kB, float32, opset 20" in done.stdout
    assert "times as fast" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["bicubic-x2.onnx"]
    agrees(tmp_path / "bicubic-x2.onnx", load("bicubic-x2").rescaler, butterfly.colour)
    assert "is there already" in fails("export", "bicubic-x2", "-o", tmp_path / "bicubic-x2.onnx")

    def refused(*arguments: object) -> str:
        result = CliRunner().invoke(cli, ["export", *map(str, arguments)], standalone_mode=False)
        return str(result.exception)

    half = refused("bicubic-x2", "--precision", "float16", "-o", tmp_path / "half.onnx")
    assert "has no weights that float16" in half
    assert "there is no rescaler 'nobody'" in refused("nobody")
    assert "give the NAME of a rescaler" in refused()
    assert not (tmp_path / "half.onnx").exists()
