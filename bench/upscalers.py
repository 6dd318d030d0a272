"""python -m bench.upscalers [--shared FOLDER]: what real upscalers gain by HCD and by coscale, on Set5 and Set14.

Each upscaler restores bicubic's LR, and the LR that each method makes. A row for each photo goes to
results/upscalers.jsonl: PSNR, SSIM, how near the LR is to bicubic's, and SSIMULACRA2 of the restored photo (the PyPI
package of that name; 100 for equals). What is there is not measured again, and what takes longest comes last.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.readme import ROOT, SETS, complete, rows
from coscale.collaborate import HCD, PLAIN, Coscale, Method
from coscale.evaluate import benchmark_photo
from coscale.image import write
from coscale.lrfile import read_lr
from coscale.measurement import arguments_of
from coscale.pipeline import decode_photo, write_and_measure
from coscale.report.tables import markdown_table
from coscale.rescalers import Precision
from coscale.weights.load import Loaded, load
from coscale.weights.upscaler import load_upscaler

RESULTS = ROOT / "results" / "upscalers.jsonl"
METHODS: dict[str, Method] = {"none": PLAIN, "coscale": Coscale(), "HCD": HCD()}
# Those in a file by its path below --shared, the others by the name of the pair in the package; the quickest first.
UPSCALERS: dict[str, str | Path] = {
    "bicubic x2": "bicubic-x2",
    "bicubic x4": "bicubic-x4",
    "SRCNN x2": "srcnn-x2",
    "SRCNN x4": "srcnn-x4",
    "SAFMN x4": Path("weights/safmn_x4/safmn_x4.pth"),
    "RLFN x4": Path("weights/rlfn/rlfn_x4.pth"),
    "RLFN x2": Path("weights/rlfn/rlfn_x2.pth"),
    "CRAFT x4": Path("weights/craft_x4/CRAFT_x4.pth"),
}
LIKENESS = "lr_psnr_bicubic"
SLOW = ("CRAFT x4",)  # which take hours, so they come last
ORDER = (
    ("none", "Set5"),
    ("none", "Set14"),
    ("coscale", "Set5"),
    ("HCD", "Set5"),
    ("coscale", "Set14"),
    ("HCD", "Set14"),
)
MEASURES = {"psnr_y": "Y, dB", "psnr_rgb": "RGB, dB", "ssim_y": "SSIM", "ssimulacra2": "SSIMULACRA2"}
Row = dict[str, Any]
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Asked:
    """A photo that is to be measured, and with what."""

    upscaler: str
    of: str
    kind: str
    photo: Path

    @property
    def key(self) -> Key:
        return self.upscaler, self.of, self.photo.name, self.kind


def key_of(row: Row) -> Key:
    return row["upscaler"], row["set"], row["image"], row["kind"]


def asked(shared: Path) -> Iterator[Asked]:
    for slow in (False, True):
        for kind, of in ORDER:
            for upscaler in (name for name in UPSCALERS if (name in SLOW) == slow):
                for photo in sorted((shared / "data" / "test" / of).iterdir()):
                    yield Asked(upscaler, of, kind, photo)


@cache
def pair_of(upscaler: str, shared: Path) -> Loaded:
    source = UPSCALERS[upscaler]
    return load_upscaler(shared / source) if isinstance(source, Path) else load(source)


def measure(each: Asked, shared: Path) -> Row:
    """Encode a photo, restore it from its file, and compare."""
    from ssimulacra2 import compute_ssimulacra2  # type: ignore[import-not-found]

    pair, method = pair_of(each.upscaler, shared), METHODS[each.kind]
    precision: Precision = "bfloat16" if method.changes else "float32"
    photo = benchmark_photo(each.photo, pair.scale)
    with tempfile.TemporaryDirectory() as folder:
        lr, original, restored = (Path(folder) / f"{name}.png" for name in ("lr", "original", "restored"))
        row = write_and_measure(photo, pair, method, lr, precision=precision)
        write(original, photo)
        small, origin = read_lr(lr)
        write(restored, decode_photo(small, pair, origin))
        seen = compute_ssimulacra2(str(original), str(restored))
    wanted = arguments_of(method, precision, True, pair.steps)
    assert dict(row.arguments) == dict(wanted)
    scores = row.to_json()
    kept = ("psnr_y", "psnr_rgb", "psnr_cb", "psnr_cr", "ssim_y", "lr_psnr_bicubic", "lr_bytes", "encode_seconds")
    labels = {"upscaler": each.upscaler, "set": each.of, "image": each.photo.name, "kind": each.kind}
    return (
        labels
        | {"arguments": scores["arguments"]}
        | {key: scores.get(key) for key in kept}
        | {"ssimulacra2": float(seen)}
    )


# What was measured of the same upscalers for other tables, without SSIMULACRA2; for what is not measured here yet.
ELSEWHERE = {"bicubic x4": "bicubic-x4", "SRCNN x4": "srcnn-x4", "CRAFT x4": "bicubic+CRAFT"}


def values(upscaler: str, of: str, kind: str, key: str) -> dict[str, float]:
    """A measure of each photo of a set; empty unless all are measured."""
    here = {row["image"]: row[key] for row in rows(RESULTS.stem) if key_of(row) == (upscaler, of, row["image"], kind)}
    if len(here) == SETS[of]:
        return here
    if upscaler not in ELSEWHERE:
        return {}
    (found,) = complete(ELSEWHERE[upscaler], of, kind)
    return {image: row[key] for image, row in found.items() if key in row}


def table(*columns: tuple[str, str, int]) -> str:
    """A row for each upscaler and set; ``columns``: the key of each measure, what it is called, and its digits.

    It is told alone, and as what each method adds; how near the LR is to bicubic's, of each method.
    """
    header, lines = ["upscaler", "set"], []
    for key, name, _ in columns:
        added = "" if key == LIKENESS else ", gain"
        header += [] if key == LIKENESS else [f"{name} alone"]
        header += [f"{name}{added} by HCD", f"{name}{added} by coscale"]
    for upscaler, of in product(UPSCALERS, ("Set5", "Set14")):
        line = [upscaler, of]
        for key, _, digits in columns:
            alone, *added = (values(upscaler, of, kind, key) for kind in ("none", "HCD", "coscale"))
            plain, sign = (0.0, "") if key == LIKENESS else (fmean(alone.values()), "+")
            line += [] if key == LIKENESS else [f"{plain:.{digits}f}"]
            line += [f"{fmean(each.values()) - plain:{sign}.{digits}f}" if each else "not yet" for each in added]
        lines.append(line)
    return markdown_table(header, lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.upscalers", description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="The folder of data/ and weights/.")
    shared = parser.parse_args().shared
    with RESULTS.open("a") as file:
        known = {key_of(row) for row in rows(RESULTS.stem)}
        for each in asked(shared):
            if each.key not in known:
                file.write(json.dumps(measure(each, shared)) + "\n")
                file.flush()
                print(*each.key)


if __name__ == "__main__":
    main()
