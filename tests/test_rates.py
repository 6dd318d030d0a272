"""The study of rates: codecs, measures, curves, and rows that are made once."""

import json
import math
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features
from safetensors.torch import save_file

from coscale.collaborate import PLAIN
from coscale.errors import CoscaleError, DataError
from coscale.image import Photo, write
from coscale.lrfile import read_lr
from coscale.pipeline import write_and_measure
from coscale.report.svg import style
from coscale.reproduce import rates
from coscale.reproduce.codecs import Codec, codecs_here, jpeg_xl_distance, missing
from coscale.reproduce.contenders import LR_QUALITIES, Contenders, Making, Subject, lossy_here
from coscale.reproduce.curves import compared, rising
from coscale.reproduce.perceptual import BUTTERAUGLI, SSIMULACRA2, measures_here, perceptual
from coscale.reproduce.pictures import pixels
from coscale.reproduce.plan import RatesSettings, StudyPlan, StudySettings
from coscale.reproduce.rated import Rated, line_of, read_rated
from coscale.rescalers import Bicubic
from coscale.rescalers.coded import Coded
from coscale.storage import find, level_in
from coscale.weights.load import Loaded
from tests.command import fails
from tests.extras import needs

ROW: Mapping[str, Any] = {
    "set": "s",
    "image": "a.png",
    "image_hash": "0",
    "maker": "WebP",
    "coscale": "0",
    "height": 10,
    "width": 20,
    "quality": 5,
    "bytes": 100,
    "seconds": 0.1,
    "psnr_y": 30.0,
    "psnr_rgb": 29.0,
    "ssim_y": 0.9,
}


def row_of(**changes: Any) -> Rated:
    return Rated(**{**ROW, **changes})


@pytest.fixture
def small(butterfly: Photo) -> Photo:
    return Photo(butterfly.colour[..., 80:144, 60:140].contiguous())


def told_levels() -> tuple[Coded, list[int]]:
    """A filter that changes nothing, and the levels that it is told."""
    levels: list[int] = []

    class Listening(Coded):
        def told(self, level: int) -> "Listening":
            levels.append(level)
            return self

    return Listening(1, 4, 1).requires_grad_(False).eval(), levels


@pytest.mark.parametrize("codec", codecs_here(), ids=lambda codec: codec.name)
def test_codecs_by_quality(codec: Codec, small: Photo) -> None:
    image = pixels(small)
    files = [codec.encode(Image.fromarray(image), quality) for quality in codec.qualities]
    errors = [float(((codec.decode(data).astype(float) - image) ** 2).mean()) for data in files]
    assert [len(data) for data in files] == sorted(len(data) for data in files)
    assert errors == sorted(errors, reverse=True)
    assert 20 < 10 * math.log10(255**2 / errors[-1]) < 45
    assert codec.tells == (level_in(files[0]) != level_in(files[-1]))


def test_missing_codecs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda _: False)
    assert {"AVIF", "AVIF, slow", "WebP", "mozjpeg"} <= set(missing(codecs_here()))


def test_what_is_no_mozjpeg(tmp_path: Path, small: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    (codec,) = (codec for codec in codecs_here(tmp_path) if codec.name == "mozjpeg")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="mozjpeg needs Node"):
        codec.encode(Image.fromarray(pixels(small)), 50)
    program(tmp_path / "node", "exit 1")
    with pytest.raises(DataError, match="is not the folder of the npm package"):
        codec.encode(Image.fromarray(pixels(small)), 50)


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_distances_of_jpeg_xl() -> None:
    """As cjxl has them: 1 at 90, and one curve where the two formulas meet."""
    assert jpeg_xl_distance(90) == pytest.approx(1)
    assert jpeg_xl_distance(29) == pytest.approx(jpeg_xl_distance(30), abs=0.2)


@needs("rates")
def test_ssimulacra2_of_equals_and_of_worse(small: Photo) -> None:
    image = pixels(small)
    noise = np.random.default_rng(0).normal(0, 1, image.shape)
    found = [
        perceptual(np.clip(image + sigma * noise, 0, 255).astype(np.uint8), image, frozenset({SSIMULACRA2}))
        for sigma in (0, 3, 12)
    ]
    scores = [each[SSIMULACRA2] for each in found]
    assert scores[0] == 100
    assert 100 > scores[1] > scores[2]
    assert not perceptual(image[:7], image[:7], frozenset({SSIMULACRA2}))


def test_butteraugli_is_the_3_norm_of_libjxls_program(
    tmp_path: Path, small: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program(tmp_path / "butteraugli_main", 'test -s "$1" && test -s "$2" && printf "6.08\\n3-norm: 2.173700\\n"')
    assert BUTTERAUGLI in measures_here()
    assert perceptual(pixels(small), pixels(small), frozenset({BUTTERAUGLI})) == {BUTTERAUGLI: 2.1737}
    program(tmp_path / "butteraugli_main", "echo 6.08")
    with pytest.raises(DataError, match="gave no 3-norm"):
        perceptual(pixels(small), pixels(small), frozenset({BUTTERAUGLI}))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert BUTTERAUGLI not in measures_here()


def curve(factor: float, slope: float = 6.0) -> list[tuple[float, float]]:
    """Scores that grow by ``slope`` with each doubling of the bits."""
    return [(factor * bits, 30 + slope * math.log2(bits)) for bits in (0.125, 0.25, 0.5, 1.0, 2.0)]


@needs("rates")
def test_a_fifth_fewer_bits_everywhere() -> None:
    found = compared(curve(0.8), curve(1))
    assert found is not None
    assert found.rate == pytest.approx(-20, abs=1e-6)
    assert found.meets == pytest.approx(2, rel=1e-6)
    worse = compared(curve(1.25), curve(1))
    assert worse is not None
    assert worse.rate == pytest.approx(25, abs=1e-6)
    assert worse.meets == pytest.approx(0.125, rel=1e-6)


@needs("rates")
def test_curves_that_cross() -> None:
    """The one that grows by less is better below where they meet, at 1 bit a pixel."""
    shallow = [(bits, 30 + 4 * math.log2(bits)) for bits in (0.125, 0.25, 0.5, 1.0, 2.0)]
    found = compared(shallow, curve(1))
    assert found is not None
    assert found.meets == pytest.approx(1, rel=0.03)


@needs("rates")
def test_what_cannot_be_compared() -> None:
    assert compared(curve(1)[:3], curve(1)) is None
    assert compared([(bits, score + 100) for bits, score in curve(1)], curve(1)) is None
    assert compared([(1.0, math.inf)] * 5, curve(1)) is None


def test_a_rising_curve() -> None:
    assert rising([(2, 30), (1, 31), (3, 32), (3, 33), (4, math.inf)]) == [(1, 31), (3, 32)]


def test_rows_come_back(tmp_path: Path) -> None:
    rows = [row_of(), row_of(psnr_y=math.inf, quality=6, butteraugli=1.5)]
    path = tmp_path / "rates.jsonl"
    path.write_text("".join(line_of(row) + "\n" for row in rows) + line_of(rows[0])[:40])
    assert list(read_rated(path).values()) == rows
    assert rows[0].bits == 4
    assert [row.has([BUTTERAUGLI]) for row in rows] == [False, True]


@pytest.mark.parametrize("wrong", [{"bytes": 0}, {"bytes": "1"}, {"quality": True}, {"maker": None}, {"psnr_y": "x"}])
def test_rows_of_wrong_types_are_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "rates.jsonl"
    path.write_text(json.dumps(dict(ROW) | wrong) + "\n")
    with pytest.raises(DataError, match=r"does not hold rows of the study of rates \(line 1: "):
        read_rated(path)


def contenders(filtered: Loaded | None = None, codecs: Sequence[Codec] | None = None) -> Contenders:
    torch.manual_seed(0)
    pair = Loaded("coded-x2", Coded(2, 4, 1).requires_grad_(False).eval(), "1" * 64)
    usual = [codec for codec in codecs_here() if codec.name in ("JPEG", "WebP")]
    found = usual if codecs is None else codecs
    return Contenders(tuple(found), pair, Loaded("bicubic-x4", Bicubic(4)), filtered, frozenset(), quick=True)


def test_an_lr_file_is_the_one_that_the_pipeline_writes(small: Photo, tmp_path: Path) -> None:
    """Its bytes and scores are those of a file that is written, read again and restored, note and all."""
    found = contenders()
    subject = Subject("s", "a.png", "0", small)
    (making,) = (each for each in found.of(small) if (each.maker, each.quality) == ("LR webp", 40))
    row = found.rate(subject, making)
    storage = find("webp", asked={"quality": 40.0})
    expected = write_and_measure(small, found.lossy, PLAIN, tmp_path / "a.webp", storage=storage)
    assert row.psnr_y == pytest.approx(expected.scores.psnr_y, abs=1e-6)
    assert row.bytes == expected.lr_bytes
    assert row.size == small.size
    assert row.weights_hash == found.lossy.weights_hash
    assert read_lr(tmp_path / "a.webp")[1] is not None


def test_every_maker_has_a_curve(small: Photo) -> None:
    found = contenders(Loaded("coded-x1", told_levels()[0], "2" * 64))
    makers = [making.maker for making in found.of(small)]
    forms = [storage.name for storage in lossy_here()]
    assert {maker: makers.count(maker) for maker in makers} == {
        **dict.fromkeys(("JPEG", "WebP", "JPEG + filter", "WebP + filter"), 4),
        **{f"LR {form}{ending}": 4 for form in forms for ending in ("", " + coscale")},
        "LR png bicubic-x4 + coscale": 1,
    }
    assert set(forms) <= LR_QUALITIES.keys()


def test_the_filter_is_told_what_restores_most(small: Photo) -> None:
    """By JPEG its tables say it; for what keeps its quality to itself levels are tried, and one that is right wins."""
    network, levels = told_levels()
    with_filter = contenders(Loaded("coded-x1", network, "2" * 64))
    makings = {(each.maker, each.quality): each for each in with_filter.of(small)}
    codec = with_filter.codecs[0]
    made = makings["JPEG + filter", 28].make()
    data = codec.encode(Image.fromarray(pixels(small)), 28)
    assert made.bytes == len(data)
    assert levels == [level_in(data)]
    assert pixels(made.restored).tolist() == codec.decode(data).tolist()

    class Picky(Coded):
        def told(self, level: int) -> "Picky":
            other = Picky(1, 4, 1)
            other.load_state_dict(self.state_dict())
            with torch.no_grad():
                other.up.tail.bias.fill_(abs(level - 104) / 500)  # type: ignore[union-attr]
            return other.requires_grad_(False)

    picky = contenders(Loaded("coded-x1", Picky(1, 4, 1).requires_grad_(False), "2" * 64))
    (making,) = (each for each in picky.of(small) if (each.maker, each.quality) == ("WebP + filter", 28))
    webp = picky.codecs[1]
    seen = webp.decode(webp.encode(Image.fromarray(pixels(small)), 28))
    assert pixels(making.make().restored).tolist() == seen.tolist()


@pytest.fixture
def planned(tmp_path: Path, small: Photo) -> StudyPlan:
    write(tmp_path / "data" / "a.png", small)
    write(tmp_path / "data" / "b.png", Photo(small.colour.flip(-1)))
    quick = StudySettings(x4=("bicubic-x4",), main="bicubic-x4", quick=True)
    return StudyPlan(quick, {"Set5-2": (tmp_path / "data" / "a.png", tmp_path / "data" / "b.png")})


def test_files_are_made_once(planned: StudyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str]] = []
    found = contenders(codecs=[codec for codec in codecs_here() if codec.name == "JPEG"])

    def of(self: Contenders, photo: Photo) -> list[Making]:
        return [making for making in _whole(self, photo) if making.maker in ("JPEG", "LR png bicubic-x4 + coscale")]

    def rate(self: Contenders, subject: Subject, making: Making) -> Rated:
        made.append((subject.image, making.maker))
        if len(made) == 7:
            raise KeyboardInterrupt
        return replace(_rate(self, subject, making), ssimulacra2=50.0 if SSIMULACRA2 in self.measures else None)

    _whole, _rate = Contenders.of, Contenders.rate
    monkeypatch.setattr(Contenders, "of", of)
    monkeypatch.setattr(Contenders, "rate", rate)
    path, told = tmp_path / "rates.jsonl", []
    failures: list[CoscaleError] = []
    arguments = (path, lambda *so_far: told.append(so_far), failures.append)
    with pytest.raises(KeyboardInterrupt):
        rates.measure(planned, found, *arguments)
    with path.open("a") as file:
        file.write('{"set": "Set5')  # a line that a stop cut short
    whole = rates.measure(planned, found, *arguments)
    assert len(made) == 10 + 1  # the one that was stopped is made again
    assert told[-1] == (10, 10)
    assert [(row.image, row.maker) for row in whole] == [*made[:6], *made[7:]]
    assert rates.measure(planned, found, *arguments) == whole
    assert len(made) == 11
    # A measure that is new here is taken of every file; a photo that has changed is another.
    again = rates.measure(planned, replace(found, measures=frozenset({SSIMULACRA2})), *arguments)
    assert len(made) == 21
    assert all(row.ssimulacra2 == 50 for row in again)
    write(planned.sets["Set5-2"][1], Photo(torch.zeros(1, 3, 64, 80)))
    rates.measure(planned, found, *arguments)
    assert len(made) == 26
    planned.sets["Set5-2"][1].write_bytes(b"no photo")
    assert len(rates.measure(planned, found, *arguments)) == 5
    assert ["b.png" in str(failure) for failure in failures] == [True]


@needs("report", "rates")
def test_tables_and_curves() -> None:
    """An LR file that takes three quarters of the bytes says so, by the scores that were measured alone."""
    rows = [
        row_of(set=of, image=f"{number}.png", maker=maker, quality=quality, bytes=round(share * 20 * 2**quality))
        for of in ("s", "t")
        for number in range(2)
        for maker, share in (("WebP", 1.0), ("LR webp + coscale", 0.75), ("WebP + filter", 0.9))
        for quality in range(1, 7)
    ]
    rows = [
        replace(
            row,
            psnr_y=20.0 + 3 * row.quality,
            psnr_rgb=19.0 + 3 * row.quality,
            ssim_y=0.5 + row.quality / 20,
            butteraugli=9.0 - row.quality,
        )
        for row in rows
    ]
    with style():
        found = rates.rates(rows, "Not measured: x.")
    assert found is not None
    table = found.tables["rates"]
    assert table.note.endswith("Not measured: x.")
    assert [row[:4] for row in table.rows] == [
        (group, "LR webp + coscale", rival, photos)
        for group, photos in (("s", 2), ("t", 2), ("all", 4))
        for rival in ("WebP", "WebP + filter")
    ]
    for row in table.rows:
        expected = -25 if row[2] == "WebP" else pytest.approx(-100 / 6, abs=0.5)
        assert [row[4], row[5], row[6], row[8]] == [pytest.approx(expected, abs=0.5)] * 4
        assert row[7] is None
        assert row[10] is None
    assert len(found.tables["rates-photos"].rows) == 8
    (axes,) = found.drawing.figure.axes
    assert axes.get_title(loc="left") == "PSNR-Y, dB"
    assert {line.get_label() for line in axes.lines} == {"WebP", "WebP + filter", "LR webp + coscale"}
    assert rates.rates([]) is None


def test_which_photos_are_measured(tmp_path: Path, butterfly: Photo) -> None:
    folder = tmp_path / "CID22"
    for number in range(30):
        write(folder / f"{number:02}.png", Photo(butterfly.colour[..., :8, :8]))
    write(folder / "grey.png", Photo(butterfly.colour[:, :1, :8, :8]))
    names = {"Set14": ("a", "b"), "DIV2K-valid-4": ("c",), "Set5": ("d",)}
    sets = {of: tuple(folder / f"{number:02}.png" for number in range(len(some))) for of, some in names.items()}
    sets["Set14"] += (folder / "grey.png",)
    settings = StudySettings(rates=RatesSettings(cid22=folder))
    found = StudyPlan(settings, sets).rated()
    assert [of for of, _ in found[:4]] == ["Set14", "DIV2K-valid-4", "CID22", "Set14"]
    assert len([path for of, path in found if of == "CID22"]) == 24
    assert all(path.stem != "grey" for _, path in found)
    assert {of for of, _ in StudyPlan(StudySettings(), {"Set5": sets["Set5"]}).rated()} == {"Set5"}
    assert len(StudyPlan(replace(settings, quick=True), sets).rated()) == 2 + 1 + 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no photo in colour"):
        StudyPlan(StudySettings(rates=RatesSettings(cid22=tmp_path / "empty")), sets).rated()


def test_the_middle_of_a_photo() -> None:
    photo = Photo(torch.arange(100 * 90, dtype=torch.float32).view(1, 1, 100, 90) / 9000)
    part = rates.part_of(photo, (64, 200))
    assert part.size == (64, 80)
    assert torch.equal(part.pixels, photo.pixels[..., 18:82, 5:85])


@needs("report", "rates")
def test_bad_input_of_the_command(tmp_path: Path, butterfly: Photo) -> None:
    write(tmp_path / "data" / "Set5" / "butterfly.png", butterfly)
    small = ("--x2", "bicubic-x2", "--x4", "bicubic-x4", "--main", "bicubic-x4", "--quick")
    command = ("reproduce", "rates", "--data", tmp_path / "data", "-o", tmp_path / "out", *small)
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert "other.safetensors" in fails(*command, "--filter", tmp_path / "other.safetensors")
    assert "cannot be listed" in fails(*command, "--cid22", tmp_path / "nowhere")
    (tmp_path / "out" / "rates.jsonl").write_text("{}\n")
    assert "does not hold rows of the study of rates (line 1: it has no set)" in fails(*command)
