"""What training lowers: the loss of one batch, as one module, so that it compiles and runs on several devices."""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coscale.quantize import quantize
from coscale.train.recipes import Recipe


class Trainable(Protocol):
    """A rescaler that training can see into."""

    @property
    def scale(self) -> int: ...

    def __call__(self, hr: Tensor) -> tuple[Tensor, Tensor | None]:
        """HR to (LR, latent), the latent being what should become 0; None where there is none."""
        ...

    def upscale(self, lr: Tensor) -> Tensor: ...


def factors(recipe: Recipe, late: bool, device: torch.device) -> Float[Tensor, "4"]:
    """The factors of L1, L2, guidance and latent loss, before the recipe's last phase and in it.

    A tensor, because numbers would be compiled in, and compiled anew when they change.
    """
    l1, l2 = (0.0, recipe.late_l2) if late else (recipe.l1, 0.0)
    return torch.tensor([l1, l2, recipe.guidance, recipe.latent], device=device)


class Objective(nn.Module):
    """(loss, mean absolute error of the restored photo) of a batch that went through the 8-bit LR."""

    def __init__(self, network: Trainable, autocast: bool = True) -> None:
        super().__init__()
        assert isinstance(network, nn.Module)
        self.network = network
        self.autocast = autocast

    def forward(
        self,
        hr: Float[Tensor, "b 3 h w"],
        bicubic: Float[Tensor, "b 3 h2 w2"],
        factors: Float[Tensor, "4"],
        drawn: Float[Tensor, "b z h2 w2"] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """``drawn`` is the latent that the photo is restored with; 0 where it is left out."""
        with torch.autocast(hr.device.type, torch.bfloat16, enabled=self.autocast):
            lr, latent = self.network(hr)
            stored = quantize(lr)
            restored = self.network.upscale(stored) if drawn is None else self.network.inverse(stored, drawn)  # type: ignore[operator]
            error = restored - hr
        l1, l2, guidance, latent_factor = factors.unbind()
        absolute = error.abs().mean()
        loss = l1 * absolute + l2 * error.square().mean() + guidance * (lr - bicubic).square().mean()
        if latent is not None:
            loss = loss + latent_factor * latent.square().mean()
        return loss, absolute.detach()
