"""python -m bench.gpu --minutes 9 [--out FOLDER]: train the next recipe on a GPU that is there for minutes.

Needs Python, PyTorch and this tree, nothing else: what --pack wrote before, on a machine that has all of coscale's
packages, holds the photos as tensors and the few pure packages that are missing here. The first two thirds of the time
the rate is constant; a second call goes on from there. Then it falls to 0, and the averaged weights are kept. They,
the log, and the state to go on from lie in --out, in at most 8 files of 16 MiB each.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("jaxtyping", "wadler_lindig", "platformdirs", "safetensors")  # whose files suit any Python
BEGUN = time.monotonic()
PACK_MIB = 56
DRAWN_SIDE, DRAWN_COUNT = 160, 256  # the patches of all recipes fit


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGUN:6.1f} s  {text}", flush=True)


def pack(folders: list[Path], into: Path, part: int, parts: int) -> None:
    """Write what a machine with PyTorch alone needs."""
    import torch

    from bench.pack import MIB, write_pack
    from coscale.train import data

    photos = data.load(folders, DRAWN_SIDE, say)
    data.BANK = DRAWN_COUNT
    photos = replace(photos, drawn=data.bank(photos.images, DRAWN_SIDE, 0))
    path = into / f"photos-{part}.pt"
    count, size = write_pack(
        photos, path, PACK_MIB * MIB, part, parts, torch.Generator().manual_seed(part), least=DRAWN_SIDE
    )
    say(f"{path}: {count} photos, {size / MIB:.1f} MiB")
    versions = [f"{package}=={version(package)}" for package in PACKAGES]
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"]
    subprocess.run([*install, into / "packages", *versions], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="until all is written (default: 9)")
    parser.add_argument("--recipe", help="instead of the one that has had least")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--engine", choices=("graph", "compile", "eager"), default="graph")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu" / "out")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "gpu", help="of the packs and the runs")
    parser.add_argument("--pack", action="store_true", help="write the pack, and do nothing else")
    parser.add_argument("--part", type=int, default=1, help="with --pack: which")
    parser.add_argument("--parts", type=int, default=1, help="with --pack: of how many")
    parser.add_argument("--data", type=Path, action="append", help="with --pack: a folder of photos")
    arguments = parser.parse_args()
    if arguments.pack:
        folders = arguments.data or [ROOT.parent / "shared" / "data" / "train"]
        pack(folders, arguments.folder, arguments.part, arguments.parts)
        return
    sys.path += [str(ROOT / "src"), str(arguments.folder / "packages")]
    from bench.lease import Lease

    lease = Lease(arguments.folder, arguments.out, arguments.device, arguments.engine, say)
    lease.run(arguments.minutes, arguments.recipe)


if __name__ == "__main__":
    main()
