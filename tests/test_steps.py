"""Learned steps: what they give, what becomes of those that are of no use, and how they are trained."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from coscale.cells import ComparedPhoto
from coscale.collaborate import Coscale
from coscale.errors import CoscaleWarning, RescalerError
from coscale.image import Photo, write
from coscale.objectives import mse, y_mse
from coscale.pipeline import encode_photo
from coscale.quantize import quantize
from coscale.rescalers import Rescaler, find
from coscale.rescalers.steps import LearnedSteps, Seen, Steps
from coscale.train.recipes import RECIPES
from coscale.train.recipes import find as recipe_of
from coscale.train.steps import StepObjective
from coscale.weights.load import Loaded, bundled, load
from coscale.weights.steps import beside, read_steps, steps_beside, write_steps
from tests.command import coscale

LEARNED = [name for name in ("light-x2", "light-x4") if beside(bundled(find(name))).is_file()]
LARGEST = 1_000_000  # bytes of a file of steps


class Harmful(Steps):
    """Steps that go against the gradient the wrong way, far."""

    def forward(self, number: int, seen: Seen) -> Tensor:
        return 0.02 * seen.slope / seen.slope.square().mean((1, 2, 3), keepdim=True).sqrt()


class Late(Steps):
    """Steps of which the first helps, and the others do harm."""

    def __init__(self, good: Steps) -> None:
        super().__init__(good.scale)
        self.good = good

    def forward(self, number: int, seen: Seen) -> Tensor:
        return self.good(0, seen) if number == 0 else Harmful.forward(self, number, seen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pair() -> Loaded:
    return load("light-x2")


def left(rescaler: Rescaler, lr: Tensor, hr: Tensor) -> float:
    """The loss of the 8-bit photo that the 8-bit LR restores."""
    with torch.no_grad():
        restored = quantize(rescaler.upscale(quantize(lr)))
    return float(mse(restored, hr) + 0.5 * y_mse(restored, hr))


def gain(pair: Loaded, hr: Tensor, method: Coscale, steps: Steps | None) -> float:
    """In dB of the loss."""
    found = method(pair.rescaler, hr, steps=LearnedSteps(steps) if steps else None)
    ratio = torch.tensor(left(pair.rescaler, found.plain, hr) / left(pair.rescaler, found.lr, hr))
    return float(10 * ratio.log10())


@pytest.mark.parametrize("name", LEARNED)
def test_few_passes_gain_nearly_what_many_of_descent_do(name: str, butterfly: Photo) -> None:
    pair, hr = load(name), butterfly.colour[..., :192, :192]
    assert pair.steps is not None
    four, instant, fast, six = (
        gain(pair, hr, Coscale(effort), steps)  # type: ignore[arg-type]
        for effort, steps in (("instant", None), ("instant", pair.steps), ("fast", pair.steps), ("fast", None))
    )
    assert instant > 0.7 * four
    assert fast > 1.05 * instant
    assert fast > 0.7 * six


@pytest.mark.parametrize("name", LEARNED)
def test_what_is_shipped(name: str) -> None:
    path = beside(bundled(find(name)))
    assert path.stat().st_size <= LARGEST
    pair = load(name)
    assert pair.steps is not None
    assert pair.steps.scale == pair.scale
    assert RECIPES[f"{name}-steps"].steps_for == name


@pytest.mark.parametrize("effort", ["instant", "fast", "balanced"])
def test_harmful_steps_are_taken_back(effort: str, pair: Loaded, crop: Tensor) -> None:
    method = Coscale(effort)  # type: ignore[arg-type]
    assert gain(pair, crop, method, Harmful(2)) >= 0
    assert pair.steps is not None
    good = gain(pair, crop, Coscale("instant"), pair.steps)
    assert gain(pair, crop, method, Late(pair.steps)) > 0.99 * good


def test_each_image_of_a_batch_for_itself(pair: Loaded, crop: Tensor) -> None:
    assert pair.steps is not None
    hr = torch.cat((crop, crop.flip(2), torch.full_like(crop, 0.3)))
    together = Coscale("fast")(pair.rescaler, hr, steps=LearnedSteps(pair.steps))
    alone = [Coscale("fast")(pair.rescaler, one[None], steps=LearnedSteps(pair.steps)) for one in hr]
    assert (together.lr - torch.cat([one.lr for one in alone])).abs().mean() < 0.1 / 255


def test_few_passes_and_little_else(pair: Loaded, crop: Tensor) -> None:
    assert pair.steps is not None
    original = ComparedPhoto(crop, (crop.shape[-2], crop.shape[-1]), pair.scale)
    result = Coscale("fast")(pair.rescaler, crop, steps=LearnedSteps(pair.steps), by_cells=original)
    # Two passes, and two files are judged, the plain one too.
    assert (result.downscales, result.gradients, result.upscales) == (1, 2, 4)
    assert result.errors is not None  # what the guard asks for


@pytest.mark.parametrize("options", [{"objective": lambda a, b: (a - b).abs().mean((1, 2, 3))}], ids=["objective"])
def test_other_objectives_descend(options: dict[str, object], pair: Loaded, crop: Tensor) -> None:
    assert pair.steps is not None
    method = Coscale("fast", **options)  # type: ignore[arg-type]
    with_steps, without = (method(pair.rescaler, crop, steps=steps) for steps in (LearnedSteps(pair.steps), None))
    assert torch.equal(with_steps.lr, without.lr)
    assert with_steps.gradients == 8


def test_steps_of_other_weights_are_refused_once(pair: Loaded, tmp_path: Path, butterfly: Photo) -> None:
    weights = tmp_path / "mine.safetensors"
    tensors = load_file(bundled(find("light-x2")))
    save_file({name: 1.001 * value for name, value in tensors.items()}, weights)
    assert load("light-x2", weights).steps is None  # none there, nothing to say
    assert pair.steps is not None
    write_steps(pair.steps, pair.weights_hash, beside(weights))
    with pytest.warns(CoscaleWarning, match="encodes without learned steps: .* is for other weights"):
        other = load("light-x2", weights)
    assert other.steps is None
    small = Photo(butterfly.colour[..., :64, :64])
    assert encode_photo(small, other, Coscale("fast")).result.gradients == 6
    photos = [tmp_path / "photos" / f"{number}.png" for number in range(2)]
    for photo in photos:
        write(photo, small)
    said = coscale("downscale", *photos, "--weights", weights, "--effort", "fast", "-o", tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stderr.count("encodes without learned steps") == 1


@pytest.mark.parametrize("damage", ["cut", "text", "scale", "missing", "nan", "scalar", "huge"])
def test_damaged_steps(damage: str, pair: Loaded, tmp_path: Path) -> None:
    assert pair.steps is not None
    path, scale = tmp_path / "a.steps.safetensors", 2
    write_steps(pair.steps, pair.weights_hash, path)
    tensors = load_file(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "text":
        path.write_text("no tensors at all")
    elif damage == "scale":
        scale = 4
    elif damage == "missing":
        del tensors["networks.1.tail.weight"]
        save_file(tensors, path, {"weights_hash": pair.weights_hash})
    elif damage == "scalar":
        save_file(tensors | {"networks.0.head.weight": torch.zeros(())}, path, {"weights_hash": pair.weights_hash})
    elif damage == "huge":  # what it declares, 30 networks of 40,000 channels, would take terabytes
        heads = {f"networks.{number}.head.weight": torch.zeros(40_000, 1, 1, 1) for number in range(30)}
        save_file(heads, path, {"weights_hash": pair.weights_hash})
    else:
        tensors["lengths"][0] = torch.nan
        save_file(tensors, path, {"weights_hash": pair.weights_hash})
    with pytest.raises(RescalerError, match=r"a\.steps\.safetensors"):
        read_steps(path, scale, pair.weights_hash)
    with pytest.warns(CoscaleWarning, match="encodes without learned steps"):
        assert steps_beside(tmp_path / "a.safetensors", scale, pair.weights_hash) is None


def test_half_precision_is_enough(pair: Loaded, tmp_path: Path) -> None:
    torch.manual_seed(0)
    steps = Steps(2, count=2, width=8, blocks=1)
    for parameter in steps.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    write_steps(steps, pair.weights_hash, tmp_path / "a.safetensors")
    again = read_steps(tmp_path / "a.safetensors", 2, pair.weights_hash)
    assert again.sizes == steps.sizes
    seen = Seen(*(torch.rand(1, c, 6, 7) for c in (3, 12, 3, 3, 3)))
    with torch.no_grad():
        assert torch.allclose(steps(1, seen), again(1, seen), atol=0.05 / 255)


def test_training_lowers_what_is_left(pair: Loaded, crop: Tensor) -> None:
    torch.manual_seed(0)
    steps = Steps(2, count=2, width=16, blocks=1)
    objective = StepObjective(steps, pair.rescaler, autocast=False)
    optimizer = torch.optim.Adam(steps.parameters(), 1e-3)
    course = []
    for _ in range(25):
        left, _ = objective(crop)
        optimizer.zero_grad()
        left.backward()
        optimizer.step()
        course.append(float(left.detach()))
    assert course[-1] < 0.97 * course[0]
    found = objective.validate(steps, crop)
    assert found["gain_1"] > 0.05
    assert not any(parameter.requires_grad for parameter in pair.rescaler.weights())


def test_its_gradient_is_that_of_what_is_left(pair: Loaded, crop: Tensor) -> None:
    """One pass serves twice; here the same by differences."""
    torch.manual_seed(0)
    steps = Steps(2, count=1, width=4, blocks=1).double()
    rescaler = load("light-x2").rescaler
    rescaler.double()  # type: ignore[attr-defined]
    objective = StepObjective(steps, rescaler, autocast=False)
    value, _ = objective(crop.double())
    value.backward()
    slope = steps.lengths.grad
    assert slope is not None
    values = []
    for shift in (1e-3, -1e-3):
        with torch.no_grad():
            moved = replace_lengths(steps, shift)
            values.append(float(StepObjective(moved, rescaler, autocast=False)(crop.double())[0]))
    assert float(slope) == pytest.approx((values[0] - values[1]) / 2e-3, rel=0.01)


def replace_lengths(steps: Steps, shift: float) -> Steps:
    """The same steps, all of them longer."""
    moved = Steps(steps.scale, **steps.sizes).double()
    moved.load_state_dict(steps.state_dict())
    moved.lengths.add_(shift)
    return moved


def test_the_command_trains_them(tmp_path: Path, crop: Tensor) -> None:
    photos = tmp_path / "photos"
    for number in range(30):
        write(photos / f"{number:02}.png", Photo(torch.rand(1, 3, 130, 130)))
    recipe = recipe_of("light-x2-steps")
    assert recipe.steps_for == "light-x2"
    said = coscale(
        "train", "light-x2-steps", "--data", photos, "-o", tmp_path / "run", "--steps", 2, "--batch", 1, "--eager"
    )
    assert said.returncode == 0, said.stderr
    steps = Steps(2)
    steps.load_state_dict(load_file(tmp_path / "run" / "light-x2-steps.safetensors"))
    with pytest.raises(RescalerError, match="is of another network"):
        load("light-x2", tmp_path / "run" / "light-x2-steps.safetensors")


def test_rounding_goes_by(pair: Loaded, crop: Tensor) -> None:
    """A photo file is read back to what was encoded, whatever the steps did."""
    assert pair.steps is not None
    done = encode_photo(Photo(crop), pair, Coscale("instant"))
    assert done.result.gradients == 1
    assert torch.equal(done.lr.colour, quantize(done.lr.colour))
    bare = encode_photo(Photo(crop), replace(pair, steps=None), Coscale("instant"))
    assert bare.result.gradients == 4
