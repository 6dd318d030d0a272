"""Lossless JPEG XL: the smallest; and, where that is asked for, shown at the photo's size by every decoder."""

from dataclasses import dataclass, replace
from typing import Self

from coscale import foreign, upsampled
from coscale.image import Photo
from coscale.storage.base import Lossless


@dataclass(frozen=True)
class JpegXl(Lossless):
    """Lossless JPEG XL by the extra ``jxl``. Of grey with transparency the note says that three channels are one.

    - ``shown``: how many times as large decoders show an LR, and the height and width that they cut it to; see
      ``upsampled``. None for the LR as it is, which ``decode`` gives in any case.
    """

    shown: tuple[int, tuple[int, int]] | None = None

    name = "jxl"
    suffix = ".jxl"

    def encode(self, lr: Photo) -> bytes:
        file = super().encode(lr)
        return upsampled.marked(file, *self.shown) if self.shown else file

    def decode(self, data: bytes) -> Photo:
        return super().decode(upsampled.unmarked(data))

    def showing(self, scale: int, size: tuple[int, int]) -> Self:
        return replace(self, shown=(scale, size))

    def check(self) -> None:
        foreign.check_jpeg_xl()
