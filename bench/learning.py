"""python -m bench.learning [--scale 2] [--until 23:30]: which recipe learns fastest on one core, at equal minutes.

Each variant changes one thing of the base recipe of a scale and is trained from nothing for --minutes, its rate falling
to 0 within them. What counts is PSNR-Y of the validation crops, restored from 8-bit LR images; the same recipe with
another seed shows what chance does. A row for each variant joins results/learning.jsonl, and one that has its row is
not trained again. Stopped at any time, the same command goes on.
"""

import argparse
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench.plain import processor
from bench.readme import ROOT, read_rows
from bench.relay import SHARED, alone, deadline_of, interrupt, rows_of, say, settle
from coscale.console import dump
from coscale.rescalers import fastest
from coscale.rescalers.light import Light
from coscale.train import recipes
from coscale.train.loop import train

ROWS = ROOT / "results" / "learning.jsonl"
REPORT_SECONDS = 60
SPARE_MINUTES = 2  # for reading the photos and compiling
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Variant:
    """One change: to fields of the recipe, or to the width and blocks of g and of f."""

    name: str
    recipe: dict[str, Any] = field(default_factory=dict)
    down: tuple[int, int] | None = None
    up: tuple[int, int] | None = None


# Where the study began: width and blocks of both maps.
BASE = {2: (96, 5), 4: (128, 4)}
SHAPES = {
    2: {"both 64 wide, 11 blocks": (64, 11), "both 128 wide, 3 blocks": (128, 3)},
    4: {"both 96 wide, 7 blocks": (96, 7), "both 192 wide, 2 blocks": (192, 2)},
}


def variants_of(scale: int) -> list[Variant]:
    """The base recipe first, then what is most likely to matter."""
    patch, (width, blocks) = 32 * scale, BASE[scale]
    shapes = [Variant(name, down=shape, up=shape) for name, shape in SHAPES[scale].items()]
    return [
        Variant("the base recipe"),
        Variant(f"g {width // 2} wide, 3 blocks", down=(width // 2, 3)),
        Variant("rate 2e-3", {"lr": 2e-3}),
        Variant("Adam for all", {"muon": False}),
        Variant("rate 5e-4", {"lr": 5e-4}),
        Variant(f"g {width // 3} wide, 2 blocks", down=(width // 3, 2)),
        Variant("batch 4", {"batch": 4}),
        Variant("Adam for all, rate 3e-4", {"muon": False, "lr": 3e-4}),
        *shapes,
        Variant("L2 from the beginning", {"late_share": 1.0}),
        Variant("the base recipe, another seed", {"seed": 1}),
        Variant("batch 16", {"batch": 16}),
        Variant("L1 to the end", {"late_share": 0.0}),
        Variant("batch 4, larger crops", {"batch": 4, "patch": 3 * patch // 2}),
        Variant(f"f {width} wide, {blocks + 4} blocks", up=(width, blocks + 4)),
        Variant("half the guidance", {"guidance": recipes.find(f"base-x{scale}").guidance / 2}),
        Variant("no drawn images", {"graphics": 0.0}),
    ]


def network_of(variant: Variant, scale: int) -> Light:
    """The pair of a variant, not trained."""
    torch.manual_seed(variant.recipe.get("seed", 0))
    return Light(scale, *(variant.up or BASE[scale]), variant.down or BASE[scale])


def measured(variant: Variant, scale: int, minutes: float, data: Iterable[Path], runs: Path) -> dict[str, Any]:
    """Train one variant, and give its row."""
    recipe = replace(recipes.find(f"base-x{scale}"), **variant.recipe)
    folder = runs / f"learning-x{scale}" / variant.name.replace(" ", "-").replace(",", "")
    network = network_of(variant, scale)
    torch.compiler.reset()  # what was compiled for the variant before is of no use
    train(recipe, network, list(data), folder, minutes=minutes, say=say, report_seconds=REPORT_SECONDS)
    rows = rows_of(folder)
    return {
        "scale": scale,
        "variant": variant.name,
        "minutes": minutes,
        "parameters_f": sum(p.numel() for p in network.up.parameters()),
        "parameters_g": sum(p.numel() for p in network.down.parameters()),
        "steps": rows[-1]["step"],
        "psnr_y": round(rows[-1]["psnr_y"], 3),
        "lr_psnr": round(rows[-1]["lr_psnr"], 2),
        "curve": [[round(row["seconds"]), round(row["psnr_y"], 3)] for row in rows],
        "processor": processor(),
        "precision": fastest(CPU),
        "torch": torch.__version__,
        "date": datetime.now(tz=UTC).date().isoformat(),
    }


def done() -> set[tuple[int, str, float]]:
    """What has a row."""
    return {(row["scale"], row["variant"], row["minutes"]) for row in read_rows(ROWS)}


def run(scale: int, minutes: float, data: list[Path], runs: Path, deadline: float) -> None:
    """Train the variants that have no row yet, as long as another can be done before ``deadline``, of ``time.time``."""
    for variant in variants_of(scale):
        if (scale, variant.name, minutes) in done():
            continue
        if deadline - time.time() < 60 * (minutes + SPARE_MINUTES):
            return
        say(f"x{scale}: {variant.name}")
        row = measured(variant, scale, minutes, data, runs)
        with ROWS.open("a") as file:
            file.write(dump(row) + "\n")
        say(f"x{scale}: {variant.name}: PSNR-Y {row['psnr_y']:.2f}, LR {row['lr_psnr']:.1f}, {row['steps']} steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, choices=sorted(BASE), default=2)
    parser.add_argument("--minutes", type=float, default=15.0, help="of each variant")
    parser.add_argument("--core", type=int, default=0, help="the processor core that does it (default: 0)")
    parser.add_argument("--until", metavar="HH:MM", help="begin none that would not be done at this time of the day")
    parser.add_argument("--data", type=Path, action="append", help="a folder of photos; repeatable")
    parser.add_argument("--runs", type=Path, default=ROOT.parent / "runs")
    arguments = parser.parse_args()
    settle(arguments.core, "bench.learning")
    signal.signal(signal.SIGTERM, interrupt)
    with alone(arguments.runs):
        try:
            data = arguments.data or [SHARED / "data" / "train"]
            run(arguments.scale, arguments.minutes, data, arguments.runs, deadline_of(arguments.until, None))
        except KeyboardInterrupt:
            raise SystemExit("stopped; the same command goes on from here") from None


if __name__ == "__main__":
    main()
