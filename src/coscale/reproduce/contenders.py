"""The files that the study of rates makes of a photo: at full size, as LR files, and at full size behind a filter."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from coscale import __version__
from coscale.collaborate import PLAIN, Coscale, Method
from coscale.errors import ImageError
from coscale.fitting import Levels, best_level, fitting_level, middle_of
from coscale.image import Photo, from_pillow
from coscale.measurement import scores_of
from coscale.pipeline import decode_photo, encode_photo, write_encoded
from coscale.reproduce.codecs import Codec, Pixels
from coscale.reproduce.perceptual import perceptual
from coscale.reproduce.pictures import pixels
from coscale.reproduce.rated import Identity, Rated
from coscale.rescalers import fastest
from coscale.storage import LOSSY, PNG, Storage, level_in
from coscale.storage.lossy import Lossy
from coscale.weights.load import Loaded

LR_QUALITIES = {"jpg": (12, 30, 48, 65, 80, 91), "webp": (5, 20, 40, 60, 78, 90), "avif": (25, 36, 47, 58, 70, 82)}
IMPROVED, FILTERED = " + coscale", " + filter"  # endings of a maker's name
METHODS: dict[str, Method] = {"": PLAIN, IMPROVED: Coscale()}
_BORDER = 2  # pixels that scores leave out: the scale of the lossy pair
_FEW = 4  # qualities of a quick study, the fewest that make a curve


def lossy_here() -> list[Lossy]:
    """Give the lossy formats of LR files that can be written here."""
    found = []
    for storage in LOSSY:
        with contextlib.suppress(ImageError):
            storage.check()
            found.append(storage)
    return found


def lr_maker(form: str, ending: str = IMPROVED) -> str:
    """Give what rows call LR files of a format: "LR webp + coscale"."""
    return f"LR {form}{ending}"


@dataclass(frozen=True)
class Subject:
    """A part of a photo, and where it comes from."""

    set: str
    image: str
    image_hash: str
    photo: Photo


@dataclass(frozen=True, eq=False)
class Made:
    """How many bytes a file has, and what it restores to."""

    bytes: int
    restored: Photo


@dataclass(frozen=True)
class Making:
    """What makes a file of one photo: its row without what is measured, and the work."""

    maker: str
    quality: float
    weights_hash: str
    make: Callable[[], Made]

    def identity(self, subject: Subject) -> Identity:
        """Give the identity of its row."""
        return (subject.set, subject.image, subject.image_hash, self.maker, self.quality, self.weights_hash)


@dataclass(frozen=True)
class Contenders:
    """What is compared.

    - ``codecs``: those at full size.
    - ``lossy``: the pair of the lossy LR files; ``lossless``: that of the LR PNG.
    - ``filter``: a pair of scale 1, the filter behind codecs at full size; None without one.
    - ``measures``: the perceptual measures that are taken of every file.
    - ``quick``: whether few qualities are enough.
    """

    codecs: tuple[Codec, ...]
    lossy: Loaded
    lossless: Loaded
    filter: Loaded | None
    measures: frozenset[str]
    quick: bool = False

    def of(self, photo: Photo) -> Iterator[Making]:
        """Give all files of a photo, those that take the longest last."""
        for codec in self.codecs:
            for quality in self._few(codec.qualities):
                yield Making(codec.name, quality, "", partial(_at_full_size, photo, codec, quality))
        name, pair = f"LR png {self.lossless.name}{IMPROVED}", self.lossless
        yield Making(name, 0, pair.weights_hash, partial(_as_lr, photo, pair, METHODS[IMPROVED], PNG))
        for storage in lossy_here():
            yield from self._lossy(photo, storage)
        if self.filter:
            for codec in self.codecs:
                yield from self._filtered(photo, codec, self.filter) if codec.filtered else ()

    def _few(self, qualities: tuple[int, ...]) -> tuple[int, ...]:
        return qualities[:_FEW] if self.quick else qualities

    def _lossy(self, photo: Photo, storage: Lossy) -> Iterator[Making]:
        pair = self.lossy
        hr = photo.pixels.to(pair.device)
        levels = Levels(lambda quality, near: fitting_level(storage.at(quality), pair.rescaler, hr, near))
        for quality in self._few(LR_QUALITIES[storage.name]):
            for ending, method in METHODS.items():

                def make(quality: int = quality, method: Method = method) -> Made:
                    at = storage.at(quality)
                    return _as_lr(photo, pair, method, at.fitted(lambda: levels.at(quality)))

                yield Making(lr_maker(storage.name, ending), quality, pair.weights_hash, make)

    def _filtered(self, photo: Photo, codec: Codec, pair: Loaded) -> Iterator[Making]:
        """Each file at full size once more, restored by the filter, which is told what restores most."""
        hr = replace(photo, pixels=middle_of(photo.pixels, pair.scale).contiguous())

        def find(quality: float, near: int | None) -> int:
            decoded = codec.decode(codec.encode(Image.fromarray(pixels(hr)), round(quality)))
            seen = _photo_of(decoded).colour.to(pair.device)
            return best_level(pair.rescaler, seen, hr.colour.to(pair.device), near)

        levels = Levels(find)
        for quality in self._few(codec.qualities):

            def make(quality: int = quality) -> Made:
                data = codec.encode(Image.fromarray(pixels(photo)), quality)
                level = level_in(data) if codec.tells else levels.at(quality)
                return Made(len(data), decode_photo(_photo_of(codec.decode(data)), pair, level=level))

            yield Making(codec.name + FILTERED, quality, pair.weights_hash, make)

    def rate(self, subject: Subject, making: Making) -> Rated:
        """Make a file and measure what it restores to. Raises CoscaleError where that cannot be done."""
        begun = time.perf_counter()
        made = making.make()
        seconds = round(time.perf_counter() - begun, 3)
        scores = scores_of(made.restored, subject.photo, _BORDER)
        seen = perceptual(pixels(made.restored), pixels(subject.photo), self.measures)
        height, width = subject.photo.size
        return Rated(
            set=subject.set,
            image=subject.image,
            image_hash=subject.image_hash,
            height=height,
            width=width,
            maker=making.maker,
            quality=making.quality,
            weights_hash=making.weights_hash,
            bytes=made.bytes,
            psnr_y=scores.psnr_y,
            psnr_rgb=scores.psnr_rgb,
            ssim_y=scores.ssim_y,
            seconds=seconds,
            coscale=__version__,
            **seen,
        )


def _at_full_size(photo: Photo, codec: Codec, quality: int) -> Made:
    data = codec.encode(Image.fromarray(pixels(photo)), quality)
    return Made(len(data), _photo_of(codec.decode(data)))


def _as_lr(photo: Photo, pair: Loaded, method: Method, storage: Storage) -> Made:
    """An LR file, written and read again, with its note."""
    encoded = encode_photo(photo, pair, method, precision=fastest(pair.device), storage=storage)
    with TemporaryDirectory(prefix="coscale-") as folder:
        written = write_encoded(encoded, Path(folder) / f"lr{storage.suffix}", storage=storage)
    return Made(written.bytes, decode_photo(written.lr, pair, written.origin))


def _photo_of(image: Pixels) -> Photo:
    return from_pillow(Image.fromarray(image))
