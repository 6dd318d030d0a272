"""The weights in the package: the manifest is true, and each file gives what it gave where it was made."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bench.readme import SETS
from bench.ship import sizes
from coscale.errors import RescalerError
from coscale.files import sha256
from coscale.rescalers import RESCALERS, find
from coscale.weights import manifest, verify
from coscale.weights.load import bundled, import_checkpoint, load
from coscale.weights.manifest import read_manifest, write_manifest
from coscale.weights.verify import vectors
from tests.golden import fill

BUNDLED = [named.name for named in RESCALERS if named.checkpoint == "bundled"]


def test_every_bundled_rescaler_is_listed() -> None:
    assert sorted(read_manifest()) == sorted(BUNDLED)


@pytest.mark.parametrize("name", BUNDLED)
def test_the_manifest_is_true(name: str) -> None:
    entry = read_manifest()[name]
    loaded = load(name)
    network = loaded.rescaler
    assert isinstance(network, nn.Module)
    assert entry.sha256 == sha256(bundled(find(name)))
    assert entry.weights_hash == loaded.weights_hash
    assert entry.architecture == type(getattr(network, "network", network)).__name__
    assert entry.sizes == sizes(network)
    assert entry.scale == loaded.scale
    assert entry.parameters == sum(p.numel() for p in network.parameters())
    assert entry.recipe["name"] == name
    assert all(source.images > 0 and source.licence for source in entry.data)
    assert bundled(find(name)).stat().st_size < 20e6
    if name.startswith("light"):
        assert entry.parameters < 0.6e6


@pytest.mark.parametrize("name", BUNDLED)
def test_it_reaches_what_it_must(name: str) -> None:
    """As measured, not here: PSNR over bicubic's, by less where bicubic makes the LR; and an LR like bicubic's."""
    entry = read_manifest()[name]
    assert sorted(entry.quality) == sorted(SETS)
    over = {"SRCNN": 1.5, "Coded": 3}.get(entry.architecture, 4)
    least = 42.0 if name == "irn-x2-4b" else {2: 33.68, 4: 28.43}[entry.scale] + over
    assert entry.quality["Set5"].psnr_y > least
    assert entry.quality["Set5"].lr_psnr_bicubic >= 38


@pytest.mark.parametrize("name", BUNDLED)
def test_vectors(name: str) -> None:
    assert verify.verify(name) <= 0.01


def test_a_changed_file_and_changed_values_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = BUNDLED[0]
    shutil.copytree(vectors(name).parent, tmp_path / "vectors")
    changed = tmp_path / f"{name}.safetensors"
    save_file({key: value * 1.02 for key, value in load_file(bundled(find(name))).items()}, changed)
    monkeypatch.setattr(verify, "bundled", lambda named: changed)
    with pytest.raises(RescalerError, match="not the file that was shipped"):
        verify.verify(name)

    entry = replace(read_manifest()[name], sha256=sha256(changed))
    monkeypatch.setattr(verify, "entry_of", lambda name: entry)
    monkeypatch.setattr("coscale.weights.load.FOLDER", tmp_path)
    with pytest.raises(RescalerError, match="gives another lr than it should"):
        verify.verify(name)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_manifest(read_manifest(), tmp_path / "manifest.json")
    assert (tmp_path / "manifest.json").read_text() == manifest.MANIFEST.read_text()


def test_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSCALE_WEIGHTS", str(tmp_path / "kept"))
    with pytest.raises(RescalerError, match="coscale weights import FILE"):
        load("irn-x2")
    network = fill(find("irn-x2").build())
    checkpoint = tmp_path / "IRN_x2.pth"
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, checkpoint)
    named, path = import_checkpoint(checkpoint)
    assert named.name == "irn-x2"
    assert path == tmp_path / "kept" / "irn-x2.safetensors"
    assert load("irn-x2").weights_hash == load("irn-x2", checkpoint).weights_hash
    with pytest.raises(RescalerError, match="--overwrite"):
        import_checkpoint(checkpoint)
    import_checkpoint(checkpoint, overwrite=True)


def test_import_of_what_is_of_no_rescaler(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(RescalerError, match="is of another network: it has no"):
        import_checkpoint(tmp_path / "other.pth")
    with pytest.raises(RescalerError, match="whose weights are bundled"):
        import_checkpoint(bundled(find(BUNDLED[0])))


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"a": 3}', '{"a": {"data": [], "quality": {}}}', "\ud800"])
def test_a_damaged_manifest_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(RescalerError, match="is not the list of weights that was shipped; install coscale anew"):
        read_manifest(path)
