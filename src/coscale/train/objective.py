"""What training lowers: the loss of one batch, as one module, so that it compiles and runs on several devices."""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coscale import resize
from coscale.metrics import compare, psnr
from coscale.quantize import quantize
from coscale.train.recipes import TrainingRecipe


class Trainable(Protocol):
    """A rescaler that training can see into."""

    @property
    def scale(self) -> int: ...

    def __call__(self, hr: Tensor) -> tuple[Tensor, Tensor | None]:
        """HR to (LR, latent), the latent being what should become 0; None where there is none."""
        ...

    def downscale(self, hr: Tensor) -> Tensor: ...

    def upscale(self, lr: Tensor) -> Tensor: ...


def factors(recipe: TrainingRecipe, late: bool, device: torch.device) -> Float[Tensor, "4"]:
    """Give the factors of L1, L2, guidance and latent loss, before the recipe's last phase and in it.

    A tensor, because numbers would be compiled in, and compiled anew when they change.
    """
    l1, l2 = (0.0, recipe.late_l2) if late else (recipe.l1, 0.0)
    return torch.tensor([l1, l2, recipe.guidance, recipe.latent], device=device)


class Objective(nn.Module):
    """(loss, mean absolute error of what was restored) of a batch that went through the 8-bit LR."""

    traceable = True

    def __init__(self, network: Trainable, autocast: bool = True, temperature: float = 0.0) -> None:
        super().__init__()
        assert isinstance(network, nn.Module)
        self.network = network
        self.autocast = autocast
        self.temperature = temperature

    def chance(
        self, generator: torch.Generator, batch: int, lr_size: torch.Size
    ) -> tuple[Float[Tensor, "b z h2 w2"], ...]:
        """Draw the latent to restore each crop with, by a recipe that draws one."""
        if not self.temperature:
            return ()
        channels: int = self.network.latent_channels  # type: ignore[attr-defined]
        return (self.temperature * torch.randn(batch, channels, *lr_size, generator=generator),)

    def validate(self, network: Trainable, crops: Float[Tensor, "n 3 h w"]) -> dict[str, float]:
        """Give mean PSNR-Y of crops restored through an 8-bit LR, and mean PSNR of the LR against bicubic."""
        return validate(network, crops)

    def forward(
        self,
        hr: Float[Tensor, "b 3 h w"],
        bicubic: Float[Tensor, "b 3 h2 w2"],
        factors: Float[Tensor, "4"],
        graphics: Float[Tensor, " b"],
        latent: Float[Tensor, "b z h2 w2"] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Compute both.

        Arguments:
            hr: crops in [0, 1].
            bicubic: their LR by bicubic.
            factors: see the function of this name.
            graphics: 1 for a crop that was drawn, 0 for one of a photo.
            latent: what the crops are restored with; 0 where it is left out.
        """
        with torch.autocast(hr.device.type, torch.bfloat16, enabled=self.autocast):
            lr, lost = self.network(hr)
            stored = quantize(lr)
            restored = self.network.upscale(stored) if latent is None else self.network.inverse(stored, latent)  # type: ignore[operator]
            error = restored - hr
        l1, l2, guidance, latent_factor = factors.unbind()
        absolute, square = error.abs().mean((1, 2, 3)), error.square().mean((1, 2, 3))
        loss = l1 * bounded(absolute, graphics) + l2 * bounded(square, graphics)
        loss = loss + guidance * (lr - bicubic).square().mean()
        if lost is not None:
            loss = loss + latent_factor * lost.square().mean()
        return loss, absolute.detach().mean()


@torch.no_grad()
def validate(network: Trainable, crops: Float[Tensor, "n 3 h w"]) -> dict[str, float]:
    """Give mean PSNR-Y of the restored crops through an 8-bit LR, and mean PSNR of the LR against bicubic."""
    quality, likeness = [], []
    for hr in resize.cut(crops, network.scale).split(16):
        lr = quantize(network.downscale(hr))
        quality.append(compare(quantize(network.upscale(lr)), hr, network.scale)["psnr_y"])
        likeness.append(psnr(lr, quantize(resize.downscale(hr, network.scale))))
    return {"psnr_y": float(torch.cat(quality).mean()), "lr_psnr": float(torch.cat(likeness).mean())}


def bounded(errors: Float[Tensor, " b"], graphics: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Give the mean of errors, in which none of a drawn crop counts for more than a photo's does on average.

    Fine patterns cannot be restored at all. As they are, a tenth of the crops would make nine tenths of an MSE.
    """
    photos = 1 - graphics
    usual = (errors * photos).sum() / photos.sum().clamp(min=1)
    limited = (usual / errors.clamp(min=1e-12)).clamp(max=1)
    # Where all crops are drawn there is nothing to compare with.
    weight = torch.where((graphics > 0) & (photos.sum() > 0), limited, 1.0).detach()
    return (weight * errors).mean()
