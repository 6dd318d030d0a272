"""The method: how the LR image is changed so that the upscaler restores more."""

from coscale.collaborate.hcd import HCD, Result, Stage, optimize
from coscale.collaborate.losses import LOSSES, l1, mse, y_mse

__all__ = ["HCD", "LOSSES", "Result", "Stage", "l1", "mse", "optimize", "y_mse"]
