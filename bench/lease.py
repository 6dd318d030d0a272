"""One call on a GPU: choose recipe and batch, train, and leave what is needed to ship the weights and to go on."""

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from bench.pack import MIB, read_packs
from bench.peak import convolution_peak, operations_of, wait_for
from coscale.rescalers import Precision, fastest
from coscale.train.data import Dataset, Photos
from coscale.train.loop import Engine, Stepper, TrainingRun, begin
from coscale.train.process import Process
from coscale.train.recipes import TrainingRecipe, branch_of, find, prepared, trunk_of
from coscale.train.state import State, hand_over
from coscale.weights.manifest import read_manifest

ORDER = ("irn-x2", "irn-x4", "hcflow-x4", "base-x2", "base-x4")
FILES = 8  # that may be left, with a total and a size of each that may not be exceeded
TOTAL, PART = 62 * MIB, 15 * MIB
CONSTANT = 0.67  # share of the time at a constant rate
SPARE_MINUTES = 0.3  # for what comes after the last step
REPORT_SECONDS = 45
BATCHES = {"cuda": (16, 32, 64, 128), "cpu": (1,)}
PROBES = {"cuda": 10, "cpu": 1}  # steps
PAYS = 1.15  # times as many crops a second that a batch of twice the size must bring
REHEARSAL_PATCH = 48  # where there is no GPU

Say = Callable[[str], None]


class Lease:
    """The runs in a folder, a trunk and a branch for each recipe, and how this call goes on with one of them."""

    def __init__(self, folder: Path, out: Path, device: str, engine: Engine, say: Say) -> None:
        self.folder, self.out, self.say = folder, out, say
        self.engine: Engine = engine
        if device == "cuda" and not torch.cuda.is_available():
            raise SystemExit("there is no GPU here; give --device cpu to rehearse")
        self.process = Process(torch.device(device))
        self.precision: Precision = fastest(self.process.device)

    def run(self, minutes: float, name: str | None) -> None:
        """Train for ``minutes``, all that comes before and after included."""
        end = time.monotonic() + 60 * (minutes - SPARE_MINUTES)
        self._describe()
        data = self._photos()
        name = name or min(ORDER, key=self._had)
        trunk, branch = self._folder(name, "trunk"), self._folder(name, "branch")
        self._collect(name)
        recipe = self._recipe(name, data)
        left = (end - time.monotonic()) / 60
        self.say(
            f"{name}: {left * CONSTANT:.1f} minutes at a constant rate, {left * (1 - CONSTANT):.1f} while it falls"
        )
        run = self._train(recipe, data, trunk, minutes=self._minutes(trunk) + left * CONSTANT)
        self._leave_state(name)
        recipe, pace = run.state.recipe, run.pace
        more = max(1, int((end - time.monotonic()) / pace))
        shutil.rmtree(branch, ignore_errors=True)
        branch.mkdir(parents=True)
        shutil.copyfile(trunk / "log.jsonl", branch / "log.jsonl")
        recipe = branch_of(recipe, run.state.course.step, more)
        hand_over(trunk / "checkpoint.pt", recipe, branch / "checkpoint.pt")
        left = (end - time.monotonic()) / 60
        run = self._train(recipe, data, branch, minutes=self._minutes(trunk) + left)
        self._leave_weights(run, data)
        rows = (branch / "log.jsonl").read_text().splitlines()
        self.say(f"validation: {json.loads(rows[-1])['psnr_y']:.2f} dB, LR {json.loads(rows[-1])['lr_psnr']:.1f} dB")

    def _folder(self, name: str, kind: str) -> Path:
        return self.folder / "runs" / name / kind

    def _minutes(self, run: Path) -> float:
        """What a run has had."""
        path = run / "checkpoint.pt"
        return torch.load(path, "cpu", weights_only=True)["course"]["seconds"] / 60 if path.exists() else 0.0

    def _had(self, name: str) -> float:
        """Minutes of GPU that a recipe has had, here and in what was shipped."""
        entry = read_manifest().get(name)
        shipped = entry.seconds / 60 if entry and entry.device == "cuda" else 0.0
        return shipped + self._minutes(self._folder(name, "trunk"))

    def _describe(self) -> None:
        """Say what the device is and what it can do."""
        device = self.process.device
        if device.type == "cuda":
            free, total = torch.cuda.mem_get_info(device)
            self.say(f"{torch.cuda.get_device_name(device)}: {free / 2**30:.0f} of {total / 2**30:.0f} GiB free")
        self.peak = convolution_peak(device, self.precision)
        self.say(f"torch {torch.__version__}, {self.precision}: {self.peak / 1e12:.2f} TFLOP/s in a wide convolution")

    def _photos(self) -> Dataset:
        packs = sorted(self.folder.glob("photos-*.pt"))
        if not packs:
            raise SystemExit(f"there are no photos in {self.folder}; write them with --pack where coscale is installed")
        data = read_packs(packs)
        self.say(f"{len(data.images)} photos, {sum(image.numel() for image in data.images) / MIB:.0f} MiB of pixels")
        return data

    def _recipe(self, name: str, data: Dataset) -> TrainingRecipe:
        """The recipe of a trunk: that of its checkpoint, or a new one with the largest batch that pays."""
        saved = self._folder(name, "trunk") / "checkpoint.pt"
        if saved.exists():
            return TrainingRecipe(**torch.load(saved, "cpu", weights_only=True)["recipe"])
        recipe, device = trunk_of(find(name)), self.process.device.type
        if device == "cpu":
            recipe = replace(recipe, patch=REHEARSAL_PATCH)
        best, best_rate = recipe, 0.0
        for batch in BATCHES[device]:
            tried = replace(recipe, batch=batch)
            try:
                rate = batch * self._probe(tried, data)
            except torch.OutOfMemoryError:
                self.say(f"a batch of {batch} does not fit")
                self._free()
                break
            if rate < PAYS * best_rate:
                break
            best, best_rate = tried, rate
        return best

    def _probe(self, recipe: TrainingRecipe, data: Dataset) -> float:
        """Steps a second of a recipe, which are also told."""
        few = replace(data, images=data.images[:8])
        stepper = self._begin(recipe, few, self.folder / "runs" / "probe", None).stepper
        stepper.step()
        wait_for(self.process.device)
        self.say(f"the first step is done: {recipe.name} at a batch of {recipe.batch}, patches of {recipe.patch}")
        count, begun = PROBES[self.process.device.type], time.monotonic()
        for _ in range(count):
            stepper.step()
        wait_for(self.process.device)
        rate = count / (time.monotonic() - begun)
        operations = recipe.batch * operations_of(self._eager(replace(recipe, batch=1), few).step)
        share = operations * rate / self.peak
        self.say(f"{rate:.1f} steps a second by {stepper.engine}, at {share:.0%} of the wide convolution's rate")
        return rate

    def _eager(self, recipe: TrainingRecipe, data: Dataset) -> Stepper:
        """Steps whose operations can be counted."""
        state = State(recipe, prepared(recipe).to(self.process.device))
        return Stepper(state, Photos(data.images, self.process.device), self.process, "eager", self.precision)

    def _begin(self, recipe: TrainingRecipe, data: Dataset, out: Path, minutes: float | None) -> TrainingRun:
        network = prepared(recipe)
        return begin(recipe, network, data, out, self.process, self.engine, self.precision, self.say, minutes)

    def _train(self, recipe: TrainingRecipe, data: Dataset, folder: Path, minutes: float) -> TrainingRun:
        """Train until a run has had ``minutes``; with half the batch from where memory runs out."""
        while True:
            run = self._begin(recipe, data, folder, minutes)
            try:
                run.finish(self._saver(run, data), REPORT_SECONDS)
                return run
            except torch.OutOfMemoryError:
                if recipe.batch == 1:
                    raise
                recipe = replace(recipe, batch=recipe.batch // 2)
                self.say(f"out of memory; goes on with a batch of {recipe.batch}")
                del run
                self._free()
                hand_over(folder / "checkpoint.pt", recipe, folder / "checkpoint.pt")

    def _free(self) -> None:
        if self.process.device.type == "cuda":
            torch.cuda.empty_cache()

    def _saver(self, run: TrainingRun, data: Dataset) -> Callable[[int, int], None]:
        """Leave the weights now and then, so that a call that is killed has left some."""
        last = time.monotonic()

        def save(step: int, steps: int) -> None:
            nonlocal last
            if time.monotonic() - last > REPORT_SECONDS:
                last = time.monotonic()
                self._leave_weights(run, data)

        return save

    def _leave_weights(self, run: TrainingRun, data: Dataset) -> None:
        """The averaged weights in half precision, how they came to be, and the log."""
        self.out.mkdir(parents=True, exist_ok=True)
        halves = {name: value.half().cpu() for name, value in run.state.average.state_dict().items()}
        target = self.out / f"{run.state.recipe.name}.pth"
        torch.save(halves, target.with_suffix(".part"))
        target.with_suffix(".part").replace(target)
        (self.out / "run.json").write_text(json.dumps(run.record(data.sources), indent=2) + "\n")
        if (run.out / "log.jsonl").exists():
            shutil.copyfile(run.out / "log.jsonl", self.out / "log.jsonl")

    def _leave_state(self, name: str) -> None:
        """The checkpoint in parts, where it fits."""
        data = (self._folder(name, "trunk") / "checkpoint.pt").read_bytes()
        parts = math.ceil(len(data) / PART)
        weights = 2 * sum(p.numel() for p in prepared(find(name)).parameters())
        if parts > FILES - 3 or len(data) + weights > TOTAL:
            self.say(f"the state of {name} takes {len(data) / MIB:.0f} MiB, too much to be left; only weights are")
            return
        self.out.mkdir(parents=True, exist_ok=True)
        for k in range(parts):
            (self.out / f"{name}.state-{k}").write_bytes(data[k * PART : (k + 1) * PART])

    def _collect(self, name: str) -> None:
        """Put together the state that a call on another machine left, if it lies beside the photos."""
        target = self._folder(name, "trunk") / "checkpoint.pt"
        parts = sorted(self.folder.glob(f"{name}.state-*"))
        if parts and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"".join(part.read_bytes() for part in parts))
