"""Tiles: they cover, they change nothing, and they shrink when memory is short."""

import warnings

import pytest
import torch
from torch import Tensor

from coscale import tiles
from coscale.choices import ObjectiveName
from coscale.collaborate import HCD, PLAIN, Coscale
from coscale.errors import CoscaleWarning, MemoryNeededError, SettingsError
from coscale.image import Photo
from coscale.objectives import NAMED, mse
from coscale.pipeline import decode_photo, encode_photo
from coscale.quantize import to_uint8
from coscale.rescalers import IRN, Bicubic, Reversible
from coscale.tiles import WHOLE, Passes, Room, TilePlan, Tiling
from coscale.weights.load import load

CPU = torch.device("cpu")
# The sides of tiles without their halos, in LR pixels: IRN is slow and sees far, so it has fewer tiles.
CORES = {"light-x2": 9, "light-x4": 9, "irn-x2-4b": 25}


@pytest.mark.parametrize("size", [(1, 1), (20, 21), (33, 100), (64, 64), (65, 200)])
@pytest.mark.parametrize(
    "tiling", [Tiling(21, 8), Tiling(32, 3), Tiling(64, 0), Tiling(48, 8, 8), Tiling(40, 3, 16), WHOLE]
)
def test_cores_cover_the_image_once(size: tuple[int, int], tiling: Tiling) -> None:
    seen = torch.zeros(size)
    found = tiling.tiles(*size)
    for tile in found:
        seen[tile.core] += 1
        for axis, length in enumerate(size):
            outer, core = tile.outer[axis], tile.core[axis]
            assert 0 <= outer.start <= core.start < core.stop <= outer.stop <= length
            assert outer.stop - outer.start <= tiling.side + (tiling.multiple - 1 if outer.stop == length else 0)
            assert outer.start % tiling.multiple == 0
            assert core.start - outer.start >= tiling.halo or outer.start == 0
            assert outer.stop - core.stop >= tiling.halo or outer.stop == length
    assert (seen == 1).all()
    assert sum(tile.area for tile in found) == seen.numel()
    if tiling.multiple == 1:
        assert len({tuple(part.stop - part.start for part in tile.outer) for tile in found}) == 1


def test_receptive_field() -> None:
    # The light pair: 8 convolutions of 3 x 3, one after the other, see 8 pixels far. Bicubic at x2 sees 2.
    light = load("light-x2").rescaler
    assert tiles.receptive_field(light.upscale, 1, 2, 3, CPU) == 8
    assert tiles.receptive_field(light.downscale, 2, 1, 3, CPU) == 8
    assert 3 < tiles.receptive_field(light.upscale, 1, 2, 3, CPU, 1e-2) < 8
    assert tiles.receptive_field(Bicubic(2).upscale, 1, 2, 3, CPU) == 2
    assert tiles.receptive_field(Bicubic(2).downscale, 2, 1, 3, CPU) == 2
    assert tiles.receptive_field(load("irn-x2-4b").rescaler.upscale, 1, 2, 3, CPU) > 16


@pytest.fixture(scope="module")
def photo(crop: Tensor) -> Photo:
    """144 x 168 pixels, no two parts of which are alike."""
    row = torch.cat((crop, crop.flip(-1) * 0.8, crop.roll(7, 2)), -1)
    wide = torch.cat((row, row.flip(1) * 0.9 + 0.05, row.flip(-2)), -2)
    return Photo(torch.cat((wide, wide[..., 24:48] * 0.7), -1).contiguous())


@pytest.mark.parametrize("name", CORES)
def test_decoding_in_tiles(name: str, photo: Photo) -> None:
    pair = load(name)
    lr = encode_photo(photo, pair, PLAIN).lr
    side = 2 * tiles.halo_of(pair.rescaler, 3, CPU) + CORES[name]
    whole, tiled = (to_uint8(decode_photo(lr, pair, room=room).colour).int() for room in (Room(), Room(side)))
    apart = (whole - tiled).abs()
    assert apart.max() <= 1
    assert (apart > 0).float().mean() < (1e-4 if "light" in name else 2e-3)


@pytest.mark.parametrize("name", CORES)
def test_downscaling_in_tiles(name: str, photo: Photo) -> None:
    pair = load(name)
    side = 2 * tiles.halo_of(pair.rescaler, 3, CPU) + CORES[name]
    whole, tiled = (to_uint8(encode_photo(photo, pair, PLAIN, room=r).lr.colour).int() for r in (Room(), Room(side)))
    apart = (whole - tiled).abs()
    assert apart.max() <= 1
    assert (apart > 0).float().mean() < 2e-3


def test_gradient_is_that_of_the_whole(photo: Photo) -> None:
    light = load("light-x2").rescaler
    lr = light.downscale(photo.colour).detach()
    (loss, gradient), (tiled_loss, tiled) = (
        tiles.Comparison(light.upscale, photo.colour, 2, lambda a, b: mse(a, b)[None], tiling).gradient(lr)
        for tiling in (WHOLE, Tiling(27, 8))
    )
    assert torch.allclose(loss, tiled_loss, rtol=1e-5)
    assert (gradient - tiled).abs().max() < 1e-5 * gradient.abs().max()


@pytest.mark.parametrize("name", NAMED)
def test_objectives_of_windows_are_near_that_of_the_whole(name: ObjectiveName, photo: Photo) -> None:
    """Each tile has its own value, and windows end at its edge, which matters little in tiles of some 200 pixels."""
    pair, objective, hr = Bicubic(2), NAMED[name], photo.colour.repeat(1, 1, 3, 3)
    lr = pair.downscale(hr).detach()
    (value, gradient), (tiled_value, tiled) = (
        tiles.Comparison(pair.upscale, hr, 2, lambda a, b: objective(a, b)[None], tiling).gradient(lr)
        for tiling in (WHOLE, Tiling(132, 2))
    )
    assert float(tiled_value) == pytest.approx(float(value), rel=0.05)
    assert 0 < (tiled - gradient).norm() < 0.2 * gradient.norm()


def test_gradient_of_a_network_that_sees_far(photo: Photo) -> None:
    irn = load("irn-x2-4b").rescaler
    with torch.no_grad():
        lr = irn.downscale(photo.colour)
    halo = tiles.halo_of(irn, 3, CPU)
    whole, tiled = (
        tiles.Comparison(irn.upscale, photo.colour, 2, lambda a, b: mse(a, b)[None], tiling).gradient(lr)[1]
        for tiling in (WHOLE, Tiling(2 * halo + 25, halo))
    )
    assert (whole - tiled).norm() < 0.01 * whole.norm()


def test_encoding_in_tiles_gains_as_much_and_has_no_seams(photo: Photo) -> None:
    pair = load("light-x2")
    restored, losses = [], []
    for room in (Room(), Room(30)):
        encoded = encode_photo(photo, pair, Coscale(), room=room)
        assert encoded.result is not None
        losses.append(float(encoded.result.after))
        restored.append(decode_photo(encoded.lr, pair).colour)
    assert abs(10 * torch.tensor(losses).log10().diff()) < 0.02
    error = (restored[1] - photo.colour).abs().mean((0, 1))
    # Seams would be where tiles meet: at a multiple of the cores' side, on either side of it.
    plan = Tiling(30, 8).tiles(72, 84)
    columns = sorted({2 * tile.core[1].start for tile in plan if tile.core[1].start})
    rows = sorted({2 * tile.core[0].start for tile in plan if tile.core[0].start})
    borders = torch.zeros_like(error, dtype=torch.bool)
    for column in columns:
        borders[:, column - 1 : column + 1] = True
    for row in rows:
        borders[row - 1 : row + 1] = True
    whole = (restored[0] - photo.colour).abs().mean((0, 1))
    assert (
        float((error[borders].mean() / error[~borders].mean()) / (whole[borders].mean() / whole[~borders].mean()))
        < 1.02
    )


def test_little_memory_makes_small_tiles(photo: Photo) -> None:
    pair = load("light-x2")
    with pytest.warns(CoscaleWarning, match="tiles of"):
        tiled = encode_photo(photo, pair, Coscale("fast"), room=Room(memory=8e6))
    whole = encode_photo(photo, pair, Coscale("fast"))
    assert tiled.result is not None
    assert whole.result is not None
    assert float(tiled.result.after / whole.result.after) < 1.005
    with pytest.raises(MemoryNeededError, match="give --memory"):
        encode_photo(photo, pair, Coscale("fast"), room=Room(memory=1e4))


def test_running_out_makes_smaller_tiles(photo: Photo) -> None:
    light = load("light-x2").rescaler
    tried: list[int] = []

    def greedy(plan: TilePlan) -> str:
        tried.append(min(plan.tiling.side, 84))
        if tried[-1] > 21:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return "done"

    with pytest.raises(MemoryNeededError, match="small tiles"), pytest.warns(CoscaleWarning):
        tiles.within_room(greedy, Passes(light, (72, 84), 3, CPU), Room())
    assert tried == [84, 42]
    tried.clear()
    with pytest.warns(CoscaleWarning, match="ran out"):
        assert tiles.within_room(greedy, Passes(Bicubic(2), (8, 84), 3, CPU), Room()) == "done"  # a panorama
    assert tried == [84, 42, 21]


def test_other_errors_are_not_hidden() -> None:
    def broken(_: TilePlan) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        tiles.within_room(broken, Passes(Bicubic(2), (8, 8), 3, CPU), Room())


def test_small_photos_are_not_cut() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tiles.choose(Passes(Bicubic(2), (200, 400), 3, CPU), Room()).tiling == WHOLE
        cut = tiles.choose(Passes(Bicubic(2), (200, 500), 3, CPU), Room())
        through_both = tiles.choose(Passes(Bicubic(2), (200, 500), 3, CPU, maps=2), Room())
    assert cut.tiling == Tiling(272, 2)
    assert through_both.tiling == Tiling(272, 4)
    assert tiles.choose(Passes(IRN((1,)), (4, 4), 3, CPU), Room(tile=64)).tiling.side == 64


def test_gradients_that_keep_nothing_where_that_is_faster() -> None:
    irn = load("irn-x2-4b").rescaler
    assert isinstance(irn.lean(), Reversible)

    def chosen(memory: float) -> TilePlan:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CoscaleWarning)
            return tiles.choose(Passes(irn, (2000, 2000), 3, CPU), Room(memory=memory))

    assert not chosen(1e10).lean
    assert chosen(5e7).lean
    with pytest.raises(MemoryNeededError):
        tiles.choose(Passes(irn, (2000, 2000), 3, CPU), Room(memory=2e6))


def test_what_sees_the_whole_image_is_not_cut_while_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Attentive(Bicubic):
        """Each pixel depends on all."""

        def upscale(self, lr: Tensor) -> Tensor:
            return super().upscale(lr) + lr.mean()

    size = (3000, 3000)  # as a whole more than is taken unasked
    monkeypatch.setattr(tiles, "free_memory", lambda _: 1e12)
    assert tiles.choose(Passes(Attentive(2), size, 3, CPU), Room()).tiling.side > 400
    size = (1900, 1900)
    monkeypatch.setattr(tiles, "_ENOUGH", 1e8)
    assert tiles.choose(Passes(Bicubic(2), size, 3, CPU), Room()).tiling != WHOLE
    assert tiles.choose(Passes(Attentive(2), size, 3, CPU), Room()).tiling == WHOLE


@pytest.mark.parametrize("wrong", [{"tile": 0}, {"memory": 0}, {"memory": float("inf")}])
def test_room_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        Room(**wrong)  # type: ignore[arg-type]


def test_tile_that_leaves_nothing(photo: Photo) -> None:
    with pytest.raises(SettingsError, match="make it larger"):
        encode_photo(photo, load("light-x2"), Coscale("fast"), room=Room(tile=16))


def test_hcd_in_tiles(photo: Photo) -> None:
    """Its norms are over the whole image, so that tiles change nothing but the last bits."""
    light = load("light-x2").rescaler
    whole, tiled = (HCD(4, 4)(light, photo.colour, tiling=tiling) for tiling in (WHOLE, Tiling(64, 16)))
    assert whole.hr_stage is not None
    assert tiled.hr_stage is not None
    assert torch.allclose(whole.hr_stage.loss, tiled.hr_stage.loss, rtol=1e-3)
    assert float((10 * (whole.after / tiled.after).log10()).abs()) < 0.02
    gain = 10 * float((tiled.before / tiled.after).log10())
    assert gain > 0.2
    encoded = encode_photo(photo, load("light-x2"), HCD(2, 2), room=Room(tile=57))
    assert encoded.result is not None
    assert encoded.result.after < encoded.result.before
