"""The command as a user runs it."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import fields
from itertools import product
from pathlib import Path

import pytest
import torch
from PIL import Image

from coscale.cli.options import DEFAULT_RESCALER
from coscale.cli.photos import downscale
from coscale.collaborate import METHODS
from coscale.files import sha256
from coscale.image import Photo, read, write
from coscale.rescalers import find
from coscale.weights.load import bundled
from tests.command import coscale, fails
from tests.patience import PATIENCE, until
from tests.test_image import png_header

QUICK = ("--effort", "fast")


def alone(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "coscale", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def photo(tmp_path: Path, crop: torch.Tensor) -> Path:
    """A photo of 47 x 31 pixels in a folder of its own."""
    path = tmp_path / "photos" / "photo.png"
    write(path, Photo(crop[..., :31, :47]))
    return path


def test_there_and_back(photo: Path) -> None:
    down = alone("downscale", photo, *QUICK)
    assert down.returncode == 0, down.stderr
    assert down.stderr == ""  # no progress bar where there is no terminal
    assert "47 x 31" in down.stdout
    assert "coscale gained " in down.stdout
    assert "PSNR" not in down.stdout
    lr = photo.parent / "photo.x2.png"
    with Image.open(lr) as image:
        assert image.size == (24, 16)
    up = alone("upscale", lr)
    assert up.returncode == 0, up.stderr
    assert read(photo.parent / "photo.restored.png").size == (31, 47)
    assert sorted(p.name for p in photo.parent.iterdir()) == ["photo.png", "photo.restored.png", "photo.x2.png"]


def test_reported_psnr_is_that_of_the_file(photo: Path) -> None:
    row = json.loads(coscale("downscale", photo, *QUICK, "--measure", "--json").stdout)
    assert (row["method"], row["passes"], row["stopped"]) == ("coscale", 2, "passes")
    assert row["before"]["psnr_rgb"] <= row["psnr_rgb"] + 1e-3
    coscale("upscale", photo.parent / "photo.x2.png")
    from coscale.metrics import compare

    restored, original = read(photo.parent / "photo.restored.png"), read(photo)
    assert row["psnr_y"] == pytest.approx(float(compare(restored.colour, original.colour, 2)["psnr_y"]), abs=1e-3)
    assert row["lr_bytes"] == (photo.parent / "photo.x2.png").stat().st_size


def test_other_rescalers_and_images(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    assert coscale("downscale", photo, "-o", out, "--rescaler", "bicubic-x4", "--method", "none").returncode == 0
    assert read(out).size == (8, 12)
    assert coscale("upscale", photo, "--rescaler", "bicubic-x2", "-o", tmp_path / "big.jpg").returncode == 0
    assert read(tmp_path / "big.jpg").size == (62, 94)
    lr = tmp_path / "i.png"
    coscale("downscale", photo, "-o", lr, "--method", "none", "--rescaler", "irn-x2-4b")
    for seed in (1, 2):
        assert coscale("upscale", lr, "--sample", seed, "-o", tmp_path / f"s{seed}.png").returncode == 0
    assert not torch.equal(read(tmp_path / "s1.png").colour, read(tmp_path / "s2.png").colour)
    assert "gives noise" in coscale("upscale", lr, "--sample", 3).stderr


def test_little_memory(photo: Path, butterfly_path: Path) -> None:
    done = coscale("downscale", butterfly_path, "-o", photo.parent / "b.png", *QUICK, "--memory", "20MB")
    assert done.returncode == 0
    assert done.stderr.startswith("coscale: memory is short: working in tiles of ")
    assert len(done.stderr.splitlines()) == 1


def test_folders_skip_and_go_on(photo: Path, tmp_path: Path) -> None:
    folder, out = photo.parent, tmp_path / "out"
    (folder / "sub").mkdir()
    (folder / "sub" / "other.png").write_bytes(photo.read_bytes())
    (folder / "broken.png").write_text("not a picture")
    options = ("downscale", folder, "-o", out, "--rescaler", "bicubic-x2", "--method", "none", "--json")
    first = coscale(*options)
    assert first.returncode == 1
    assert first.stderr.count("broken.png is not a JPEG") == 1
    assert "1 of 3 failed" in first.stderr
    assert (out / "photo.x2.png").exists()
    assert (out / "sub" / "other.x2.png").exists()
    again = [json.loads(line) for line in coscale(*options).stdout.splitlines()]
    assert [row.get("skipped", False) for row in again] == [False, True, True]
    assert "error" in again[0]
    before = (out / "photo.x2.png").stat().st_mtime_ns
    coscale(*options, "--overwrite")
    assert (out / "photo.x2.png").stat().st_mtime_ns > before
    assert coscale("upscale", out, "-o", tmp_path / "back").returncode == 0
    assert read(tmp_path / "back" / "sub" / "other.png").size == (31, 47)


def test_eval(photo: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rescalers = ("--rescaler", "bicubic-x2", "--rescaler", DEFAULT_RESCALER)
    methods = ("--method", "none", "--method", "hcd", "--method", "coscale", "--hr-steps", "1", "--lr-steps", "1")
    done = coscale("eval", photo.parent, *rescalers, *methods, *QUICK, "-o", rows)
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()
    assert len(table) == 7
    assert table[1].split()[:4] == ["photos", "bicubic-x2", "none", "1"]
    stored = [json.loads(line) for line in rows.read_text().splitlines()]
    names = ("bicubic-x2", DEFAULT_RESCALER)
    assert [(r["rescaler"], r["method"]) for r in stored] == list(product(names, ("none", "hcd", "coscale")))
    assert f"{stored[5]['psnr_y']:.2f}" in table[6]
    for key in ("psnr_rgb", "psnr_cb", "psnr_cr"):
        assert stored[5][key] > 0
    # Bicubic's LR is bicubic, so its PSNR is infinite: null, since JSON has no word for it.
    assert stored[0]["lr_psnr_bicubic"] is None


def test_eval_goes_on(photo: Path, tmp_path: Path) -> None:
    (photo.parent / "broken.png").write_text("no image")
    rows = tmp_path / "rows.jsonl"
    options = ("--rescaler", "bicubic-x2", "--method", "none")
    done = coscale("eval", photo.parent, *options, "-o", rows)
    assert done.returncode == 1
    assert "1 of 2 failed" in done.stderr
    assert len(rows.read_text().splitlines()) == 1
    assert "it is a folder" in fails("eval", photo.parent, *options, "-o", tmp_path)
    # What is there is not measured again, and a line that a kill cut short is.
    (photo.parent / "broken.png").unlink()
    whole = rows.read_text()
    rows.write_text(whole.replace('"torch": "', '"torch": "earlier ') + whole[:50])
    again = coscale("eval", photo.parent, *options, "-o", rows)
    assert again.returncode == 0, again.stderr
    assert rows.read_text() == whole.replace('"torch": "', '"torch": "earlier ')
    assert len(again.stdout.splitlines()) == 2
    rows.write_text("no rows\n")
    assert "--overwrite" in fails("eval", photo.parent, *options, "-o", rows)
    assert coscale("eval", photo.parent, *options, "-o", rows, "--overwrite").returncode == 0
    assert json.loads(rows.read_text())["image"] == "photo.png"


def test_models_and_info(photo: Path) -> None:
    models = [json.loads(line) for line in coscale("models", "--json").stdout.splitlines()]
    assert {"bicubic-x2", "bicubic-x4", "irn-x2", "irn-x4", DEFAULT_RESCALER} <= {row["name"] for row in models}
    assert bundled(find(DEFAULT_RESCALER)).exists()
    coscale("downscale", photo, "--method", "none")
    lr = json.loads(coscale("info", photo.parent / "photo.x2.png", "--json").stdout)
    assert (lr["width"], lr["height"], lr["restores"]) == (24, 16, "yes")
    assert (lr["origin"]["width"], lr["origin"]["height"]) == (47, 31)
    assert "not an LR file" in coscale("info", photo).stdout


@pytest.mark.parametrize("command", ["downscale", "upscale", "info"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.png", "does not exist"),
        ("text.png", "is not a JPEG"),
        ("cut.jpg", "damaged or cut short"),
        ("empty.png", "is empty"),
        ("huge.png", "60000 x 60000"),
    ],
)
def test_bad_images(tmp_path: Path, butterfly: Photo, command: str, name: str, message: str) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    (tmp_path / "huge.png").write_bytes(png_header(60_000, 60_000))
    write(tmp_path / "cut.jpg", butterfly)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:5000])
    before = sorted(tmp_path.iterdir())
    assert message in fails(command, tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_bad_uses(photo: Path, tmp_path: Path) -> None:
    assert "no rescaler 'irn-x3'" in fails("downscale", photo, "--rescaler", "irn-x3")
    assert "--weights FILE" in fails("downscale", photo, "--rescaler", "irn-x2")
    assert "is a folder" in fails("downscale", photo.parent, status=2)
    assert "give --rescaler" in fails("upscale", photo, status=2)
    assert "must end in .avif or .jpg or .jxl or" in fails("downscale", photo, "-o", tmp_path / "a.bmp", status=2)
    assert "is a folder" in fails("info", photo.parent)
    if not torch.cuda.is_available():
        assert "no CUDA device" in fails("downscale", photo, "--device", "cuda", status=2)
    assert "--alpha" in fails("downscale", photo, "--method", "hcd", "--alpha", "-1", status=2)
    assert "alpha is nan" in fails("downscale", photo, "--method", "hcd", "--alpha", "nan", status=2)
    assert "--alpha is a setting of --method hcd" in fails("downscale", photo, "--alpha", "0.1", status=2)
    assert "of --method coscale" in fails("eval", photo.parent, "--method", "hcd", "--luma", "1", status=2)
    assert "of --method coscale" in fails("downscale", photo, "--method", "hcd", "--objective", "ssim", status=2)
    assert "of --objective psnr" in fails("downscale", photo, "--objective", "ssim", "--luma", "1", status=2)
    assert "leave out the objective" in fails("downscale", photo, "--objective", "ssim", "--format", "jpg", status=2)
    assert "'dists' is not one of" in fails("downscale", photo, "--objective", "dists", status=2)
    assert "fidelity is inf" in fails("downscale", photo, "--fidelity", "inf", status=2)
    assert "'l7' is not one of" in fails("downscale", photo, "--norm", "l7", status=2)
    assert "--seed" in fails("downscale", photo, "--seed", "99999999999999999999", status=2)
    assert "no number of bytes" in fails("downscale", photo, "--memory", "lots", status=2)
    assert "memory is 0" in fails("downscale", photo, "--memory", "0GiB", status=2)
    assert "--tile" in fails("upscale", photo, "--tile", "0", status=2)
    assert "make it larger" in fails("downscale", photo, "--tile", "9", status=2)
    assert "give --memory" in fails("downscale", photo, "--memory", "9kB")
    assert "Missing argument" in fails("downscale", status=2)
    assert "No such command" in fails("shrink", status=2)
    assert "File name too long" in fails("downscale", "a" * 300 + ".png", "--rescaler", "bicubic-x2")
    assert sorted(photo.parent.iterdir()) == [photo]


def test_lr_of_other_weights(photo: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(bundled(find(DEFAULT_RESCALER)))
    tensors["up.head.bias"] += 0.01
    other = tmp_path / "other.safetensors"
    save_file(tensors, other)
    lr = tmp_path / "lr.png"
    assert coscale("downscale", photo, "--method", "none", "--weights", other, "-o", lr).returncode == 0
    assert "other weights" in fails("upscale", lr)
    assert not (tmp_path / "lr.restored.png").exists()
    assert "no, the LR file was made by other weights" in coscale("info", lr).stdout
    assert coscale("upscale", lr, "--weights", other).returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_is_not_writable(photo: Path) -> None:
    photo.parent.chmod(0o555)
    try:
        assert "not writable" in fails("downscale", photo, *QUICK)
    finally:
        photo.parent.chmod(0o755)


def test_output_folder_that_is_a_file(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    assert "is a file, not a folder" in fails("downscale", photo, "-o", tmp_path / "out" / "a.png")


def test_full_disk(photo: Path) -> None:
    # A limit on the size of files stops the write half-way, as a full disk does.
    limited = f"ulimit -f 1; exec {sys.executable} -m coscale downscale {photo} --method none"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True)
    assert done.returncode == 1
    assert "was not written" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(photo.parent.iterdir()) == [photo]


def test_kill_of_a_background_job(photo: Path, tmp_path: Path) -> None:
    # A shell starts background jobs with Ctrl-C ignored; a plain kill must work all the same.
    code, reached = waiting_at("coscale.tiles.within_room", tmp_path)
    line = shlex.join([sys.executable, "-c", code, "downscale", str(photo), *QUICK])
    command = f"{line} & echo $!; wait $!"
    shell = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert shell.stdout is not None
    job = int(shell.stdout.readline())
    until(reached.exists, lambda: shell.poll() is None)
    os.kill(job, signal.SIGTERM)
    _, errors = shell.communicate(timeout=PATIENCE)
    assert shell.returncode == 1
    assert errors.strip().startswith("coscale: interrupted")
    assert sorted(photo.parent.iterdir()) == [photo]


def waiting_at(place: str, folder: Path) -> tuple[str, Path]:
    """Code of the command that waits for a signal when it has got to a function, and the file that then appears."""
    reached = folder / "reached"
    module, name = place.rsplit(".", 1)
    code = (
        f"import threading, pathlib, {module}\n"
        f"def wait(*a, **k): pathlib.Path({str(reached)!r}).touch(); threading.Event().wait()\n"
        f"{module}.{name} = wait\n"
        "from coscale.cli import main; main()"
    )
    return code, reached


def test_names_that_are_no_text(photo: Path) -> None:
    odd = photo.parent / os.fsdecode(b"odd\xff.png")
    odd.write_bytes(photo.read_bytes())
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "coscale", "downscale", odd, "--rescaler", "bicubic-x2", "--method", "none"]
    assert subprocess.run(command, capture_output=True, env=strict).returncode == 0


def test_errors_set_the_status_of_the_process(tmp_path: Path) -> None:
    done = alone("downscale", tmp_path / "missing.png")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "does not exist" in done.stderr


def test_no_arguments_is_help() -> None:
    done = alone()
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: ")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["optimising", "reading back"])
def test_interrupt_leaves_nothing(photo: Path, tmp_path: Path, sent: signal.Signals, moment: str) -> None:
    place = {"optimising": "coscale.tiles.within_room", "reading back": "coscale.pipeline.origin_in"}[moment]
    code, reached = waiting_at(place, tmp_path)
    command = [sys.executable, "-c", code, "downscale", str(photo)]
    command += QUICK if moment == "optimising" else ["--method", "none"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until(reached.exists, lambda: process.poll() is None)
    assert len(list(photo.parent.iterdir())) == (1 if moment == "optimising" else 2)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.strip() == "coscale: interrupted; what was finished is kept, and nothing half-written is left"
    assert sorted(photo.parent.iterdir()) == [photo]


def test_progress_on_a_terminal(photo: Path) -> None:
    pty = pytest.importorskip("pty", reason="needs a terminal, which Windows has not")
    ours, theirs = pty.openpty()
    # The bar waits for a second, in which a fast machine would be done: here it has passed at once.
    code = (
        "import threading\nthreading.Timer.start = lambda timer: timer.function()\nfrom coscale.cli import main; main()"
    )
    options = ["--rescaler", "bicubic-x2", "--method", "hcd", "--hr-steps", "5", "--lr-steps", "0"]
    command = [sys.executable, "-c", code, "downscale", str(photo), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the command has ended
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    output, _ = process.communicate()
    assert process.returncode == 0
    assert b"downscaling" in shown
    assert b"100%" in shown
    assert "photo.x2.png" in output


def test_output_into_a_closed_pipe(tmp_path: Path) -> None:
    code = f"{sys.executable} -m coscale models | true"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_options_have_the_defaults_of_the_settings() -> None:
    defaults = {param.name: param.default for param in downscale.params}
    for kind in METHODS.values():
        for field in fields(kind):
            default = field.default or "psnr" if field.name == "objective" else field.default
            assert defaults[field.name] == default, field.name


@pytest.mark.parametrize(("name", "said"), [("ssim", r"MS-SSIM 0\.\d+ to 0\.\d+;"), ("perceptual", "perceptual error")])
def test_objectives_by_name(photo: Path, tmp_path: Path, name: str, said: str) -> None:
    options = ("downscale", photo, "--objective", name, *QUICK, "--overwrite")
    text = coscale(*options).stdout
    assert re.search(said, text)
    assert "gained" not in text
    row = json.loads(coscale(*options, "--json").stdout)
    assert row["gain"] is None
    assert row["objective"]["name"] == name
    assert 0 < row["objective"]["after"] < row["objective"]["before"] < 1
    measured = coscale(*options, "--measure").stdout
    assert re.search(said, measured)
    assert "PSNR in dB (gain by coscale)" in measured
    assert coscale("upscale", photo.parent / "photo.x2.png", "-o", tmp_path / "restored.png").returncode == 0
    (row,) = (json.loads(line) for line in coscale(*options, "--measure", "--json").stdout.splitlines())
    assert row["objective"]["after"] < row["objective"]["before"]


def test_a_changed_photo_is_measured_once_more(photo: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    options = ("--rescaler", "bicubic-x2", "--method", "none", "-o", rows)
    assert coscale("eval", photo.parent, *options).returncode == 0
    write(photo, Photo(1 - read(photo).colour))
    assert coscale("eval", photo.parent, *options).returncode == 0
    hashes = [json.loads(line)["image_hash"] for line in rows.read_text().splitlines()]
    assert hashes[-1] == sha256(photo) != hashes[0]
    assert coscale("eval", photo.parent, *options).returncode == 0
    assert len({json.loads(line)["image_hash"] for line in rows.read_text().splitlines()}) == 1
