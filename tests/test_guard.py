"""What is not like photos comes back in the right colours too, and grey comes back grey."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import coscale
from coscale.areas import Areas, areas_of
from coscale.cells import ComparedPhoto
from coscale.collaborate import PLAIN, Coscale
from coscale.collaborate.problem import Problem
from coscale.console import in_db
from coscale.errors import CoscaleWarning, LRFileError
from coscale.guard import LIMIT, _Guard
from coscale.image import Photo, read
from coscale.lrfile import Origin, origin_in, read_lr, write_lr
from coscale.measurement import Measurement
from coscale.metrics import psnr
from coscale.objectives import mse
from coscale.pair import Pair
from coscale.pipeline import decode_photo, encode_photo, write_and_measure
from coscale.quantize import quantize, to_uint8
from coscale.report.tables import summarise
from coscale.rescalers import Bicubic, Rescaler, find
from coscale.resize import downscale, pad, upscale
from coscale.tiles import Room, Tiling
from coscale.weights.load import bundled, load
from tests.command import coscale as run
from tests.growing import EXAMPLE
from tests.rows import row_of_json
from tests.test_photo_kinds import grey_profile

SIDE = 64


def shown(*arguments: object) -> str:
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


Y, X = np.mgrid[:SIDE, :SIDE]


def grey(levels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.clip(levels, 0, 255).round()).float().div(255).expand(1, 3, -1, -1).contiguous()


def colourful(levels: np.ndarray) -> Tensor:
    """The same pattern in yellow and blue, so that it is not grey."""
    return torch.cat([grey(levels)[:, :2], grey(255 - levels)[:, :1]], 1)


def dither() -> np.ndarray:
    bayer = np.array(((0, 8, 2, 10), (12, 4, 14, 6), (3, 11, 1, 9), (15, 7, 13, 5)))
    return np.where(bayer[Y % 4, X % 4] + 0.5 < 16 * X / SIDE, 255, 0)


def flat() -> Tensor:
    """Saturated colours side by side."""
    colours = torch.tensor([[1, 0, 0, 1], [0, 0, 1, 1], [0, 1, 0, 1]]).float().reshape(1, 3, 2, 2)
    return colours.repeat_interleave(SIDE // 2, 2).repeat_interleave(SIDE // 2, 3)


PATTERNS = {
    "mesh": grey(np.where((X % 3 == 0) | (Y % 3 == 0), 20, 235)),
    "checkerboard": grey(np.where((X + Y) % 2, 255, 0)),
    "lines": colourful(np.where(X % 2, 255, 0)),
    "dither": colourful(dither()),
    "flat colours": flat(),
}


def worse_than_bicubic(restored: Tensor, original: Tensor, scale: int) -> float:
    """By how many levels the mean of a channel of the worst block of 16 x 16 is farther off than by bicubic."""
    plain = quantize(upscale(quantize(downscale(pad(original, scale), scale)), scale))[..., :SIDE, :SIDE]

    def off(x: Tensor) -> Tensor:
        return 255 * (F.avg_pool2d(x, 16, 8) - F.avg_pool2d(original, 16, 8)).abs()

    return float((off(restored) - off(plain)).max())


def through_a_file(photo: Photo, pair: Pair, folder: Path, **options: object) -> Photo:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoscaleWarning)
        encoded = encode_photo(photo, pair, PLAIN, **options)  # type: ignore[arg-type]
    write_lr(folder / "lr.png", encoded.lr, encoded.origin)
    return decode_photo(*swapped(read_lr(folder / "lr.png"), pair))


def swapped(found: tuple[Photo, Origin | None], pair: Pair) -> tuple[Photo, Pair, Origin | None]:
    return found[0], pair, found[1]


@pytest.mark.parametrize("name", ["light-x2", "irn-x2-4b", "light-x4"])
def test_colours_come_back_as_well_as_by_bicubic(tmp_path: Path, name: str) -> None:
    pair = coscale.load(name)
    unguarded = []
    for pattern in PATTERNS.values():
        restored = through_a_file(Photo(pattern), pair, tmp_path)
        assert worse_than_bicubic(restored.colour, pattern, pair.scale) <= LIMIT + 0.01
        plain = quantize(pair.rescaler.upscale(quantize(pair.rescaler.downscale(pattern))))
        unguarded.append(worse_than_bicubic(plain, pattern, pair.scale))
    assert max(unguarded) > 1.5 * LIMIT  # else these patterns say nothing


@pytest.mark.parametrize("scale", [3, 8])
def test_colours_come_back_at_other_scales(tmp_path: Path, scale: int) -> None:
    class Off(Bicubic):
        """Restores what is bright a quarter darker."""

        def upscale(self, lr: Tensor) -> Tensor:
            restored = super().upscale(lr)
            return torch.where(restored > 0.7, 0.75 * restored, restored)

    pair = Pair(f"off-x{scale}", Off(scale))
    for pattern in PATTERNS.values():
        part = pattern[..., :48, :48].contiguous()
        restored = through_a_file(Photo(part), pair, tmp_path)
        assert worse_than_bicubic(restored.colour, part, scale) <= LIMIT + 0.01


def test_a_method_is_guarded_too(tmp_path: Path) -> None:
    pair = coscale.load("light-x2")
    pattern = PATTERNS["lines"]
    encoded = encode_photo(Photo(pattern), pair, Coscale("fast"))
    restored = decode_photo(encoded.lr, pair, encoded.origin)
    assert worse_than_bicubic(restored.colour, pattern, 2) <= LIMIT + 0.01


class Wrong(Rescaler):
    """A pair that restores whatever has much red in black, which no change of the LR mends."""

    scale = 2

    def downscale(self, hr: Tensor) -> Tensor:
        return downscale(hr, 2)

    def upscale(self, lr: Tensor) -> Tensor:
        return upscale(torch.where(lr[:, :1] > 0.6, torch.zeros_like(lr), lr), 2)


def half_red() -> Tensor:
    photo = torch.full((1, 3, 64, 96), 0.4)
    photo[:, 1] = 0.2
    photo[:, 0, 20:44, 30:61] = 0.9
    return photo


def test_what_cannot_be_mended_is_left_to_bicubic(tmp_path: Path) -> None:
    pair, photo = Pair("wrong", Wrong()), Photo(half_red())
    with pytest.warns(CoscaleWarning, match="of the photo is left to bicubic: wrong would restore its colours"):
        encoded = encode_photo(photo, pair, PLAIN)
    assert encoded.guarded is not None
    assert encoded.origin.bicubic is not None
    assert 0.1 < encoded.guarded.bicubic < 0.5
    restored = through_a_file(photo, pair, tmp_path)
    plain = quantize(upscale(quantize(downscale(photo.colour, 2)), 2))
    inside = (..., slice(24, 40), slice(34, 57))
    assert torch.equal(restored.colour[inside], plain[inside])
    noted = json.loads(Image.open(tmp_path / "lr.png").info["coscale"])["bicubic"]
    assert noted["side"] == 4
    assert sum(noted["runs"]) == 8 * 12
    # Without a note the LR cannot say it, and the caller is told.
    array = (255 * photo.colour[0]).round().to(torch.uint8)
    with pytest.warns(CoscaleWarning, match="would restore its colours worse than bicubic"):
        pair.downscale(array, PLAIN)


def test_it_can_be_turned_off() -> None:
    pair = Pair("wrong", Wrong())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoded = encode_photo(Photo(half_red()), pair, PLAIN, guarded=False)
    assert (encoded.guarded, encoded.origin.bicubic) == (None, None)
    assert torch.equal(encoded.lr.colour, quantize(downscale(half_red(), 2)))


def test_tiles_do_not_matter() -> None:
    pair = load("light-x2")
    pattern = Photo(PATTERNS["dither"][..., :61, :54].contiguous())
    whole, tiled = (encode_photo(pattern, pair, PLAIN, room=room) for room in (Room(), Room(tile=28)))
    assert whole.guarded is not None
    assert whole.guarded.corrected > 0.1
    assert whole.origin == tiled.origin
    assert (255 * (whole.lr.colour - tiled.lr.colour)).abs().max() <= 1.01  # as rounding differs in tiles
    wrong, photo = Pair("wrong", Wrong()), Photo(half_red())
    with pytest.warns(CoscaleWarning):
        one, many = (encode_photo(photo, wrong, PLAIN, room=room) for room in (Room(), Room(tile=24)))
    assert one.origin == many.origin
    assert torch.equal(one.lr.colour, many.lr.colour)


def test_a_photo_keeps_its_bytes(butterfly: Photo) -> None:
    for name in ("light-x2", "irn-x2-4b"):
        pair = load(name)
        encoded = encode_photo(Photo(butterfly.colour[..., :128, :128]), pair, PLAIN)
        assert encoded.guarded is not None
        assert (encoded.guarded.corrected, encoded.guarded.bicubic) == (0, 0)
        assert torch.equal(
            encoded.lr.colour, quantize(pair.rescaler.downscale(butterfly.colour[..., :128, :128].contiguous()))
        )
        assert set(json.loads(encoded.origin.to_text())) == {
            *("rescaler", "weights_hash", "scale", "width", "height", "version")
        }


@pytest.mark.parametrize("size", [(1, 1), (3, 17), (16, 16), (17, 40), (9, 33)])
def test_small_and_odd_sizes(size: tuple[int, int]) -> None:
    photo = Photo(PATTERNS["lines"][..., : size[0], : size[1]].contiguous())
    for pair in (load("light-x2"), load("light-x4"), Pair("wrong", Wrong())):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CoscaleWarning)
            encoded = encode_photo(photo, pair, PLAIN)
        restored = decode_photo(encoded.lr, pair, encoded.origin).colour
        off = (restored.mean((2, 3)) - photo.colour.mean((2, 3))).abs().max()
        assert restored.shape == photo.colour.shape
        assert 255 * off <= (255 if min(size) < 16 and pair.name != "wrong" else LIMIT + 8)


def grey_photo(butterfly: Photo) -> Tensor:
    return quantize(butterfly.colour[..., 40:136, 60:156].mean(1, keepdim=True))


def test_a_grey_photo_comes_back_grey_and_as_well_in_either_mode(butterfly: Photo, tmp_path: Path) -> None:
    one = grey_photo(butterfly)
    three = one.expand(-1, 3, -1, -1).contiguous()
    pair = coscale.load("light-x2")
    as_l, as_rgb = (through_a_file(Photo(colour), pair, tmp_path).colour for colour in (one, three))
    assert as_l.shape == one.shape
    assert as_rgb.shape == three.shape
    assert torch.equal(as_rgb, as_l.expand(-1, 3, -1, -1))
    before = through_a_file(Photo(one), pair, tmp_path, noted=False).colour
    assert psnr(as_l, one) > psnr(before, one) + 3
    with Image.open(tmp_path / "lr.png") as file:
        assert file.mode == "L"  # that without a note


def test_grey_with_alpha_and_a_profile(butterfly: Photo, tmp_path: Path) -> None:
    one = grey_photo(butterfly)
    photo = Photo(one, torch.ones_like(one), icc=grey_profile())
    pair = coscale.load("light-x2")
    restored = through_a_file(photo, pair, tmp_path)
    assert restored.icc == grey_profile()
    assert restored.alpha is not None
    assert restored.colour.shape == one.shape
    with Image.open(tmp_path / "lr.png") as file:
        assert file.mode == "RGBA"
        assert "icc_profile" not in file.info  # it would not fit


def test_an_lr_without_colour_is_stored_as_grey(butterfly: Photo) -> None:
    for colour in (grey_photo(butterfly), grey_photo(butterfly).expand(-1, 3, -1, -1)):
        encoded = encode_photo(Photo(colour), load("bicubic-x2"), PLAIN)
        assert encoded.lr.colour.shape[1] == 1
        restored = decode_photo(encoded.lr, load("bicubic-x2"), encoded.origin)
        assert restored.colour.shape == colour.shape


def test_a_grey_lr_is_compared_with_one_in_colour(butterfly: Photo, tmp_path: Path) -> None:
    three = grey_photo(butterfly).expand(-1, 3, -1, -1).contiguous()
    row = write_and_measure(Photo(three), load("bicubic-x2"), PLAIN, tmp_path / "lr.png")
    assert row.lr.ssim_bicubic == 1
    row = write_and_measure(Photo(three), load("light-x2"), Coscale("fast"), tmp_path / "lr.png")
    assert (row.lr.ssim_g or 0) > 0.99
    assert row.scores.psnr_cb is None


def test_pillow_images_go_the_same_way(butterfly: Photo) -> None:
    levels = (255 * grey_photo(butterfly)[0, 0]).round().byte().numpy()
    pair = coscale.load("light-x2")
    lr = pair.downscale(Image.fromarray(levels), PLAIN)
    assert lr.mode == "RGB"
    assert pair.upscale(lr).mode == "L"
    assert pair.downscale(levels, PLAIN).shape == (48, 48)  # an array has no note, and so stays grey


@pytest.mark.parametrize("runs", [[], [3], [-1, 97], [96, 0], [90, True], ["96"], "96", None])
def test_damaged_areas(runs: object) -> None:
    note = json.loads(Origin("a", "", 2, 96, 64, "1").to_text()) | {"bicubic": {"side": 4, "runs": runs}}
    with pytest.raises(LRFileError, match="note"):
        check_note(note)


def check_note(note: dict[str, object]) -> None:
    origin = origin_in({"coscale": json.dumps(note)}, "it")
    assert origin is not None
    origin.check_size(Photo(torch.zeros(1, 3, 32, 48)))


def test_areas_say_what_they_were_made_of() -> None:
    generator = torch.Generator().manual_seed(0)
    for share in (0.0, 0.3, 1.0):
        cells = torch.rand(5, 7, generator=generator) < share
        areas = areas_of(cells, 4)
        assert areas.fit((18, 28))
        assert torch.equal(areas.cells((18, 28)), cells)
        assert Areas(areas.side, areas.runs) == areas


def test_the_command_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    squares = 255 * rng.integers(0, 2, (20, 20, 3)).repeat(4, 0).repeat(4, 1)
    Image.fromarray(squares.astype(np.uint8)).save(tmp_path / "page.png")
    photo = read(tmp_path / "page.png").colour
    # Weights that restore too dark: no LR is bright enough where the photo is white.
    weights = load_file(bundled(find("light-x4")))
    weights["up.tail.bias"] -= 0.1
    save_file(weights, tmp_path / "dark.safetensors")
    options = ("--rescaler", "light-x4", "--weights", tmp_path / "dark.safetensors")
    done = run("downscale", tmp_path / "page.png", *options, "--method", "none", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["bicubic"] > 0
    (line,) = done.stderr.splitlines()
    assert "of page.x4.png is left to bicubic" in line
    assert "left to bicubic in" in shown("info", tmp_path / "page.x4.png")
    shown("upscale", tmp_path / "page.x4.png", "--weights", tmp_path / "dark.safetensors")
    restored = read(tmp_path / "page.restored.png").colour
    off, plain = (255 * F.avg_pool2d(x - photo, 16, 8).abs() for x in (restored, plain_of(photo, 4)))
    assert (off - plain).max() <= LIMIT + 0.01


def test_the_command_leaves_all_as_it_is_without_the_guard(tmp_path: Path) -> None:
    Image.fromarray((255 * PATTERNS["flat colours"][0]).byte().permute(1, 2, 0).numpy()).save(tmp_path / "page.png")
    said = shown("downscale", tmp_path / "page.png", "--method", "none", "--no-guard", "--json")
    assert json.loads(said)["corrected"] is json.loads(said)["bicubic"] is None
    plain = load("light-x2").rescaler.downscale(read(tmp_path / "page.png").colour)
    assert torch.equal(read(tmp_path / "page.x2.png").colour, quantize(plain))


def plain_of(photo: Tensor, scale: int) -> Tensor:
    return quantize(upscale(quantize(downscale(photo, scale)), scale))


def test_chroma_of_grey_is_not_spoken_of(butterfly: Photo, tmp_path: Path) -> None:
    levels = (255 * grey_photo(butterfly)[0, 0, :40, :40]).round().byte().numpy()
    Image.fromarray(levels).convert("RGB").save(tmp_path / "grey.png")
    said = shown("downscale", tmp_path / "grey.png", "--effort", "fast", "--measure")
    assert "Y " in said
    assert "Cb" not in said
    grey, colour = (Measurement.from_json(row_of_json(**more)) for more in ({}, {"psnr_cb": 50.0}))
    (mean,) = summarise([grey, colour])
    assert mean.psnr_cb == 50


def test_gains_over_what_was_exact_are_no_numbers() -> None:
    assert in_db(69.54, math.inf) == "69.54 (exact before)"
    assert in_db(math.inf, 40.0) == in_db(None, None) == "exact"
    assert in_db(41.5, 40.0) == "41.50 (+1.50)"
    assert in_db(41.5, None) == "41.50"


def test_the_note_of_an_ordinary_photo_has_nothing_new() -> None:
    text = '{"rescaler": "light-x2", "weights_hash": "ab", "scale": 2, "width": 9, "height": 6, "version": "0.1.0"}'
    assert Origin("light-x2", "ab", 2, 9, 6, "0.1.0").to_text() == text


def test_what_a_method_has_measured_is_what_the_guard_would_measure() -> None:
    """By cells, of a photo that was padded, in tiles that begin amidst a cell."""
    light, tiling = load("light-x4").rescaler, Tiling(26, 8)
    hr = pad(read(EXAMPLE).pixels[..., :150, :130], 4)
    original = ComparedPhoto(hr, (150, 130), 4)
    lr = to_uint8(light.downscale(hr / 255))
    problem = Problem(light, hr, tiling=tiling, by_cells=original)
    problem.judge(lr, lambda restored, photo: mse(restored, photo)[None])
    found = problem.errors_of(lr)
    assert found is not None
    assert len(found) == len(tiling.tiles(*lr.shape[-2:])) > 4
    guarding = _Guard(light, original, tiling)
    wanted = guarding.restore(lr, torch.zeros(38, 33, dtype=torch.bool), None)
    total = original.no_errors()
    for mine, other in zip(found, wanted.tiles, strict=True):
        assert torch.equal(mine.sums, other.sums)
        mine.add_to(total)
    assert total.abs().sum() > 0
    assert torch.equal(total, wanted.total)
    error = 255 * (quantize(light.upscale(lr / 255)) - hr / 255)[0, :, :150, :130]
    assert torch.allclose(total[:, 3, 5], error[:, 24:32, 40:48].sum((1, 2)), atol=0.05)
    assert torch.allclose(total.sum((1, 2)), error.sum((1, 2)), atol=10)
    problem.judge(255 - lr, lambda restored, photo: mse(restored, photo)[None])
    assert problem.errors_of(lr) is None
