"""python examples/upscaler.py CHECKPOINT: what a super-resolution network of yours gains when coscale encodes.

Bicubic makes the small image, your network restores it; then coscale changes the small image for it. Writes a table and
demo/upscaler.png.
"""

import sys
from pathlib import Path

from coscale import HCD, PLAIN, Coscale, decode_photo, load, load_upscaler, read, read_lr, write_and_measure
from coscale.report.picture import Panel, comparison
from coscale.report.tables import text_table
from coscale.rescalers import fastest

PHOTO = Path(__file__).parent / "butterfly.png"
OUT = Path("demo")
CROP = (66, 92, 64)  # top, left, side: veins and edges of a wing


def main(checkpoint: str) -> None:
    photo, pair = read(PHOTO), load_upscaler(checkpoint)
    network = pair.name.removeprefix("bicubic+")
    panels, table = [Panel(photo, "original", f"{photo.size[1]} x {photo.size[0]}")], []
    for title, rescaler, method in (
        ("bicubic", load(f"bicubic-x{pair.scale}"), PLAIN),
        (network, pair, PLAIN),
        (f"{network} + HCD", pair, HCD()),
        (f"{network} + coscale", pair, Coscale()),
    ):
        print(f"{title} ...", flush=True)
        path = OUT / f"upscaler-{len(panels)}.png"
        row = write_and_measure(photo, rescaler, method, path, precision=fastest(pair.device))
        lr, origin = read_lr(path)
        panels.append(Panel(decode_photo(lr, rescaler, origin), title, f"{row.scores.psnr_y:.2f} dB"))
        table.append((title, f"{row.scores.psnr_y:.2f}", f"{row.scores.ssim_y:.4f}", f"{row.encode_seconds:.1f}"))
    comparison(panels, CROP).save(OUT / "upscaler.png")
    print()
    print(text_table(("", "PSNR-Y", "SSIM-Y", "seconds"), table))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/upscaler.py CHECKPOINT")
    main(sys.argv[1])
