"""The rescalers that have a name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from coscale.errors import RescalerError
from coscale.rescalers.base import Bfloat16, Grey, Precision, Rescaler, Sampler, fastest
from coscale.rescalers.bicubic import Bicubic
from coscale.rescalers.irn import IRN
from coscale.rescalers.light import Light
from coscale.rescalers.reversible import Reversible

__all__ = [
    "IRN",
    "RESCALERS",
    "Bfloat16",
    "Bicubic",
    "Grey",
    "Light",
    "Named",
    "Precision",
    "Rescaler",
    "Reversible",
    "Sampler",
    "fastest",
    "find",
]


@dataclass(frozen=True)
class Named:
    """A rescaler by name: how to build it, and where its weights come from."""

    name: str
    scale: int
    build: Callable[[], nn.Module]
    about: str
    checkpoint: Literal["none", "bundled", "yours"] = "none"  # "yours": one that the user has


RESCALERS = (
    Named("bicubic-x2", 2, lambda: Bicubic(2), "MATLAB-style bicubic, down and up"),
    Named("bicubic-x4", 4, lambda: Bicubic(4), "MATLAB-style bicubic, down and up"),
    Named("irn-x2-4b", 2, lambda: IRN((4,)), "IRN with 4 of its 8 blocks", "bundled"),
    Named("irn-x4-4b", 4, lambda: IRN((4, 4)), "IRN with 4 of its 8 blocks at each scale", "bundled"),
    Named("light-x2", 2, lambda: Light(2), "small plain networks, for phones and browsers", "bundled"),
    Named("light-x4", 4, lambda: Light(4), "small plain networks, for phones and browsers", "bundled"),
    Named("irn-x2", 2, lambda: IRN((8,)), "IRN as published; give --weights IRN_x2.pth", "yours"),
    Named("irn-x4", 4, lambda: IRN((8, 8)), "IRN as published; give --weights IRN_x4.pth", "yours"),
)


def find(name: str) -> Named:
    """The rescaler called ``name``. Raises RescalerError with the names there are."""
    for named in RESCALERS:
        if named.name == name:
            return named
    raise RescalerError(f"there is no rescaler {name!r}; choose one of {', '.join(n.name for n in RESCALERS)}")
