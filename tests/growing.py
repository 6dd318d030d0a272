"""How much memory a process grows by as it does one photo after the other, each way in which photos are done.

Run as a process of its own, ``python -m tests.growing FOLDER``, it prints a JSON object: for each way the bytes that it
grew by while 30 photos were done, and those that a single one takes at its peak.
"""

import gc
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner

from coscale import machine, memory
from coscale.batch.worker import Assignment, BatchSettings, Worker
from coscale.cli import cli
from coscale.collaborate import HCD
from coscale.image import Photo, read, write
from coscale.rescalers import SRCNN, SuperResolution
from coscale.serve.rescale import UPLOAD, Order, Rescale
from coscale.train import recipes
from coscale.train.data import Photos
from coscale.train.loop import Stepper
from coscale.train.process import Process
from coscale.train.state import State
from coscale.weights.load import load

PHOTOS, FIRST = 30, 8  # the first fill what is kept for the next
EXAMPLE = Path(__file__).parents[1] / "examples" / "butterfly.png"
CPU = torch.device("cpu")


def resident() -> int:
    gc.collect()
    machine.reset_peak(CPU)  # which gives freed memory back first
    found = machine.peak(CPU)
    assert found is not None
    return found


def growth(do: Callable[[int], object]) -> dict[str, int]:
    """``do`` is called with the number of a photo."""
    for k in range(FIRST):
        do(k)
    before = resident()
    do(0)
    one = (machine.peak(CPU) or 0) - before
    before = resident()
    for k in range(PHOTOS):
        do(k)
    return {"grown": resident() - before, "one": one}


def crops(folder: Path, count: int) -> list[Path]:
    """Small photos, of eight sizes."""
    colour = read(EXAMPLE).colour
    paths = []
    for k in range(count):
        height, width = 32 + 2 * (k % 4), 34 + 2 * (k % 2)
        paths.append(folder / f"{k:02}.png")
        write(paths[-1], Photo(colour[..., 2 * k : 2 * k + height, k : k + width]))
    return paths


def run(*arguments: object) -> None:
    result = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def on_folders(command: str, photos: list[Path], folder: Path, *options: object) -> dict[str, int]:
    """The command on a folder of 8 photos, then on one of 30 in the same process; results go below ``folder``."""

    def go(name: str, paths: Iterable[Path]) -> None:
        source = folder / "in" / name
        source.mkdir(parents=True)
        for path in paths:
            (source / path.name).symlink_to(path)
        run(command, source, *(["-o", folder / name] if command != "eval" else []), *options)

    go("first", photos[:FIRST])
    before = resident()
    go("one", photos[:1])
    one = (machine.peak(CPU) or 0) - before
    before = resident()
    go("all", photos)
    return {"grown": resident() - before, "one": one}


def in_batch(photos: list[Path], out: Path) -> dict[str, int]:
    worker = Worker(BatchSettings("light-x2", method=HCD(0, 1)), "cpu", load("light-x2").weights_hash)
    out.mkdir()
    return growth(lambda k: worker.attempt(Assignment(str(photos[k]), str(out / f"{k}.x2.png"))))


def in_serve(photos: list[Path], out: Path) -> dict[str, int]:
    rescale = Rescale("cpu")

    def do(k: int) -> None:
        folder = out / str(k)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UPLOAD).write_bytes(photos[k].read_bytes())
        rescale(Order(folder, "light-x2", "fast"), lambda course: None)

    return growth(do)


def in_training() -> dict[str, int]:
    """Steps, with the snapshot that a window ends with."""
    recipe = recipes.TrainingRecipe("srcnn-x2", steps=1000, batch=1, patch=32)
    state = State(recipe, SuperResolution(SRCNN(2), 2, channels=1), "fingerprint")
    photos = Photos([(255 * read(EXAMPLE).colour[0]).to(torch.uint8)])
    stepper = Stepper(state, photos, Process(CPU), "eager", say=lambda _: None)
    kept: list[Any] = [None, None]

    def do(_: int) -> None:
        stepper.step()
        kept[:] = [kept[1], state.snapshot()]

    return growth(do)


def of_other_sizes() -> dict[str, int]:
    """Each photo of another size, for whose layers operations are compiled anew."""
    upscale = load("light-x2").rescaler.upscale

    def sides(odd: int) -> Callable[[int], None]:
        def do(k: int) -> None:
            with torch.no_grad():
                for side in range(260 - 8 * k, 268 - 8 * k, 2):
                    upscale(torch.zeros(1, 3, 14, side + odd))

        return do

    growth(sides(0))  # fills what is kept
    return growth(sides(1))


def main(folder: Path) -> None:
    machine.settle()
    memory._SIDE = 16  # what each photo is planned by, which takes most of the time that small ones take
    photos = crops(folder / "photos", PHOTOS)
    options = ("--method", "hcd", "--hr-steps", 0, "--lr-steps", 1)
    found = {"downscale": on_folders("downscale", photos, folder / "downscale", *options)}
    restorable = sorted((folder / "downscale" / "all").iterdir())
    found |= {
        "upscale": on_folders("upscale", restorable, folder / "upscale"),
        "eval": on_folders("eval", photos, folder / "eval", *options),
        "batch": in_batch(photos, folder / "batch"),
        "serve": in_serve(photos, folder / "serve"),
        "train": in_training(),
        "other sizes": of_other_sizes(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
