"""What is kept from one run to the next, and a cache that is of no use."""

import json
from pathlib import Path

import pytest
import torch

from coscale import tiles
from coscale.remembered import remembered
from coscale.rescalers import Bfloat16
from coscale.weights.load import load

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COSCALE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "numbers.json"


def test_is_found_once(cache: Path) -> None:
    found = []

    def find() -> list[int]:
        found.append(1)
        return [7, 8]

    assert [remembered("a", find, 2) for _ in range(3)] == [[7, 8]] * 3
    assert remembered("b", find, 2) == [7, 8]
    assert len(found) == 2
    assert json.loads(cache.read_text()) == {"a": [7, 8], "b": [7, 8]}
    assert [remembered("", find, 2) for _ in range(2)] == [[7, 8]] * 2  # what has no name is not kept
    assert len(found) == 4


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"a": "x", "b": 3}', '{"a": [true]}', '{"a": 4}', '{"a": [4, 4]}', "[" * 100_000]
)
def test_a_damaged_cache_is_done_without(cache: Path, text: str) -> None:
    cache.parent.mkdir()
    cache.write_text(text)
    assert remembered("a", lambda: [5]) == [5]
    assert json.loads(cache.read_text())["a"] == [5]


def test_a_cache_that_cannot_be_written(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert remembered("a", lambda: [5]) == [5]


def test_old_numbers_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coscale.remembered._MOST", 3)
    for number in range(5):
        remembered(str(number), lambda number=number: [number])
    assert list(json.loads(cache.read_text())) == ["2", "3", "4"]


def test_receptive_fields_are_kept_by_weights_and_device(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = load("irn-x2-4b")
    halo = tiles.halo_of(pair.rescaler, 3, CPU)
    kept = json.loads(cache.read_text())
    assert all("irn-x2-4b" in key and pair.weights_hash in key for key in kept)
    monkeypatch.setattr(tiles, "receptive_field", None)  # nothing is measured again
    assert tiles.halo_of(load("irn-x2-4b").rescaler, 3, CPU) == halo
    with pytest.raises(TypeError):
        tiles.halo_of(Bfloat16(pair.rescaler), 3, CPU)  # it sees as far, but that is not known
    with pytest.raises(TypeError):
        tiles.halo_of(load("irn-x4-4b").rescaler, 3, CPU)
