"""python -m bench.rates [--rows FILE | --photo]: what the documentation has of the study of rates.

The rows are those of `coscale reproduce rates -o results/rates`. Nothing is measured again: tables go beside the rows,
and the curves to docs/rates.png. With --photo instead one photo goes to docs/lossy.png, as it is, by JPEG, and by an LR
file of as many bytes.
"""

import argparse
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from bench.readme import ROOT
from coscale.collaborate import Coscale
from coscale.image import from_pillow, read, to_pillow
from coscale.measurement import scores_of
from coscale.pipeline import decode_photo, encode_photo, write_encoded
from coscale.report.svg import style
from coscale.reproduce.codecs import codecs_here
from coscale.reproduce.rated import read_rated
from coscale.reproduce.rates import LOSSY_PAIR, RATED, rates
from coscale.reproduce.tables import as_csv, as_markdown
from coscale.storage import find
from coscale.weights.load import load

ROWS = ROOT / "results" / "rates" / RATED


def tables_and_curves(rows: Path) -> None:
    with style():
        found = rates(read_rated(rows).values())
        assert found is not None
        for name, table in found.tables.items():
            (rows.parent / f"{name}.md").write_text(as_markdown(table))
            (rows.parent / f"{name}.csv").write_text(as_csv(table))
        found.drawing.figure.savefig(ROOT / "docs" / "rates.png", dpi=110, facecolor="white")
    print(found.drawing.note)


def one_photo(path: Path, size: int = 7000) -> str:
    """Draw a photo, the JPEG of it at full size and what an LR file as JPEG restores, both in so many bytes."""
    photo, pair = read(ROOT / "examples" / "butterfly.png"), load(LOSSY_PAIR)
    image, jpeg = to_pillow(photo), codecs_here()[0]
    encoded = encode_photo(photo, pair, Coscale(), storage=find("jpg", asked={"size": size}))
    with TemporaryDirectory() as folder:
        written = write_encoded(encoded, Path(folder) / "lr.jpg")
    restored = decode_photo(written.lr, pair, written.origin)
    files: list[bytes] = [jpeg.encode(image, quality) for quality in range(1, 96)]
    data = max((file for file in files if len(file) <= size), key=len)
    with Image.open(BytesIO(data)) as opened:
        coded = from_pillow(opened)
    drawn = Image.new("RGB", (3 * image.width, image.height))
    for number, one in enumerate((photo, coded, restored)):
        drawn.paste(to_pillow(one), (number * image.width, 0))
    drawn.save(path, optimize=True)
    scores = (f"{scores_of(one, photo, pair.scale).psnr_y:.2f} dB" for one in (coded, restored))
    return f"{len(data)} and {written.bytes} bytes, {' and '.join(scores)} of Y"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.rates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--photo", action="store_true", help="draw the one photo instead")
    arguments = parser.parse_args()
    if arguments.photo:
        print(one_photo(ROOT / "docs" / "lossy.png"))
    else:
        tables_and_curves(arguments.rows)


if __name__ == "__main__":
    main()
