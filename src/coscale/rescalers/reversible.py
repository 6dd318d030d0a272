"""Gradients of an invertible rescaler that keep no activations: the backward pass finds inputs again from outputs.

    coupling    low' = low + F(high),  high' = high exp(s(low')) + G(low')
    backward    from (low', high'): G and s of low', so high; F of high, so low; each subnet is run once more, and
                its gradient taken on the way

Memory holds one subnet at a time, however many blocks there are; a gradient takes one more forward pass. Only gradients
of the input are computed. Source: RevNet (Gomez et al., "The Reversible Residual Network", NeurIPS 2017), for IRN.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from coscale.rescalers.base import Rescaler, Wrapped
from coscale.rescalers.irn import CHANNELS, IRN, Coupling

Halves = tuple[Tensor, Tensor]


class Reversible(Wrapped):
    """An IRN whose gradients with respect to its input take memory for one block; its images are the IRN's."""

    def __init__(self, irn: IRN) -> None:
        super().__init__(irn)
        self.irn = irn

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Do as IRN does."""
        return self._through(hr, forward=True)[:, :CHANNELS]

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Do as IRN does, with z = 0."""
        z = lr.new_zeros(lr.shape[0], self.irn.latent_channels, *lr.shape[-2:])
        return self._through(torch.cat((lr, z), 1), forward=False)

    def lean(self) -> Rescaler:
        """Give itself."""
        return self

    def as_much_memory(self) -> Rescaler:
        """Give a network with one block a level, the most that a gradient holds at a time."""
        like = next(self.irn.parameters())
        return IRN((1,) * len(self.irn.blocks)).to(like).requires_grad_(False)

    def _through(self, x: Tensor, forward: bool) -> Tensor:
        operations = list(self.irn.operations)
        out = _Chain.apply(x, operations if forward else operations[::-1], forward)
        assert isinstance(out, Tensor)
        return out


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, operations: list[Any], forward: bool) -> Tensor:
        for operation in operations:
            x = operation(x) if forward else operation.inverse(x)
        ctx.operations, ctx.forward_way = operations, forward
        device = x.device.type
        ctx.autocast = torch.autocast(
            device, torch.get_autocast_dtype(device), enabled=torch.is_autocast_enabled(device)
        )
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (y,), (slope,) = ctx.saved_tensors, grad_outputs
        with ctx.autocast:
            for operation in reversed(ctx.operations):
                if isinstance(operation, Coupling):
                    step = _back_through_forward if ctx.forward_way else _back_through_inverse
                    y, slope = step(operation, y, slope)
                else:  # a Haar step is linear
                    y = operation.inverse(y) if ctx.forward_way else operation(y)
                    slope = _linear(operation if ctx.forward_way else operation.inverse, y, slope)
        return slope, None, None


def _back_through_forward(block: Coupling, y: Tensor, slope: Tensor) -> Halves:
    """From the outputs of a coupling and the gradient there to its inputs and the gradient there."""
    (low_out, high_out), (d_low, d_high) = _halves(block, y), _halves(block, slope)
    with torch.enable_grad():
        low = low_out.detach().requires_grad_()
        log_scale, shift = block._log_scale(low), block.G(low).to(low.dtype)
    high_in = (high_out - shift.detach()) * (-log_scale.detach()).exp()
    d_high_in = d_high * log_scale.detach().exp()
    d_low = d_low + _pull((log_scale, shift), low, (d_high_in * high_in, d_high))
    with torch.enable_grad():
        high = high_in.detach().requires_grad_()
        moved = block.F(high).to(high.dtype)
    low_in = low_out - moved.detach()
    return torch.cat((low_in, high_in), 1), torch.cat((d_low, d_high_in + _pull((moved,), high, (d_low,))), 1)


def _back_through_inverse(block: Coupling, y: Tensor, slope: Tensor) -> Halves:
    """The same for a coupling that was inverted."""
    (low_out, high_out), (d_low, d_high) = _halves(block, y), _halves(block, slope)
    with torch.enable_grad():
        high = high_out.detach().requires_grad_()
        moved = block.F(high).to(high.dtype)
    low_in = low_out + moved.detach()
    d_high = d_high + _pull((moved,), high, (-d_low,))
    with torch.enable_grad():
        low = low_in.detach().requires_grad_()
        log_scale, shift = block._log_scale(low), block.G(low).to(low.dtype)
    high_in = high_out * log_scale.detach().exp() + shift.detach()
    d_high_in = d_high * (-log_scale.detach()).exp()
    d_low = d_low + _pull((log_scale, shift), low, (-d_high * high_out, -d_high_in))
    return torch.cat((low_in, high_in), 1), torch.cat((d_low, d_high_in), 1)


def _halves(block: Coupling, x: Tensor) -> Halves:
    return x[:, : block.split], x[:, block.split :]


def _pull(outputs: tuple[Tensor, ...], x: Tensor, slopes: tuple[Tensor, ...]) -> Tensor:
    """The gradient by ``x`` of outputs whose gradients are ``slopes``."""
    return torch.autograd.grad(outputs, x, slopes)[0]


def _linear(operation: Callable[[Tensor], Tensor], x: Tensor, slope: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(operation(x), x, slope)[0]
