"""python -m bench.texture RLFN_x4.pth PHOTOS OUT.pth: an upscaler that was trained against a discriminator.

It stands in for the upscalers of GANs, for `bench.goals`: RLFN x4, as published, trained on for some minutes on one
core against a discriminator that looks at patches, from bicubic's LR of the photos in the folder PHOTOS. In so short a
time it learns to draw fine patterns that are not in the photo, but hardly any that look like texture. So it is good for
nothing else, and does not belong to the package.
Sources: the relativistic average loss (Jolicoeur-Martineau, ICLR 2019), as in ESRGAN (Wang et al., ECCVW 2018);
discriminators of patches (Isola et al., CVPR 2017); spectral normalisation (Miyato et al., ICLR 2018).
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coscale.folders import photos_in
from coscale.image import read
from coscale.quantize import from_uint8, to_uint8
from coscale.rescalers.superres import SuperResolution
from coscale.train.data import Photos
from coscale.weights.upscaler import load_upscaler

SEED = 0
STEPS, BATCH, SIDE = 250, 4, 24  # SIDE: of the LR crops
ADVERSARIAL = 0.05  # beside the mean absolute error
RATE = 2e-4


def discriminator(width: int = 32) -> nn.Module:
    """Says of patches of 34 x 34 pixels how real they look."""

    def layer(channels_in: int, channels_out: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(channels_in, channels_out, 4, stride, 1)
        return [nn.utils.parametrizations.spectral_norm(convolution), nn.LeakyReLU(0.2)]

    layers = [*layer(3, width, 2), *layer(width, 2 * width, 2), *layer(2 * width, 4 * width, 1)]
    return nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 4, 1, 1))


def relativistic(judge: nn.Module, real: Tensor, made: Tensor, wanted: float) -> Tensor:
    """The loss of those who want the real to look more real than what is made (1), or the other way round (0)."""
    for_real, for_made = judge(real), judge(made)
    a, b = for_real - for_made.mean(), for_made - for_real.mean()
    ends = torch.full_like(a, wanted), torch.full_like(b, 1 - wanted)
    return (F.binary_cross_entropy_with_logits(a, ends[0]) + F.binary_cross_entropy_with_logits(b, ends[1])) / 2


def train(pair: SuperResolution, photos: Photos) -> None:
    """Train the network of an upscaler on."""
    generator = torch.Generator().manual_seed(SEED)
    judge, side = discriminator(), pair.scale * SIDE
    of_network = torch.optim.Adam(pair.parameters(), RATE, (0.9, 0.99))
    of_judge = torch.optim.Adam(judge.parameters(), RATE, (0.9, 0.99))
    for step in range(STEPS):
        hr = from_uint8(photos.cut(photos.picked(BATCH, side, generator), side))
        with torch.no_grad():
            lr = pair.downscale(hr).clamp(0, 1)
        made = pair.upscale(lr)
        of_judge.zero_grad()
        relativistic(judge, hr, made.detach(), 1.0).backward()
        of_judge.step()
        of_network.zero_grad()
        error, fooled = (made - hr).abs().mean(), relativistic(judge, hr, made, 0.0)
        (error + min(1.0, step / 50) * ADVERSARIAL * fooled).backward()
        of_network.step()
        if step % 50 == 0:
            print(step, f"error {255 * error:.2f} levels, adversarial loss {fooled:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.texture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    pair = load_upscaler(arguments.weights).rescaler
    assert isinstance(pair, SuperResolution)
    pair.requires_grad_(True)
    train(pair, Photos([to_uint8(read(path).colour)[0] for path in photos_in(arguments.photos)]))
    torch.save(pair.network.state_dict(), arguments.out)


if __name__ == "__main__":
    main()
