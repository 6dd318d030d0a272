"""Your own rescaler: a scale, a downscale and an upscale that torch can differentiate."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

import coscale

PHOTO = Path(__file__).parent / "butterfly.png"


class Box(coscale.Rescaler):
    """Means of 2 x 2 pixels, brought back by bilinear interpolation; B x C x H x W, in [0, 1]."""

    scale = 2

    def downscale(self, hr: Tensor, /) -> Tensor:
        return F.avg_pool2d(hr, self.scale)

    def upscale(self, lr: Tensor, /) -> Tensor:
        return F.interpolate(lr, scale_factor=float(self.scale), mode="bilinear")


def main() -> None:
    pair = coscale.Pair("box-x2", Box())
    photo = coscale.read(PHOTO)
    for title, method in (("box-x2", coscale.PLAIN), ("box-x2 + coscale", coscale.Coscale("fast"))):
        encoded = coscale.encode_photo(photo, pair, method)
        restored = coscale.decode_photo(encoded.lr, pair, encoded.origin)
        error = (restored.colour - photo.colour).square().mean()
        print(f"{title:20}{-10 * error.log10():6.2f} dB")


if __name__ == "__main__":
    main()
