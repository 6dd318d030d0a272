"""python -m bench.paper RUN: keep a run of `coscale reproduce` under results/paper, and its picture under docs.

Figures and LR files are left out, since the page has the first and the rows make the others.
"""

import shutil
import sys
from pathlib import Path

from bench.readme import ROOT
from coscale.reproduce.runner import ROWS
from coscale.reproduce.write import PAGE

KEPT = (PAGE, ROWS, "*.md", "*.csv")


def main(run: Path) -> None:
    target = ROOT / "results" / "paper"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for pattern in KEPT:
        for path in sorted(run.glob(pattern)):
            shutil.copyfile(path, target / path.name)
    shutil.copyfile(run / "fig1.png", ROOT / "docs" / "paper.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
