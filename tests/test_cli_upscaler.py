"""The command with an upscaler of the user's."""

import json
from pathlib import Path

import click
import pytest
import torch

from coscale.cli import cli
from coscale.collaborate import PLAIN
from coscale.errors import RescalerError
from coscale.image import Photo, read, write
from coscale.lrfile import write_lr
from coscale.pipeline import encode_photo
from coscale.rescalers.srcnn import SRCNN
from coscale.weights.upscaler import load_upscaler
from tests.command import coscale, fails
from tests.test_cli import QUICK
from tests.test_reading import Overwriting
from tests.test_upscaler import Plain


@pytest.fixture
def photo(tmp_path: Path, crop: torch.Tensor) -> Path:
    path = tmp_path / "photos" / "photo.png"
    write(path, Photo(crop[..., :31, :47]))
    return path


@pytest.fixture
def upscaler(tmp_path: Path) -> Path:
    """SRCNN that sharpens a little."""
    torch.manual_seed(0)
    network = SRCNN(3)
    for conv in (network.conv1, network.conv2, network.conv3):
        torch.nn.init.dirac_(conv.weight)
        conv.weight.data += 1e-3 * torch.randn_like(conv.weight)
        torch.nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    torch.save(network.state_dict(), tmp_path / "srcnn.pth")
    return tmp_path / "srcnn.pth"


def test_there_and_back(photo: Path, upscaler: Path) -> None:
    chosen = ("--upscaler", upscaler, "--scale", 3)
    done = coscale("downscale", photo, *chosen, *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["rescaler"], row["method"], row["passes"]) == ("bicubic+SRCNN", "coscale", 6)
    lr = photo.parent / "photo.x3.png"
    assert read(lr).size == (11, 16)
    assert "in a file; give that with --upscaler FILE" in fails("upscale", lr)
    assert "give that with --upscaler" in coscale("info", lr).stdout
    assert "restores here: yes" in coscale("info", lr, *chosen).stdout
    assert coscale("upscale", lr, *chosen).returncode == 0
    assert read(photo.parent / "photo.restored.png").size == (31, 47)
    assert coscale("upscale", photo, *chosen, "-o", photo.parent / "large.png").returncode == 0
    assert read(photo.parent / "large.png").size == (93, 141)


def test_eval(photo: Path, upscaler: Path) -> None:
    chosen = ("--upscaler", upscaler, "--scale", 2, "--method", "none", "--json")
    rows = [json.loads(line) for line in coscale("eval", photo.parent, *chosen).stdout.splitlines()]
    assert [row["rescaler"] for row in rows] == ["bicubic+SRCNN"]
    rows = coscale("eval", photo.parent, *chosen, "--rescaler", "bicubic-x2").stdout.splitlines()
    assert [json.loads(row)["rescaler"] for row in rows] == ["bicubic-x2", "bicubic+SRCNN"]


def test_other_weights(photo: Path, upscaler: Path, tmp_path: Path) -> None:
    coscale("downscale", photo, "--upscaler", upscaler, "--scale", 2, "--method", "none")
    tensors = torch.load(upscaler)
    torch.save(tensors | {"conv3.bias": tensors["conv3.bias"] + 0.01}, tmp_path / "other.pth")
    lr = photo.parent / "photo.x2.png"
    message = fails("upscale", lr, "--upscaler", tmp_path / "other.pth", "--scale", 2)
    assert "other weights" in message
    assert "--upscaler" in message
    torch.jit.script(Plain(2)).save(tmp_path / "plain.pt")
    assert "program of TorchScript" in fails("upscale", lr, "--upscaler", tmp_path / "plain.pt")
    done = coscale("upscale", lr, "--upscaler", tmp_path / "plain.pt", "--trust")
    assert done.returncode == 2
    warning, error = done.stderr.splitlines()  # it is not trained
    assert "docs/upscalers.md#another-range" in warning
    assert "made by bicubic+SRCNN, not by bicubic+TorchScript" in error


def test_bad_uses(photo: Path, upscaler: Path, tmp_path: Path) -> None:
    chosen = ("--upscaler", upscaler, "--scale", 2)
    assert "leave out it or --rescaler" in fails("downscale", photo, *chosen, "--rescaler", "light-x2", status=2)
    assert "leave out it or --weights" in fails("upscale", photo, *chosen, "--weights", upscaler, status=2)
    assert "leave out it or --weights" in fails("eval", photo.parent, *chosen, "--weights", upscaler, status=2)
    assert "--scale is a setting of --upscaler" in fails("downscale", photo, "--scale", 2, status=2)
    assert "give its own with --scale" in fails("upscale", photo, "--upscaler", upscaler)
    tensors = {name: 1e30 * value for name, value in torch.load(upscaler).items()}
    torch.save(tensors, tmp_path / "broken.pth")
    assert "values that are no numbers" in fails("upscale", photo, "--upscaler", tmp_path / "broken.pth", "--scale", 2)
    assert sorted(photo.parent.iterdir()) == [photo]


def test_programs_need_trust_in_every_command(
    photo: Path, upscaler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, program, lr = tmp_path / "thesis.txt", tmp_path / "network.pth", tmp_path / "photo.x2.png"
    victim.write_text("years of work, and more")
    torch.jit.script(Overwriting(str(victim))).save(program)
    pair = load_upscaler(upscaler, 2)
    encoded = encode_photo(read(photo), pair, PLAIN)
    write_lr(lr, encoded.lr, encoded.origin)
    assert "if you trust who made it, give --trust" in fails("downscale", photo, "--upscaler", program)
    # The others in this process, which is faster.
    for name in ("coscale.machine.settle", "coscale.cli.options.on_stop"):
        monkeypatch.setattr(name, lambda *_: None)
    for arguments in (
        ("upscale", photo, "--upscaler", program),
        ("batch", photo.parent, tmp_path / "out", "--upscaler", program),
        ("eval", photo.parent, "--upscaler", program),
        ("export", "--upscaler", program),
        ("downscale", photo, "--rescaler", "irn-x2", "--weights", program),
        ("weights", "import", program),
        ("train", "light-x2", "--data", photo.parent, "-o", tmp_path / "trained", "--start", program),
    ):
        with pytest.raises(RescalerError, match="is a program of TorchScript"):
            cli.main(list(map(str, arguments)), standalone_mode=False)
    cli.main(["info", str(lr), "--upscaler", str(program)], standalone_mode=False)  # says why it restores not here
    assert victim.read_text() == "years of work, and more"
    with pytest.raises(click.UsageError, match="--trust is a setting of --upscaler"):
        cli.main(["downscale", str(photo), "--trust"], standalone_mode=False)
    for command in cli.commands.values():
        options = {option.name for option in command.params}
        assert ("trust" in options) == bool(options & {"upscaler", "upscalers"})


def test_batch_with_a_program(photo: Path, tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Upsample(scale_factor=2.0, mode="bicubic")).save(tmp_path / "network.pt")
    chosen = ("--upscaler", tmp_path / "network.pt", "--trust", "--method", "none")
    done = coscale("batch", photo.parent, tmp_path / "out", *chosen, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["rescaler"] == "bicubic+TorchScript"
