"""What spandrel's LaMa and RestoreFormer take from here. None of them upscales, so nothing is rotated in earnest."""

from collections.abc import Sequence
from enum import Enum
from typing import Any, NoReturn

import torch
from torch import Tensor


class InterpolationMode(Enum):
    """The mode that spandrel names."""

    BILINEAR = "bilinear"


def rotate(*_: Any, **__: Any) -> NoReturn:
    """Not here."""
    raise NotImplementedError("this is a stand-in for torchvision; install torchvision to rotate images")


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """(tensor - mean) / std, for each channel."""
    assert not inplace
    mean_, std_ = (torch.tensor(values).to(tensor)[:, None, None] for values in (mean, std))
    return (tensor - mean_) / std_
