"""The training loop: one recipe, one folder out with the weights, a checkpoint to go on from, a log and its curves.

    crops --network--> LR, latent --8 bit--> LR --network--> restored --loss--> gradients --Muon, Adam--> network
                                                                                         moving average, which is kept

Steps come in windows. After each, the losses are looked at. A window that went well confirms the one before, which is
then what a checkpoint holds; one that did not takes the run back to there.
"""

import json
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch.nn.parallel import DistributedDataParallel

from coscale import resize
from coscale.choices import AskedPrecision
from coscale.errors import SettingsError, TrainingError
from coscale.files import check_writable, replacing
from coscale.quantize import from_uint8
from coscale.rescalers import Precision, fastest
from coscale.train.coded import CodedObjective
from coscale.train.curves import can_draw, draw
from coscale.train.data import VALIDATION_CROP, Ahead, Dataset, Photos, bank, generator_of, load
from coscale.train.objective import Objective, factors
from coscale.train.process import Process, started
from coscale.train.recipes import TrainingRecipe
from coscale.train.state import State, resume, save
from coscale.train.steps import StepObjective
from coscale.weights.load import load as load_pair

WINDOW = 50  # steps at most
WINDOW_SECONDS = 10.0  # about
SPIKE = 2.5  # a window's mean error over the median of the last ones
MOST_SETBACKS = 6

Say = Callable[[str], None]
Passes = Callable[..., tuple[Tensor, Tensor]]
Engine = Literal["compile", "graph", "eager"]  # how the two passes of a step run; a graph needs CUDA


def learning_rate(recipe: TrainingRecipe, step: int, steps: int) -> float:
    """Give the factor on the learning rate: linear warm-up, and at last half a cosine down to 0 at ``steps``.

    The warm-up of a short schedule is a tenth of it. A rate that never falls has a schedule of no length.
    """
    warmup = max(1.0, min(recipe.warmup, steps / 10) if recipe.decay else recipe.warmup)
    falling = recipe.decay * steps
    fallen = min(1.0, max(0.0, step - steps + falling) / falling) if falling else 0.0
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * fallen))


def objective_of(
    recipe: TrainingRecipe, network: nn.Module, precision: Precision, device: torch.device, compiled: bool
) -> Objective | StepObjective | CodedObjective:
    """Give what a recipe lowers.

    Arguments:
        recipe: the recipe.
        network: what is trained, a rescaler or learned steps.
        precision: of convolutions.
        device: where it is trained.
        compiled: whether the rescaler that steps are learned for is compiled.
    """
    autocast = precision == "bfloat16"
    if recipe.coded:
        return CodedObjective(network, autocast)  # type: ignore[arg-type]
    if recipe.steps_for is None:
        return Objective(network, autocast, recipe.temperature)  # type: ignore[arg-type]
    pair = load_pair(recipe.steps_for, device=device, compiled=compiled)
    return StepObjective(network, pair.compiled or pair.rescaler, autocast)  # type: ignore[arg-type]


class Stepper:
    """Runs steps of a recipe on a state: a batch, its loss, the gradients, the update."""

    def __init__(
        self,
        state: State,
        photos: Photos,
        process: Process,
        engine: Engine = "compile",
        precision: Precision = "float32",
        say: Say = print,
    ) -> None:
        recipe = state.recipe
        if recipe.batch % process.count:
            raise SettingsError(
                f"a batch of {recipe.batch} does not divide into {process.count} processes; give another --batch"
            )
        share = recipe.batch // process.count
        self.part = slice(process.rank * share, (process.rank + 1) * share)
        self.state, self.photos, self.process, self.say = state, photos, process, say
        self.engine, self.precision = engine, precision
        # A GPU computes while the CPU goes on to the next batch by itself.
        self.batch = self._batch if process.device.type == "cuda" else Ahead(self._batch).take
        self.factors = {late: factors(recipe, late, process.device) for late in (False, True)}
        self.goal = objective_of(recipe, state.network, precision, process.device, engine == "compile")
        objective: nn.Module = self.goal
        if process.count > 1:
            objective = DistributedDataParallel(objective, broadcast_buffers=False)
        self.eager: Passes = objective
        self.objective: Passes = objective
        if engine == "compile" and self.goal.traceable:
            # On a GPU the forward and the backward pass are then each replayed as a CUDA graph.
            mode = "reduce-overhead" if process.device.type == "cuda" else None
            self.objective = torch.compile(objective, mode=mode)
        self.prepared = engine != "graph"

    def step(self) -> Float[Tensor, "3"]:
        """Do one step; give its loss, mean error and gradient norm, on the device."""
        recipe, course = self.state.recipe, self.state.course
        scale: int = self.state.network.scale  # type: ignore[assignment]
        pixels, graphics = self.batch(course.batches)
        hr = from_uint8(pixels)
        late = course.step >= course.steps * (1 - recipe.late_share)
        bicubic = resize.downscale(hr, scale)
        inputs = (hr, bicubic, self.factors[late], graphics, *self._chance(bicubic.shape[-2:]))
        if not self.prepared:
            self._capture(inputs)
        try:
            loss, error = self.objective(*inputs)
        except TorchDynamoException as problem:  # above all, no compiler for C++
            self._slower("compiling", problem)
            loss, error = self.objective(*inputs)
        loss.backward()
        # A copy, because a graph's next run writes over its outputs.
        seen = torch.stack([loss.detach(), error])
        norm = self.state.step(course.caution * learning_rate(recipe, course.step, course.steps))
        return torch.cat([seen, norm.detach().reshape(1)])

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        """Record the two passes as CUDA graphs, which takes seconds where compiling takes minutes."""
        self.prepared = True
        try:
            self.objective = torch.cuda.make_graphed_callables(self.eager, inputs)  # type: ignore[arg-type]
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as problem:
            self._slower("a CUDA graph", problem)

    def _slower(self, what: str, problem: Exception) -> None:
        """Go on step by step, as what would have been faster cannot be had."""
        self.say(f"goes on without {what}, which failed: {str(problem).strip().splitlines()[0]}")
        self.objective, self.engine = self.eager, "eager"

    def _batch(self, number: int) -> tuple[UInt8[Tensor, "b 3 patch patch"], Float[Tensor, " b"]]:
        """This process's part of a batch, and which of its crops are drawn."""
        recipe = self.state.recipe
        picked = self.photos.picked(recipe.batch, recipe.patch, generator_of(recipe.seed, number, "crops"))[self.part]
        drawn = torch.tensor([float(crop.drawn) for crop in picked])
        return self.photos.cut(picked, recipe.patch), drawn.to(self.process.device, non_blocking=True)

    def _chance(self, lr_size: torch.Size) -> list[Tensor]:
        """What the objective draws for this process's part of a batch; like the crops, the same for all processes."""
        recipe = self.state.recipe
        generator = generator_of(recipe.seed, self.state.course.batches, "chance")
        drawn = self.goal.chance(generator, recipe.batch, lr_size)
        return [one[self.part].to(self.process.device, non_blocking=True) for one in drawn]


def train(
    recipe: TrainingRecipe,
    network: nn.Module,
    folders: Sequence[Path],
    out: Path,
    *,
    device: str = "cpu",
    minutes: float | None = None,
    say: Say = print,
    progress: Callable[[int, int], None] = lambda step, steps: None,
    compiled: bool = True,
    precision: AskedPrecision = "auto",
    report_seconds: float = 50,
) -> Path:
    """Train ``network`` by ``recipe`` and return the path of its weights, ``out``/NAME.safetensors.

    Goes on from ``out``/checkpoint.pt where there is one. Every ``report_seconds`` the moving average of the weights
    is measured on the validation crops, a row joins ``out``/log.jsonl, and checkpoint and curves.png are replaced; the
    checkpoint is also replaced when the run is stopped. With ``minutes`` the schedule is fitted into so much time,
    which counts from the run's first step and leaves out what lay between a stop and going on. ``compiled`` steps
    take a minute to prepare and are faster then. ``precision`` is that of convolutions, by default what is faster on
    the device; sums that must invert, and the rounding, are in float32. Under ``torchrun`` the batch is divided between
    the processes.
    Raises DataError, RescalerError for a checkpoint of another network, SettingsError, OutputError, and
    TrainingError when the loss keeps exploding.
    """
    with started(device) as process:
        if not process.first:
            say, progress = lambda _: None, lambda step, steps: None
        check_writable(out / "checkpoint.pt")
        data = load(folders, recipe.patch, say)
        if recipe.graphics:
            side = min(max(recipe.patch, VALIDATION_CROP), *(min(image.shape[1:]) for image in data.images))
            data = replace(data, drawn=bank(data.images, side, recipe.seed))
        chosen = fastest(process.device) if precision == "auto" else precision
        run = begin(recipe, network, data, out, process, "compile" if compiled else "eager", chosen, say, minutes)
        sources = data.sources
        del data  # the photos are there once now
        run.finish(progress, report_seconds)
        if process.first:
            run.export(sources)
            say(f"wrote {run.weights}")
        process.wait()
        return run.weights


def begin(
    recipe: TrainingRecipe,
    network: nn.Module,
    data: Dataset,
    out: Path,
    process: Process,
    engine: Engine,
    precision: Precision,
    say: Say,
    minutes: float | None,
) -> "TrainingRun":
    """Make a run of ``recipe``, at its first step or at that of the checkpoint in ``out``.

    Arguments:
        data: the photos and what is drawn, on the CPU.
        engine: how steps are run; what fails is said and done without.
        minutes: the length of the schedule, instead of the recipe's steps.

    Raises RescalerError, SettingsError and OutputError as ``train`` does.
    """
    checkpoint = out / "checkpoint.pt"
    if not can_draw():
        say("no curves.png, for want of matplotlib: pip install 'coscale[report]'")
    photos = Photos(data.images, process.device, data.drawn, recipe.graphics)
    network.to(process.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = State(recipe, network, data.fingerprint)
    out.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        resume(state, checkpoint)
        say(f"going on from step {state.course.step}")
    elif process.first:
        (out / "log.jsonl").unlink(missing_ok=True)
    if process.agree(state.course.step) != state.course.step:
        raise SettingsError(f"{checkpoint} is not the same for all processes; give an --out that they share")
    stepper = Stepper(state, photos, process, engine, precision, say)
    return TrainingRun(stepper, data.validation.to(process.device), out, say, minutes)


class TrainingRun:
    """The windows of a run, with what it writes in between."""

    def __init__(self, stepper: Stepper, crops: Tensor, out: Path, say: Say, minutes: float | None) -> None:
        self.stepper, self.state, self.process = stepper, stepper.state, stepper.process
        self.crops, self.out, self.say, self.minutes = crops, out, say, minutes
        self.weights = out / f"{self.state.recipe.name}.safetensors"
        # What the run goes back to, and the end of the window after that, which the next window has to confirm.
        self.confirmed = self.latest = self.state.snapshot()
        self.paces: deque[float] = deque(maxlen=10)  # seconds a step, of the last windows

    def finish(self, progress: Callable[[int, int], None], report_seconds: float) -> None:
        """Do all steps that are left."""
        state = self.state
        if self.minutes is not None and state.course.seconds < 60 * self.minutes:
            state.course.steps = max(state.course.steps, state.course.step + 1)  # a run that was done gets more time
        reported = -math.inf  # soon, so that one sees that it works
        try:
            while state.course.step < state.course.steps:
                row = self._window()
                if self._went_well(row):
                    self.confirmed, self.latest = self.latest, state.snapshot()
                    done = state.course.step >= state.course.steps
                    if done:
                        self.confirmed = self.latest
                    if done or time.monotonic() - reported >= report_seconds:
                        reported = time.monotonic()
                        self._report(row)
                else:
                    self._step_back(row)
                progress(state.course.step, state.course.steps)
        except BaseException:  # Ctrl-C above all: what went well so far is not lost
            if self.process.first:
                save(self.confirmed, self.out / "checkpoint.pt")
            raise

    @property
    def pace(self) -> float:
        """Seconds a step, lately."""
        return statistics.median(self.paces)

    def _window(self) -> dict[str, float]:
        """Some steps; their mean loss, error and gradient norm, and their number a second."""
        course, begun = self.state.course, time.monotonic()
        count = max(1, round(WINDOW_SECONDS / self.pace)) if self.paces else 5
        count = self.process.agree(min(count, WINDOW, course.steps - course.step))
        seen = self.process.mean(torch.stack([self.stepper.step() for _ in range(count)]))
        # A sum that is not finite shows a single step that was not.
        loss, error, norm = seen.mean(0).tolist()
        seconds = time.monotonic() - begun
        course.seconds += seconds
        # A process's first window compiles. It is no guide to the rest, and is soon out of the median.
        self.paces.append(seconds / count if self.paces else seconds / count / 10)
        if self.minutes is not None:
            left = max(0.0, self.minutes * 60 - course.seconds)
            course.steps = self.process.agree(course.step + round(left / self.pace))
        return {"loss": loss, "error": error, "gradient": norm, "steps_per_second": count / seconds}

    def _went_well(self, row: dict[str, float]) -> bool:
        errors, error = self.state.errors, row["error"]
        spike = len(errors) >= 3 and error > SPIKE * statistics.median(errors)
        # The last step's update came after its loss.
        finite = all(map(math.isfinite, row.values())) and all(
            bool(p.isfinite().all()) for p in self.state.network.parameters()
        )
        if spike or not finite:
            return False
        self.state.errors = [*errors, error][-20:]
        self.state.course.setbacks = 0
        return True

    def _step_back(self, row: dict[str, float]) -> None:
        """Undo the window and the one before, and go on with other crops and half the learning rate."""
        state, failed = self.state, self.state.course
        if failed.setbacks >= MOST_SETBACKS:
            raise TrainingError(f"the error keeps exploding at step {failed.step}; give a lower --lr")
        state.restore(self.confirmed)
        state.course.batches = failed.batches
        state.course.setbacks, state.course.caution = failed.setbacks + 1, failed.caution / 2
        state.course.seconds, state.course.steps = failed.seconds, failed.steps
        self.confirmed = self.latest = state.snapshot()
        what = "the error rose to" if math.isfinite(row["loss"] + row["gradient"]) else "a value was not finite; error"
        self.say(
            f"{what} {row['error']:.4g} before step {failed.step}: "
            f"back to step {state.course.step}, learning rate times {state.course.caution:g}"
        )

    def _report(self, window: dict[str, float]) -> None:
        """Measure, write the row and the curves, save."""
        if not self.process.first:
            return
        begun = time.monotonic()
        state, course = self.state, self.state.course
        rate = state.recipe.lr * course.caution * learning_rate(state.recipe, course.step, course.steps)
        row: dict[str, Any] = {"step": course.step, "steps": course.steps, "seconds": round(course.seconds, 1)}
        row |= window | {"learning_rate": rate} | self.stepper.goal.validate(state.average, self.crops)  # type: ignore[arg-type]
        self.say(
            f"step {row['step']} of {row['steps']}: loss {row['loss']:.5f}, validation PSNR-Y {row['psnr_y']:.2f}, "
            f"LR {row['lr_psnr']:.1f}, {row['steps_per_second']:.1f} steps/s"
        )
        log = self.out / "log.jsonl"
        # Rows from after the checkpoint that this run went on from belong to steps that have been done again.
        earlier = map(json.loads, log.read_text().splitlines() if log.exists() else [])
        rows = [*(old for old in earlier if old["step"] < row["step"]), row]
        with replacing(log) as temporary:
            temporary.write_text("".join(json.dumps(each) + "\n" for each in rows))
        if can_draw():
            draw(rows, self.out / "curves.png")
        save(self.confirmed, self.out / "checkpoint.pt")
        course.seconds += time.monotonic() - begun

    def export(self, sources: dict[str, int]) -> None:
        """Write the moving average, and how it came to be."""
        import safetensors.torch  # only here: a machine without it can still train

        tensors = {name: value.cpu().contiguous() for name, value in self.state.average.state_dict().items()}
        with replacing(self.weights) as temporary:
            temporary.write_bytes(safetensors.torch.save(tensors))
        with replacing(self.out / "run.json") as temporary:
            temporary.write_text(json.dumps(self.record(sources), indent=2) + "\n")

    def record(self, sources: dict[str, int]) -> dict[str, Any]:
        """Say how the weights came to be."""
        return {
            "recipe": asdict(self.state.recipe),
            "iterations": self.state.course.step,
            "seconds": round(self.state.course.seconds),
            "minutes": self.minutes,
            "images": sources,
            "date": datetime.now(tz=UTC).date().isoformat(),
            "torch": torch.__version__,
            "device": self.process.device.type,
            "processes": self.process.count,
            "precision": self.stepper.precision,
        }
