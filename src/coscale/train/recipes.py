"""What to train and how: one entry a rescaler, under its name."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coscale import rescalers
from coscale.errors import RescalerError, SettingsError
from coscale.rescalers.steps import Steps
from coscale.weights.load import bundled, read_checkpoint


@dataclass(frozen=True)
class TrainingRecipe:
    """The settings that train a rescaler.

    Loss: ``l1`` times the mean absolute error of the restored photo (over the last ``late_share`` of the steps
    ``late_l2`` times its MSE instead), plus ``guidance`` times the MSE of the LR against bicubic, plus ``latent`` times
    the mean of the latent squared, for a rescaler that has one. The photo is restored with a latent of 0, or with one
    drawn from a normal distribution of standard deviation ``temperature``.
    Schedule: ``warmup`` steps up to the learning rate ``lr``; over the last ``decay`` of ``steps``, which is a share,
    half a cosine down to 0.
    ``graphics`` is the share of each batch that is drawn instead of photographed.
    ``muon``: whether kernels are trained by Muon; without, all are by Adam.
    ``ema`` is the decay of the average of the weights that is kept in the end.
    ``steps_for`` names the rescaler that learned steps are trained for, in place of a rescaler; of the loss only
    ``graphics`` then counts. ``coded``: the LR is bicubic's and goes through a simulated JPEG; the loss is that of
    ``train/coded.py``, and of the one here, too, only ``graphics`` counts.
    """

    name: str
    steps: int
    batch: int
    patch: int
    lr: float = 2e-3
    warmup: int = 50
    decay: float = 1.0
    l1: float = 1.0
    late_share: float = 0.2
    late_l2: float = 64.0
    guidance: float = 2.0
    latent: float = 0.0
    temperature: float = 0.0
    graphics: float = 0.1
    clip_norm: float = 1.0
    ema: float = 0.998
    muon: bool = True
    seed: int = 0
    start: str | None = None  # a bundled rescaler or a file, whose tensors of equal name and shape it begins with
    steps_for: str | None = None
    coded: bool = False


WITHOUT_END = 10**8  # steps

RECIPES = {
    recipe.name: recipe
    for recipe in (
        # The published sizes, for a GPU.
        TrainingRecipe("irn-x2", steps=100_000, batch=16, patch=144, lr=1e-3, warmup=500, latent=0.05, ema=0.9995),
        TrainingRecipe(
            "irn-x4",
            steps=100_000,
            batch=16,
            patch=144,
            lr=5e-4,
            warmup=500,
            latent=0.05,
            ema=0.9995,
            guidance=8,
            late_l2=24,
        ),
        # The published loss: Liang et al., ICCV 2021, and their options for rescaling.
        TrainingRecipe(
            "hcflow-x4",
            steps=100_000,
            batch=16,
            patch=160,
            lr=2.5e-4,
            warmup=500,
            late_share=0,
            guidance=0.05,
            latent=1e-5,
            temperature=1,
            ema=0.9995,
        ),
        # What two CPU cores can do in about an hour.
        TrainingRecipe("irn-x2-4b", steps=10_000, batch=4, patch=64, latent=0.05),
        TrainingRecipe(
            "irn-x4-4b",
            steps=10_000,
            batch=4,
            patch=64,
            latent=0.05,
            guidance=8,
            late_l2=24,
            lr=5e-4,
            start="irn-x2-4b",
        ),
        TrainingRecipe("light-x2", steps=20_000, batch=16, patch=64),
        TrainingRecipe("light-x4", steps=20_000, batch=16, patch=128, guidance=8),
        TrainingRecipe("light-x3", steps=20_000, batch=16, patch=96, guidance=4),
        TrainingRecipe("light-x8", steps=20_000, batch=8, patch=256, guidance=16),
        # Quality first. Their small batches suit a processor; a GPU takes larger ones.
        TrainingRecipe("base-x2", steps=100_000, batch=8, patch=64, lr=1e-3),
        TrainingRecipe("base-x4", steps=100_000, batch=8, patch=128, lr=1e-3, guidance=8),
        # Bicubic is the downscaler, so there is nothing to guide. The network is the same at every scale.
        TrainingRecipe("srcnn-x4", steps=20_000, batch=8, patch=96, guidance=0, late_l2=24),
        TrainingRecipe("srcnn-x2", steps=10_000, batch=8, patch=96, guidance=0, start="srcnn-x4"),
        # TAD's paper guides by L1; CAR's has no guidance, but losses that keep its offsets small and smooth.
        TrainingRecipe("tad-x4", steps=10_000, batch=8, patch=128, lr=1e-3, guidance=8),
        TrainingRecipe("car-x4-small", steps=5_000, batch=4, patch=96, lr=5e-4, guidance=8),
        # For LR images that a lossy codec keeps. A block of JPEG is 8 pixels wide, so that crops are larger.
        TrainingRecipe(
            "coded-x2", steps=20_000, batch=8, patch=128, lr=1e-3, late_share=0, start="light-x2", coded=True
        ),
        TrainingRecipe("coded-x1", steps=20_000, batch=8, patch=64, lr=1e-3, late_share=0, coded=True),
        TrainingRecipe(
            "coded-x4", steps=20_000, batch=8, patch=256, lr=1e-3, late_share=0, start="light-x4", coded=True
        ),
        # Learned steps, of the pairs in the package. What f makes of a step differs so much between directions that
        # the noise of long updates does harm: after some hundred steps the rate has to be small, or the steps get worse
        # again. To go on from there, give --start, --lr 3e-5 and --batch 32.
        *(
            TrainingRecipe(
                f"{name}-steps",
                steps=600,
                batch=8,
                patch=32 * rescalers.find(name).scale,
                lr=2e-4,
                late_share=0,
                graphics=0,
                clip_norm=0.1,
                ema=0.99,
                muon=False,
                steps_for=name,
            )
            for name in ("light-x2", "light-x4", "base-x2", "base-x4")
        ),
    )
}


def find(name: str, **changes: Any) -> TrainingRecipe:
    """Give the recipe called ``name``, with ``changes`` to its fields.

    Raises RescalerError with the names there are.
    """
    if name not in RECIPES:
        raise RescalerError(f"there is no recipe {name!r}; choose one of {', '.join(RECIPES)}")
    recipe = replace(RECIPES[name], **changes)
    scale = rescalers.find(recipe.steps_for or name).scale
    if recipe.patch % scale:
        raise SettingsError(f"a patch of {recipe.patch} pixels cannot be divided by {scale}; give another --patch")
    return recipe


def trunk_of(recipe: TrainingRecipe) -> TrainingRecipe:
    """Keep a recipe at a constant rate, for as long as one likes; what it gives is branched from, see branch_of."""
    return replace(recipe, steps=WITHOUT_END, decay=0.0, late_share=0.0)


def branch_of(trunk: TrainingRecipe, steps: int, more: int) -> TrainingRecipe:
    """Give the recipe that ends a trunk of ``steps``: ``more`` of them, while the rate falls to 0.

    Half of these are by the loss of the last phase, where the recipe that the trunk was made of has one.
    """
    share = more / (steps + more)
    late = share / 2 if find(trunk.name).late_share else 0.0
    return replace(trunk, steps=steps + more, decay=share, late_share=late)


def prepared(recipe: TrainingRecipe) -> nn.Module:
    """Give the network of a recipe, ready to be trained.

    Raises RescalerError if nothing of ``recipe.start`` fits it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if recipe.steps_for is not None:
            network: nn.Module = Steps(rescalers.find(recipe.steps_for).scale)
        else:
            network = rescalers.find(recipe.name).build()
    if recipe.start is not None:
        named = {one.name: one for one in rescalers.RESCALERS if one.checkpoint == "bundled"}
        start = bundled(named[recipe.start]) if recipe.start in named else Path(recipe.start)
        own = network.state_dict()
        there = {
            name: _widened(value, own[name])
            for name, value in read_checkpoint(start, own.keys()).items()
            if name in own
        }
        fitting = {name: value for name, value in there.items() if own[name].shape == value.shape}
        if not fitting:
            raise RescalerError(f"{start} has no tensor of {recipe.name}; give other weights with --start")
        network.load_state_dict(own | fitting)
    return network


def _widened(kernel: Tensor, own: Tensor) -> Tensor:
    """A kernel for as many input channels as ``own`` has, those new without an effect; other tensors as they are."""
    missing = own.shape[1] - kernel.shape[1] if kernel.ndim == own.ndim == 4 else 0
    return F.pad(kernel, (0, 0, 0, 0, 0, missing)) if missing > 0 else kernel
