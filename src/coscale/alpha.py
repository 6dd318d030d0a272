"""Transparency: colours that nobody sees are filled from those that are seen, and differences count as they are seen.

What a pixel of colour c and opacity a shows on a background b is a c + (1 - a) b. So the colour under a = 0 can be
anything, often a leftover, and two colours under the same a differ on every background by a times their difference.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_FAINT = 16  # times less opaque than a neighbour: such a colour is hardly seen, and would show beside it if resampled
_TINY = 1e-6


def fill_hidden(colour: Float[Tensor, "b c h w"], alpha: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b c h w"]:
    """Give ``colour`` with what is hidden, or faint beside its neighbours, filled from what is seen around it.

    The filling is smooth and weighs what is seen by its ``alpha``; all other pixels stay as they are. Where nothing
    at all is seen it is black. Source: the pull-push of Gortler et al., "The Lumigraph", 1996, section 3.4.
    """
    beside = F.max_pool2d(alpha, 3, stride=1, padding=1)
    trust = (_FAINT * alpha / beside.clamp(min=_TINY)).clamp(max=1)
    if bool((trust == 1).all()):
        return colour
    return torch.where(trust == 1, colour, torch.lerp(_pull_push(colour * alpha, alpha), colour, trust))


def _pull_push(seen: Float[Tensor, "b c h w"], weight: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b c h w"]:
    """Colours everywhere, of ``seen``, the colours times their ``weight``: half the size first, then back."""
    mean = seen / weight.clamp(min=_TINY)
    if max(seen.shape[-2:]) == 1:
        return mean
    coarse = _pull_push(*(F.avg_pool2d(x, 2, ceil_mode=True) for x in (seen, weight)))
    coarse = F.interpolate(coarse, size=seen.shape[-2:], mode="bilinear")
    return torch.lerp(coarse, mean, (4 * weight).clamp(max=1))


def with_alpha(original: Float[Tensor, "b c h w"], alpha: Float[Tensor, "b 1 h w"] | None) -> Float[Tensor, "b k h w"]:
    """Give ``original`` and, if there is one, its ``alpha`` as a last channel: what ``as_seen`` takes apart again."""
    return original if alpha is None else torch.cat((original, alpha), 1)


def as_seen(
    restored: Float[Tensor, "b c h w"], original: Float[Tensor, "b k h w"]
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """Give both with their differences as they are seen: times the alpha that ``original`` has as a last channel, or
    whole.

    What comes first is the restored composite over the original's own colours, which is in their range.
    """
    channels = restored.shape[1]
    colour, alpha = original[:, :channels], original[:, channels:]
    return (torch.lerp(colour, restored, alpha) if alpha.shape[1] else restored), colour


def seen_share(alpha: Float[Tensor, "b 1 h w"]) -> Float[Tensor, " b"]:
    """Give the share of an image's pixels that are seen at all."""
    return (alpha > 0).to(torch.float32).mean((1, 2, 3))
