"""Loading weights: the bundled ones, official checkpoints, and what is neither."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from coscale.errors import RescalerError
from coscale.rescalers import IRN, RESCALERS
from coscale.weights.load import bundled, fingerprint, load, read_checkpoint
from tests.golden import described, fill, vectors


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A checkpoint in the layout of the authors' IRN_x2.pth."""
    path = tmp_path / "IRN_x2.pth"
    torch.save(fill(IRN((8,))).state_dict(), path)
    return path


def test_every_bundled_file_has_a_name_and_loads() -> None:
    names = {named.name for named in RESCALERS if named.checkpoint == "bundled"}
    stems = {path.stem for path in bundled(RESCALERS[0]).parent.glob("*.safetensors")}
    assert {stem.removesuffix(".steps") for stem in stems} == {stem for stem in stems if "." not in stem} == names
    for name in names:
        pair = load(name)
        assert len(pair.weights_hash) == 64
        assert not any(p.requires_grad for p in pair.rescaler.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_checkpoint(tmp_path: Path, official: Path, prefix: str) -> None:
    tensors = torch.load(official, weights_only=True)
    assert {key: list(value.shape) for key, value in tensors.items()} == described("irn_x2")["shapes"]
    path = tmp_path / "prefixed.pth"
    torch.save({prefix + key: value for key, value in tensors.items()}, path)
    pair = load("irn-x2", path)
    golden = vectors("irn_x2")
    assert (pair.rescaler.downscale(golden["hr"]) - golden["lr"]).abs().max() < 1e-5


def test_folder_of_two_parts(tmp_path: Path) -> None:
    with pytest.raises(RescalerError, match=r"has no kgn\.pth; give a file, or CAR's folder"):
        read_checkpoint(tmp_path)
    torch.save({"module.a": torch.zeros(1)}, tmp_path / "kgn.pth")
    with pytest.raises(RescalerError, match=r"has no usn\.pth"):
        load("car-x2", tmp_path)
    torch.save({"a": torch.ones(2), "b": torch.ones(3)}, tmp_path / "usn.pth")
    tensors = read_checkpoint(tmp_path)
    assert {name: value.tolist() for name, value in tensors.items()} == {
        "kgn.a": [0],
        "usn.a": [1, 1],
        "usn.b": [1, 1, 1],
    }
    with pytest.raises(RescalerError, match=r"it has no kgn\.sub_mean\.weight"):
        load("car-x2", tmp_path)
    (tmp_path / "usn.pth").write_text("hello, I am no checkpoint")
    with pytest.raises(RescalerError, match=r"usn\.pth is no checkpoint"):
        read_checkpoint(tmp_path)


def test_hash_is_of_the_values_not_the_file(tmp_path: Path, official: Path) -> None:
    tensors = torch.load(official, weights_only=True)
    save_file(tensors, tmp_path / "same.safetensors")
    tensors["operations.1.F.conv1.bias"][0] += 1e-3
    torch.save(tensors, tmp_path / "other.pth")
    same, other = (load("irn-x2", tmp_path / name).weights_hash for name in ("same.safetensors", "other.pth"))
    assert load("irn-x2", official).weights_hash == same != other
    assert fingerprint(torch.nn.Identity()) == ""


def test_unknown_name_lists_the_names() -> None:
    with pytest.raises(RescalerError, match=r"no rescaler 'irn-x3'.*bicubic-x2, .*irn-x4"):
        load("irn-x3")


def test_weights_that_are_needed_or_useless(official: Path) -> None:
    with pytest.raises(RescalerError, match="--weights FILE"):
        load("irn-x2")
    with pytest.raises(RescalerError, match="no weights"):
        load("bicubic-x2", official)


def test_wrong_checkpoints(tmp_path: Path, official: Path) -> None:
    tensors = torch.load(official, weights_only=True)
    with pytest.raises(RescalerError, match=r"another network: it has no operations\.9\.haar_weights"):
        load("irn-x4", official)
    with pytest.raises(RescalerError, match=r"it also has operations\.5"):
        load("irn-x2-4b", official)
    tensors["operations.1.F.conv1.weight"] = torch.zeros(16, 9, 3, 3)
    torch.save(tensors, tmp_path / "thin.pth")
    with pytest.raises(RescalerError, match=r"conv1.weight is \(16, 9, 3, 3\), not \(32, 9, 3, 3\)"):
        load("irn-x2", tmp_path / "thin.pth")


@pytest.mark.parametrize("kind", ["not finite", "sparse", "on no device", "whole numbers"])
def test_values_that_cannot_be_used(tmp_path: Path, official: Path, kind: str) -> None:
    tensors = torch.load(official, weights_only=True)
    name = "operations.1.F.conv1.bias"
    value = tensors[name]
    match kind:
        case "not finite":
            value = torch.full_like(value, torch.nan)
        case "sparse":
            value = value.to_sparse()
        case "on no device":
            value = value.to("meta")
        case "whole numbers":
            value = value.int()
    torch.save(tensors | {name: value}, tmp_path / "odd.pth")
    with pytest.raises(RescalerError, match=r"its operations\.1\.F\.conv1\.bias"):
        load("irn-x2", tmp_path / "odd.pth")


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code in the checkpoint was run')",)


@pytest.mark.parametrize(
    "case", ["missing", "text", "empty", "pickle with code", "list", "nested", "numbered", "bad safetensors"]
)
def test_files_that_are_no_checkpoints(tmp_path: Path, case: str) -> None:
    path = tmp_path / ("weights.safetensors" if case == "bad safetensors" else "weights.pth")
    match case:
        case "text" | "bad safetensors":
            path.write_text("hello, I am no checkpoint")
        case "empty":
            path.touch()
        case "pickle with code":
            path.write_bytes(pickle.dumps({"w": Harmful()}, protocol=2))
        case "list":
            torch.save([torch.zeros(1)], path)
        case "nested":
            torch.save({"params": {"w": torch.zeros(1)}}, path)
        case "numbered":
            torch.save({0: torch.zeros(1)}, path)
    with pytest.raises(RescalerError) as caught:
        load("irn-x2", path)
    assert "\n" not in str(caught.value)
