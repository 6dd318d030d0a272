"""IRN, the invertible rescaling network (Xiao et al., "Invertible Image Rescaling", ECCV 2020).

    HR --Haar--> low | high --couplings--> LR | z        one Haar step and one chain of couplings per factor of 2
    LR | 0 --couplings, inverted--> low | high --Haar, inverted--> HR

Parameter names are those of the official checkpoints, so the authors' ``IRN_x2.pth`` and ``IRN_x4.pth`` load.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale.rescalers.base import Network, Rescaler

GROWTH = 32
CHANNELS = 3


class DenseBlock(nn.Module):
    """Five 3x3 convolutions, each of which sees the block's input and the output of all before it."""

    def __init__(self, channels_in: int, channels_out: int, growth: int = GROWTH) -> None:
        super().__init__()
        for k in range(1, 6):
            conv = nn.Conv2d(channels_in + growth * (k - 1), growth if k < 5 else channels_out, 3, padding=1)
            self.add_module(f"conv{k}", conv)
            # A block starts as zero, so that an untrained network is exactly its Haar transform.
            nn.init.xavier_normal_(conv.weight, gain=0.1 if k < 5 else 0.0)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        # The few channels that come in set the layout and the precision of all that follows.
        autocast = torch.is_autocast_enabled(x.device.type)
        dtype = torch.get_autocast_dtype(x.device.type) if autocast else self.get_parameter("conv1.weight").dtype
        features = [x.to(dtype, memory_format=torch.channels_last)]
        for k in range(1, 5):
            features.append(F.leaky_relu_(self._convolution(k, features), 0.2))
        return self._convolution(5, features)

    def _convolution(self, k: int, parts: list[Tensor]) -> Tensor:
        """The k-th, of the channels of all ``parts``: the sum of what it makes of each, so that none is copied."""
        conv = self.get_submodule(f"conv{k}")
        assert isinstance(conv, nn.Conv2d)
        if parts[0].dtype in (torch.bfloat16, torch.float16):  # each sum would be rounded, and gradients be worse
            return conv(torch.cat(parts, 1))
        weights = conv.weight.split([part.shape[1] for part in parts], 1)
        total = F.conv2d(parts[0], weights[0], conv.bias, padding=1)
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            total += F.conv2d(part, weight, padding=1)
        return total


class Coupling(nn.Module):
    """One invertible block: the LR part is shifted by the detail, then the detail is scaled and shifted by the LR part.

    The subnets may run in a lower precision, under autocast or by their weights; sums and products stay in that of the
    input, which is what keeps the inverse exact.
    """

    def __init__(self, channels: int, split: int = CHANNELS) -> None:
        super().__init__()
        self.split = split
        self.F = DenseBlock(channels - split, split)
        self.G = DenseBlock(split, channels - split)
        self.H = DenseBlock(split, channels - split)

    def _log_scale(self, low: Tensor) -> Tensor:
        return 2 * torch.sigmoid(self.H(low).to(low.dtype)) - 1

    def forward(self, x: Tensor) -> Tensor:
        low, high = x[:, : self.split], x[:, self.split :]
        low = low + self.F(high)
        high = high * self._log_scale(low).exp() + self.G(low)
        return torch.cat((low, high), 1)

    def inverse(self, y: Tensor) -> Tensor:
        low, high = y[:, : self.split], y[:, self.split :]
        high = (high - self.G(low)) * (-self._log_scale(low)).exp()
        low = low - self.F(high)
        return torch.cat((low, high), 1)


class Haar(nn.Module):
    """Haar wavelet step: C channels to 4 C at half the size, all averages first, then each kind of detail."""

    haar_weights: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        kinds = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float32)
        self.register_buffer("haar_weights", kinds.reshape(4, 1, 2, 2).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        x = x.reshape(b, c, h // 2, 2, w // 2, 2)
        top, bottom = x[:, :, :, 0], x[:, :, :, 1]
        rows_sum, rows_diff = top + bottom, top - bottom
        bands = (
            rows_sum[..., 0] + rows_sum[..., 1],
            rows_sum[..., 0] - rows_sum[..., 1],
            rows_diff[..., 0] + rows_diff[..., 1],
            rows_diff[..., 0] - rows_diff[..., 1],
        )
        return torch.cat(bands, 1) / 4

    def inverse(self, y: Tensor) -> Tensor:
        b, c, h, w = y.shape
        mean, across, down, diagonal = y.chunk(4, 1)
        even, odd = mean + down, mean - down
        even_diff, odd_diff = across + diagonal, across - diagonal
        out = torch.stack((even + even_diff, even - even_diff, odd + odd_diff, odd - odd_diff), 2)
        return F.pixel_shuffle(out.reshape(b, c, h, w), 2)


class IRN(Network):
    """The pair (downscale, upscale) of one invertible network.

    ``blocks`` has one number of couplings for each factor of 2: [8] is the published x2, [8, 8] the published x4.
    """

    draws = True

    def __init__(self, blocks: Sequence[int] = (8,)) -> None:
        super().__init__()
        self.blocks = tuple(blocks)
        self.scale = 2 ** len(self.blocks)
        operations: list[nn.Module] = []
        channels = CHANNELS
        for count in self.blocks:
            operations.append(Haar(channels))
            channels *= 4
            operations.extend(Coupling(channels) for _ in range(count))
        self.operations = nn.ModuleList(operations)
        self.latent_channels = channels - CHANNELS

    def forward(self, hr: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 h2 w2"], Float[Tensor, "b z h2 w2"]]:
        """Map HR to (LR, latent z); the LR is neither clipped nor rounded. h and w are multiples of ``scale``."""
        x = hr
        for operation in self.operations:
            x = operation(x)
        return x[:, :CHANNELS], x[:, CHANNELS:]

    def inverse(
        self, lr: Float[Tensor, "b 3 h w"], z: Float[Tensor, "b z h w"] | None = None
    ) -> Float[Tensor, "b 3 h2 w2"]:
        """(LR, z) to HR; without z, z = 0."""
        if z is None:
            z = lr.new_zeros(lr.shape[0], self.latent_channels, *lr.shape[-2:])
        x = torch.cat((lr, z), 1)
        for operation in reversed(self.operations):
            x = operation.inverse(x)  # type: ignore[operator]
        return x

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map HR to LR, neither clipped nor rounded; h and w are multiples of ``scale``."""
        return self.forward(hr)[0]

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map LR to HR with z = 0, not clipped."""
        return self.inverse(lr)

    def sample(self, lr: Float[Tensor, "b 3 h w"], seed: int) -> Float[Tensor, "b 3 h2 w2"]:
        """Map LR to HR with z drawn from a standard normal distribution, as the IRN authors decode."""
        shape = (lr.shape[0], self.latent_channels, *lr.shape[-2:])
        z = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return self.inverse(lr, z.to(lr))

    def lean(self) -> Rescaler:
        """Give itself with activations found again from outputs in the backward pass."""
        from coscale.rescalers.reversible import Reversible  # which is made of the blocks above

        return Reversible(self)
