"""PNG: what everything opens."""

from typing import Any

from coscale import xmp
from coscale.errors import ImageError
from coscale.image import Photo
from coscale.storage.base import Lossless

_LEVEL = 4  # of oxipng, up to 6: those above take several times as long for a thousandth


class Png(Lossless):
    """PNG, with the note in a text chunk of its own too, where coscale has always looked for it.

    ``small`` has oxipng choose filters and compression anew; the pixels, what transparency hides and every chunk stay.
    """

    name = "png"
    suffix = ".png"

    def texts(self, lr: Photo) -> dict[str, str]:
        return {key: lr.text[key] for key in (xmp.NOTE,) if key in lr.text} | super().texts(lr)

    def encode(self, lr: Photo) -> bytes:
        data = super().encode(lr)
        if not self.small:
            return data
        oxipng = _oxipng()
        # An image of few colours may get a palette, which is read as the colours. Equal channels stay three.
        kept = {"color_type_reduction": False, "grayscale_reduction": False, "optimize_alpha": False}
        return oxipng.optimize_from_memory(data, level=_LEVEL, palette_reduction=lr.mode == "RGB", **kept)

    def check(self) -> None:
        if self.small:
            _oxipng()


def _oxipng() -> Any:
    try:
        import oxipng
    except ImportError as error:
        raise ImageError("the smallest PNG needs: pip install 'coscale[small]'; or leave out --small") from error
    return oxipng
