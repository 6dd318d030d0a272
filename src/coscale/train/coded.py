"""What training lowers for a pair whose LR a lossy codec keeps: the error behind a simulated JPEG of any quality."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coscale import resize
from coscale.dct import SIDE, coefficients_of, flat_tables, image_of, mean_step, quality_tables
from coscale.metrics import compare, psnr
from coscale.objectives import WeightedLuma
from coscale.quantize import quantize
from coscale.rescalers.coded import Coded, told_as
from coscale.train.objective import bounded

_OBJECTIVE = WeightedLuma()
_STEPS = (1.0, 90.0)  # of flat tables, in grey levels: from hardly any loss to hardly any picture
_QUALITIES = (8, 97)  # of libjpeg's tables
_CHROMA_STEPS = (1.0, 1.5)  # over those of luma
_HALVED = 0.75  # the share of images with chroma of half the size, which is what most JPEG files have
# About what is usually left of the error: this of squared grey levels, and so much of the squared step. Images are
# weighed by it, so that fine and coarse qualities count alike.
_USUAL, _USUAL_OF_STEP = 8.0, 0.12
_SEEN_AT = (3.0, 10.0, 30.0)  # steps of the flat tables that validation crops go through


class CodedObjective(nn.Module):
    """(loss, its square root in [0, 1]) of a batch that went through the 8-bit LR that a JPEG decoder gives."""

    traceable = True

    def __init__(self, network: Coded, autocast: bool = True) -> None:
        super().__init__()
        self.network = network
        self.autocast = autocast

    def chance(
        self, generator: torch.Generator, batch: int, lr_size: torch.Size
    ) -> tuple[Float[Tensor, "b 2 64"], Float[Tensor, " b"]]:
        """Draw the tables of each crop, and whether its chroma is halved."""
        return torch.stack([_tables(generator) for _ in range(batch)]), (_random(generator, batch) < _HALVED).float()

    def forward(
        self,
        hr: Float[Tensor, "b 3 h w"],
        bicubic: Float[Tensor, "b 3 h2 w2"],
        factors: Float[Tensor, "4"],
        graphics: Float[Tensor, " b"],
        tables: Float[Tensor, "b 2 64"],
        halved: Float[Tensor, " b"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Compute both.

        Arguments:
            hr: crops in [0, 1].
            bicubic: their LR.
            factors: not used; a recipe for a coded pair has one loss.
            graphics: 1 for a crop that was drawn, 0 for one of a photo.
            tables, halved: as ``chance`` draws them.
        """
        steps = mean_step(tables)
        lr = through_jpeg(bicubic, tables, halved)
        with torch.autocast(hr.device.type, torch.bfloat16, enabled=self.autocast):
            restored = self.network.restore(lr, told_as(steps))
        errors = _OBJECTIVE(restored.float(), hr)
        usual = (_USUAL + _USUAL_OF_STEP * steps.square()) / 255**2
        return bounded(errors / usual, graphics), errors.detach().mean().sqrt()

    @torch.no_grad()
    def validate(self, network: Coded, crops: Float[Tensor, "n 3 h w"]) -> dict[str, float]:
        """Give mean PSNR-Y of crops restored through JPEG, of all qualities and of each, and mean PSNR of what decoders
        see as the LR against bicubic.
        """
        found: dict[str, float] = {}
        likeness = []
        for step in _SEEN_AT:
            tables, quality = flat_tables(step, step)[None].to(crops), []
            for hr in resize.cut(crops, 2 * SIDE * network.scale).split(16):
                bicubic = resize.downscale(hr, network.scale)
                lr = through_jpeg(bicubic, tables, hr.new_ones(len(hr)))
                restored = network.restore(lr, told_as(mean_step(tables)).expand(len(hr)))
                quality.append(compare(quantize(restored), hr, network.scale)["psnr_y"])
                likeness.append(psnr(lr, quantize(bicubic)))
            found[f"psnr_y_{step:g}"] = float(torch.cat(quality).mean())
        return {"psnr_y": sum(found.values()) / len(found), "lr_psnr": float(torch.cat(likeness).mean()), **found}


@torch.no_grad()
def through_jpeg(
    lr: Float[Tensor, "b 3 h w"], tables: Float[Tensor, "b 2 64"], halved: Float[Tensor, " b"]
) -> Float[Tensor, "b 3 h w"]:
    """Give what a decoder makes of LR images whose sides are multiples of 16, rounded to 8 bit."""
    lr = quantize(lr)
    full, half = (image_of(coefficients_of(lr, of).quantised(tables)) for of in (False, True))
    return quantize(torch.where(halved[:, None, None, None] > 0, half, full))


def _tables(generator: torch.Generator) -> Float[Tensor, "2 64"]:
    kind, where, chroma = _random(generator, 3).tolist()
    if kind < 0.5:
        least, most = _QUALITIES
        return quality_tables(round(least + where * (most - least)))
    least, most = map(math.log, _STEPS)
    step = math.exp(least + where * (most - least))
    return flat_tables(step, step * _CHROMA_STEPS[chroma < 0.5])


def _random(generator: torch.Generator, count: int) -> Tensor:
    return torch.rand(count, generator=generator)
