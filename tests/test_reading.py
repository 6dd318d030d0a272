"""Files that want to do harm or are damaged: nothing in them is run, none asks for memory, each gets its own cause."""

import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from coscale.diagnose import diagnose
from coscale.errors import NetworkError, RescalerError
from coscale.image import Photo
from coscale.pipeline import decode_photo
from coscale.weights.load import import_checkpoint, load, read_checkpoint
from coscale.weights.upscaler import load_upscaler
from tests.conftest import STANDIN
from tests.extras import needs
from tests.hostile import HUGE, MUTATIONS, RAW, SPANDREL, edsr
from tests.test_upscaler import Plain
from tests.test_weights import Harmful

ROOT = Path(__file__).parents[1]
LEAST = 300e6  # bytes of memory that no small file may take


class Overwriting(nn.Module):
    """A program that writes zeros into a file of the user's as it runs."""

    def __init__(self, victim: str) -> None:
        super().__init__()
        self.victim = victim

    def forward(self, x: Tensor) -> Tensor:
        held = torch.from_file(self.victim, shared=True, size=4, dtype=torch.float32).zero_()
        return torch.nn.functional.interpolate(x, scale_factor=2.0) + held[0]


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in edsr().items()}


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.safetensors", "a.pt2", "A.PTH", "a"])
def test_a_program_is_not_run_whatever_its_name(tmp_path: Path, name: str) -> None:
    victim, path = tmp_path / "thesis.txt", tmp_path / name
    victim.write_text("years of work, and more")
    torch.jit.script(Overwriting(str(victim))).save(path)
    readers: list[Callable[[], Any]] = [
        lambda: load_upscaler(path),
        lambda: load("irn-x2", path),
        lambda: import_checkpoint(path),
        lambda: read_checkpoint(path),
    ]
    for reader in readers:
        with pytest.raises(RescalerError, match="program of TorchScript") as caught:
            reader()
        assert "\n" not in str(caught.value)
    assert victim.read_bytes() == b"years of work, and more"
    load_upscaler(path, trust=True)
    assert victim.read_bytes() != b"years of work, and more"  # trust means that


def test_a_network_saved_whole_is_a_program(tmp_path: Path, crop: Tensor) -> None:
    network = Plain(2)
    for content in (network, {"epoch": 1, "model": network}):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(RescalerError, match=r"Python object, tests\.test_upscaler\.Plain: .*--trust"):
            load_upscaler(tmp_path / "a.pth")
        pair = load_upscaler(tmp_path / "a.pth", trust=True)
        assert (pair.name, pair.scale) == ("bicubic+Plain", 2)
        with torch.no_grad():
            assert torch.equal(pair.rescaler.upscale(crop), network(crop))
    assert load_upscaler(network).weights_hash  # in Python it is the caller's own code


@pytest.mark.parametrize("legacy", [False, True])
def test_objects_beside_the_tensors_are_never_made(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "a.pth"
    content = {"params": edsr(), "iter": np.float64(3), "by": Harmful(), "seen": {1, 2}, "pro": 1}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert load_upscaler(path).name == "bicubic+EDSR"
    torch.save(Harmful(), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(RescalerError, match=r"Python object, (builtins|__builtin__)\.exec: .*would run code"):
        load_upscaler(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_torch_reads_is_read_alike(tmp_path: Path, legacy: bool, protocol: int) -> None:
    path, base = tmp_path / "a.pth", torch.arange(24.0)
    content = OrderedDict(
        plain=torch.randn(3, 2),
        view=base.reshape(4, 6)[1:3, ::2],
        turned=base.reshape(4, 6).T,
        empty=torch.empty(0, 5),
        scalar=torch.tensor(2.5, dtype=torch.float64),
        half=torch.randn(4).half(),
        brain=torch.randn(4).bfloat16(),
        whole=torch.arange(5),
        truth=torch.tensor([True, False]),
        parameter=nn.Parameter(torch.randn(2)),
        expanded=torch.ones(1).expand(3),
        **({} if legacy else {"wide": torch.tensor([1, 2, 3], dtype=torch.uint16)}),
    )
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    tensors, wanted = read_checkpoint(path), torch.load(path, weights_only=False)
    assert tensors.keys() == wanted.keys()
    for name, value in wanted.items():
        assert tensors[name].dtype == value.dtype
        assert tensors[name].stride() == value.stride()
        assert torch.equal(tensors[name], value)


WRAPPED: dict[str, Callable[[], Any]] = {
    "plain": edsr,
    "torch.compile": lambda: prefixed("_orig_mod."),
    "compiled in parallel": lambda: {"params": prefixed("module._orig_mod.")},
    "averaged": lambda: {"params": edsr() | {"head.0.bias": torch.zeros(8)}, "params_ema": prefixed("module.")},
    "MMEditing": lambda: {"state_dict": prefixed("generator.") | {"step": torch.ones(1)}, "meta": {"iter": 1}},
    "Lightning": lambda: {"state_dict": prefixed("model.net.") | {"loss.vgg.0.weight": torch.ones(1)}, "epoch": 3},
    "a name of one's own": lambda: prefixed("my_net."),
    "a GAN": lambda: {"generator": edsr(), "discriminator": {"0.weight": torch.ones(2)}, "optimizer": {"state": {}}},
    "a flag": lambda: edsr() | {"pro": 1, "scale": None, "note": "mine"},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_network_is_found_in_what_it_is_wrapped_in(tmp_path: Path, kind: str) -> None:
    save_file(edsr(), tmp_path / "PLAIN.SAFETENSORS")
    torch.save(WRAPPED[kind](), tmp_path / "a.pth")
    pair, plain = load_upscaler(tmp_path / "a.pth"), load_upscaler(tmp_path / "PLAIN.SAFETENSORS")
    assert (pair.name, pair.weights_hash) == ("bicubic+EDSR", plain.weights_hash)


def test_wrapped_weights_of_a_named_rescaler(tmp_path: Path) -> None:
    tensors = {f"model._orig_mod.{n}": v for n, v in load("light-x2").rescaler.state_dict().items()}  # type: ignore[attr-defined]
    torch.save({"state_dict": tensors}, tmp_path / "a.pth")
    assert load("light-x2", tmp_path / "a.pth").weights_hash == load("light-x2").weights_hash
    with pytest.raises(RescalerError, match="is of light-x2, whose weights are bundled"):
        import_checkpoint(tmp_path / "a.pth")


def test_averaged_weights_come_first(tmp_path: Path) -> None:
    first, second = ({n: v + i for n, v in edsr().items()} for i in (0, 1))
    for content in ({"params": prefixed("module."), "params_ema": second}, {"model": first, "ema": {"module": second}}):
        torch.save(content, tmp_path / "a.pth")
        for tensors in (read_checkpoint(tmp_path / "a.pth"), read_checkpoint(tmp_path / "a.pth", second.keys())):
            assert torch.equal(tensors["head.0.bias"], second["head.0.bias"])


def test_the_mark_of_real_cugan(tmp_path: Path, torchvision: None) -> None:
    from spandrel.architectures.RealCUGAN import UpCunet2x

    tensors = UpCunet2x(pro=True).state_dict()
    torch.save(tensors | {"pro": 1}, tmp_path / "a.pth")
    network = load_upscaler(tmp_path / "a.pth").rescaler.network  # type: ignore[attr-defined]
    assert network.is_pro


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What becomes of each hostile file, in one process of its own, whose memory can be measured."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells the peak of memory since a moment")
    folder = tmp_path_factory.mktemp("hostile")
    paths = os.pathsep.join([str(STANDIN), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "tests.hostile", str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, check=False
    )
    assert done.returncode == 0, done.stderr
    return {row["case"]: row for row in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[needs("sr")] * case.startswith("spandrel")) for case in (*HUGE, *RAW)]
)
def test_a_small_file_asks_for_no_memory(outcomes: dict[str, dict[str, Any]], case: str) -> None:
    row = outcomes[case]
    assert row["bytes"] < 25e6
    assert row["error"] == "RescalerError", row
    assert row["took"] < LEAST + 10 * row["bytes"]
    assert "more memory than there is" not in row["said"]
    assert "\n" not in row["said"]


def test_mutated_checkpoints_do_no_harm(outcomes: dict[str, dict[str, Any]]) -> None:
    rows = [row for case, row in outcomes.items() if case.startswith("mutated")]
    assert len(rows) == (6 if SPANDREL else 4) * MUTATIONS
    assert {row["error"] for row in rows} <= {"", "RescalerError"}
    assert sum(row["error"] == "RescalerError" for row in rows) > len(rows) / 3
    assert max(row["took"] for row in rows) < LEAST


CAUSES = {
    "empty": (b"", "is empty"),
    "text": (b"hello, I am no checkpoint", "is no checkpoint and no program"),
    "a page": (b"\n<!DOCTYPE html><html>404", "is a page of the web"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1", "is a pointer of Git LFS"),
    "Keras": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
    "tar": (bytes(257) + b"ustar" + bytes(512), "is a tar archive"),
    "cut safetensors": (b"\x40\0\0\0\0\0\0\0{", "is damaged or cut short"),
    "cut zip": (b"PK\x03\x04" + bytes(99), "is damaged or cut short"),
    "pickle": (pickle.dumps({"a": 1}, 2), "is a pickle of others than torch.save"),
}


@pytest.mark.parametrize("kind", CAUSES)
def test_each_cause_is_told(tmp_path: Path, kind: str) -> None:
    data, message = CAUSES[kind]
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    for reader in (load_upscaler, lambda path: load("irn-x2", path)):
        with pytest.raises(RescalerError, match=rf"a\.pth {message}.*; ") as caught:
            reader(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds an empty table"),
        ([torch.zeros(1)], "holds no table of tensors"),
        ({"params": {"epoch": 3}}, "holds no table of tensors"),
        (edsr() | {"head.0.weight": torch.eye(4).to_sparse()}, "its head.0.weight is no ordinary table"),
        (edsr() | {"head.0.weight": torch.ones(8, 3, 3, 3, device="meta")}, "its head.0.weight is no ordinary table"),
        (edsr() | {"head.0.weight": torch.ones(8, 3, 3, 3, dtype=torch.int32)}, "its head.0.weight is no ordinary"),
        (edsr() | {"head.0.weight": torch.full((8, 3, 3, 3), torch.inf)}, "has values that are not finite"),
        (edsr() | {"tail.0.0.weight": torch.ones(8 * 49, 8, 3, 3)}, "it would upscale by 7, not by 2, 3 or 4"),
        (edsr() | {"sub_mean.bias": torch.zeros(3)}, "whose white is 0, not 1 or 255"),
        (edsr() | {"sub_mean.bias": torch.zeros(5)}, "sub_mean.bias is no mean colour"),
        (edsr() | {"more": torch.zeros(5)}, r"it also has more$"),
    ],
)
def test_each_fault_of_a_table_is_told(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(RescalerError, match=message) as caught:
        load_upscaler(tmp_path / "a.pth")
    assert "spandrel" not in str(caught.value)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RescalerError, match="is a folder; give a file in it"):
        load_upscaler(tmp_path)
    (tmp_path / "a.pth").touch()

    def forbidden(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(RescalerError, match=r"cannot be read: Permission denied; "):
        load_upscaler(tmp_path / "a.pth")


class Giving(nn.Module):
    """Gives whatever ``give`` makes of twice the image."""

    def __init__(self, give: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.give = give

    def forward(self, x: Tensor) -> Any:
        return self.give(torch.nn.functional.interpolate(x, scale_factor=2.0))


def failing(_: Tensor) -> None:
    raise KeyError("key")


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda x: None, "gives no tensor but a NoneType"),
        (lambda x: {"out": x}, "gives no tensor but a dict"),
        (lambda x: (), "gives no tensor but a tuple"),
        (lambda x: ["a"], "gives no tensor but a str"),
        (lambda x: x.sum(), r"makes \(\) of an image"),
        (lambda x: torch.cat([x, x]), r"makes \(2, 3, 50, 78\) of an image"),
        (lambda x: x[0], "makes"),
        (lambda x: x.to(torch.complex64), "values that are no colours"),
        (lambda x: x.to_sparse(), "values that are no colours"),
        (failing, "it has no 'key'"),
    ],
)
def test_networks_that_give_no_image(give: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(RescalerError, match=f"the network .*{message}") as caught:
        load_upscaler(Giving(give))
    assert "\n" not in str(caught.value)
    pair = load_upscaler(Giving(lambda x: x))
    pair.rescaler.network.give = give  # type: ignore[attr-defined]
    with pytest.raises(RescalerError):
        diagnose(pair)
    if message.startswith(("gives", "it has", "values")):
        with pytest.raises(NetworkError, match=message):
            pair.rescaler.upscale(torch.rand(1, 3, 8, 8))


def test_a_network_that_fails_on_some_sizes_says_so_later_too() -> None:
    pair = load_upscaler(Giving(lambda x: x if x.shape[-1] < 200 else failing(x)))
    with pytest.raises(NetworkError, match=r"fails on an image \(1, 3, 120, 160\): it has no 'key'"):
        decode_photo(Photo(torch.rand(1, 3, 120, 160)), pair)
    pair = load_upscaler(Giving(lambda x: x[:1]))
    with pytest.raises(RescalerError, match=r"makes \(1, 3, 16, 16\) of \(2, 3, 8, 8\)"):
        pair.rescaler.upscale(torch.rand(2, 3, 8, 8))


def test_running_out_of_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    torch.save(edsr(), tmp_path / "a.pth")
    monkeypatch.setattr(nn.Module, "load_state_dict", full)
    with pytest.raises(RescalerError, match="takes more memory than there is"):
        load_upscaler(tmp_path / "a.pth")
    with pytest.raises(RescalerError, match="takes more memory than there is"):
        load_upscaler(Giving(full))
