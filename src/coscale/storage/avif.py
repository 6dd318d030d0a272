"""AVIF: the fewest bytes of those that browsers open."""

from dataclasses import dataclass
from typing import Any, Self

from coscale.storage.lossy import ByPillow


@dataclass(frozen=True)
class Avif(ByPillow):
    """AVIF with chroma of half the size, by an encoder that is told to keep the squared error low."""

    name = "avif"
    suffix = ".avif"
    block = 8
    form = "AVIF"

    def at(self, quality: float) -> Self:
        """Give the same format at a quality, of which its encoder knows whole ones alone."""
        return super().at(round(quality))

    def options(self) -> dict[str, Any]:
        # One thread: the bytes of several may differ from machine to machine.
        return {
            "quality": round(self.quality),
            "speed": 6,
            "subsampling": "4:2:0",
            "advanced": {"tune": "psnr"},
            "max_threads": 1,
        }
