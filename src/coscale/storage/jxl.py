"""Lossless JPEG XL: the smallest."""

from coscale import foreign
from coscale.storage.base import Lossless


class JpegXl(Lossless):
    """Lossless JPEG XL by the extra ``jxl``. Of grey with transparency the note says that three channels are one."""

    name = "jxl"
    suffix = ".jxl"

    def check(self) -> None:
        foreign.check_jpeg_xl()
