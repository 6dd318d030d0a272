"""The training loop on a few small photos and a small network."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from coscale import rescalers, resize
from coscale.errors import DataError, OutputError, RescalerError, SettingsError, TrainingError
from coscale.image import Photo, read, write
from coscale.quantize import to_uint8
from coscale.rescalers import IRN, RESCALERS, HCFlow, Light
from coscale.train import data, loop, objective
from coscale.train.data import Ahead, Photos, bank, generator_of, load
from coscale.train.loop import Stepper, learning_rate, objective_of, train
from coscale.train.muon import Muon, orthogonalize
from coscale.train.objective import Objective, bounded, factors
from coscale.train.process import Process
from coscale.train.recipes import RECIPES, TrainingRecipe, find, prepared
from coscale.train.state import State, resume, save
from coscale.weights.load import bundled
from tests.extras import absence
from tests.patience import PATIENCE, until

TINY = TrainingRecipe("tiny", steps=12, batch=2, patch=16, warmup=2, latent=0.05, graphics=0)
CPU = Process(torch.device("cpu"))


def network() -> IRN:
    torch.manual_seed(0)
    return IRN((1,))


@pytest.fixture
def folder(tmp_path: Path, butterfly: Photo) -> Path:
    """Four photos of 128 x 128, and one that is too small."""
    for i in range(4):
        top, left = divmod(i, 2)
        write(
            tmp_path / "photos" / f"{i}.png",
            Photo(butterfly.colour[..., 128 * top : 128 * (top + 1), 128 * left : 128 * (left + 1)]),
        )
    write(tmp_path / "photos" / "small.png", Photo(butterfly.colour[..., :20, :20]))
    return tmp_path / "photos"


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of two steps, however slow the machine is."""
    monkeypatch.setattr(loop, "WINDOW", 2)
    monkeypatch.setattr(loop, "WINDOW_SECONDS", 1e9)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock by which a step takes a fifth of a second, and nothing else takes any time; measures are left out."""
    passed, plain = [0.0], Stepper.step

    def step(self: Stepper) -> Tensor:
        passed[0] += 0.2
        return plain(self)

    monkeypatch.setattr(Stepper, "step", step)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: passed[0]))
    monkeypatch.setattr(objective, "validate", lambda network, crops: {"psnr_y": 0.0, "lr_psnr": 0.0})
    return passed


def test_data(folder: Path) -> None:
    said: list[str] = []
    data = load([folder], patch=16, say=said.append)
    assert len(data.images) == 3
    assert data.sources == {"photos": 3}
    assert torch.equal(data.validation, read(folder / "0.png").colour)
    assert said == ["left out: 1 images smaller than 128 pixels a side"]
    with pytest.raises(DataError, match="fewer than 2 usable images"):
        load([folder], patch=500)
    with pytest.raises(DataError, match="no folder"):
        load([folder / "nothing"], patch=16)


def test_a_damaged_image_is_named_and_left_out(folder: Path) -> None:
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[: len(whole) // 2])
    said: list[str] = []
    assert len(load([folder], patch=16, say=said.append).images) == 2
    assert any("1.png" in line for line in said)


def test_batches_are_seeded_crops(folder: Path) -> None:
    photos = Photos(load([folder], patch=16).images)
    first, again, other = (photos.batch(3, 16, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert first.shape == (3, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    part = photos.batch(3, 16, torch.Generator().manual_seed(0), slice(1, 3))
    assert torch.equal(part, first[1:])


def test_crops_lie_in_their_photo_and_come_in_all_eight_ways() -> None:
    """Photos of different sizes, whose values tell photo, colour, row and column."""
    sizes = [(2, 2), (3, 5), (6, 2)]
    images, start = [], 0
    for height, width in sizes:
        images.append(torch.arange(start, start + 3 * height * width, dtype=torch.uint8).reshape(3, height, width))
        start += 3 * height * width
    crops = (255 * Photos(images).batch(5000, 2, torch.Generator().manual_seed(0))).round().to(torch.uint8)
    wanted = {
        tuple(turned.flatten().tolist())
        for image in images
        for top in range(image.shape[1] - 1)
        for left in range(image.shape[2] - 1)
        for mirrored in (image[:, top : top + 2, left : left + 2], image[:, top : top + 2, left : left + 2].mT)
        for turned in (mirrored.flip(axes) for axes in ([], [1], [2], [1, 2]))
    }
    assert {tuple(crop.flatten().tolist()) for crop in crops} == wanted


def test_crops_are_the_same_however_they_are_cut() -> None:
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in ((9, 30), (24, 11))]
    photos = Photos(images)
    crops = photos.picked(64, 8, generator)
    assert {crop.turn for crop in crops} == set(range(8))
    assert torch.equal(photos._copied(crops, 8), photos._gathered(crops, 8))


def test_a_share_of_each_batch_is_drawn() -> None:
    photo, drawn = torch.zeros(3, 40, 40, dtype=torch.uint8), torch.full((3, 16, 16), 255, dtype=torch.uint8)
    for share in (0.0, 0.1, 1.0):
        batch = Photos([photo], "cpu", [drawn] * 3, share).batch(2000, 8, torch.Generator().manual_seed(0))
        assert batch.mean().item() == pytest.approx(share, abs=0.02)
        assert set(batch.flatten(1).mean(1).tolist()) <= {0.0, 1.0}


def test_what_photos_do_not_teach(butterfly: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "BANK", 16)
    images = [to_uint8(butterfly.colour[0])]
    first, again, other = (bank(images, 64, seed) for seed in (0, 0, 1))
    assert len(first) == 16
    assert all(image.shape == (3, 64, 64) and image.dtype == torch.uint8 for image in first)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))
    grey_photos = first[:4]
    assert all(torch.equal(image[0], image[1]) and torch.equal(image[0], image[2]) for image in grey_photos)
    assert all(image.unique().numel() > 20 for image in grey_photos)


def test_the_next_batch_is_made_ahead() -> None:
    made: list[int] = []

    def make(number: int) -> Tensor:
        made.append(number)
        return torch.tensor(number)

    ahead = Ahead(make)
    assert [int(ahead.take(number)) for number in (0, 1, 2, 7, 8)] == [0, 1, 2, 7, 8]
    ahead.pool.shutdown()
    assert sorted(made) == [0, 1, 2, 3, 7, 8, 9]  # each once, one more than was taken before each leap


def test_muon_makes_orthogonal_steps() -> None:
    matrices = torch.randn(2, 8, 30, generator=torch.Generator().manual_seed(0))
    for batch in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonalize(batch))
        assert values.min() > 0.5
        assert values.max() < 1.3
    kernel = nn.Parameter(torch.zeros(8, 3, 3, 3))
    kernel.grad = matrices[0, :, :27].reshape(8, 3, 3, 3).clone()
    Muon([kernel], lr=0.1).step()
    step = kernel.detach().flatten(1)
    assert (step * kernel.grad.flatten(1)).sum() < 0
    assert torch.linalg.svdvals(step).max() < 0.1 * 0.2 * 27**0.5 * 1.3


def test_schedule() -> None:
    factors = [learning_rate(TINY, step, TINY.steps) for step in range(TINY.steps + 1)]
    assert factors[0] < factors[1] > factors[2]
    assert factors[-1] == pytest.approx(0)
    constant = [learning_rate(replace(TINY, decay=0), step, 100) for step in range(2, 101)]
    assert set(constant) == {1.0}
    late = [learning_rate(replace(TINY, decay=0.2), step, 100) for step in range(2, 101)]
    assert late[:79] == [1.0] * 79
    assert late[79:] == sorted(late[79:], reverse=True)
    assert late[-1] == pytest.approx(0)


def test_loss_is_what_the_recipe_says() -> None:
    recipe = replace(TINY, l1=2, late_l2=3, guidance=5, latent=7)
    pair = network()
    hr = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    bicubic = resize.downscale(hr, 2)
    lr, z = pair(hr)
    error = pair.upscale((lr.clamp(0, 1) * 255).round() / 255) - hr
    rest = 5 * (lr - bicubic).square().mean() + 7 * z.square().mean()
    for late, restored in ((False, 2 * error.abs().mean()), (True, 3 * error.square().mean())):
        objective = Objective(pair, autocast=False)
        loss, absolute = objective(hr, bicubic, factors(recipe, late, CPU.device), torch.zeros(1))
        assert loss.item() == pytest.approx((restored + rest).item(), rel=1e-5)
        assert absolute.item() == pytest.approx(error.abs().mean().item(), rel=1e-5)


def test_loss_of_a_photo_restored_with_a_drawn_latent() -> None:
    pair, bicubic, drawn = network(), torch.rand(1, 3, 8, 8), torch.randn(1, 9, 8, 8)
    hr = bicubic.repeat_interleave(2, 2).repeat_interleave(2, 3)
    objective = Objective(pair, autocast=False)
    loss, absolute = objective(hr, bicubic, factors(TINY, False, CPU.device), torch.zeros(1), drawn)
    error = pair.inverse((bicubic * 255).round() / 255, drawn) - hr  # an untrained IRN is its Haar transform
    assert loss.item() == absolute.item() == pytest.approx(error.abs().mean().item(), rel=1e-5)


def test_drawn_crops_count_for_no_more_than_photos() -> None:
    errors = torch.tensor([0.1, 0.3, 0.05, 9.0], requires_grad=True)
    loss = bounded(errors, torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert loss.item() == pytest.approx((0.1 + 0.3 + 0.05 + 0.2) / 4)
    (slopes,) = torch.autograd.grad(loss, errors)
    assert slopes.tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25 * 0.2 / 9])
    assert bounded(errors, torch.zeros(4)).item() == pytest.approx(errors.mean().item())
    assert bounded(errors, torch.ones(4)).item() == pytest.approx(errors.mean().item())


def test_latents_are_drawn_at_a_temperature() -> None:
    standard = torch.randn(2, 9, 8, 8, generator=generator_of(0, 0, "chance"))
    cold, warm = (
        objective_of(replace(TINY, temperature=t), network(), "float32", torch.device("cpu"), compiled=False)
        for t in (0, 0.5)
    )
    size = torch.Size((8, 8))
    assert cold.chance(generator_of(0, 0, "chance"), 2, size) == ()
    assert torch.equal(torch.stack(warm.chance(generator_of(0, 0, "chance"), 2, size)), 0.5 * standard[None])


def test_muon_takes_kernels_alone() -> None:
    muon, adam = State(TINY, HCFlow(2, 1, (1, 0))).optimizers
    kernels = muon.param_groups[0]["params"]
    assert all(p.ndim == 4 and len(p) > 1 for p in kernels)
    others = {p.shape for p in adam.param_groups[0]["params"]}
    assert {(1, 12, 1, 1), (21, 21), (6, 1, 1)} <= others


def run(folder: Path, out: Path, recipe: TrainingRecipe = TINY, **options: Any) -> dict[str, Tensor]:
    """Train, with a report and a checkpoint after every window, and read the weights."""
    options = {"say": lambda _: None, "compiled": False, "report_seconds": 0} | options
    return load_file(train(recipe, network(), [folder], out, **options))


@pytest.mark.parametrize(
    ("build", "temperature"),
    [(network, 0), (lambda: Light(2, width=8, blocks=1), 0), (lambda: HCFlow(2, 1, (1, 0)), 1)],
)
def test_training_learns(
    folder: Path, tmp_path: Path, build: Callable[[], nn.Module], temperature: float, short_windows: None
) -> None:
    out = tmp_path / "out"
    recipe = replace(TINY, temperature=temperature)
    train(recipe, build(), [folder], out, say=lambda _: None, compiled=False, report_seconds=0)
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    assert rows[-1]["psnr_y"] > rows[0]["psnr_y"]
    if not absence("report"):
        assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((out / "run.json").read_text())
    assert record["iterations"] == 12
    assert record["images"] == {"photos": 3}


@pytest.mark.parametrize("temperature", [0, 1])
def test_interrupted_training_ends_with_the_same_weights(
    folder: Path, tmp_path: Path, short_windows: None, temperature: float
) -> None:
    def stop(step: int, _: int) -> None:
        if step == 8:
            raise KeyboardInterrupt

    recipe = replace(TINY, temperature=temperature)
    whole = run(folder, tmp_path / "whole", recipe)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "stopped", recipe, progress=stop, report_seconds=1000)
    said: list[str] = []
    resumed = run(folder, tmp_path / "stopped", recipe, say=said.append)
    assert "going on from step 6" in said  # a window confirms the one before
    for name, value in whole.items():
        assert torch.equal(resumed[name], value)


def test_killed_training_goes_on_from_the_last_report(folder: Path, tmp_path: Path) -> None:
    """Really killed, while it runs; steps without end, so that it cannot be done before."""
    code = (
        "import sys; from pathlib import Path; from tests.test_train import *; loop.WINDOW = 2\n"
        "run(Path(sys.argv[1]), Path(sys.argv[2]), replace(TINY, steps=10**6))"
    )
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", code, folder, out])
    try:
        log = out / "log.jsonl"
        until(lambda: log.exists() and len(log.read_text().splitlines()) >= 4, lambda: process.poll() is None)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    steps = torch.load(out / "checkpoint.pt", weights_only=True)["course"]["step"]
    assert steps >= 4
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(folder, out, replace(TINY, steps=10**6), say=said.append, progress=interrupt)
    assert f"going on from step {steps}" in said


def interrupt(step: int, steps: int) -> None:
    raise KeyboardInterrupt


def test_a_spike_is_undone(folder: Path, tmp_path: Path, short_windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step is made to give no number, and a later one, at the end of a window, to ruin the weights unseen."""
    plain = Stepper.step
    done = 0

    def step(self: Stepper) -> Tensor:
        nonlocal done
        seen = plain(self)
        done += 1
        if done == 4:
            seen[0] = torch.nan
        if done == 14:
            with torch.no_grad():
                for p in self.state.network.parameters():
                    p.mul_(-30)
        return seen

    monkeypatch.setattr(Stepper, "step", step)
    said: list[str] = []
    trained = run(folder, tmp_path / "out", say=said.append)
    back = [line for line in said if "back to step" in line]
    assert "not finite" in back[0]
    assert "back to step 0, learning rate times 0.5" in back[0]
    assert "before step 12: back to step 8, learning rate times 0.25" in back[1]
    assert all(value.isfinite().all() for value in trained.values())
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 12
    assert rows[-1]["psnr_y"] > rows[0]["psnr_y"]


def test_a_stop_after_a_step_back_keeps_to_it(
    folder: Path, tmp_path: Path, short_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stepper, "step", lambda self: torch.full((3,), torch.inf))
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "out", progress=interrupt)
    checkpoint = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    assert checkpoint["course"]["caution"] == 0.5
    assert checkpoint["course"]["setbacks"] == 1


def test_a_loss_that_never_settles_ends_the_run(
    folder: Path, tmp_path: Path, short_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stepper, "step", lambda self: torch.full((3,), torch.inf))
    with pytest.raises(TrainingError, match="keeps exploding"):
        run(folder, tmp_path / "out", replace(TINY, steps=100))


def test_minutes_fit_the_schedule(folder: Path, tmp_path: Path, short_windows: None, seconds: list[float]) -> None:
    run(folder, tmp_path / "out", replace(TINY, steps=10**6), minutes=0.1)
    assert 3 < seconds[0] < 7
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert 10 < rows[-1]["step"] < 10**6
    rates = [row["learning_rate"] for row in rows]
    assert rates[-2] < 0.5 * max(rates)


def test_a_full_disk_leaves_the_checkpoint_before(
    folder: Path, tmp_path: Path, short_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(folder, out, progress=interrupt)
    before = (out / "checkpoint.pt").read_bytes()

    def full(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(bytes(data)[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="disk is full"):
        run(folder, out)
    assert (out / "checkpoint.pt").read_bytes() == before
    assert not list(out.glob("*.part*"))


def test_a_checkpoint_of_before_a_setting_goes_on(folder: Path, tmp_path: Path) -> None:
    """What there was no choice of then was what is the default now."""
    run(folder, tmp_path / "out")
    path = tmp_path / "out" / "checkpoint.pt"
    values = torch.load(path, "cpu", weights_only=True)
    del values["recipe"]["muon"], values["recipe"]["steps_for"]
    save(values, path)
    run(folder, tmp_path / "out")
    save(values, path)
    with pytest.raises(SettingsError, match="was begun with muon = True, not False"):
        run(folder, tmp_path / "out", replace(TINY, muon=False))


def test_a_checkpoint_of_another_run(folder: Path, tmp_path: Path, butterfly: Photo) -> None:
    run(folder, tmp_path / "out")
    with pytest.raises(RescalerError, match=r"is of another network: it has no down\.head\.weight"):
        train(TINY, Light(2), [folder], tmp_path / "out", say=lambda _: None, compiled=False)
    with pytest.raises(SettingsError, match=r"was begun with lr = 0\.002, not 0\.1"):
        run(folder, tmp_path / "out", replace(TINY, lr=0.1))
    write(folder / "more.png", butterfly)
    with pytest.raises(SettingsError, match="begun with other photos"):
        run(folder, tmp_path / "out")
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(RescalerError, match="damaged"):
        run(folder, tmp_path / "out")


DISTRIBUTED = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from tests.test_train import *
loop.WINDOW = 2
torch.set_num_threads(1)
recipe = replace(TINY, batch=4, lr=2e-4, late_share=0, temperature=0.1)
run(Path(sys.argv[1]), Path(sys.argv[2]), recipe, precision="float32")
"""


def test_two_processes_learn_what_one_does(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(DISTRIBUTED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    one = [sys.executable, script, folder, tmp_path / "one"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for command in (one, [*torchrun, script, folder, tmp_path / "two"]):
        subprocess.run(command, check=True, env=environment, timeout=PATIENCE)
    one_rows, two_rows = (
        [json.loads(line) for line in (tmp_path / out / "log.jsonl").read_text().splitlines()] for out in ("one", "two")
    )
    assert len(one_rows) == len(two_rows) == 6
    for a, b in zip(one_rows, two_rows, strict=True):
        assert a["step"] == b["step"]
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
        assert a["psnr_y"] == pytest.approx(b["psnr_y"], abs=0.01)


@pytest.mark.parametrize(
    ("build", "backend"), [(network, "aot_eager"), (lambda: Light(2, width=8, blocks=1), "inductor")]
)
def test_compiled_steps_are_the_same(
    folder: Path,
    tmp_path: Path,
    build: Callable[[], nn.Module],
    backend: str,
    short_windows: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """IRN, whose C++ takes a minute to compile, is traced and differentiated; the light pair goes all the way."""
    plain = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **_: plain(function, backend=backend))

    def losses(compiled: bool) -> list[float]:
        torch.manual_seed(0)
        out, said = tmp_path / str(compiled), list[str]()
        train(
            replace(TINY, steps=4),
            build(),
            [folder],
            out,
            say=said.append,
            compiled=compiled,
            precision="float32",
            report_seconds=0,
        )
        assert not any("without compiling" in line for line in said)
        return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]

    assert losses(True) == pytest.approx(losses(False), abs=1e-4)


def test_what_cannot_be_compiled_is_trained_all_the_same(
    folder: Path, tmp_path: Path, short_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Callable[..., Any]:
        def fail(*_: Tensor) -> Any:
            raise TorchDynamoException("no compiler for C++")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    said: list[str] = []
    run(folder, tmp_path / "out", say=said.append, compiled=True)
    assert said.count("goes on without compiling, which failed: no compiler for C++") == 1


def test_a_graph_that_cannot_be_captured_is_done_without(
    folder: Path, tmp_path: Path, short_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on this machine, which has no GPU; but a lack of memory is nothing that going slower would mend."""
    state = State(TINY, network())
    photos = Photos(load([folder], patch=16).images)
    said: list[str] = []

    def refuse(*_: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", refuse)
    stepper = Stepper(state, photos, CPU, "graph", "float32", said.append)
    assert stepper.step().isfinite().all()
    assert stepper.step().isfinite().all()
    assert said == ["goes on without a CUDA graph, which failed: operation not permitted when stream is capturing"]

    def exhaust(*_: Any) -> Any:
        raise torch.OutOfMemoryError("of 79 GiB")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", exhaust)
    with pytest.raises(torch.OutOfMemoryError):
        Stepper(state, photos, CPU, "graph", "float32", said.append).step()


def test_a_run_that_is_done_goes_on_when_it_gets_more_time(
    folder: Path, tmp_path: Path, short_windows: None, seconds: list[float]
) -> None:
    trunk = replace(TINY, steps=10**6, decay=0.0, late_share=0.0)
    steps = []
    for minutes in (0.02, 0.06):
        run(folder, tmp_path / "out", trunk, minutes=minutes)
        rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
        steps.append(rows[-1]["step"])
        assert rows[-1]["learning_rate"] == trunk.lr
    assert 0 < steps[0] < steps[1]


def test_a_batch_that_does_not_divide() -> None:
    with pytest.raises(SettingsError, match="does not divide"):
        Stepper(
            State(TINY, network()),
            Photos([torch.zeros(3, 16, 16, dtype=torch.uint8)]),
            Process(torch.device("cpu"), 0, 3),
            "eager",
        )


def test_recipes() -> None:
    names = {named.name for named in RESCALERS}
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert (recipe.steps_for or name) in names
        assert find(name) == recipe
    assert find("light-x2", steps=3).steps == 3
    with pytest.raises(RescalerError, match="there is no recipe 'nothing'; choose one of irn-x2"):
        find("nothing")
    with pytest.raises(SettingsError, match="cannot be divided by 4"):
        find("light-x4", patch=30)


def test_beginning_with_other_weights(tmp_path: Path) -> None:
    recipe = find("irn-x4-4b")
    own = prepared(recipe).state_dict()
    x2 = load_file(bundled(rescalers.find("irn-x2-4b")))
    assert torch.equal(own["operations.1.F.conv1.weight"], x2["operations.1.F.conv1.weight"])
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(RescalerError, match="no tensor of irn-x4-4b"):
        prepared(replace(recipe, start=str(tmp_path / "other.safetensors")))


@pytest.mark.parametrize("part", ["optimizers", "course", "errors", "average", "moments", "steps", "program"])
def test_a_checkpoint_with_a_wrong_part(folder: Path, tmp_path: Path, part: str) -> None:
    state = State(TINY, network())
    values = state.snapshot()
    damaged = "is no checkpoint of a training run or is damaged"
    match part:
        case "moments":
            values["optimizers"][1]["state"] = {0: dict.fromkeys(("step", "exp_avg", "exp_avg_sq"), torch.zeros(77))}
        case "steps":
            values["course"]["steps"] = "many"
        case "average":
            values[part] = {name: torch.zeros(1).expand(10**9) for name in values[part]}
        case "program":
            values = network()
        case _:
            values[part] = {"a": 1}
    torch.save(values, tmp_path / "checkpoint.pt")
    with pytest.raises(RescalerError, match=damaged) as caught:
        resume(state, tmp_path / "checkpoint.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [3, 8])
def test_any_scale_is_validated(scale: int) -> None:
    crops = torch.rand(2, 3, 130, 128, generator=torch.Generator().manual_seed(0))
    found = objective.validate(Light(scale, width=8, blocks=1), crops)  # bicubic before training
    assert found["lr_psnr"] == math.inf
    assert 5 < found["psnr_y"] < 30
