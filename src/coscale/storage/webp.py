"""WebP: what every browser opens, without loss or with."""

from dataclasses import dataclass
from typing import Any

from coscale.storage.base import Lossless
from coscale.storage.lossy import ByPillow


class WebP(Lossless):
    """Lossless WebP, up to 16 383 pixels a side. It has no grey, so that the note says that three channels are one."""

    name = "webp"
    suffix = ".webp"


@dataclass(frozen=True)
class LossyWebP(ByPillow):
    """Lossy WebP, whose transparency is kept as it is."""

    name = "webp"
    suffix = ".webp"
    block = 16
    form = "WEBP"

    def options(self) -> dict[str, Any]:
        return {"quality": self.quality, "method": 6, "exact": True}
