"""Muon for convolutions: momentum whose update is made orthogonal, so that all directions of a weight learn alike.

Source: Jordan et al., "Muon", 2024 (iteration and constants); Liu et al., "Muon is scalable for LLM training", 2025
(the factor 0.2 sqrt(max(rows, columns)), which gives updates the size of Adam's). ``torch.optim.Muon`` takes
matrices only; here a kernel out x in x h x w counts as the matrix out x (in h w), and equal shapes share one product.
"""

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Give each matrix of a batch n x rows x columns with its singular values pushed to about 1 (Newton-Schulz)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon over convolution kernels."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[p.shape].append(p)
            for shape, params in alike.items():
                updates = torch.stack([self._momentum(p).flatten(1) for p in params])
                size = 0.2 * math.sqrt(max(updates.shape[1:]))
                # The iteration only has to come near 1, so bf16 is exact enough.
                directions = orthogonalize(updates.bfloat16()).to(updates.dtype)
                for p, direction in zip(params, directions, strict=True):
                    p.add_(direction.reshape(shape), alpha=-size * group["lr"])

    def _momentum(self, p: Tensor) -> Tensor:
        assert p.grad is not None
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - MOMENTUM)
        return p.grad.lerp(state["momentum"], MOMENTUM)
