"""The one row of results: what was measured of a photo, on what and with what, and how that is written as JSON."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, get_args

import torch

from coscale import resize, tiles
from coscale.choices import ObjectiveName
from coscale.collaborate import Method, Result, Stage
from coscale.colour import luma
from coscale.errors import DataError
from coscale.image import Photo
from coscale.metrics import compare, psnr, ssim
from coscale.quantize import to_uint8
from coscale.rescalers.steps import Steps
from coscale.resize import pad
from coscale.storage import PNG, Storage
from coscale.tiles import Tiling

Setting = str | float | bool | None
_BICUBIC_TILES = Tiling(512, 3)  # an LR pixel of bicubic sees less than 3 others on each side


@dataclass(frozen=True)
class Scores:
    """PSNR in dB and SSIM of a restored photo; of Cb and Cr only where the photo has colour, infinite for equals."""

    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float | None = None
    psnr_cb: float | None = None
    psnr_cr: float | None = None


@dataclass(frozen=True)
class LRScores:
    """PSNR of RGB in dB and SSIM of Y of an LR against bicubic's, and against the rescaler's own without a method."""

    psnr_bicubic: float
    ssim_bicubic: float | None = None
    psnr_g: float | None = None
    ssim_g: float | None = None


@dataclass(frozen=True)
class ObjectiveValue:
    """An objective by its name, of what the file restores to without the method and with it; lower is better.

    Of a photo in tiles it is the mean of theirs, by area, so that other tiles give another value.
    """

    name: ObjectiveName
    before: float
    after: float

    def __str__(self) -> str:
        """Give it in words; MS-SSIM as it is usually given."""
        if self.name == "ssim":
            return f"MS-SSIM {1 - self.before:.4f} to {1 - self.after:.4f}"
        return f"{self.name} error {self.before:.4f} to {self.after:.4f}"


@dataclass(frozen=True)
class Course:
    """The losses of a method on its way, of either stage: as it is descended, and of the files (NaN: not measured)."""

    hr: Mapping[str, list[float]] | None = None
    lr: Mapping[str, list[float]] | None = None

    @classmethod
    def of(cls, result: Result) -> Self:
        """Give the course of a result's first image, to 5 digits."""

        def rounded(stage: Stage | None) -> Mapping[str, list[float]] | None:
            if stage is None:
                return None
            losses = {"loss": stage.loss, "rounded": stage.rounded}
            return {key: [float(f"{loss:.5g}") for loss in values[:, 0]] for key, values in losses.items()}

        return cls(rounded(result.hr_stage), rounded(result.lr_stage))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured of one photo, through its LR file. Figures count what is seen, see ``metrics``.

    - ``set``, ``image``: the photo's set and file name; ``image_hash``: SHA-256 of its file.
    - ``height``, ``width``: of the photo in pixels.
    - ``rescaler``, ``weights_hash``, ``method``, ``arguments``: what encoded it, and with which settings.
    - ``scores``, ``before``: of the restored photo, and of that without the method; None without a method.
    - ``lr``: how near the LR is to others; ``lr_bytes``: the size of its file.
    - ``corrected``, ``bicubic``: the shares of the photo in which the guard changed the LR, and left it to bicubic.
    - ``objective``: what was minimised, where that is no squared error, of which PSNR says enough.
    - ``passes``, ``stopped``, ``course``: gradients taken, why no more, and the losses on the way.
    - ``encode_seconds``, ``decode_seconds``, ``encode_peak_bytes``, ``decode_peak_bytes``: the cost; peaks of memory
      where they were asked for and the system tells.
    - ``device``, ``torch``, ``coscale``: what it ran on.
    """

    set: str = ""
    image: str
    height: int
    width: int
    rescaler: str
    weights_hash: str
    method: str
    arguments: Mapping[str, Setting]
    scores: Scores
    before: Scores | None
    corrected: float | None = None
    bicubic: float | None = None
    lr: LRScores
    objective: ObjectiveValue | None = None
    lr_bytes: int
    passes: int | None = None
    stopped: str | None = None
    course: Course | None = None
    encode_seconds: float
    decode_seconds: float
    encode_peak_bytes: int | None = None
    decode_peak_bytes: int | None = None
    image_hash: str | None = None
    device: str
    torch: str
    coscale: str

    @property
    def gain(self) -> float:
        """Give the gain of PSNR-Y over no method in dB; not finite where a photo came back exactly."""
        return math.nan if self.before is None else self.scores.psnr_y - self.before.psnr_y

    def to_json(self) -> dict[str, Any]:
        """Give the row, in which scores lie flat; PSNRs may be infinite.

        Scores, costs and hashes are left out where there are none; what a method or the guard would say is null.
        """
        row: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "scores":
                row |= _known(self.scores)
            elif each.name == "lr":
                row |= {f"lr_{key}": value for key, value in asdict(self.lr).items()}
            elif each.name == "before":
                row["before"] = None if self.before is None else _known(self.before)
            elif each.name == "objective":
                row |= {} if self.objective is None else {"objective": asdict(self.objective)}
            elif each.name == "course":
                row["course"] = None if self.course is None else _known(self.course)
            elif value is not None or each.name in ("corrected", "bicubic", "stopped"):
                row[each.name] = value
        return row

    @classmethod
    def from_json(cls, row: object) -> Self:
        """Give the measurement of a row, which may be of an older version; what is not known to this one is ignored.

        Raises DataError with what is missing or is of another type.
        """
        if not isinstance(row, dict):
            raise DataError("it is no object")
        known = {each.name for each in fields(cls)} - {"scores", "before", "lr", "course", "objective"}
        for key, (what, fits) in (_NEEDED | _OPTIONAL).items():
            if key not in row and key in _NEEDED:
                raise DataError(f"it has no {key}")
            if key in row and not fits(row[key]):
                raise DataError(f"{key} is {json.dumps(row[key])[:40]}, which is no {what}")
        before, course, objective = row["before"], row.get("course"), row.get("objective")
        if before is not None and not {"psnr_y", "ssim_y", "psnr_rgb"} <= before.keys():
            raise DataError("before lacks psnr_y, ssim_y or psnr_rgb")
        return cls(
            **{key: value for key, value in row.items() if key in known},
            scores=_scores(row),
            before=None if before is None else _scores(before),
            lr=_lr_scores(row),
            objective=ObjectiveValue(*(objective[key] for key in _OF_OBJECTIVE)) if objective else None,
            course=Course(course.get("hr"), course.get("lr")) if isinstance(course, dict) else None,
        )


def _known(scores: Scores | Course) -> dict[str, Any]:
    return {key: value for key, value in asdict(scores).items() if value is not None}


def _scores(row: Mapping[str, Any]) -> Scores:
    """JSON has no word for the PSNR of equal images, which is null."""
    return Scores(
        **{
            each.name: math.inf if row[each.name] is None and each.name.startswith("psnr") else row[each.name]
            for each in fields(Scores)
            if each.name in row
        }
    )


def _lr_scores(row: Mapping[str, Any]) -> LRScores:
    """As ``_scores``; without a method there is no LR to compare with g's."""

    def value(key: str) -> float | None:
        found = row.get(f"lr_{key}")
        exact = found is None and key.startswith("psnr") and (key != "psnr_g" or row["before"] is not None)
        return math.inf if exact else found

    return LRScores(**{each.name: value(each.name) for each in fields(LRScores)})  # type: ignore[arg-type]


_Check = tuple[str, Callable[[Any], bool]]  # what a value must be, in a word, and whether it is
_TEXT: _Check = "text", lambda value: isinstance(value, str)
_COUNT: _Check = "number above 0", lambda value: type(value) is int and value > 0
_NUMBER: _Check = "number", lambda value: value is None or type(value) in (int, float)
_TABLE: _Check = "object", lambda value: isinstance(value, dict)
_TABLE_OF_NUMBERS: _Check = (
    "object of numbers",
    lambda value: value is None or (isinstance(value, dict) and all(map(_NUMBER[1], value.values()))),
)


def _is_course(value: Any) -> bool:
    stages = value.values() if isinstance(value, dict) else None if value is not None else ()
    return stages is not None and all(
        isinstance(stage, dict) and all(isinstance(losses, list) for losses in stage.values()) for stage in stages
    )


_OF_OBJECTIVE = tuple(each.name for each in fields(ObjectiveValue))


def _is_objective(value: Any) -> bool:
    if not isinstance(value, dict) or not set(_OF_OBJECTIVE) <= value.keys():
        return value is None
    return value["name"] in get_args(ObjectiveName) and all(type(value[key]) is float for key in ("before", "after"))


_NEEDED: dict[str, _Check] = {
    **dict.fromkeys(("set", "image", "rescaler", "weights_hash", "method", "device", "coscale", "torch"), _TEXT),
    **dict.fromkeys(("height", "width", "lr_bytes"), _COUNT),
    **dict.fromkeys(("psnr_y", "ssim_y", "psnr_rgb", "lr_psnr_bicubic", "lr_psnr_g"), _NUMBER),
    **dict.fromkeys(("encode_seconds", "decode_seconds"), _NUMBER),
    "arguments": _TABLE,
    "before": _TABLE_OF_NUMBERS,
}
_OPTIONAL: dict[str, _Check] = {  # what rows of older versions do not have
    **dict.fromkeys(("psnr_cb", "psnr_cr", "ssim_rgb", "lr_ssim_bicubic", "lr_ssim_g", "passes"), _NUMBER),
    **dict.fromkeys(("encode_peak_bytes", "decode_peak_bytes", "corrected", "bicubic"), _NUMBER),
    "image_hash": _TEXT,
    "stopped": ("text", lambda value: value is None or isinstance(value, str)),
    "course": ("object of losses", _is_course),
    "objective": ("object of a name and two values", _is_objective),
}


def arguments_of(
    method: Method,
    precision: str,
    guarded: bool = True,
    steps: Steps | None = None,
    stripped: bool = False,
    storage: Storage = PNG,
) -> dict[str, Setting]:
    """Give a method's settings, functions by their name, with the precision of its gradients; none for no method.

    Among them are the guard and EXIF data where they are not as usual, what ``steps`` the method takes, if any, and
    what a lossy ``storage`` was asked for.
    """
    unusual: dict[str, Setting] = {}
    if not guarded:
        unusual["guarded"] = False
    if stripped:
        unusual["stripped"] = True
    if not storage.lossless:
        unusual |= {"format": storage.name, **storage.settings}
    if not method.changes:
        return unusual
    values = {each.name: getattr(method, each.name) for each in fields(method)}
    named: dict[str, Setting] = {
        key: value if isinstance(value, str | int | float | None) else getattr(value, "__name__", str(value))
        for key, value in values.items()
    }
    learned: dict[str, Setting] = {"steps": steps.identity} if steps and method.takes_steps else {}
    return named | {"precision": precision} | learned | unusual


def scores_of(restored: Photo, original: Photo, border: int) -> Scores:
    """Compare a restored photo with its original, without ``border`` pixels on each side."""
    compared = compare(restored.pixels, original.pixels, border, original.alpha)
    return Scores(**{name: float(value) for name, value in compared.items()})


def lr_scores_of(photo: Photo, lr: Photo, plain: Photo | None, scale: int) -> LRScores:
    """Compare an LR with others of the same photo.

    Arguments:
        photo: the photo, of which bicubic makes an LR to compare with.
        lr: the LR.
        plain: the LR without the method; None where there was no method.
        scale: HR size over LR size.
    """

    def smaller(hr: torch.Tensor) -> torch.Tensor:
        return to_uint8(resize.downscale(hr, scale))

    bicubic = tiles.downscale(smaller, pad(photo.shown, scale), scale, _BICUBIC_TILES)
    # An LR may be grey where another of the same photo is in colour.
    small, bicubic = _in_colour(lr.pixels), _in_colour(bicubic)
    seen = None if photo.alpha is None else lr.alpha
    to_bicubic = float(psnr(small, bicubic, alpha=seen)), float(ssim(small, bicubic, luma, seen))
    if plain is None:
        return LRScores(*to_bicubic)
    by_g = _in_colour(plain.pixels)
    return LRScores(*to_bicubic, float(psnr(small, by_g, alpha=seen)), float(ssim(small, by_g, luma, seen)))


def _in_colour(image: torch.Tensor) -> torch.Tensor:
    return image.expand(-1, 3, -1, -1)
