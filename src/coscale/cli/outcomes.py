"""What the commands on photos say of each result, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from coscale.console import in_bytes, in_db

if TYPE_CHECKING:
    from coscale.collaborate import Method
    from coscale.measurement import Measurement, ObjectiveValue, Scores
    from coscale.pipeline import Encoded, Written
    from coscale.weights.load import Loaded


@dataclass(frozen=True)
class Downscaled:
    """An LR file that was written.

    - ``lr_bytes``, ``photo_bytes``: the sizes of the two files.
    - ``gain``: in dB, of the method's own objective, or ``objective``, its values, see ``Encoded``.
    - ``choice``: what was chosen among scales, and by how much, where that was asked for.
    - ``measured``: the rest of what was measured, where that was asked for.
    """

    height: int
    width: int
    rescaler: str
    method: str
    lr_bytes: int
    photo_bytes: int
    passes: int
    stopped: str | None
    corrected: float | None
    bicubic: float | None
    gain: float | None
    encode_seconds: float
    measured: Measurement | None = None
    choice: str | None = None
    objective: ObjectiveValue | None = None

    @classmethod
    def unmeasured(
        cls, pair: Loaded, method: Method, encoded: Encoded, written: Written, seconds: float, photo_bytes: int
    ) -> Downscaled:
        """Say what is known without restoring anything."""
        result = encoded.result
        return cls(
            encoded.origin.height,
            encoded.origin.width,
            pair.name,
            method.name,
            written.bytes,
            photo_bytes,
            result.gradients,
            result.stopped[0] if method.changes else None,
            encoded.corrected,
            encoded.bicubic,
            None if encoded.gain is None else round(encoded.gain, 2),
            round(seconds, 3),
            objective=encoded.objective,
        )

    @classmethod
    def of(cls, row: Measurement, photo_bytes: int) -> Downscaled:
        """Say what was measured."""
        facts = (row.height, row.width, row.rescaler, row.method, row.lr_bytes, photo_bytes)
        return cls(*facts, row.passes or 0, row.stopped, row.corrected, row.bicubic, None, row.encode_seconds, row)

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON; see ``Measurement`` where it was measured."""
        if self.measured:
            row = self.measured.to_json() | {"photo_bytes": self.photo_bytes}
            row |= {"choice": self.choice} if self.choice else {}
            return {key: value for key, value in row.items() if key not in ("set", "image")}
        left_out = {"measured"} | {key for key in ("choice", "objective") if getattr(self, key) is None}
        return {key: value for key, value in asdict(self).items() if key not in left_out}

    def __str__(self) -> str:
        """Give it as one line."""
        mended = f", mended in {self.corrected:.1%} of it" if self.corrected else ""
        larger = ", the LR is the larger" if self.lr_bytes > self.photo_bytes else ""
        sizes = f"LR {in_bytes(self.lr_bytes)} of {in_bytes(self.photo_bytes)}{larger}"
        head = f"{self.width} x {self.height}, {sizes}" + (f", {self.choice}" if self.choice else "")
        if self.measured:
            like = f", {self.measured.lr.psnr_g:.1f} dB to the plain LR" if self.measured.before else ""
            value = f"; {self.measured.objective}" if self.measured.objective else ""
            return f"{head}{like}{mended}; {_psnrs(self.measured)}{value}; {self.encode_seconds:.1f} s"
        gain = f"; {self.method} gained {self.gain:.2f} dB" if self.gain is not None else ""
        gain = f"; {self.objective}" if self.objective else gain
        return f"{head}{mended}{gain}; {self.encode_seconds:.1f} s"


def _psnrs(row: Measurement) -> str:
    def each(scores: Scores) -> dict[str, float | None]:
        return {"Y": scores.psnr_y, "RGB": scores.psnr_rgb, "Cb": scores.psnr_cb, "Cr": scores.psnr_cr}

    before = each(row.before) if row.before else {}
    parts = (f"{key} {in_db(value, before.get(key))}" for key, value in each(row.scores).items() if value is not None)
    by = f" (gain by {row.method})" if row.before else ""
    return f"PSNR in dB{by}: {', '.join(parts)}"


@dataclass(frozen=True)
class Upscaled:
    """A photo that was restored."""

    width: int
    height: int
    rescaler: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Give it as one line."""
        return f"{self.width} x {self.height} by {self.rescaler}, {self.seconds:.1f} s"
