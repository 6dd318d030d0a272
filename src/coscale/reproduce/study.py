"""The measurements that a plan asks for: rows and LR files, kept in a folder, so that none is made twice."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from coscale.errors import CoscaleError
from coscale.evaluate import Asked, Settings, benchmark_photo, evaluate, identity
from coscale.image import Photo
from coscale.lrfile import Origin, read_lr, write_lr
from coscale.measurement import Measurement
from coscale.pipeline import decode_photo, encode_photo
from coscale.reproduce.plan import Series
from coscale.rescalers import Precision, fastest
from coscale.weights.load import Loaded

Load = Callable[[str], Loaded]


class Study:
    """Rows by what they were measured on and with, and the LR files beside them.

    ``load`` gives a rescaler by its name; ``earlier`` are rows that were measured before, ``keep`` is the folder of the
    LR files.
    """

    def __init__(
        self,
        load: Load,
        keep: Path,
        precision: Precision | None,
        earlier: Mapping[str, Measurement],
    ) -> None:
        self._load, self._keep = load, keep
        self._asked_precision: Precision | None = precision
        self._rows = dict(earlier)
        self._pairs: dict[str, Loaded] = {}

    def pair(self, name: str) -> Loaded:
        if name not in self._pairs:
            self._pairs[name] = self._load(name)
        return self._pairs[name]

    def precision(self, name: str) -> Precision:
        return fastest(self.pair(name).device) if self._asked_precision is None else self._asked_precision

    def measure(
        self, runs: Iterable[Series], done: Callable[[Measurement], None], failed: Callable[[CoscaleError], None]
    ) -> None:
        """Measure what has not been, one photo after the other; ``done`` is called with every row, new or not."""
        for run in runs:
            pair = self.pair(run.rescaler)
            rows = evaluate(
                {run.of: run.images},
                pair,
                Settings(run.method, self.precision(run.rescaler), keep=self._keep),
                earlier=self._rows,
                failed=failed,
            )
            for row in rows:
                self._rows[identity(row)] = row
                done(row)

    def rows(self, run: Series) -> list[Measurement]:
        """Give the rows of a run; fewer than its images where some could not be measured, or have not been."""
        found = (self._rows.get(self._asked(run, path).identity(self.pair(run.rescaler))) for path in run.images)
        return [row for row in found if row]

    def is_measured(self, runs: Iterable[Series]) -> bool:
        """Say whether none of these runs has a row missing."""
        return all(len(self.rows(run)) == len(run.images) for run in runs)

    def original(self, run: Series, image: Path) -> Photo:
        return benchmark_photo(image, self.pair(run.rescaler).scale)

    def lr(self, run: Series, image: Path) -> tuple[Photo, Origin | None]:
        """Give the LR of one image of a run: from its file, or made anew where rows came without their files."""
        pair = self.pair(run.rescaler)
        path = self._keep / self._asked(run, image).lr_name(pair)
        if not path.exists():
            encoded = encode_photo(self.original(run, image), pair, run.method, precision=self.precision(run.rescaler))
            write_lr(path, encoded.lr, encoded.origin)
        return read_lr(path)

    def restored(self, run: Series, image: Path) -> Photo:
        """Give what the LR file of one image of a run restores to."""
        lr, origin = self.lr(run, image)
        return decode_photo(lr, self.pair(run.rescaler), origin)

    def _asked(self, run: Series, image: Path) -> Asked:
        return Asked(run.of, image, Settings(run.method, self.precision(run.rescaler)))
