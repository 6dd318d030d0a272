"""What training lowers for learned steps: how much of the error is left after each, in files, as a logarithm."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coscale.collaborate.steps import Seen, Steps, unshuffled
from coscale.metrics import compare, psnr
from coscale.objectives import WeightedLuma
from coscale.quantize import quantize
from coscale.rescalers import Maps
from coscale.resize import cut

_OBJECTIVE = WeightedLuma()
_LEAST = 1e-4  # of a loss, below which a gain matters less: 40 dB


class StepObjective(nn.Module):
    """(the mean logarithm of what is left of the loss, its mean square root at the end) of a batch after all steps.

    A pass through f serves twice: its gradient is what the next step sees, and what the step before learns from.
    """

    traceable = False  # PyTorch's compiler refuses gradients that are taken on the way

    def __init__(self, steps: Steps, pair: Maps, autocast: bool = True) -> None:
        super().__init__()
        self.steps = steps
        self.autocast = autocast
        self.pair = (pair,)  # out of sight: its parameters are not trained

    def forward(self, hr: Float[Tensor, "b 3 h w"], *_: Tensor) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Compute both for crops in [0, 1]."""
        with torch.no_grad():
            base = quantize(self.pair[0].downscale(hr))
        x, before = base, None
        loss, error, slope = self._pass(base, hr)
        first, total = loss, torch.zeros((), device=hr.device)
        for number in range(len(self.steps.networks)):
            seen = Seen(x, error, slope, base, slope if before is None else before)
            with torch.autocast(hr.device.type, torch.bfloat16, enabled=self.autocast):
                moved = x + self.steps(number, seen)
            x, before = moved.detach().clamp(0, 1), slope
            loss, error, slope = self._pass(x, hr)
            # Its gradient by ``moved`` is that of the mean of log(loss), by the slope that the pass has found.
            weight = slope / ((loss + _LEAST)[:, None, None, None] * x[0].numel() * len(x))
            gain = ((loss + _LEAST) / (first + _LEAST)).log().mean()
            surrogate = (weight * moved).sum()
            total = total + surrogate - surrogate.detach() + gain
        return total / len(self.steps.networks), loss.sqrt().mean()

    def validate(self, steps: Steps, crops: Float[Tensor, "n 3 h w"]) -> dict[str, float]:
        """Give what ``gains`` does."""
        return gains(steps, self.pair[0], crops)

    def _pass(self, x: Tensor, hr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of each image as a file, the error at LR size, and the slope."""
        with torch.enable_grad():
            part = x.detach().requires_grad_()
            with torch.autocast(hr.device.type, torch.bfloat16, enabled=self.autocast):
                restored = self.pair[0].upscale(quantize(part))
            restored = restored.float().clamp(0, 1)
            loss = _OBJECTIVE(restored, hr)
            (slope,) = torch.autograd.grad(loss.sum(), part)
        error = unshuffled(hr - restored.detach(), self.steps.scale)
        return loss.detach(), error, slope * x[0].numel()


def gains(steps: Steps, pair: Maps, crops: Float[Tensor, "n 3 h w"]) -> dict[str, float]:
    """Give mean PSNR-Y of crops restored from files after all steps, mean PSNR of these files against g's, and the mean
    gain of each step over none.
    """
    objective = StepObjective(steps, pair, autocast=False)
    quality: list[Tensor] = []
    likeness: list[Tensor] = []
    for hr in cut(crops, steps.scale).split(16):
        with torch.no_grad():
            base = quantize(pair.downscale(hr))

        def score(x: Tensor, hr: Tensor = hr) -> Tensor:
            with torch.no_grad():
                return compare(quantize(pair.upscale(quantize(x))), hr, steps.scale)["psnr_y"]

        x, before, scores = base, None, [score(base)]
        for number in range(len(steps.networks)):
            _, error, slope = objective._pass(x, hr)
            with torch.no_grad():
                x = (x + steps(number, Seen(x, error, slope, base, slope if before is None else before))).clamp(0, 1)
            before = slope
            scores.append(score(x))
        quality.append(torch.stack(scores))
        likeness.append(psnr(quantize(x), base))
    means = torch.cat(quality, 1).mean(1)
    found = {f"gain_{number}": float(mean - means[0]) for number, mean in enumerate(means[1:], 1)}
    return {"psnr_y": float(means[-1]), "lr_psnr": float(torch.cat(likeness).mean()), **found}
