"""HCFlow for rescaling by 4 (Liang et al., "Hierarchical Conditional Flow: A Unified Framework for Image
Super-Resolution and Image Rescaling", ICCV 2021).

    HR --Haar, steps--> half | detail 1          half --Haar, steps--> LR | detail 2
    detail 2 --steps that see features of LR--> z 2
    detail 1 --steps that see features of half and of LR--> z 1

Every arrow is inverted to upscale; at temperature 0 each z is 0, which makes a detail its likeliest value. Parameter
names are those of the official checkpoints, so the authors' x4 rescaling network loads.
"""

import copy
import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale.rescalers.base import Network
from coscale.rescalers.irn import CHANNELS, DenseBlock, Haar

FEATURES = 64
FEATURES_GROWTH = 16
HALF = 6  # channels at half the size that go on to the LR: the averages and one of three kinds of detail
DETAIL_1, DETAIL_2 = 4 * CHANNELS - HALF, 4 * HALF - CHANNELS
DETAIL_SIZE = 0.025  # standard deviation of both details of photos, before training


class ActNorm(nn.Module):
    """Each channel shifted and scaled, both learned; a multiple of its input before training.

    The authors set both from the first batch. That would make the LR of an untrained network no image.
    """

    def __init__(self, channels: int, scale: float = 1.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.logs = nn.Parameter(torch.full((1, channels, 1, 1), math.log(scale)))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bias) * self.logs.exp()

    def inverse(self, y: Tensor) -> Tensor:
        return y * (-self.logs).exp() - self.bias


class Mixing(nn.Module):
    """An invertible 1x1 convolution (Kingma and Dhariwal, "Glow", NeurIPS 2018); a rotation before training."""

    fixed: Tensor | None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels)))
        self.register_buffer("fixed", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return _mixed(x, self.weight)

    def inverse(self, y: Tensor) -> Tensor:
        return _mixed(y, self._inverse() if self.fixed is None else self.fixed)

    def fix(self) -> None:
        """Keep the inverse from now on, for a network whose weights change no more."""
        self.fixed = self._inverse()

    def _inverse(self) -> Tensor:
        return torch.linalg.inv(self.weight.double())


def _mixed(x: Tensor, weight: Tensor) -> Tensor:
    # One of the products that must invert: not for autocast.
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x, weight.to(x.dtype)[..., None, None])


class NormedConv(nn.Conv2d):
    """A convolution without bias, and ActNorm of what it gives, in one."""

    def __init__(self, channels_in: int, channels_out: int, size: int) -> None:
        super().__init__(channels_in, channels_out, size, padding=size // 2, bias=False)
        nn.init.xavier_normal_(self.weight, gain=0.1)
        self.actnorm = ActNorm(channels_out)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        scale = self.actnorm.logs.exp().flatten()
        bias = self.actnorm.bias.flatten() * scale
        return F.conv2d(input, self.weight * scale[:, None, None, None], bias, padding=self.padding)


class ScaledConv(nn.Conv2d):
    """A 3x3 convolution whose output has a learned scale; zero before training."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]
        self.logs = nn.Parameter(torch.zeros(channels_out, 1, 1))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        assert self.bias is not None
        scale = (3 * self.logs).exp()
        return F.conv2d(input, self.weight * scale[..., None], self.bias * scale.flatten(), padding=1)


class Subnet(nn.Module):
    """Three convolutions with ReLU between: the subnet of a conditional step."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = NormedConv(channels_in, FEATURES, 3)
        self.conv2 = NormedConv(FEATURES, FEATURES, 1)
        self.conv3 = ScaledConv(FEATURES, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.relu_(self.conv2(F.relu_(self.conv1(x)))))


def _shift_and_log_scale(h: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A shift, from the even channels, and the logarithm of a scale, from the odd ones, between -1/2 and 1/2."""
    h = h.to(dtype)
    return h[:, 0::2], 0.318 * torch.atan(2 * h[:, 1::2])


class Affine(nn.Module):
    """A coupling: the first ``split`` channels, and a condition if there is one, shift and scale the others.

    As in IRN, ``f`` may run in a lower precision under autocast; sums and products stay in that of the input.
    """

    def __init__(self, split: int, f: nn.Module) -> None:
        super().__init__()
        self.split = split
        self.f = f

    def _parts(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        first, others = x[:, : self.split], x[:, self.split :]
        seen = first if condition is None else torch.cat((first, condition), 1)
        return first, others, *_shift_and_log_scale(self.f(seen), x.dtype)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        first, others, shift, log_scale = self._parts(x, condition)
        return torch.cat((first, (others + shift) * log_scale.exp()), 1)

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        first, others, shift, log_scale = self._parts(y, condition)
        return torch.cat((first, others * (-log_scale).exp() - shift), 1)


class Shift(nn.Module):
    """A coupling the other way: all but the first three channels shift these, which become the LR."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.f = DenseBlock(channels - CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        low, high = x[:, :CHANNELS], x[:, CHANNELS:]
        return torch.cat((low + self.f(high), high), 1)

    def inverse(self, y: Tensor) -> Tensor:
        low, high = y[:, :CHANNELS], y[:, CHANNELS:]
        return torch.cat((low - self.f(high), high), 1)


class Step(nn.Module):
    """ActNorm and a coupling: the couplings of a level take turns."""

    def __init__(self, channels: int, turn: int) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.affine = Shift(channels) if turn % 2 else Affine(CHANNELS, DenseBlock(CHANNELS, 2 * (channels - CHANNELS)))

    def forward(self, x: Tensor) -> Tensor:
        return self.affine(self.actnorm(x))

    def inverse(self, y: Tensor) -> Tensor:
        return self.actnorm.inverse(self.affine.inverse(y))


class ConditionalStep(nn.Module):
    """ActNorm, mixing of the channels, and a coupling that sees features."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        split = channels // 2
        self.actnorm = ActNorm(channels, scale)
        self.permute = Mixing(channels)
        self.affine = Affine(split, Subnet(split + FEATURES, 2 * (channels - split)))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        return self.affine(self.permute(self.actnorm(x)), features)

    def inverse(self, y: Tensor, features: Tensor) -> Tensor:
        return self.actnorm.inverse(self.permute.inverse(self.affine.inverse(y, features)))


class ResidualDense(DenseBlock):
    """x + a fifth of a dense block of x."""

    def __init__(self) -> None:
        super().__init__(FEATURES, FEATURES, FEATURES_GROWTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * super().forward(x)


class RRDB(nn.Module):
    """Residual in residual dense block (ESRGAN, Wang et al., ECCVW 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.RDB1, self.RDB2, self.RDB3 = ResidualDense(), ResidualDense(), ResidualDense()

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.RDB3(self.RDB2(self.RDB1(x)))


class Conditional(nn.Module):
    """A detail to its z and back, given features of what is known without it."""

    def __init__(self, channels: int, known: int, steps: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(known, FEATURES, 3, padding=1)
        self.RRDB_trunk0, self.RRDB_trunk1 = (nn.Sequential(*(RRDB() for _ in range(count))) for count in blocks)
        self.trunk_conv1 = nn.Conv2d(FEATURES, FEATURES, 3, padding=1)
        # The first makes a detail about as large as the z that stands for it.
        scales = (1 if k else 1 / DETAIL_SIZE for k in range(steps))
        self.additional_flow_steps = nn.ModuleList(ConditionalStep(channels, scale) for scale in scales)
        self.f = ScaledConv(FEATURES, 2 * channels)

    def features(self, known: Tensor) -> Tensor:
        """Give what is known, as the ``FEATURES`` channels that all steps see."""
        first = self.conv_first(known)
        return first + self.trunk_conv1(self.RRDB_trunk1(self.RRDB_trunk0(first)))

    def forward(self, detail: Tensor, features: Tensor) -> Tensor:
        for step in self.additional_flow_steps:
            detail = step(detail, features)
        mean, log_scale = _shift_and_log_scale(self.f(features), detail.dtype)
        return (detail - mean) * (-log_scale).exp()

    def inverse(self, z: Tensor, features: Tensor) -> Tensor:
        mean, log_scale = _shift_and_log_scale(self.f(features), z.dtype)
        detail = z * log_scale.exp() + mean
        for step in reversed(self.additional_flow_steps):
            detail = step.inverse(detail, features)  # type: ignore[operator]
        return detail


class Flow(nn.Module):
    """The whole chain, in both directions."""

    def __init__(self, steps: int, conditional_steps: int, blocks: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (CHANNELS, HALF):
            layers += [Haar(channels), *(Step(4 * channels, turn) for turn in range(steps))]
            layers.append(nn.Identity())  # the official list counts the split that follows each level
        self.layers = nn.ModuleList(layers)
        self.level0_condFlow = Conditional(DETAIL_1, HALF + FEATURES, conditional_steps, blocks)
        self.level1_condFlow = Conditional(DETAIL_2, CHANNELS, conditional_steps, blocks)

    def _level(self, k: int) -> list[nn.Module]:
        count = len(self.layers) // 2
        return list(self.layers)[k * count : (k + 1) * count - 1]

    def low(self, hr: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map HR to (LR, detail 2, half, detail 1)."""
        x = _through(self._level(0), hr)
        half, detail_1 = x[:, :HALF], x[:, HALF:]
        x = _through(self._level(1), half)
        return x[:, :CHANNELS], x[:, CHANNELS:], half, detail_1

    def forward(self, hr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map HR to (LR, z 1, z 2)."""
        lr, detail_2, half, detail_1 = self.low(hr)
        features = self.level1_condFlow.features(lr)
        z2 = self.level1_condFlow(detail_2, features)
        z1 = self.level0_condFlow(detail_1, self._features_of_half(half, features))
        return lr, z1, z2

    def inverse(self, lr: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        """(LR, z 1, z 2) to HR."""
        features = self.level1_condFlow.features(lr)
        detail_2 = self.level1_condFlow.inverse(z2, features)
        half = _back(self._level(1), torch.cat((lr, detail_2), 1))
        detail_1 = self.level0_condFlow.inverse(z1, self._features_of_half(half, features))
        return _back(self._level(0), torch.cat((half, detail_1), 1))

    def _features_of_half(self, half: Tensor, features: Tensor) -> Tensor:
        return self.level0_condFlow.features(torch.cat((half, F.interpolate(features, scale_factor=2)), 1))


def _through(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _back(layers: Sequence[nn.Module], y: Tensor) -> Tensor:
    for layer in reversed(layers):
        y = layer.inverse(y)  # type: ignore[operator]
    return y


class HCFlow(Network):
    """The pair (downscale, upscale) of one hierarchical conditional flow.

    ``steps`` a level, ``conditional_steps`` a detail, and ``blocks`` of RRDB before and after the middle of each
    feature network; the defaults are the published x4.
    """

    scale = 4
    draws = True
    latent_channels = 4**2 * CHANNELS - CHANNELS

    def __init__(self, steps: int = 8, conditional_steps: int = 6, blocks: Sequence[int] = (2, 1)) -> None:
        super().__init__()
        self.flow = Flow(steps, conditional_steps, blocks)

    def forward(self, hr: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 h2 w2"], Float[Tensor, "b 45 h2 w2"]]:
        """Map HR to (LR, latent z); the LR is neither clipped nor rounded. h and w are multiples of 4.

        z holds z 1, each 2 x 2 of its pixels as one, and then z 2.
        """
        lr, z1, z2 = self.flow(hr)
        return lr, torch.cat((F.pixel_unshuffle(z1, 2), z2), 1)

    def inverse(
        self, lr: Float[Tensor, "b 3 h w"], z: Float[Tensor, "b 45 h w"] | None = None
    ) -> Float[Tensor, "b 3 h2 w2"]:
        """(LR, z) to HR; without z, z = 0."""
        if z is None:
            z = lr.new_zeros(lr.shape[0], self.latent_channels, *lr.shape[-2:])
        return self.flow.inverse(lr, F.pixel_shuffle(z[:, :-DETAIL_2], 2), z[:, -DETAIL_2:])

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map HR to LR, neither clipped nor rounded; h and w are multiples of 4."""
        return self.flow.low(hr)[0]

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map LR to HR at temperature 0, not clipped."""
        return self.inverse(lr)

    def sample(self, lr: Float[Tensor, "b 3 h w"], seed: int, temperature: float = 1.0) -> Float[Tensor, "b 3 h2 w2"]:
        """Map LR to HR with z drawn from a normal distribution of standard deviation ``temperature``."""
        shape = (lr.shape[0], self.latent_channels, *lr.shape[-2:])
        z = temperature * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return self.inverse(lr, z.to(lr))

    def exportable(self) -> nn.Module:
        """Give a copy that keeps the inverses of its mixings: ONNX has no inverse of a matrix."""
        network = copy.deepcopy(self)
        for module in network.modules():
            if isinstance(module, Mixing):
                module.fix()
        return network
