"""How a photo is saved: which formats there are, at what quality, and with how many bits."""

from dataclasses import dataclass
from typing import Any

from coscale.errors import ImageError, SettingsError

WRITTEN = frozenset({".avif", ".bmp", ".jpeg", ".jpg", ".jxl", ".png", ".tif", ".tiff", ".webp"})  # the suffixes
_USUAL = {".avif": 90, ".jpeg": 95, ".jpg": 95}  # the quality of formats that always lose something
_WITHOUT_LOSS = {".jxl", ".webp"}  # those that do so only when asked for a quality
_OF_16_BIT = {".png", ".tif", ".tiff"}


@dataclass(frozen=True)
class Saving:
    """What a photo is saved as.

    - ``quality``: from 1 to 100, of formats that can lose something; None is the usual one: 95 for JPEG, 90 for AVIF,
      and no loss for WebP and JPEG XL.
    - ``depth``: bits a channel, 8 or 16.
    """

    quality: int | None = None
    depth: int = 8

    def check(self, suffix: str) -> None:
        """Raise ImageError for a suffix that no image format has, SettingsError for what this one does not have."""
        suffix = suffix.lower()
        if suffix not in WRITTEN:
            names = ".png, .jpg, .webp, .avif, .jxl, .tif or .bmp"
            raise ImageError(f"no image format has the suffix {suffix!r}; name the file {names}")
        if self.quality is not None and suffix not in _USUAL.keys() | _WITHOUT_LOSS:
            raise SettingsError(f"a {suffix} file has no quality to choose; name it .jpg, .webp, .avif or .jxl")
        if self.depth != 8 and suffix not in _OF_16_BIT:
            raise SettingsError(f"a {suffix} file cannot hold 16 bit here; name it .png or .tif")

    def options(self, suffix: str, mode: str) -> dict[str, Any]:
        """Give what Pillow's encoder of an image of this mode takes."""
        quality = _USUAL.get(suffix) if self.quality is None else self.quality
        if suffix in (".jpg", ".jpeg"):
            return {"quality": quality, "subsampling": 0}
        if suffix == ".avif":
            # One thread, so that the bytes are the same on every machine.
            return {"quality": quality, "max_threads": 1} | ({} if mode == "L" else {"subsampling": "4:4:4"})
        if suffix == ".webp":
            how = {"lossless": True} if quality is None else {"quality": quality, "use_sharp_yuv": True}
            return {"exact": True} | how
        return {}

    @property
    def distance(self) -> float:
        """Give what JPEG XL calls the quality: 0 is no loss, 1 cannot be seen, as libjxl's cjxl translates it."""
        if self.quality is None or self.quality >= 100:
            return 0.0
        if self.quality >= 30:
            return 0.1 + (100 - self.quality) * 0.09
        return 53 / 3000 * self.quality**2 - 23 / 20 * self.quality + 25
