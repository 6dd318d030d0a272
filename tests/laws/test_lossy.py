"""What holds for every lossy storage: the file is what was judged, its note survives, and nothing gets worse."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bench.snaps import profile
from coscale import xmp
from coscale.collaborate import HCD, PLAIN, Coscale
from coscale.collaborate.coefficients import Coefficients
from coscale.collaborate.nudges import Nudges
from coscale.errors import CoscaleWarning, ImageError, LRFileError, RescalerError, SettingsError
from coscale.fitting import Levels, fitting_level
from coscale.image import Photo, read, write
from coscale.levels import LEVELS, level_of, step_of
from coscale.lrfile import Making, read_lr, write_lr
from coscale.metrics import psnr
from coscale.objectives import WeightedLuma
from coscale.pair import Pair
from coscale.pipeline import decode_photo, encode_photo, write_and_measure, write_encoded
from coscale.quantize import quantize
from coscale.rescalers import Bicubic
from coscale.rescalers.coded import Coded, told_as
from coscale.resize import downscale, upscale
from coscale.scales import best_of
from coscale.storage import LOSSY, Jpeg, Lossy, find, for_suffix, level_in
from tests.command import coscale, fails
from tests.extras import needs

EVERY = [pytest.param(one, marks=needs(*(["jpeg"] if one.name == "jpg" else [])), id=one.name) for one in LOSSY]


@pytest.fixture(params=EVERY)
def storage(request: pytest.FixtureRequest) -> Lossy:
    return request.param


def untrained(scale: int = 2) -> Coded:
    torch.manual_seed(0)
    return Coded(scale, 4, 1).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def pair() -> Pair:
    """A pair that repeats pixels, whatever it is told, with weights of its own."""
    return Pair("coded-x2", untrained(), "0123456789abcdef" * 4)


@pytest.fixture
def photo(butterfly: Photo) -> Photo:
    return Photo(butterfly.colour[..., 40:145, 60:181])  # an LR of 53 x 61: no multiple of a block


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "coded-x2.safetensors"
    torch.manual_seed(0)
    save_file(Coded(2).state_dict(), path)
    return path


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (16, 16), (17, 33), (40, 9)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_what_a_decoder_sees(storage: Lossy, size: tuple[int, int], channels: int) -> None:
    x = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4
    lr = Photo(x, text={xmp.NOTE: '{"a": "<&>"}'})
    data = storage.encode(lr)
    seen = storage.decode(data)
    assert seen.size == size
    assert seen.text[xmp.NOTE] == '{"a": "<&>"}'
    assert storage.encode(lr) == data
    assert not storage.lossless
    # The note changes nothing of the picture; a gradient passes.
    assert torch.allclose(storage.project(x), seen.colour.mean(1, keepdim=True) if channels == 1 else seen.colour)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(storage.project(leaf).sum(), leaf)
    assert slope.equal(torch.ones_like(x))


def test_higher_quality_is_nearer_and_larger(storage: Lossy, photo: Photo) -> None:
    lr = Photo(quantize(downscale(photo.colour[..., :104, :120], 2)))
    files = [storage.at(quality).encode(lr) for quality in (5, 30, 60, 90)]
    near = [float(psnr(storage.decode(data).colour, lr.colour)) for data in files]
    assert near == sorted(near)
    assert [len(data) for data in files] == sorted(len(data) for data in files)


@pytest.mark.parametrize("quality", [0, 0.99, 101, float("nan")])
def test_no_such_quality(storage: Lossy, quality: float) -> None:
    with pytest.raises(SettingsError, match="give one from 1 to 100"):
        replace(storage, quality=quality)


def test_one_goal_at_a_time(storage: Lossy) -> None:
    for settings in ({"size": 100, "psnr": 30.0}, {"size": 100, "quality": 20.0}, {"size": 0}, {"psnr": float("inf")}):
        with pytest.raises(SettingsError):
            replace(storage, **settings)


def test_what_is_written_is_what_was_judged(storage: Lossy, photo: Photo, pair: Pair, tmp_path: Path) -> None:
    """The losses that the method kept are those of the file that is read back, as far as rounding goes."""
    encoded = encode_photo(photo, pair, Coscale("fast"), storage=storage.at(40))
    path = tmp_path / f"a{storage.suffix}"
    written = write_encoded(encoded, path)
    lr, origin = read_lr(path)
    assert lr.colour.equal(written.lr.colour)
    assert origin == written.origin
    assert path.stat().st_size == written.bytes
    if encoded.result.code is not None:
        assert float(psnr(lr.colour, encoded.lr.colour)) > 45
    assert float(encoded.result.after[0]) <= float(encoded.result.before[0])
    restored = decode_photo(lr, pair, origin)
    assert restored.size == photo.size


def test_the_method_gains_in_its_objective(storage: Lossy, photo: Photo, pair: Pair, tmp_path: Path) -> None:
    """Of the files: loss and bits together, at what a bit is worth to the method."""
    fitted = encode_photo(photo, pair, PLAIN, storage=storage.at(50)).storage
    price = (Coefficients if storage.codes else Nudges).price * (step_of(fitted.level or 0) / 255) ** 2 / (106 * 122)
    values = []
    for method in (PLAIN, Coscale("balanced")):
        encoded = encode_photo(photo, pair, method, storage=storage.at(50))
        written = write_encoded(encoded, tmp_path / f"a{storage.suffix}")
        restored = decode_photo(written.lr, pair, written.origin)
        values.append(float(WeightedLuma()(restored.colour, photo.colour)) + 8 * written.bytes * price)
    assert values[1] < values[0]


def test_fidelity_bounds_what_the_method_adds(storage: Lossy, photo: Photo, pair: Pair) -> None:
    bicubic = quantize(downscale(torch.nn.functional.pad(photo.colour, (0, 1, 0, 1), mode="replicate"), 2))
    plain = encode_photo(photo, pair, PLAIN, storage=storage.at(40))
    alone = float((plain.storage.project(plain.lr.colour) - bicubic).square().mean())
    for fidelity in (60.0, 35.0):
        encoded = encode_photo(photo, pair, Coscale("balanced", fidelity=fidelity), storage=storage.at(40))
        seen = encoded.lr.colour if encoded.result.code is not None else encoded.storage.project(encoded.lr.colour)
        assert float((seen - bicubic).square().mean()) <= alone + 10 ** (-fidelity / 10) + 2e-5


def test_a_size_is_kept_and_used(storage: Lossy, photo: Photo, pair: Pair, tmp_path: Path) -> None:
    for size in (1500, 2500):
        encoded = encode_photo(photo, pair, Coscale("instant"), storage=replace(storage, size=size))
        making = Making("0" * 64, "coscale", {"effort": "instant"})
        written = write_encoded(encoded, tmp_path / f"a{storage.suffix}", making)
        assert 0.9 * size <= written.bytes <= size


def test_a_size_out_of_reach(storage: Lossy, photo: Photo, pair: Pair) -> None:
    with pytest.raises(SettingsError, match=r"has 100 bytes or fewer at this scale; the smallest has \d+"):
        encode_photo(photo, pair, PLAIN, storage=replace(storage, size=100))


def test_a_psnr_is_reached(storage: Lossy, photo: Photo, pair: Pair, tmp_path: Path) -> None:
    wanted = replace(storage, psnr=22.0)
    row = write_and_measure(photo, pair, PLAIN, tmp_path / f"a{storage.suffix}", storage=wanted)
    assert 22 <= row.scores.psnr_y <= 22.6
    with pytest.raises(SettingsError, match=r"to 60 dB at this scale; the best reaches \d"):
        encode_photo(photo, pair, PLAIN, storage=replace(storage, psnr=60.0))


def test_grey_photos_come_back_grey(storage: Lossy, photo: Photo, pair: Pair, tmp_path: Path) -> None:
    grey = Photo(photo.colour.mean(1, keepdim=True))
    row = write_and_measure(grey, pair, Coscale("instant"), tmp_path / f"a{storage.suffix}", storage=storage)
    lr, origin = read_lr(tmp_path / f"a{storage.suffix}")
    assert decode_photo(lr, pair, origin).colour.shape == grey.colour.shape
    assert row.scores.psnr_y > 20


def test_a_grey_photo_keeps_its_profile(
    storage: Lossy, photo: Photo, pair: Pair, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Also where the format has no grey, and a profile for grey would not fit what is read."""
    grey, path = Photo(photo.colour.mean(1, keepdim=True), icc=profile(())), tmp_path / f"a{storage.suffix}"
    write_encoded(encode_photo(grey, pair, PLAIN, storage=storage), path)
    lr, origin = read_lr(path)
    restored = decode_photo(lr, pair, origin)
    assert (restored.icc, restored.channels) == (grey.icc, 1)
    assert not recwarn


@needs("jpeg")
def test_what_a_jpeg_has_no_room_for_is_told(photo: Photo, pair: Pair, tmp_path: Path) -> None:
    many = replace(photo, iptc=bytes(59_000))
    with pytest.warns(CoscaleWarning, match=r"a \.jpg file cannot hold so many XMP and IPTC data"):
        write_encoded(encode_photo(many, pair, PLAIN, storage=Jpeg()), tmp_path / "a.jpg")


def test_transparency(storage: Lossy, photo: Photo, pair: Pair, tmp_path: Path) -> None:
    clear = replace(photo, alpha=torch.linspace(0, 1, 121).expand(1, 1, 105, 121))
    if storage.name == "jpg":
        with pytest.raises(ImageError, match=r"a \.jpg file cannot hold the photo's transparency"):
            write_encoded(encode_photo(clear, pair, PLAIN, storage=storage), tmp_path / "a.jpg")
        return
    written = write_encoded(encode_photo(clear, pair, PLAIN, storage=storage), tmp_path / f"a{storage.suffix}")
    assert written.lr.alpha is not None
    assert decode_photo(written.lr, pair, written.origin).alpha is not None


def test_hcd_is_for_lossless_files(storage: Lossy, photo: Photo, pair: Pair) -> None:
    with pytest.raises(SettingsError, match="hcd is for lossless LR files; take coscale"):
        encode_photo(photo, pair, HCD(), storage=storage)


def test_other_objectives_are_for_lossless_files(storage: Lossy, photo: Photo, pair: Pair) -> None:
    for objective in (WeightedLuma(1), "ssim", "perceptual"):
        with pytest.raises(SettingsError, match="leave out the objective"):
            encode_photo(photo, pair, Coscale(objective=objective), storage=storage)


def test_a_note_that_was_stripped_or_compressed_again(
    storage: Lossy, photo: Photo, pair: Pair, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / f"a{storage.suffix}"
    written = write_encoded(encode_photo(photo, pair, PLAIN, storage=storage.at(30)), path)
    read_lr(path)
    assert not recwarn
    with Image.open(path) as image:
        image.save(tmp_path / f"b{storage.suffix}", quality=10, xmp=image.info["xmp"])
    with pytest.warns(CoscaleWarning, match="compressed or changed again"):
        lr, origin = read_lr(tmp_path / f"b{storage.suffix}")
    assert origin == written.origin
    assert decode_photo(lr, pair, origin).size == photo.size
    with Image.open(path) as image:
        tables = {"qtables": image.quantization} if storage.name == "jpg" else {}  # type: ignore[attr-defined]
        Image.fromarray(torch.tensor([0]).expand(9, 9).byte().numpy()).save(tmp_path / f"c{storage.suffix}", **tables)
    found = level_in((tmp_path / f"c{storage.suffix}").read_bytes())
    assert found == (written.origin.level if tables else 80)


def test_other_weights_are_refused(storage: Lossy, photo: Photo, pair: Pair, tmp_path: Path) -> None:
    written = write_encoded(encode_photo(photo, pair, PLAIN, storage=storage), tmp_path / f"a{storage.suffix}")
    assert len(written.origin.weights_hash) == 16
    other = Pair("coded-x2", pair.rescaler, "f" * 64)
    with pytest.raises(RescalerError, match="other weights"):
        decode_photo(written.lr, other, written.origin)


@needs("jpeg")
def test_jpeg_coefficients_are_in_the_file_as_they_are(tmp_path: Path) -> None:
    import jpeglib

    storage = Jpeg(quality=40)
    for size in ((17, 33), (16, 48), (8, 8)):
        generator = torch.Generator().manual_seed(0)
        code = storage.code_of(torch.rand(1, 3, *size, generator=generator))
        data = storage.holding(code).encode(Photo(torch.zeros(1, 3, *size)))
        planes = storage.planes_of(code, size)
        (tmp_path / "a.jpg").write_bytes(data)
        there = jpeglib.read_dct(str(tmp_path / "a.jpg"))
        for plane, found in zip(planes, (there.Y, there.Cb, there.Cr), strict=True):
            rows, columns = found.shape[:2]
            assert torch.equal(torch.tensor(found).flatten(2).float(), plane[0, :rows, :columns])
        assert torch.tensor(there.qt.astype("int64")).flatten(1)[:2].float().equal(storage.tables)


@needs("jpeg")
@pytest.mark.parametrize("quality", [3, 20, 55, 82, 96])
def test_the_simulated_jpeg_is_what_decoders_see(quality: float, butterfly: Photo) -> None:
    storage = Jpeg(quality=quality)
    lr = quantize(downscale(butterfly.colour[..., :122, :106], 2))
    seen = storage.decode(storage.encode(Photo(lr))).colour
    simulated = quantize(storage.image_of(storage.code_of(lr), (lr.shape[-2], lr.shape[-1])))
    assert float(psnr(simulated, seen)) > 45


def test_levels() -> None:
    assert [level_of(step) for step in (0, 1, 2, 4, 1e9)] == [0, 0, 32, 64, LEVELS - 1]
    assert all(level_of(step_of(level)) == level for level in range(LEVELS))
    assert told_as(torch.tensor([0.0, 1.0, 256.0])).tolist() == [0, 0, pytest.approx(1, abs=0.01)]


class Picky(Coded):
    """A rescaler that is right for the level 104 alone."""

    def told(self, level: int) -> "Picky":
        other = Picky(2, 4, 1)
        other.load_state_dict(self.state_dict())
        with torch.no_grad():
            other.up.tail.bias.fill_(abs(level - 104) / 500)  # type: ignore[union-attr]
        return other.requires_grad_(False)


def test_a_fitting_level_is_the_best_of_all(photo: Photo) -> None:
    torch.manual_seed(0)
    rescaler = Picky(2, 4, 1).requires_grad_(False)
    assert fitting_level(find("webp", asked={"quality": 80.0}), rescaler, photo.pixels[..., :104, :120]) == 104


@pytest.mark.parametrize("name", ["png", "jxl"])
def test_lossless_formats_have_no_quality(name: str) -> None:
    with pytest.raises(LRFileError, match="loses nothing and has one size; take jpg, webp, avif"):
        find(name, asked={"quality": 50.0})


def test_webp_is_both() -> None:
    assert find("webp").lossless
    assert not find("webp", asked={"size": 1000}).lossless
    assert for_suffix(".WebP", asked={"psnr": 30.0}).settings == {"psnr": 30.0}


def test_a_lossy_path_is_no_place_for_a_lossless_lr(tmp_path: Path, pair: Pair, photo: Photo) -> None:
    encoded = encode_photo(photo, pair, PLAIN)
    with pytest.raises(LRFileError, match="a lossy file would spoil an LR image"):
        write_lr(tmp_path / "a.jpg", encoded.lr, encoded.origin)


def test_down_and_up_by_the_command(storage: Lossy, photo: Photo, weights: Path, tmp_path: Path) -> None:
    write(tmp_path / "photo.png", photo)
    options = ("--weights", weights, "--effort", "instant", "--runtime", "torch")
    ask = ("--format", storage.name, "--quality", 50)
    done = coscale("downscale", tmp_path / "photo.png", *ask, *options)
    assert (done.returncode, done.stderr) == (0, "")
    lr = tmp_path / f"photo.x2{storage.suffix}"
    before = lr.stat().st_mtime_ns
    assert coscale("downscale", tmp_path / "photo.png", *ask, *options).returncode == 0
    assert lr.stat().st_mtime_ns == before  # the same again leaves it alone
    other = fails("downscale", tmp_path / "photo.png", "--format", storage.name, "--quality", 51, *options)
    assert "with other settings" in other
    assert "LR file of a 121 x 105 photo, by coded-x2" in coscale("info", lr, "--weights", weights).stdout
    done = coscale("upscale", lr, "--weights", weights)
    assert (done.returncode, done.stderr) == (0, "")
    assert read(tmp_path / "photo.restored.png").size == (105, 121)
    other_lr = tmp_path / f"b{storage.suffix}"
    size = coscale("downscale", tmp_path / "photo.png", "-o", other_lr, "--size", "2kB", *options)
    assert (size.returncode, size.stderr) == (0, "")
    assert 1700 <= other_lr.stat().st_size <= 2000


@pytest.mark.parametrize(("size", "best"), [(1200, "bicubic-x2"), (9000, "bicubic-x1")])
def test_the_best_scale_for_a_size(size: int, best: str, butterfly: Photo, tmp_path: Path) -> None:
    """It is never worse than the others at the same size, whichever that is: of a soft photo the small image."""
    soft = upscale(downscale(butterfly.colour, 2), 2).clamp(0, 1)
    photo = Photo((soft if best == "bicubic-x2" else butterfly.colour)[..., 40:168, 60:188])
    pairs = [Pair(name, Bicubic(int(name[-1]))) for name in ("bicubic-x1", "bicubic-x2")]
    storage = find("webp", asked={"size": size})
    chosen = best_of(photo, pairs, lambda pair: encode_photo(photo, pair, PLAIN, storage=storage))
    assert chosen.pair.name == best
    assert all(gain >= 0 for gain in chosen.gains.values())
    assert chosen.said.startswith(f"{best} is best")
    written = write_encoded(chosen.encoded, tmp_path / "a.webp")
    assert written.bytes <= size
    restored = decode_photo(written.lr, chosen.pair, written.origin)
    assert restored.size == photo.size
    with pytest.raises(SettingsError, match=r"bicubic-x1: no webp file .*; bicubic-x2: no webp file"):
        best_of(photo, pairs, lambda pair: encode_photo(photo, pair, PLAIN, storage=replace(storage, size=50)))


def test_the_best_scale_by_the_command(photo: Photo, weights: Path, tmp_path: Path) -> None:
    write(tmp_path / "photo.png", photo)
    options = ("--format", "webp", "--effort", "instant", "--weights", weights, "--scale", "auto")
    done = coscale("downscale", tmp_path / "photo.png", "--size", "6kB", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert "bicubic-x1 is best, " in done.stdout
    small = tmp_path / "photo.small.webp"
    assert small.stat().st_size <= 6000
    before = small.stat().st_mtime_ns
    assert coscale("downscale", tmp_path / "photo.png", "--size", "6kB", *options).returncode == 0
    assert small.stat().st_mtime_ns == before
    assert coscale("upscale", small).returncode == 0
    assert read(tmp_path / "photo.restored.png").size == photo.size
    assert "needs --size" in fails("downscale", tmp_path / "photo.png", *options, status=2)


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--quality", 0), 2, "0 is not in the range"),
        (("--quality", 50, "--size", "1kB"), 2, "give one of --quality and --size"),
        (("--size", "much"), 2, "is no number of bytes"),
        (("--format", "png", "--quality", 50), 1, "an LR file as png loses nothing"),
        (("--format", "webp", "--psnr", "nan"), 2, "psnr is nan"),
        (("--format", "webp", "--quality", 50, "--method", "hcd"), 2, "hcd is for lossless LR files"),
    ],
)
def test_bad_input(
    options: Sequence[object], status: int, said: str, butterfly_path: Path, weights: Path, tmp_path: Path
) -> None:
    out = ("-o", tmp_path / "out") if "--format" not in options else ("-o", tmp_path / f"out.{options[1]}")
    assert said in fails("downscale", butterfly_path, *out, "--weights", weights, *options, status=status)
    assert not list(tmp_path.iterdir())


@needs("serve")
def test_the_page_compares_without_loss() -> None:
    assert "take png, webp or jxl" in fails("serve", "--format", "webp", "--quality", 50, status=2)


def test_a_batch_keeps_to_a_size(storage: Lossy, photo: Photo, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "photo.png", photo)
    options = ("--weights", weights, "--effort", "instant", "--workers", 1, "--device", "cpu")
    ask = ("--format", storage.name, "--size", 2000)
    done = coscale("batch", tmp_path / "in", tmp_path / "out", *ask, *options)
    assert done.returncode == 0, done.stderr
    assert 1700 <= (tmp_path / "out" / f"photo.x2{storage.suffix}").stat().st_size <= 2000
    assert "0 done, 1 kept" in coscale("batch", tmp_path / "in", tmp_path / "out", *ask, *options).stdout


@pytest.mark.parametrize("name", ["webp", "avif"])
def test_levels_are_looked_for_a_few_times(
    name: str, photo: Photo, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search for a PSNR tries many qualities, and looks for the level at the ends and where the method runs alone."""
    fits: list[float] = []

    def counted(storage: Lossy, *others: Any) -> int:
        fits.append(storage.quality)
        return fitting_level(storage, *others)

    monkeypatch.setattr("coscale.pipeline.fitting_level", counted)
    encoded = encode_photo(photo, pair, PLAIN, storage=find(name, asked={"psnr": 22.0}))
    assert 2 < len(fits) <= 2 + 4
    assert len(set(fits)) == len(fits)
    # What is written has the level that was looked for at its own quality.
    assert isinstance(encoded.storage, Lossy)
    assert encoded.storage.quality in fits
    alone = encode_photo(photo, pair, PLAIN, storage=find(name, asked={"quality": encoded.storage.quality}))
    assert encoded.storage.level == alone.storage.level
    fits.clear()
    encode_photo(photo, pair, PLAIN, storage=find(name, asked={"size": 2000}))
    assert 0 < len(fits) <= 4


def test_a_level_is_found_from_anywhere(photo: Photo) -> None:
    """Followed down from a guess, the level is the one that is found among all."""
    rescaler = Picky(2, 4, 1).requires_grad_(False)
    storage = find("webp", asked={"quality": 50.0})
    found = [fitting_level(storage, rescaler, photo.colour, near) for near in (None, 0, 90, 104, 192, 255)]
    assert found == [104] * 6


def test_levels_in_between() -> None:
    looked: list[tuple[float, int | None]] = []

    def find_level(quality: float, near: int | None) -> int:
        looked.append((quality, near))
        return round(2 * (100 - quality))

    levels = Levels(find_level)
    assert [levels.about(quality) for quality in (50, 75, 50)] == [100, 50, 100]
    assert [quality for quality, _ in looked] == [1, 100]
    assert levels.at(60) == levels.at(60) == 80
    assert looked[2:] == [(60, 80)]
