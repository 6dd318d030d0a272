"""python -m bench.seams PHOTO [RESCALER...]: what working in tiles changes, against the whole photo at once.

Decoding: how many 8-bit values differ, and by how much. Encoding by coscale: PSNR of the restored photo, and the mean
absolute error along the borders of tiles against elsewhere, as a ratio to the same ratio without tiles (1 is no seam).
Rows go to results/seams.jsonl.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from bench.plain import keep_rows
from bench.readme import ROOT
from coscale import tiles
from coscale.collaborate import Coscale
from coscale.evaluate import benchmark_photo
from coscale.machine import keep_freed_memory
from coscale.metrics import psnr
from coscale.quantize import quantize, to_uint8
from coscale.rescalers import Bfloat16
from coscale.tiles import WHOLE, Tiling
from coscale.weights.load import load
from coscale.weights.manifest import read_manifest

CPU = torch.device("cpu")


def borders(tiling: Tiling, height: int, width: int, scale: int) -> Tensor:
    """Which HR pixels lie next to where two tiles meet."""
    found = torch.zeros(height * scale, width * scale, dtype=torch.bool)
    for tile in tiling.tiles(height, width):
        rows, columns = tile.core
        if rows.start:
            found[rows.start * scale - 1 : rows.start * scale + 1] = True
        if columns.start:
            found[:, columns.start * scale - 1 : columns.start * scale + 1] = True
    return found


@torch.no_grad()
def measure(name: str, path: Path, side: int | None) -> dict[str, object]:
    pair = load(name)
    network, scale = pair.rescaler, pair.scale
    hr = benchmark_photo(path, scale).colour
    height, width = hr.shape[-2] // scale, hr.shape[-1] // scale
    halo = tiles.halo_of(network, 3, CPU)
    tiling = (
        Tiling(side, halo)
        if side
        else tiles.choose(tiles.Passes(network, (height, width), 3, CPU), tiles.ANY_ROOM).tiling
    )
    lr = quantize(network.downscale(hr))
    whole, tiled = (to_uint8(tiles.upscale(network.upscale, lr, scale, t)).int() for t in (WHOLE, tiling))
    apart = (whole - tiled).abs()
    border, errors, quality = borders(tiling, height, width, scale), [], []
    for plan in (WHOLE, tiling):
        found = Coscale("fast")(network, hr, twin=Bfloat16(network), tiling=plan).lr
        restored = quantize(tiles.upscale(network.upscale, found, scale, tiling))
        error = (restored - hr).abs().mean((0, 1))
        errors.append(float(error[border].mean() / error[~border].mean()))
        quality.append(float(psnr(restored, hr)))
    return {
        "rescaler": name,
        "photo": path.name,
        "lr_size": [height, width],
        "tile": tiling.side,
        "halo": halo,
        "decode_share_of_values_apart": float((apart > 0).float().mean()),
        "decode_most_grey_levels_apart": int(apart.max()),
        "encode_psnr_tiled_less_whole": round(quality[1] - quality[0], 4),
        "encode_error_at_borders": round(errors[1] / errors[0], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.seams", description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("rescalers", nargs="*", default=list(read_manifest()))
    parser.add_argument("--tile", type=int, help="side in LR pixels; without it what the command would choose")
    arguments = parser.parse_args()
    keep_freed_memory()
    rows = (measure(name, arguments.photo, arguments.tile) for name in arguments.rescalers)
    keep_rows(ROOT / "results" / "seams.jsonl", rows)


if __name__ == "__main__":
    main()
