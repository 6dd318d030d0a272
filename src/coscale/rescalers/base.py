"""What a rescaler is, and rescalers made from another: for grey images, and in lower precision."""

from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Rescaler(Protocol):
    """A pair of maps, differentiable and deterministic, between HR and LR images in [0, 1]; results are not clipped."""

    @property
    def scale(self) -> int:
        """HR size over LR size."""
        ...

    def downscale(self, hr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """HR to LR; h and w are multiples of ``scale``."""
        ...

    def upscale(self, lr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """LR to HR, ``scale`` times as high and as wide."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """A rescaler that can also draw what downscaling lost from a distribution."""

    def sample(self, lr: Float[Tensor, "b c h w"], seed: int) -> Float[Tensor, "b c h2 w2"]:
        """LR to HR with the latent drawn by ``seed``."""
        ...


def innermost(rescaler: Rescaler) -> Rescaler:
    """What a rescaler made from another was made from at first."""
    while hasattr(rescaler, "rescaler"):
        rescaler = rescaler.rescaler  # type: ignore[attr-defined]
    return rescaler


Precision = Literal["float32", "bfloat16"]


def fastest(device: torch.device) -> Precision:
    """bfloat16 where the hardware computes in it, float32 elsewhere."""
    if device.type == "cuda":
        # Older GPUs take bfloat16 too, by computing in float32 and converting, which is slower than float32 alone.
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    # torch has no public name for this question.
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return "bfloat16" if any(check and check() for check in checks) else "float32"


class Bfloat16:
    """A rescaler whose networks run under bfloat16 autocast: for gradients, where the hardware is faster at it.

    Its images differ from the rescaler's own by about 1e-3, a quarter of a grey level, so none of them is kept.
    """

    def __init__(self, rescaler: Rescaler) -> None:
        self.rescaler = rescaler
        self.scale = rescaler.scale

    def downscale(self, hr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        with torch.autocast(hr.device.type, torch.bfloat16):
            return self.rescaler.downscale(hr)

    def upscale(self, lr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        with torch.autocast(lr.device.type, torch.bfloat16):
            return self.rescaler.upscale(lr)


class Greyed:
    """A colour rescaler for grey photos, given as R = G = B, whose LR may be in colour: that has room for more.

    What it restores is grey: the mean of the three channels, as R = G = B. Each is clipped to [0, 1] first, as exported
    upscalers clip it, so that all restore the same.
    """

    def __init__(self, rescaler: Rescaler) -> None:
        self.rescaler = rescaler
        self.scale = rescaler.scale

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        return self.rescaler.downscale(hr)

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        return self._grey(self.rescaler.upscale(lr))

    def sample(self, lr: Float[Tensor, "b 3 h w"], seed: int) -> Float[Tensor, "b 3 h2 w2"]:
        assert isinstance(self.rescaler, Sampler)
        return self._grey(self.rescaler.sample(lr, seed))

    def _grey(self, restored: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        return restored.clamp(0, 1).mean(1, keepdim=True).expand(-1, 3, -1, -1)


class Grey:
    """A colour rescaler for images of one channel: it sees R = G = B, and the mean of what it gives is the grey."""

    def __init__(self, rescaler: Rescaler) -> None:
        self.rescaler = rescaler
        self.scale = rescaler.scale

    def downscale(self, hr: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h2 w2"]:
        return self.rescaler.downscale(hr.expand(-1, 3, -1, -1)).mean(1, keepdim=True)

    def upscale(self, lr: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h2 w2"]:
        return self.rescaler.upscale(lr.expand(-1, 3, -1, -1)).mean(1, keepdim=True)

    def sample(self, lr: Float[Tensor, "b 1 h w"], seed: int) -> Float[Tensor, "b 1 h2 w2"]:
        assert isinstance(self.rescaler, Sampler)
        return self.rescaler.sample(lr.expand(-1, 3, -1, -1), seed).mean(1, keepdim=True)
