"""What a storage is."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float
from torch import Tensor

from coscale import xmp
from coscale.image import Photo, from_bytes, to_bytes
from coscale.quantize import quantize

if TYPE_CHECKING:
    from coscale.storage.lossy import Lossy


@dataclass(frozen=True)
class Storage(ABC):
    """A format of LR files.

    - ``name``, ``suffix``: what it is called, and how the names of its files end.
    - ``lossless``: whether ``decode`` gives exactly what ``encode`` took, once that is rounded to 8 bit.
    - ``block``: the side in pixels of what it treats as one: 8 or 16 for JPEG.
    - ``codes``: whether it has a code for an image, that a method can change; see ``Jpeg.code_of``.
    - ``small``: take more time for fewer bytes where the format gains by it; what they decode to is the same.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    lossless: ClassVar[bool]
    block: ClassVar[int] = 1
    codes: ClassVar[bool] = False
    small: bool = False

    @abstractmethod
    def encode(self, lr: Photo) -> bytes:
        """Give the file of an LR image, with the note in its ``text`` where there is one: the same bytes each time.

        Raises ImageError for what the format cannot hold, and for an extra that is missing.
        """

    @abstractmethod
    def decode(self, data: bytes) -> Photo:
        """Give the LR image that a file holds, as every decoder sees it. Raises ImageError for a damaged one."""

    @abstractmethod
    def project(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Give what a decoder will see of the colours ``x``, with a gradient that leads past the rounding."""

    @abstractmethod
    def rate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b"] | None:
        """Give the bits that each image will take, estimated so that there is a gradient; None without an estimate."""

    @property
    def level(self) -> int | None:
        """Give what an upscaler is told of a lossy format; None where nothing is lost."""
        return None

    @property
    def settings(self) -> dict[str, float | int]:
        """Give what a lossy format was asked for; nothing where nothing is lost."""
        return {}

    @property
    def wanted(self) -> "Lossy | None":
        """Give a lossy storage of which a size or a PSNR was asked for, and None for any other."""
        return None

    def fitted(self, find: Callable[[], int]) -> "Storage":
        """Give the storage whose ``level`` is known, found by ``find`` where its settings do not tell it."""
        return self

    def holding(self, code: Float[Tensor, "1 n"]) -> "Storage":
        """Give the storage that writes a code which a method has found, whatever image it is given; itself where it
        has none.
        """
        return self

    def showing(self, scale: int, size: tuple[int, int]) -> "Storage":
        """Give the storage whose decoders show an LR ``scale`` times as large, cut to a photo's height and width; or
        itself where they cannot.
        """
        return self

    def check(self) -> None:  # noqa: B027 - most need nothing
        """Raise ImageError, with the extra's name, when what writes the format is not installed."""


class Lossless(Storage):
    """A format that keeps every grey level, those that transparency hides included."""

    lossless = True

    def encode(self, lr: Photo) -> bytes:
        # The packet has the gain map, so that the format need not hold it.
        return to_bytes(replace(lr, gain_map=b""), self.suffix, self.texts(lr), self.small)

    def texts(self, lr: Photo) -> dict[str, str]:
        """Give what the file says in words: the note, and how many channels it has, as XMP."""
        note, channels = lr.text.get(xmp.NOTE), lr.channels + (lr.alpha is not None)
        if note is None and channels == 3:
            return {}
        return {xmp.CHUNK: xmp.packet(note, channels, lr.xmp, lr.iptc, lr.gain_map)}

    def decode(self, data: bytes) -> Photo:
        return from_bytes(data, "the LR image", max_pixels=sys.maxsize)

    def project(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return quantize(x)

    def rate(self, x: Float[Tensor, "b c h w"]) -> None:
        return None
