"""Your own objective: a part of the photo that matters more than the rest, here the middle, 20 times as much."""

from pathlib import Path

import torch
from torch import Tensor

import coscale

PHOTO = Path(__file__).parent / "butterfly.png"
HEAVY = 20.0


def main() -> None:
    image = coscale.read(PHOTO).colour[..., 64:160, 64:160]
    weight = torch.ones(1, 1, *image.shape[-2:])
    weight[..., 30:66, 30:66] = HEAVY

    def weighted(restored: Tensor, original: Tensor) -> Tensor:
        """One value an image; B x C x H x W, in [0, 1]."""
        return (weight * (restored - original).square()).mean((1, 2, 3))

    pair = coscale.load("light-x2")
    middle = weight > 1
    print(f"{'':24}middle    rest   PSNR in dB")
    for title, method in (
        ("no method", coscale.PLAIN),
        ("coscale", coscale.Coscale("fast")),
        ("coscale, middle first", coscale.Coscale("fast", objective=weighted)),
    ):
        error = (pair.upscale(pair.downscale(image, method)) - image).square().mean(1, keepdim=True)
        inside, outside = (-10 * error[part].mean().log10() for part in (middle, ~middle))
        print(f"{title:24}{inside:6.2f}  {outside:6.2f}")


if __name__ == "__main__":
    main()
