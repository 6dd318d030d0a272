"""The methods: how the LR image is changed so that the upscaler restores more."""

from coscale.collaborate.coscale import Coscale
from coscale.collaborate.hcd import HCD
from coscale.collaborate.losses import LOSSES, l1, mse, y_mse
from coscale.collaborate.method import Method, Progress, Result, Stage, Watch

METHODS = {"hcd": HCD, "coscale": Coscale}

__all__ = [
    "HCD",
    "LOSSES",
    "METHODS",
    "Coscale",
    "Method",
    "Progress",
    "Result",
    "Stage",
    "Watch",
    "l1",
    "mse",
    "y_mse",
]
