"""A photo to a small PNG and back: by bicubic, by a learned rescaler alone, with HCD, and with coscale's method."""

from pathlib import Path

from coscale import HCD, PLAIN, Coscale, decode_photo, load, read, read_lr, write_and_measure
from coscale.cli.options import DEFAULT_RESCALER
from coscale.report.picture import Panel, comparison
from coscale.report.tables import text_table

PHOTO = Path(__file__).parent / "butterfly.png"
OUT = Path("demo")
CROP = (66, 92, 64)  # top, left, side: veins and edges of a wing


def main() -> None:
    photo = read(PHOTO)
    panels = [Panel(photo, "original", f"{photo.size[1]} x {photo.size[0]}")]
    table = []
    for title, name, method in (
        ("bicubic", "bicubic-x2", PLAIN),
        (DEFAULT_RESCALER, DEFAULT_RESCALER, PLAIN),
        ("  + HCD", DEFAULT_RESCALER, HCD()),
        ("  + coscale", DEFAULT_RESCALER, Coscale()),
    ):
        print(f"{title} ...", flush=True)
        pair = load(name)
        path = OUT / f"{name}-{method.name}.png"
        row = write_and_measure(photo, pair, method, path)
        lr, origin = read_lr(path)
        restored = decode_photo(lr, pair, origin)
        panels.append(Panel(restored, title.strip(), f"{row.scores.psnr_y:.2f} dB"))
        seconds = f"{row.encode_seconds:.1f}"
        table.append((title, f"{row.scores.psnr_y:.2f}", f"{row.scores.ssim_y:.4f}", str(row.lr_bytes), seconds))
    picture = OUT / "comparison.png"
    comparison(panels, CROP).save(picture)
    print()
    print(text_table(("", "PSNR-Y", "SSIM-Y", "LR bytes", "seconds"), table))
    print()
    print(picture)


if __name__ == "__main__":
    main()
