"""The evaluation measures files, by the protocol."""

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from coscale.collaborate import HCD, PLAIN, Coscale
from coscale.errors import CoscaleError, DataError, EngineError, ImageError
from coscale.evaluate import Settings, benchmark_photo, evaluate, find_sets, identity
from coscale.files import jsonable
from coscale.image import Photo, read, write
from coscale.lrfile import read_lr
from coscale.measurement import Measurement, arguments_of, scores_of
from coscale.metrics import compare
from coscale.objectives import WeightedLuma
from coscale.pipeline import decode_photo
from coscale.quantize import quantize
from coscale.report.tables import markdown_table, summarise, text_table
from coscale.storage import find
from coscale.weights.load import Loaded, load
from coscale.workers import Workers
from tests.command import coscale, fails
from tests.rows import row_of_json


@pytest.fixture
def folder(tmp_path: Path, crop: torch.Tensor) -> Path:
    """Two sets: one of two photos, one of a grey one; sizes that are no multiples of 2."""
    write(tmp_path / "colour" / "a.png", Photo(crop[..., :31, :40]))
    write(tmp_path / "colour" / "b.png", Photo(crop[..., 8:40, :33]))
    write(tmp_path / "grey" / "c.png", Photo(crop[:, :1]))
    (tmp_path / "grey" / "readme.txt").touch()
    return tmp_path


def test_sets_are_found(folder: Path) -> None:
    sets = find_sets([folder])
    assert {name: [p.name for p in paths] for name, paths in sets.items()} == {
        "colour": ["a.png", "b.png"],
        "grey": ["c.png"],
    }
    assert list(find_sets([folder / "grey"])) == ["grey"]
    with pytest.raises(DataError, match="not a folder"):
        find_sets([folder / "grey" / "c.png"])
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        find_sets([folder / "empty"])


def test_rows(folder: Path) -> None:
    pair = load("irn-x2-4b")
    rows = list(evaluate(find_sets([folder]), pair, Settings(HCD(hr_steps=1, lr_steps=2))))
    assert [(row.set, row.image, row.height, row.width) for row in rows] == [
        ("colour", "a.png", 30, 40),
        ("colour", "b.png", 32, 32),
        ("grey", "c.png", 48, 48),
    ]
    for row in rows:
        assert row.before is not None
        assert row.lr.psnr_g is not None
        assert row.scores.psnr_rgb >= row.before.psnr_rgb - 1e-3
        assert row.weights_hash == pair.weights_hash
        assert row.arguments["lr_steps"] == 2
        assert row.lr_bytes > 500
        assert 25 < row.lr.psnr_bicubic < row.lr.psnr_g
        assert Measurement.from_json(jsonable(row.to_json())) == row


def test_numbers_are_those_of_8_bit_images(folder: Path) -> None:
    pair = load("irn-x2-4b")
    (row,) = evaluate(find_sets([folder / "grey"]), pair, Settings(PLAIN))
    original = read(folder / "grey" / "c.png").colour.expand(-1, 3, -1, -1)
    restored = pair.rescaler.upscale(quantize(pair.rescaler.downscale(original)))
    restored = quantize(restored.mean(1, keepdim=True)).expand(-1, 3, -1, -1)  # grey comes back grey
    for name, value in compare(restored, original, 2).items():
        assert vars(row.scores)[name] == pytest.approx(float(value), abs=1e-4)
    assert row.before is None


def test_a_bad_image_stops_nobody_else(folder: Path) -> None:
    (folder / "colour" / "a.png").write_text("no image")
    errors: list[CoscaleError] = []
    rows = list(evaluate(find_sets([folder]), load("bicubic-x2"), Settings(PLAIN), failed=errors.append))
    assert [row.image for row in rows] == ["b.png", "c.png"]
    assert "a.png is not a JPEG" in str(errors[0])
    with pytest.raises(ImageError):
        next(evaluate(find_sets([folder]), load("bicubic-x2"), Settings(PLAIN)))


def test_one_folder_is_measured_once(folder: Path) -> None:
    (folder / "grey" / "again").symlink_to(folder / "grey")
    assert {name: len(paths) for name, paths in find_sets([folder, folder / "grey"]).items()} == {
        "colour": 2,
        "grey": 1,
    }


def test_two_sets_of_one_name(folder: Path) -> None:
    write(folder / "more" / "colour" / "d.png", Photo(torch.zeros(1, 3, 8, 8)))
    with pytest.raises(DataError, match="called colour"):
        find_sets([folder / "colour", folder / "more"])


def test_too_small_for_the_scale(tmp_path: Path) -> None:
    Image.new("RGB", (3, 9)).save(tmp_path / "thin.png")
    with pytest.raises(DataError, match="smaller than the scale 4"):
        benchmark_photo(tmp_path / "thin.png", 4)


def test_tables() -> None:
    def row(name: str, method: str, value: float) -> Measurement:
        return Measurement.from_json(row_of_json(set=name, method=method, psnr_y=value))

    means = summarise([row("s", "none", 30), row("s", "hcd", 32), row("s", "none", 31), row("t", "none", 40)])
    assert [(m.set, m.method, m.images, m.psnr_y) for m in means] == [
        ("s", "none", 2, 30.5),
        ("s", "hcd", 1, 32),
        ("t", "none", 1, 40),
    ]
    assert text_table(("set", "dB"), [("a", "9.5"), ("long", "10.25")]) == "set      dB\na       9.5\nlong  10.25"
    assert markdown_table(("set", "dB"), [("a", "9.5")]) == "| set | dB |\n| --- | ---: |\n| a | 9.5 |"


def test_workers_measure_the_same(folder: Path) -> None:
    (folder / "grey" / "d.png").write_bytes(b"no image")
    pair, sets, errors = load("light-x2"), find_sets([folder]), []
    alone = list(evaluate(sets, pair, Settings(HCD(hr_steps=0, lr_steps=2)), failed=errors.append))
    with Workers(partial(load, "light-x2"), 2) as run:
        together = list(evaluate(sets, pair, Settings(HCD(hr_steps=0, lr_steps=2)), failed=errors.append, run=run))
    assert [(row.image, row.scores.psnr_y) for row in together] == [
        (row.image, pytest.approx(row.scores.psnr_y, abs=1e-3)) for row in alone
    ]
    assert len(errors) == 2
    assert str(errors[0]) == str(errors[1])


def test_a_worker_that_dies_is_told(folder: Path) -> None:
    with Workers(_dies, 2) as run, pytest.raises(EngineError, match="a worker died"):
        list(evaluate(find_sets([folder]), load("bicubic-x2"), Settings(PLAIN), run=run))


def _dies() -> Loaded:
    os._exit(9)


def test_settings_of_a_method_are_told_apart() -> None:
    near, far = (Coscale(objective=WeightedLuma(luma)) for luma in (0.3, 0.4))
    assert arguments_of(near, "float32") != arguments_of(far, "float32")
    assert all(isinstance(value, str | int | float | None) for value in arguments_of(near, "float32").values())


@pytest.mark.parametrize(
    "wrong",
    [{"stopped": 5}, {"course": 3}, {"course": {"hr": 7}}, {"course": {"hr": {"loss": 1}}}]
    + [{"objective": value} for value in ("ssim", {"name": "ssim"}, {"name": "dists", "before": 1.0, "after": 0.5})],
)
def test_rows_of_wrong_types_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DataError, match=next(iter(wrong))):
        Measurement.from_json(row_of_json(**wrong))


def test_objectives_by_name_are_in_the_rows(folder: Path) -> None:
    sets, pair = {"colour": [folder / "colour" / "a.png"]}, load("light-x2")
    for name in ("ssim", "perceptual"):
        (row,) = evaluate(sets, pair, Settings(Coscale("fast", objective=name)))
        assert row.arguments["objective"] == name
        assert row.objective is not None
        assert row.objective.name == name
        assert 0 < row.objective.after < row.objective.before < 1
        assert "steps" not in row.arguments  # which are for squared errors
        row = replace(row, course=None)  # where NaN, which is no equal of itself, stands for what was not measured
        assert Measurement.from_json(jsonable(row.to_json())) == row


def test_psnr_by_name_is_the_default() -> None:
    assert arguments_of(Coscale(objective="psnr"), "float32") == arguments_of(Coscale(), "float32")


def test_lossy_files_are_read_again(folder: Path, tmp_path: Path) -> None:
    """Scores are those of the file that was kept, and rows tell formats and qualities apart."""
    pair, asked = load("coded-x2"), {"quality": 40.0}
    storages = (find("webp", asked=asked), find("webp", asked={"quality": 41.0}), find("webp"), find("png"))
    rows = []
    for number, storage in enumerate(storages):
        kept = tmp_path / f"kept-{number}"
        kept.mkdir()
        settings = Settings(PLAIN, storage=storage, keep=kept)
        (row,) = evaluate({"colour": [folder / "colour" / "a.png"]}, pair, settings)
        (file,) = kept.iterdir()
        assert file.suffix == storage.suffix
        assert row.lr_bytes == file.stat().st_size
        lr, origin = read_lr(file)
        restored = decode_photo(lr, pair, origin)
        original = benchmark_photo(folder / "colour" / "a.png", 2)
        assert row.scores == scores_of(restored, original, 2)
        assert Measurement.from_json(jsonable(row.to_json())) == row
        rows.append(row)
    assert [row.arguments for row in rows] == [
        {"format": "webp", "quality": 40.0},
        {"format": "webp", "quality": 41.0},
        {"format": "webp"},
        {},
    ]
    assert len({identity(row) for row in rows}) == 4
    again = evaluate(
        {"colour": [folder / "colour" / "a.png"]},
        pair,
        Settings(PLAIN, storage=storages[0]),
        earlier={identity(row): row for row in rows},
    )
    assert list(again) == rows[:1]


def test_the_command_measures_lossy_files(folder: Path) -> None:
    rows, colour = folder / "rows.jsonl", folder / "colour"
    command = ("eval", colour, "--precision", "float32", "--format", "webp")
    half = ("--quality", 50, "-o", rows)
    done = coscale(*command, *half)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [(row["rescaler"], row["method"], row["arguments"]["quality"]) for row in found] == [
        ("coded-x2", method, 50) for method in ("none", "none", "coscale", "coscale")
    ]
    size = coscale(*command, "--size", 900, "--json", "--method", "none")
    assert [json.loads(line)["lr_bytes"] <= 900 for line in size.stdout.splitlines()] == [True, True]
    before = rows.read_text()
    assert coscale(*command, *half).returncode == 0
    assert rows.read_text() == before
    assert "hcd is for lossless LR files" in fails(*command, *half, "--method", "hcd", status=2)
    assert "give one of --quality and --psnr" in fails(*command, "--quality", 50, "--psnr", 30, status=2)
    assert rows.read_text() == before
    short = coscale(*command, "--size", 100, "--method", "none")
    assert short.returncode == 1
    assert short.stderr.count("has 100 bytes or fewer") == 2


def test_lossless_formats_by_the_command(folder: Path) -> None:
    """A file of another format has another size, so its row is another."""
    rows = folder / "rows.jsonl"
    for form in ("png", "webp"):
        options = ("--format", form, "--method", "none", "--rescaler", "bicubic-x2", "-o", rows)
        assert coscale("eval", folder / "grey", *options).returncode == 0
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row["arguments"] for row in found] == [{}, {"format": "webp"}]
    assert found[0]["lr_bytes"] != found[1]["lr_bytes"]
