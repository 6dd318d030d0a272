"""The balls of Algorithm 1: how far an image may move, and which way is steepest inside."""

import torch
from jaxtyping import Float
from torch import Tensor

from coscale.choices import Norm


def _per_image_norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)), keepdim=True)


def steepest(grad: Float[Tensor, "b c h w"], norm: Norm) -> Float[Tensor, "b c h w"]:
    """Find the direction of length 1 in which the loss grows fastest, for each image; 0 where the gradient is zero."""
    if norm == "linf":
        return grad.sign()
    length = _per_image_norm(grad)
    return grad / torch.where(length > 0, length, 1)


def project(delta: Float[Tensor, "b c h w"], eps: float, norm: Norm) -> Float[Tensor, "b c h w"]:
    """Give the nearest point to ``delta`` in the ball of radius ``eps`` around zero, for each image of the batch."""
    if norm == "linf":
        return delta.clamp(-eps, eps)
    length = _per_image_norm(delta)
    return delta * torch.where(length > eps, eps / length, 1)


def random_point(shape: torch.Size, eps: float, norm: Norm, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Draw a start in the ball: uniform for linf; for l2 a uniform direction at a uniform distance.

    Arguments:
        shape: of the images, B x C x H x W.
        eps: the radius of the ball, in units of [0, 1].
        norm: of the ball.
        generator: what it is drawn by.
    """
    if norm == "linf":
        return (2 * torch.rand(shape, generator=generator) - 1) * eps
    direction = torch.randn(shape, generator=generator)
    distance = torch.rand((shape[0],) + (1,) * (len(shape) - 1), generator=generator)
    return direction / _per_image_norm(direction) * distance * eps
