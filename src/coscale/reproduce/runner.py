"""Measure the paper's tables and figures again and write them: the whole of it as one function."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from coscale.errors import CoscaleError, SettingsError
from coscale.evaluate import identity, read_rows
from coscale.files import growing, jsonable
from coscale.measurement import Measurement
from coscale.reproduce import curves, rates
from coscale.reproduce.benchmarks import find_benchmarks
from coscale.reproduce.plan import QUICK, RatesSettings, StudySettings, Target, plan
from coscale.reproduce.study import Load, Study
from coscale.reproduce.write import check_extra, write_all
from coscale.rescalers import Precision, find

ROWS = "rows.jsonl"


@dataclass
class Reproduced:
    """What was written, how many measurements there should be, and what failed."""

    written: Sequence[Path]
    total: int
    failures: Sequence[str] = field(default_factory=list)


def systems_of(
    quick: bool = False,
    sets: Sequence[str] = (),
    x2: str | None = None,
    x4: Sequence[str] = (),
    main: str | None = None,
    more: Sequence[str] = (),
    rates: RatesSettings | None = None,
) -> StudySettings:
    """Give the usual settings with what was chosen instead.

    Arguments:
        quick: two small images a set and fewer points.
        sets: of table 1, instead of all that are found.
        x2: the rescaler of tables 2 and 3 and figures 2, 6 and 7.
        x4: the systems of table 1, instead of those in the package.
        main: the one of them that pictures are of.
        more: systems that join those in the package.
        rates: what the study of rates takes.
    """
    usual = QUICK if quick else StudySettings()
    systems = tuple(dict.fromkeys(x4 or (*usual.x4, *more)))
    main = main or (usual.main if usual.main in systems else systems[-1])
    return replace(usual, main=main, sets=tuple(sets), x4=systems, x2=x2 or usual.x2, rates=rates or usual.rates)


def run(
    targets: Sequence[Target],
    data: Path,
    out: Path,
    settings: StudySettings,
    load: Load,
    *,
    precision: Precision | None = None,
    rows: Sequence[Path] = (),
    own: Sequence[str] = (),
    note: Callable[[str], None] = lambda text: None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Reproduced:
    """Measure what the targets need, but for what the folder ``out`` has already, and write tables, figures, the page.

    Arguments:
        targets: which tables and figures.
        data: a folder with the benchmark sets somewhere in it.
        out: the folder for rows, LR files, tables, figures and the page.
        settings: what is measured, see ``systems_of``.
        load: gives a rescaler by its name.
        precision: of the methods' gradients; None takes what is fastest.
        rows: files of rows that need not be measured again.
        own: the names that are not in the list of rescalers.
        note: told of sets that are not as expected.
        tell: called with the measurements done and all there are.

    Raises SettingsError for a rescaler of another scale, OutputError where what draws is not installed, and DataError
    for rows that cannot be read.
    """
    if "rates" in targets:
        curves.check_extra()
    check_extra()
    for name, scale in ((settings.x2, 2), *((name, 4) for name in settings.x4)):
        if name not in own and find(name).scale != scale:
            raise SettingsError(f"{name} is no rescaler at x{scale}; see: coscale models")
    found = find_benchmarks(data)
    for text in found.notes:
        note(text)
    planned = plan(settings, found.sets)
    out.mkdir(parents=True, exist_ok=True)
    path = out / ROWS
    kept = read_rows(path) if path.exists() else {}
    earlier = {key: row for file in rows for key, row in read_rows(file).items()} | kept
    runs = list(dict.fromkeys(each for target in targets for each in planned.runs(target)))
    total = sum(len(each.images) for each in runs)
    measured: dict[str, Measurement] = {}
    failures: dict[str, None] = {}

    def failed(error: CoscaleError) -> None:
        failures[str(error)] = None

    def line(row: Measurement) -> str:
        return json.dumps(jsonable(row.to_json()))

    with growing(path, map(line, kept.values())) as write_line:
        study = Study(load, out / "lr", precision, earlier)

        def done(row: Measurement) -> None:
            if kept.get(identity(row)) != row:
                write_line(line(row))
                kept[identity(row)] = row
            measured[identity(row)] = row
            tell(len(measured), total)

        study.measure(runs, done, failed)
        beside = None
        if "rates" in targets:

            def reach(files: int, most: int) -> None:
                tell(len(measured) + files, total + most)

            contenders = rates.contenders_of(planned, study.pair)
            rated = rates.measure(planned, contenders, out / rates.RATED, reach, failed)
            total += len(rated)
            beside = rates.rates(rated, rates.missing_of(contenders))
        written = write_all(study, planned, targets, measured.values(), beside, out)
    return Reproduced(written, total, list(failures))
