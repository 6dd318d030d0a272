"""What lossy formats of LR files share: a quality, and what an upscaler is told of it."""

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from PIL import features
from torch import Tensor

from coscale import xmp
from coscale.dct import bits_by_logarithm
from coscale.errors import CoscaleWarning, ImageError, SettingsError
from coscale.image import Photo, from_bytes, to_bytes
from coscale.levels import step_of
from coscale.quantize import to_uint8
from coscale.storage.base import Storage

_DIRECTORY = 1_000  # bytes, that an XMP packet needs to tell of a gain map
LEAST_QUALITY, QUALITY, MOST_QUALITY = 1.0, 75.0, 100.0


@dataclass(frozen=True)
class Lossy(Storage):
    """A format that keeps an LR image about as it was, for far fewer bytes.

    - ``quality``: from 1 to 100, as the format's own encoders count it.
    - ``size``: in its place, the bytes that the file may have, note and all; ``psnr``: the least PSNR of the restored
      photo's Y, in dB, which the smallest file that is found has. Only ``encode_photo`` knows how to reach them.

    Raises SettingsError for another quality, and for two of the three.
    """

    quality: float = QUALITY
    size: int | None = None
    psnr: float | None = None

    lossless = False
    most_xmp: ClassVar[int] = 2**20  # bytes
    holds_gain_maps: ClassVar[bool] = False  # as pictures of their own, and not in the packet

    def __post_init__(self) -> None:
        if not LEAST_QUALITY <= self.quality <= MOST_QUALITY:
            raise SettingsError(f"quality is {self.quality:g}; give one from {LEAST_QUALITY:g} to {MOST_QUALITY:g}")
        if (self.size is not None) + (self.psnr is not None) + (self.quality != QUALITY) > 1:
            raise SettingsError("quality, size and PSNR say the same in three ways; give one of them")
        if self.size is not None and self.size < 1:
            raise SettingsError(f"a file of {self.size} bytes holds nothing; give more")
        if self.psnr is not None and not 0 < self.psnr < math.inf:
            raise SettingsError(f"psnr is {self.psnr:g}; give a number of dB above 0")

    def at(self, quality: float) -> Self:
        """Give the same format at a quality, whatever was asked for."""
        return replace(self, quality=min(MOST_QUALITY, max(LEAST_QUALITY, quality)), size=None, psnr=None)

    @property
    def wanted(self) -> Self | None:
        return None if self.size is None and self.psnr is None else self

    @property
    def settings(self) -> dict[str, float | int]:
        """Give what was asked for: the quality, the size or the PSNR."""
        asked = {"size": self.size, "psnr": self.psnr}
        return {name: value for name, value in asked.items() if value is not None} or {"quality": self.quality}

    @property
    def step(self) -> float:
        """Give the mean step of the quantiser in grey levels, which the level stands for."""
        return step_of(self.level or 0)

    def texts(self, lr: Photo) -> dict[str, str]:
        """Give what the file says in words: the note, and what goes along with the photo where there is room."""
        note = lr.text.get(xmp.NOTE)
        if note is None:
            return {}
        channels = lr.channels + (lr.alpha is not None)  # since some formats have no grey
        whole = xmp.packet(note, channels, lr.xmp, lr.iptc, b"" if self.holds_gain_maps else lr.gain_map)
        room = self.most_xmp - (_DIRECTORY if self.holds_gain_maps and lr.gain_map else 0)
        if len(whole.encode()) <= room:
            return {xmp.CHUNK: whole}
        text = f"the LR file: a {self.suffix} file cannot hold so many XMP and IPTC data; take webp or png"
        warnings.warn(text, CoscaleWarning, stacklevel=2)
        return {xmp.CHUNK: xmp.packet(note, channels)}

    def decode(self, data: bytes) -> Photo:
        return from_bytes(data, "the LR image")

    @torch.no_grad()
    def kept(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, " b"]]:
        """Give what a decoder sees of images without a note, of grey ones the mean where a format has none; and the
        bits of their files.
        """
        files = [self.encode(Photo(to_uint8(one[None]).cpu())) for one in x]
        seen = torch.cat([self.decode(data).colour.to(x) for data in files])
        seen = seen if seen.shape[1] == x.shape[1] else seen.mean(1, keepdim=True)
        return seen, torch.tensor([8.0 * len(data) for data in files]).to(x)

    def project(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.kept(x)[0] + (x - x.detach())  # a gradient passes as if nothing had happened


@dataclass(frozen=True)
class ByPillow(Lossy):
    """A lossy format that Pillow writes.

    - ``form``: Pillow's name of it.
    - ``told``: what an upscaler is told, once that has been found out.
    """

    form: ClassVar[str]
    told: int | None = None

    @property
    def level(self) -> int | None:
        """Give what an upscaler is told; None as long as nobody knows."""
        return self.told

    def fitted(self, find: Callable[[], int]) -> Self:
        return self if self.told is not None else replace(self, told=find())

    def rate(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        return bits_by_logarithm(x, self.step)

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Give what Pillow's encoder is asked for."""

    def encode(self, lr: Photo) -> bytes:
        self.check()
        # The packet has the gain map, so that the format need not hold it.
        return to_bytes(replace(lr, gain_map=b""), self.suffix, self.texts(lr), encoder=self.options())

    def check(self) -> None:
        if not features.check(self.form.lower()):
            raise ImageError(
                f"this Pillow cannot write {self.form}; install one that can: pip install --upgrade pillow"
            )
