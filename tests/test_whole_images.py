"""What there is of a photo's size while it is worked on in tiles: few images of the LR's, and none of its own."""

import contextlib
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from coscale import metrics
from coscale.collaborate import Coscale
from coscale.collaborate.rolling import Rolling, overlap
from coscale.image import Photo, read, to_bytes, write
from coscale.memory import _Held
from coscale.pipeline import decode_photo, encode_photo
from coscale.tiles import Room, Tiling, at
from coscale.weights.load import load
from tests.growing import EXAMPLE

SIDE, TILE = 144, 40  # of the photo, and of tiles in LR pixels: with halos of 8 there are 3 x 3


def tensors() -> dict[int, Tensor]:
    """All that somebody holds, one for each storage."""
    found: dict[int, Tensor] = {}
    for each in gc.get_objects():
        if issubclass(type(each), Tensor):
            # What other tests have left may be traced or sparse, and has no memory of its own.
            with contextlib.suppress(RuntimeError):
                found[each.untyped_storage().data_ptr()] = each
    return found


class Counter:
    """An upscaler that counts, each time it runs on a tile, what has come since it was made: the most at any time.

    ``floats``: in images of the LR's size. ``levels``: 8-bit ones, in photos.
    """

    def __init__(self, upscale: Callable[[Tensor], Tensor], values: int, scale: int) -> None:
        self.upscale, self.values, self.scale = upscale, values, scale
        self.before = set(tensors())
        gc.freeze()  # what there is need not be gone through again at each tile
        self.floats = self.levels = 0.0

    def __call__(self, lr: Tensor) -> Tensor:
        if lr.shape[-1] <= TILE:
            held = [tensor for address, tensor in tensors().items() if address not in self.before]
            taken = {
                kind: sum(one.untyped_storage().nbytes() for one in held if kind(one))
                for kind in (_is_8_bit, _is_float)
            }
            self.floats = max(self.floats, taken[_is_float] / (4 * self.values / self.scale**2))
            self.levels = max(self.levels, taken[_is_8_bit] / self.values)
        return self.upscale(lr)


def _is_float(tensor: Tensor) -> bool:
    return tensor.is_floating_point()


def _is_8_bit(tensor: Tensor) -> bool:
    return tensor.dtype == torch.uint8


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.fixture
def photo() -> Photo:
    return Photo(read(EXAMPLE).pixels[..., :SIDE, :SIDE].clone())


@pytest.mark.parametrize(
    ("effort", "learned", "most"),
    [("fast", True, 9), ("fast", False, 5)],
)
def test_few_images_while_a_photo_is_encoded(
    effort: str, learned: bool, most: float, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the LR's size are what a step moves; of the photo's own size there is none beside it."""
    pair = load("light-x2")
    pair = pair if learned else replace(pair, steps=None)
    counter = Counter(pair.rescaler.upscale, photo.pixels.numel(), pair.scale)
    monkeypatch.setattr(pair.rescaler, "upscale", counter)
    encode_photo(photo, pair, Coscale(effort), room=Room(TILE))  # type: ignore[arg-type]
    assert 0 < counter.floats < most
    assert 0 < counter.levels < 1  # LR images of 8 bit, each a quarter of the photo


def test_restoring_holds_the_photo_as_levels(photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = load("light-x2")
    encoded = encode_photo(photo, pair, room=Room(TILE))
    counter = Counter(pair.rescaler.upscale, photo.pixels.numel(), pair.scale)
    monkeypatch.setattr(pair.rescaler, "upscale", counter)
    restored = decode_photo(encoded.lr, pair, encoded.origin, room=Room(TILE))
    assert restored.pixels.dtype == torch.uint8
    assert 0 < counter.floats < 1.5
    assert counter.levels < 1.5


def test_what_is_read_stays_8_bit(photo: Photo, tmp_path: Path) -> None:
    for suffix in (".png", ".webp", ".tif", ".bmp"):
        path = tmp_path / f"photo{suffix}"
        write(path, photo)
        assert torch.equal(read(path).pixels, photo.pixels)
        assert torch.equal(read(path).colour, photo.pixels / 255)


def test_a_file_is_written_without_another_image_of_its_size() -> None:
    """Pillow's own is none that Python hears of."""
    photo = Photo(torch.zeros(1, 3, 4096, 2048, dtype=torch.uint8))
    to_bytes(photo, ".png")  # what it imports stays
    tracemalloc.start()
    try:
        to_bytes(photo, ".png")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < photo.pixels.numel() / 2


def test_scores_are_taken_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    original = torch.randint(0, 256, (1, 3, 4096, 48), dtype=torch.uint8, generator=generator)
    restored = (original.int() + torch.randint(-3, 4, original.shape, generator=generator)).clamp(0, 255).byte()
    monkeypatch.setattr(metrics, "_STRIP", 512)
    with _Held() as held:
        found = metrics.compare(restored, original, 2)
    levels = restored.numel() + original.numel()  # which views of them count as
    assert held.peak - levels < original.numel()  # a quarter of one of them in float
    monkeypatch.undo()
    for name, value in metrics.compare(restored / 255, original / 255, 2).items():
        assert torch.allclose(found[name], value, rtol=1e-12)


def test_what_rolls_by_is_read_as_it_was_written_and_dropped() -> None:
    height, width = 120, 50
    image = torch.rand(1, 2, height, width)
    writes, reads = (tiling.tiles(height, width) for tiling in (Tiling(32, 4), Tiling(40, 7)))
    after = [max(k for k, one in enumerate(writes) if overlap(one.core, tile.outer)) for tile in reads]
    rolling = Rolling([tile.core for tile in writes], [tile.outer for tile in reads], after, image[..., :1, :1])
    unread, free = list(zip(reads, after, strict=True)), []
    for number, tile in enumerate(writes):
        rolling.write(image[at(tile.core, 1)])
        free.append(len(rolling._free))
        while unread and unread[0][1] <= number:
            assert torch.equal(rolling.read(), image[at(unread.pop(0)[0].outer, 1)])
    assert not unread
    assert not rolling._strips
    assert min(free) == 0  # no more was taken than is needed
    assert rolling._memory.numel() < 0.7 * image.numel()
