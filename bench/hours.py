"""python -m bench.hours: PSNR over the core-hours of each recipe that the relay has trained, as docs/hours.png.

Points are branches, whose rate has fallen to 0, by the validation crops; crosses are trunks between them. The rows are
those of results/relay.jsonl. Also prints what the last hours of each recipe brought.
"""

from bench.ledger import Ledger
from bench.readme import ROOT
from coscale.rescalers import find

SHOWN = ("light-x4", "base-x4", "base-x2")  # those of photos that no codec spoils; the others have other crops


def main() -> None:
    from matplotlib.figure import Figure

    ledger = Ledger(ROOT / "results" / "relay.jsonl")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    scales: list[int] = [2, 4]
    by_scale = dict(zip(scales, figure.subplots(1, 2), strict=True))
    for number, name in enumerate(SHOWN):
        branches, trunks = ledger.of(name, "branch"), ledger.of(name, "trunk")
        if not branches:
            continue
        colour, axes = f"C{number}", by_scale[find(name).scale]
        axes.plot([leg.core_hours for leg in trunks], [leg.psnr_y for leg in trunks], "x", color=colour, alpha=0.5)
        axes.plot(
            [leg.core_hours for leg in branches], [leg.psnr_y for leg in branches], "o-", color=colour, label=name
        )
        if len(branches) > 1:
            before, last = branches[-2:]
            hours, gain = last.core_hours - before.core_hours, last.psnr_y - before.psnr_y
            print(
                f"{name}: {last.psnr_y:.2f} dB after {last.core_hours:.1f} h; {gain:+.2f} dB in the last {hours:.1f} h"
            )
    for axes in by_scale.values():
        axes.set(xlabel="hours of one core", ylabel="PSNR-Y of the validation crops, dB")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(ROOT / "docs" / "hours.png", dpi=110)


if __name__ == "__main__":
    main()
