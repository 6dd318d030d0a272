"""Loading an upscaler: checkpoints of each architecture, programs, networks from Python, and what is none."""

import pickle
import re
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from coscale.collaborate import PLAIN, Coscale, Method
from coscale.errors import RescalerError
from coscale.image import Photo
from coscale.metrics import compare
from coscale.pipeline import decode_photo, encode_photo
from coscale.rescalers import SuperResolution
from coscale.rescalers.edsr import EDSR
from coscale.rescalers.rdn import RDN
from coscale.rescalers.rfanet import RFANet
from coscale.rescalers.rlfn import RLFN
from coscale.rescalers.safmn import SAFMN
from coscale.rescalers.srcnn import SRCNN
from coscale.weights.load import Loaded
from coscale.weights.upscaler import load_upscaler
from tests.test_weights import Harmful

CRAFT = Path(__file__).parents[2] / "shared" / "weights" / "craft_x4" / "CRAFT_x4.pth"


class Plain(nn.Module):
    """Pixel shuffle after a convolution: the least that a network does."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3 * scale**2, 3, padding=1)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), self.scale)


def ranged(network: nn.Module, white: float) -> nn.Module:
    """With the mean colour of images whose white is ``white``."""
    for shift in (network.sub_mean, network.add_mean):
        shift.bias.mul_(white)  # type: ignore[operator,union-attr]
    return network


NETWORKS = {
    "SRCNN": (lambda: SRCNN(2), 2, {}),
    "EDSR": (lambda: ranged(EDSR(4, 2, 16), 255), 4, {"white": 255}),
    "EDSR in [0, 1]": (lambda: EDSR(3, 2, 64, 1.0), 3, {}),
    "RDN": (lambda: RDN(4, 8, 4, 3, 2), 4, {}),
    "RLFN": (lambda: RLFN(3, 8, 2, 4), 3, {"white": 255, "minimum": 15}),
    "SAFMN": (lambda: SAFMN(2, 8, 2, 12), 2, {"minimum": 16}),
    "RFANet": (lambda: ranged(RFANet(2, 8, 2, 3), 255), 2, {"white": 255, "minimum": 15}),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("kind", NETWORKS)
def test_checkpoints_of_our_architectures(tmp_path: Path, kind: str, crop: Tensor) -> None:
    build, scale, settings = NETWORKS[kind]
    network = build()
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, tmp_path / "a.pth")
    pair = load_upscaler(tmp_path / "a.pth", scale if kind == "SRCNN" else None)
    assert (pair.name, pair.scale) == (f"bicubic+{kind.split()[0]}", scale)
    assert not any(p.requires_grad for p in pair.rescaler.parameters())  # type: ignore[attr-defined]
    channels = 1 if kind == "SRCNN" else 3
    with torch.no_grad():
        wanted = SuperResolution(network, scale, channels=channels, **settings).upscale(crop[..., :13, :21])
        assert (pair.rescaler.upscale(crop[..., :13, :21]) - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_rdn_by_the_names_of_edsr_pytorch(tmp_path: Path, scale: int, crop: Tensor) -> None:
    network = RDN(scale, 8, 4, 3, 2)
    last = 4 if scale == 4 else 2

    def theirs(name: str) -> str:
        name = re.sub(r"rdbs\.(\d)\.layers\.(\d)\.conv", r"RDBs.\1.convs.\2.conv.0", name)
        name = name.replace("rdbs", "RDBs").replace("sfe", "SFENet").replace("gff", "GFF").replace("lff", "LFF")
        return name.replace("upscale", "UPNet").replace("output", f"UPNet.{last}")

    torch.save({theirs(name): value for name, value in network.state_dict().items()}, tmp_path / "a.pt")
    pair = load_upscaler(tmp_path / "a.pt")
    assert (pair.name, pair.scale) == ("bicubic+RDN", scale)
    with torch.no_grad():
        assert (pair.rescaler.upscale(crop) - network(crop * 255) / 255).abs().max() < 1e-5


def test_srcnn_by_other_names(tmp_path: Path, crop: Tensor) -> None:
    network = SRCNN(3, kernels=(9, 5, 5))
    theirs = {"conv1": "features.0", "conv2": "map.0", "conv3": "reconstruction"}
    tensors = {theirs[name[:5]] + name[5:]: value for name, value in network.state_dict().items()}
    save_file(tensors, tmp_path / "a.safetensors")
    pair = load_upscaler(tmp_path / "a.safetensors", 3)
    with torch.no_grad():
        wanted = SuperResolution(network, 3, channels=1).upscale(crop)
        assert (pair.rescaler.upscale(crop) - wanted).abs().max() < 1e-5


def test_spandrels_networks(tmp_path: Path, torchvision: None, crop: Tensor) -> None:
    from spandrel import ModelLoader
    from spandrel.architectures import CRAFT, ESRGAN, RCAN, Compact, SwinIR

    networks = {
        "RealESRGAN Compact": Compact.Compact(num_feat=8, num_conv=2, upscale=2),
        "CRAFT": CRAFT.CRAFT(embed_dim=12, depths=[1], num_heads=[2], upscale=2),
        # Those of the paper's Table 1, RRDB being ESRGAN's.
        "RCAN": RCAN.RCAN(scale=2, n_resgroups=1, n_resblocks=1, n_feats=16),
        "ESRGAN": ESRGAN.ESRGAN(num_filters=8, num_blocks=1, scale=2),
        "SwinIR": SwinIR.SwinIR(
            embed_dim=12, depths=[1], num_heads=[2], window_size=8, upscale=2, upsampler="pixelshuffle"
        ),
    }
    for name, network in networks.items():
        path = tmp_path / f"{name}.pth"
        torch.save({"params": network.state_dict()}, path)
        pair = load_upscaler(path)
        assert (pair.name, pair.scale) == (f"bicubic+{name}", 2)
        lr = crop[..., :21, :13].clone().requires_grad_()
        restored = pair.rescaler.upscale(lr)
        theirs = ModelLoader().load_from_file(path)(lr.detach())  # type: ignore[operator,misc]
        assert (restored.clamp(0, 1) - theirs).abs().max() < 1e-5
        (slope,) = torch.autograd.grad(restored.sum(), lr)
        assert slope.isfinite().all()
        assert slope.any()


@pytest.mark.parametrize("kind", ["TorchScript", "torch.export"])
def test_programs(tmp_path: Path, kind: str, crop: Tensor) -> None:
    network, path = Plain(3).eval(), tmp_path / "a.pt2"
    if kind == "TorchScript":
        path = tmp_path / "a.pt"
        torch.jit.script(network).save(path)
    else:
        side = torch.export.Dim("h", min=8, max=4096), torch.export.Dim("w", min=8, max=4096)
        example = torch.rand(1, 3, 16, 24)
        torch.export.save(torch.export.export(network, (example,), dynamic_shapes=[{2: side[0], 3: side[1]}]), path)
    with pytest.raises(RescalerError, match=rf"program of {kind}: .* would run code .*--trust \(trust=True") as caught:
        load_upscaler(path)
    assert "\n" not in str(caught.value)
    pair = load_upscaler(path, trust=True)
    assert (pair.name, pair.scale, len(pair.weights_hash)) == (f"bicubic+{kind}", 3, 64)
    lr = crop.clone().requires_grad_()
    restored = pair.rescaler.upscale(lr)
    assert (restored - network(crop)).abs().max() < 1e-5
    assert torch.autograd.grad(restored.sum(), lr)[0].any()


def test_programs_for_multiples_and_for_one_size(tmp_path: Path) -> None:
    network = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 192, 3, padding=1), nn.PixelShuffle(8))
    torch.jit.script(network).save(tmp_path / "a.pt")
    pair = load_upscaler(tmp_path / "a.pt", trust=True)
    assert pair.scale == 2
    assert pair.rescaler.multiple == 4  # type: ignore[attr-defined]
    assert pair.rescaler.upscale(torch.rand(1, 3, 5, 6)).shape == (1, 3, 10, 12)
    torch.export.save(torch.export.export(Plain(), (torch.rand(1, 3, 20, 20),)), tmp_path / "a.pt2")
    with pytest.raises(RescalerError, match="export it for images of any height and width"):
        load_upscaler(tmp_path / "a.pt2", trust=True)


def test_a_program_that_takes_no_small_image(tmp_path: Path, crop: Tensor) -> None:
    network = nn.Sequential(nn.ReflectionPad2d(7), nn.Conv2d(3, 12, 15), nn.PixelShuffle(2))
    torch.jit.script(network).save(tmp_path / "a.pt")
    pair = load_upscaler(tmp_path / "a.pt", trust=True)
    assert pair.rescaler.minimum == 8  # type: ignore[attr-defined]
    assert pair.rescaler.upscale(crop[..., :3, :2]).shape == (1, 3, 6, 4)


def test_the_weights_of_rlfn_and_safmn(butterfly: Photo) -> None:
    weights = CRAFT.parents[1]
    if not weights.is_dir():
        pytest.skip(f"the weights are not at {weights}")
    least = {"rlfn/rlfn_x2.pth": 33.5, "rlfn/rlfn_x4.pth": 27.5, "safmn_x4/safmn_x4.pth": 27.0}
    for name, psnr in least.items():
        pair = load_upscaler(weights / name)
        encoded = encode_photo(butterfly, pair, PLAIN)
        restored = decode_photo(encoded.lr, pair, encoded.origin)
        assert float(compare(restored.colour, butterfly.colour, pair.scale)["psnr_y"]) > psnr


def test_networks_from_python(crop: Tensor) -> None:
    network = Plain()
    pair = load_upscaler(network)
    assert (pair.name, pair.scale) == ("bicubic+Plain", 2)
    assert load_upscaler(SuperResolution(network, 2, white=255)).rescaler.white == 255  # type: ignore[attr-defined]
    with pytest.raises(RescalerError, match="upscales by 2, not by 4"):
        load_upscaler(network, 4)
    other = load_upscaler(Plain())
    assert pair.weights_hash != other.weights_hash
    encoded = encode_photo(Photo(crop), pair, PLAIN)
    with pytest.raises(RescalerError, match="give the right ones with --upscaler"):
        decode_photo(encoded.lr, other, encoded.origin)
    assert decode_photo(encoded.lr, pair, encoded.origin).size == (48, 48)


def bad(tmp_path: Path, case: str) -> Path:
    """A file that is no upscaler, and why."""
    path = tmp_path / ("a.pt2" if case.startswith("exported") else "a.pth")
    tensors = RDN(2, 8, 4, 2, 2).state_dict()
    match case:
        case "unknown":
            torch.save({"encoder.gate.weight": torch.zeros(3), "encoder.gate.bias": torch.zeros(3)}, path)
        case "no key":
            del tensors["gff.0.weight"]
            torch.save(tensors, path)
        case "renamed":
            torch.save({name.replace("output", "out"): value for name, value in tensors.items()}, path)
        case "shape":
            torch.save(tensors | {"output.weight": torch.zeros(3, 4, 5, 5)}, path)
        case "scale":
            torch.save(tensors, path)
        case "no scale":
            torch.save(SRCNN(2).state_dict(), path)
        case "code":
            path.write_bytes(pickle.dumps({"w": Harmful()}, protocol=2))
        case "exported code":
            save_with_code(path)
        case "exported text":
            path.write_text("no program")
        case "smaller":
            torch.jit.script(nn.Conv2d(3, 3, 3, stride=2, padding=1)).save(path)
    return path


def save_with_code(path: Path) -> None:
    """A file of torch.export whose example is a pickle with code."""
    import zipfile

    good = path.with_name("good.pt2")
    torch.export.save(torch.export.export(Plain(), (torch.rand(1, 3, 20, 20),)), good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            example = "sample_inputs" in name
            target.writestr(name, pickle.dumps(Harmful(), protocol=2) if example else source.read(name))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "unknown",
            r"of no network known here.*SRCNN, EDSR, RDN, RFANet, RLFN, SAFMN.*its keys are like encoder\.gate\.weight",
        ),
        ("no key", r"is of RDN, but does not fit it: it has no 'gff\.0\.weight'"),
        ("renamed", r"is of another network: it has no output\.weight"),
        ("shape", r"its output\.weight is \(3, 4, 5, 5\)"),
        ("scale", r"upscales by 2, not by 4"),
        ("no scale", r"SRCNN, which takes any scale; give its own with --scale"),
        ("code", "would run code"),
        ("exported code", "would run code"),
        ("exported text", "is no file of torch.export"),
        ("smaller", "a whole number of times as large"),
        ("missing", "does not exist"),
    ],
)
def test_bad_files(tmp_path: Path, torchvision: None, case: str, message: str) -> None:
    with pytest.raises(RescalerError, match=message) as caught:
        load_upscaler(bad(tmp_path, case), 4 if case == "scale" else None, trust=case == "smaller")
    assert "\n" not in str(caught.value)


def test_spandrel_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(RescalerError, match=r"pip install 'coscale\[sr\]'"):
        load_upscaler(bad(tmp_path, "unknown"))


def test_a_checkpoint_that_spandrel_cannot_fit(tmp_path: Path, torchvision: None) -> None:
    from spandrel.architectures.Compact import Compact

    tensors = Compact(num_feat=8, num_conv=2, upscale=2).state_dict()
    del tensors["body.2.bias"]
    torch.save(tensors, tmp_path / "a.pth")
    with pytest.raises(RescalerError, match=r"Compact, but does not fit it: .*body\.2\.bias") as caught:
        load_upscaler(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


@pytest.fixture
def craft(torchvision: None) -> Loaded:
    if not CRAFT.is_file():
        pytest.skip(f"CRAFT's weights are not at {CRAFT}")
    return load_upscaler(CRAFT)


def test_craft_restores_and_can_be_optimised_through(craft: Loaded, butterfly: Photo) -> None:
    assert (craft.name, craft.scale) == ("bicubic+CRAFT", 4)
    photo = Photo(butterfly.colour[..., 64:160, 80:176].contiguous())

    def quality(method: Method) -> float:
        encoded = encode_photo(photo, craft, method)  # type: ignore[arg-type]
        restored = decode_photo(encoded.lr, craft, encoded.origin)
        return float(compare(restored.colour, photo.colour, 4)["psnr_y"])

    bicubic = SuperResolution(nn.Upsample(scale_factor=4, mode="bicubic"), 4)
    lr = encode_photo(photo, craft, PLAIN).lr
    plain = float(compare(bicubic.upscale(lr.colour), photo.colour, 4)["psnr_y"])
    alone = quality(PLAIN)
    assert alone > plain + 2
    assert quality(Coscale(effort="fast")) > alone + 0.5
