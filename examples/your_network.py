"""Your own super-resolution network, a torch.nn.Module, as upscaler: coscale adapts bicubic's small image to it."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import coscale
from coscale.rescalers import SuperResolution

PHOTO = Path(__file__).parent / "butterfly.png"


class Sharper(nn.Module):
    """Stands for your network: bicubic and unsharp masking, of values in [0, 255] and sides that are multiples of 8."""

    def forward(self, x: Tensor) -> Tensor:
        large = F.interpolate(x, scale_factor=2.0, mode="bicubic")
        return large + 0.6 * (large - F.avg_pool2d(F.pad(large, (1, 1, 1, 1), mode="replicate"), 3, 1))


def main() -> None:
    pair = coscale.load_upscaler(SuperResolution(Sharper(), 2, white=255, multiple=8))
    print(f"{pair.name}, x{pair.scale}")
    image = coscale.read(PHOTO).colour[..., :126, :127]
    for title, method in (("bicubic's LR", coscale.PLAIN), ("coscale's LR", coscale.Coscale("fast"))):
        restored = pair.upscale(pair.downscale(image, method), size=(126, 127))
        print(f"{title}: {-10 * torch.log10((restored - image).square().mean()):.2f} dB")


if __name__ == "__main__":
    main()
