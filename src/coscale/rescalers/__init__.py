"""The rescalers that have a name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from coscale.errors import RescalerError
from coscale.rescalers.base import (
    Bfloat16,
    Grey,
    Greyed,
    Maps,
    Network,
    Precision,
    Rescaler,
    declared,
    fastest,
)
from coscale.rescalers.bicubic import Bicubic
from coscale.rescalers.car import CAR
from coscale.rescalers.coded import Coded
from coscale.rescalers.hcflow import HCFlow
from coscale.rescalers.irn import IRN
from coscale.rescalers.jxl import JpegXlUpsampling
from coscale.rescalers.light import Light
from coscale.rescalers.reversible import Reversible
from coscale.rescalers.srcnn import SRCNN
from coscale.rescalers.superres import SuperResolution
from coscale.rescalers.tad import TAD

FROM_FILE = "bicubic+"  # begins the names of the rescalers whose upscaler is a file of the user's

__all__ = [
    "CAR",
    "FROM_FILE",
    "IRN",
    "RESCALERS",
    "TAD",
    "Bfloat16",
    "Bicubic",
    "Coded",
    "Grey",
    "Greyed",
    "HCFlow",
    "JpegXlUpsampling",
    "Light",
    "Maps",
    "Named",
    "Network",
    "Precision",
    "Rescaler",
    "Reversible",
    "SuperResolution",
    "declared",
    "fastest",
    "find",
]


@dataclass(frozen=True)
class Named:
    """A rescaler by name: how to build it, where its weights come from, and as what Rescaler says, ``shown_by``."""

    name: str
    scale: int
    build: Callable[[], Network]
    about: str
    checkpoint: Literal["none", "bundled", "yours"] = "none"  # "yours": one that the user has
    shown_by: str = ""


RESCALERS = (
    Named("bicubic-x1", 1, lambda: Bicubic(1), "the photo at full size: what a codec does alone"),
    Named("bicubic-x2", 2, lambda: Bicubic(2), "MATLAB-style bicubic, down and up"),
    Named("bicubic-x3", 3, lambda: Bicubic(3), "MATLAB-style bicubic, down and up"),
    Named("bicubic-x4", 4, lambda: Bicubic(4), "MATLAB-style bicubic, down and up"),
    Named("bicubic-x8", 8, lambda: Bicubic(8), "MATLAB-style bicubic, down and up"),
    Named(
        *("jxl-x2", 2, lambda: JpegXlUpsampling(2), "bicubic, and the upsampling of every JPEG XL viewer"),
        shown_by=JpegXlUpsampling.shown_by,
    ),
    Named(
        *("jxl-x4", 4, lambda: JpegXlUpsampling(4), "bicubic, and the upsampling of every JPEG XL viewer"),
        shown_by=JpegXlUpsampling.shown_by,
    ),
    Named("irn-x2-4b", 2, lambda: IRN((4,)), "IRN with 4 of its 8 blocks", "bundled"),
    Named("irn-x4-4b", 4, lambda: IRN((4, 4)), "IRN with 4 of its 8 blocks at each scale", "bundled"),
    Named("light-x2", 2, lambda: Light(2), "small plain networks, for phones and browsers", "bundled"),
    Named("light-x4", 4, lambda: Light(4), "small plain networks, for phones and browsers", "bundled"),
    Named("light-x3", 3, lambda: Light(3), "small plain networks; train it", "yours"),
    Named("light-x8", 8, lambda: Light(8), "small plain networks; train it", "yours"),
    Named("base-x2", 2, lambda: Light(2, 96, 5, (48, 3)), "plain networks, quality first", "bundled"),
    Named("base-x4", 4, lambda: Light(4, 128, 4), "plain networks, quality first", "bundled"),
    Named(
        "coded-x1", 1, lambda: Coded(1), "the photo at full size, and a filter that knows JPEG, WebP and AVIF", "yours"
    ),
    Named("coded-x2", 2, lambda: Coded(2), "bicubic, and an upscaler that knows JPEG, WebP and AVIF", "bundled"),
    Named("coded-x4", 4, lambda: Coded(4), "bicubic, and an upscaler that knows JPEG, WebP and AVIF", "yours"),
    Named("srcnn-x2", 2, lambda: SuperResolution(SRCNN(2), 2, channels=1), "bicubic, and SRCNN on Y", "bundled"),
    Named("srcnn-x4", 4, lambda: SuperResolution(SRCNN(4), 4, channels=1), "bicubic, and SRCNN on Y", "bundled"),
    Named("irn-x2", 2, lambda: IRN((8,)), "IRN as published; give --weights IRN_x2.pth", "yours"),
    Named("irn-x4", 4, lambda: IRN((8, 8)), "IRN as published; give --weights IRN_x4.pth", "yours"),
    Named(
        "car-x2", 2, lambda: CAR(2), "CAR & EDSR as published; give --weights FOLDER, of kgn.pth and usn.pth", "yours"
    ),
    Named(
        "car-x4", 4, lambda: CAR(4), "CAR & EDSR as published; give --weights FOLDER, of kgn.pth and usn.pth", "yours"
    ),
    Named("car-x4-small", 4, lambda: CAR(4, 16, 64), "CAR with EDSR's baseline; train it", "yours"),
    Named("tad-x4", 4, lambda: TAD(4), "TAD & TAU, in sizes of our own; train it", "yours"),
    Named("hcflow-x4", 4, HCFlow, "HCFlow as published; give --weights Rescaling_DF2K_X4_HCFlow.pth", "yours"),
)


def find(name: str) -> Named:
    """Give the rescaler called ``name``. Raises RescalerError with the names there are."""
    for named in RESCALERS:
        if named.name == name:
            return named
    if name.startswith(FROM_FILE):
        raise RescalerError(
            f"{name} restores by {name.removeprefix(FROM_FILE)}, a network in a file; give that with --upscaler FILE"
        )
    raise RescalerError(f"there is no rescaler {name!r}; choose one of {', '.join(n.name for n in RESCALERS)}")
