"""What an upscaler is told of an image file that nobody made for it."""

from io import BytesIO

import torch
from PIL import Image

from coscale.dct import mean_step
from coscale.levels import level_of

_USUAL = 80  # of lossy files whose format keeps its quality to itself: a step of 6 grey levels


def level_in(data: bytes) -> int | None:
    """Give the level that the tables of a JPEG file say, and that of usual files of other lossy formats.

    None for files that lose nothing, and for what is no image.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            form, tables = image.format, getattr(image, "quantization", None)
    except (OSError, SyntaxError, ValueError):
        return None
    if tables:
        luma = torch.tensor(tables[min(tables)], dtype=torch.float32)
        return level_of(float(mean_step(torch.stack([luma, luma]))))
    lossy = form == "AVIF" or (form == "WEBP" and b"VP8L" not in data[:64])
    return _USUAL if lossy else None
