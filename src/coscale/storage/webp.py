"""Lossless WebP: what every browser opens."""

from coscale.storage.base import Lossless


class WebP(Lossless):
    """Lossless WebP, up to 16 383 pixels a side. It has no grey, so that the note says that three channels are one."""

    name = "webp"
    suffix = ".webp"
