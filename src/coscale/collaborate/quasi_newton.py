"""A step from what two passes found: what the one before has shown of the curvature along its own step.

    H = (I - r s y') c P (I - r y s') + r s s'      r = 1 / s'y      s: how far x has moved, y: how far its gradient has
    step = - H gradient                             P: the curvature known beforehand, c: s'y / y'P y, which sizes it

The objective is nearly quadratic, so that a pair of passes says how long a step should be, and corrects its direction.
Source: the memoryless BFGS step, with a preconditioner (Nocedal and Wright, Numerical Optimization, 2006, 7.2).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "b c h w"]
Each = Float[Tensor, "b 1 1 1"]


def descent(
    precondition: Callable[[Images], Images], slope: Images, moved: Images, bent: Images, length: Each
) -> Images:
    """Give what to take off an LR.

    Arguments:
        precondition: linear; what a gradient is multiplied by.
        slope: the gradient where the step begins.
        moved, bent: how far the LR and its gradient were apart in two passes.
        length: root mean square of the step of an image of which these say nothing.
    """
    along, by_bent = dot(moved, bent), precondition(bent)
    across = dot(bent, by_bent)
    known = (along > 0) & (across > 0)
    inverse = torch.where(known, 1 / along, 0)
    part = inverse * dot(moved, slope)
    step = torch.addcmul(precondition(slope), by_bent, part, value=-1)
    del by_bent  # as large as the LR, as all here
    step.mul_(torch.where(known, along / across, length / rms(step)))
    return step.addcmul_(moved, part - inverse * dot(bent, step))


def dot(a: Images, b: Images) -> Each:
    """Give the product of two images of a batch, without a third of their size."""
    return (a.flatten(1)[:, None] @ b.flatten(1)[..., None])[..., None]


def rms(x: Images) -> Each:
    """Give the root mean square of each image; tiny instead of zero, which nothing can be divided by."""
    return (torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True) / x[0].numel() ** 0.5).clamp(min=1e-30)
