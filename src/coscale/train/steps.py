"""What training lowers for learned steps: the share of the loss that each leaves."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coscale.metrics import compare, psnr
from coscale.objectives import WeightedLuma
from coscale.quantize import quantize
from coscale.rescalers import Maps
from coscale.rescalers.steps import Seen, Steps, unshuffled
from coscale.resize import cut

_OBJECTIVE = WeightedLuma()
_LEAST = 1e-4  # of a loss, below which a gain matters less: 40 dB


class StepObjective(nn.Module):
    """(the share of the loss that steps leave, its mean square root at the end) of a batch.

    Nothing is rounded: the steps begin at g's LR as it is, so where the LR comes to lie between grey levels is as good
    as chance, and rounding adds about the same to the loss whatever the steps do. Steps that begin at the rounded LR
    learn to undo what its rounding did, by moves so short that the next rounding takes them back. A pass through f
    serves twice: its gradient is what the next step sees, and what the step before learns from.
    """

    traceable = False  # PyTorch's compiler refuses gradients that are taken on the way

    def __init__(self, steps: Steps, pair: Maps, autocast: bool = True) -> None:
        super().__init__()
        self.steps = steps
        self.autocast = autocast
        self.pair = (pair,)  # out of sight: its parameters are not trained

    def chance(self, generator: torch.Generator, batch: int, lr_size: torch.Size) -> tuple[()]:
        """Draw nothing."""
        return ()

    def forward(self, hr: Float[Tensor, "b 3 h w"], *_: Tensor) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Compute both for crops in [0, 1]."""
        walk = self.walk(hr)
        first = next(walk)[1]
        loss, total = first, torch.zeros((), device=hr.device)
        for moved, loss, slope in walk:
            left = ((loss + _LEAST) / (first + _LEAST)).mean()
            # Its gradient by ``moved`` is known from the pass.
            size = moved[0].numel() * (first + _LEAST)[:, None, None, None] * len(moved)
            surrogate = (slope / size * moved).sum()
            total = total + surrogate - surrogate.detach() + left
        return total / self.steps.sizes["count"], loss.sqrt().mean()

    def walk(self, hr: Float[Tensor, "b 3 h w"]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Go from g's LR by all steps, and give each LR on the way, not yet clipped, with its losses and its slope."""
        with torch.no_grad():
            base = moved = self.pair[0].downscale(hr).clamp(0, 1)
        before = None
        for number in range(self.steps.sizes["count"] + 1):
            x = moved.detach().clamp(0, 1)
            loss, error, slope = self.look(x, hr)
            yield moved, loss, slope
            if number < self.steps.sizes["count"]:
                seen = Seen(x, error, slope, base, slope if before is None else before)
                with torch.autocast(hr.device.type, torch.bfloat16, enabled=self.autocast):
                    moved, before = x + self.steps(number, seen), slope

    def validate(self, steps: Steps, crops: Float[Tensor, "n 3 h w"]) -> dict[str, float]:
        """Give what ``gains`` does."""
        return gains(steps, self.pair[0], crops)

    def look(self, x: Tensor, hr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the loss of each image, the error at LR size, and the slope, of the LR as it is, not rounded."""
        with torch.enable_grad():
            part = x.detach().requires_grad_()
            with torch.autocast(hr.device.type, torch.bfloat16, enabled=self.autocast):
                restored = self.pair[0].upscale(part)
            restored = restored.float().clamp(0, 1)
            loss = _OBJECTIVE(restored, hr)
            (slope,) = torch.autograd.grad(loss.sum(), part)
        error = unshuffled(hr - restored.detach(), self.steps.scale)
        return loss.detach(), error, slope * x[0].numel()


@torch.no_grad()
def gains(steps: Steps, pair: Maps, crops: Float[Tensor, "n 3 h w"]) -> dict[str, float]:
    """Give mean PSNR-Y of crops restored from files after all steps, mean PSNR of these files against g's, and the mean
    gain of each step over none.
    """
    objective = StepObjective(steps, pair, autocast=False)
    quality: list[Tensor] = []
    likeness: list[Tensor] = []
    for hr in cut(crops, steps.scale).split(16):
        files = [quantize(moved) for moved, _, _ in objective.walk(hr)]
        scores = [compare(quantize(pair.upscale(file)), hr, steps.scale)["psnr_y"] for file in files]
        quality.append(torch.stack(scores))
        likeness.append(psnr(files[-1], files[0]))
    means = torch.cat(quality, 1).mean(1)
    found = {f"gain_{number}": float(mean - means[0]) for number, mean in enumerate(means[1:], 1)}
    return {"psnr_y": float(means[-1]), "lr_psnr": float(torch.cat(likeness).mean()), **found}
