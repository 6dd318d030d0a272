"""What a rescaler is, what it declares of itself, and rescalers made from another: for grey, and in lower precision."""

from collections.abc import Iterable
from typing import Protocol, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coscale.choices import Precision
from coscale.errors import RescalerError


class Maps(Protocol):
    """A pair of maps, differentiable and deterministic, between HR and LR images in [0, 1]; results are not clipped.

    A method needs no more. What plans tiles, exports or draws latents also asks what ``Rescaler`` declares.
    """

    @property
    def scale(self) -> int:
        """Give HR size over LR size."""
        ...

    def downscale(self, hr: Float[Tensor, "b c h w"], /) -> Float[Tensor, "b c h2 w2"]:
        """Map HR to LR; h and w are multiples of ``scale``."""
        ...

    def upscale(self, lr: Float[Tensor, "b c h w"], /) -> Float[Tensor, "b c h2 w2"]:
        """Map LR to HR, ``scale`` times as high and as wide."""
        ...


class Rescaler:
    """A pair of maps, and what it declares of itself; a subclass gives both maps and whatever differs from this.

    - ``scale``: HR size over LR size, a whole number.
    - ``multiple``: tiles begin at multiples of so many LR pixels.
    - ``draws``: whether ``sample`` can draw what downscaling lost.
    - ``receptive_field``: how far, in LR pixels, both maps see at most; None where that has to be measured.
    - ``shown_by``: the storage whose decoders upscale as it does, by themselves, where a file tells them to: its name,
      or empty. Then nothing may restore a photo that such a decoder does not know of.
    - ``is_told``: whether ``told`` makes a difference; what ``exportable`` gives then has the map ``restore``, of an LR
      and the level's share of the highest.
    - ``identity``: the same text for the same maps, under which what was measured of them is kept; empty: it is not.
    """

    scale: int
    multiple: int = 1
    draws: bool = False
    receptive_field: int | None = None
    shown_by: str = ""
    is_told: bool = False
    identity: str = ""

    def downscale(self, hr: Float[Tensor, "b c h w"], /) -> Float[Tensor, "b c h2 w2"]:
        """Map HR to LR; h and w are multiples of ``scale``."""
        raise NotImplementedError

    def upscale(self, lr: Float[Tensor, "b c h w"], /) -> Float[Tensor, "b c h2 w2"]:
        """Map LR to HR, ``scale`` times as high and as wide."""
        raise NotImplementedError

    def sample(self, lr: Float[Tensor, "b c h w"], seed: int) -> Float[Tensor, "b c h2 w2"]:
        """Map LR to HR with the latent drawn by ``seed``. Raises RescalerError where ``draws`` is false."""
        raise RescalerError(f"{type(self).__name__} has no latent to draw")

    def told(self, level: int) -> "Rescaler":
        """Give the rescaler for LR images that a codec of a level keeps, see ``coded``; mostly itself, knowing none."""
        return self

    def lean(self) -> "Rescaler":
        """Give the same rescaler with gradients that take less memory and more time, or itself where there is none."""
        return self

    def as_much_memory(self) -> "Rescaler":
        """Give a rescaler whose gradients keep as much memory, as far as autograd shows it; mostly itself."""
        return self

    def weights(self) -> Iterable[Tensor]:
        """Give the tensors that it holds at all times, which no pass takes memory for."""
        return ()

    def quick(self) -> "Rescaler | None":
        """Give the same maps by a faster runtime, without gradients, on a CPU; None where there is none.

        Raises ImportError where it is not installed.
        """
        return None

    def exportable(self) -> nn.Module:
        """Give itself as an exporter can trace it. Raises RescalerError where it is no network."""
        raise RescalerError(f"{type(self).__name__} is no network of PyTorch, so it cannot be exported")


class Network(Rescaler, nn.Module):
    """A rescaler that is a network of PyTorch."""

    def weights(self) -> Iterable[Tensor]:
        """Give its parameters."""
        return self.parameters()

    def exportable(self) -> nn.Module:
        """Give itself."""
        return self


class Adapted(Rescaler):
    """A user's pair of maps, which declares nothing: what holds for most rescalers is taken to hold for it."""

    def __init__(self, maps: Maps) -> None:
        self.maps = maps
        self.scale = maps.scale
        self.downscale, self.upscale = maps.downscale, maps.upscale

    def weights(self) -> Iterable[Tensor]:
        """Give the parameters of a network."""
        return self.maps.parameters() if isinstance(self.maps, nn.Module) else ()

    def exportable(self) -> nn.Module:
        """Give the network. Raises RescalerError where it is none."""
        return self.maps if isinstance(self.maps, nn.Module) else super().exportable()


def declared(maps: Maps | Rescaler) -> Rescaler:
    """Give a rescaler as it is, and any other pair of maps as one that declares nothing."""
    return maps if isinstance(maps, Rescaler) else Adapted(maps)


class Wrapped(Rescaler):
    """A rescaler made from another, ``inner``, whose declarations hold for it too."""

    def __init__(self, inner: Rescaler) -> None:
        self.inner = inner
        self.scale, self.multiple, self.draws = inner.scale, inner.multiple, inner.draws
        self.receptive_field, self.shown_by, self.is_told = inner.receptive_field, inner.shown_by, inner.is_told
        self.identity = f"{type(self).__name__} {inner.identity}" if inner.identity else ""

    def lean(self) -> Rescaler:
        """Wrap the lean form of ``inner``, where it has one."""
        return self._around(self.inner.lean())

    def told(self, level: int) -> Rescaler:
        """Wrap ``inner`` as it is for that level."""
        return self._around(self.inner.told(level))

    def as_much_memory(self) -> Rescaler:
        """Wrap what takes as much memory as ``inner``."""
        return self._around(self.inner.as_much_memory())

    def sample(self, lr: Float[Tensor, "b c h w"], seed: int) -> Float[Tensor, "b c h2 w2"]:
        """Draw as ``inner`` does."""
        return self.inner.sample(lr, seed)

    def weights(self) -> Iterable[Tensor]:
        """Give those of ``inner``."""
        return self.inner.weights()

    def _around(self, inner: Rescaler) -> Self:
        return self if inner is self.inner else type(self)(inner)


def fastest(device: torch.device) -> Precision:
    """Give bfloat16 where the hardware computes in it, float32 elsewhere."""
    if device.type == "cuda":
        # Older GPUs take bfloat16 too, by computing in float32 and converting, which is slower than float32 alone.
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    # torch has no public name for this question.
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return "bfloat16" if any(check and check() for check in checks) else "float32"


class Bfloat16(Wrapped):
    """A rescaler whose networks run under bfloat16 autocast, where the hardware is faster at it.

    Its images differ from the rescaler's own by some hundredths of a grey level on average, which is enough for
    gradients; one is kept only where that was asked for.
    """

    def downscale(self, hr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        with torch.autocast(hr.device.type, torch.bfloat16):
            return self.inner.downscale(hr)

    def upscale(self, lr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        with torch.autocast(lr.device.type, torch.bfloat16):
            return self.inner.upscale(lr)

    def sample(self, lr: Float[Tensor, "b c h w"], seed: int) -> Float[Tensor, "b c h2 w2"]:
        with torch.autocast(lr.device.type, torch.bfloat16):
            return self.inner.sample(lr, seed)


class Greyed(Wrapped):
    """A colour rescaler for grey photos, given as R = G = B, whose LR may be in colour: that has room for more.

    What it restores is grey: the mean of the three channels, as R = G = B. Each is clipped to [0, 1] first, as exported
    upscalers clip it, so that all restore the same.
    """

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        return self.inner.downscale(hr)

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        return self._grey(self.inner.upscale(lr))

    def sample(self, lr: Float[Tensor, "b 3 h w"], seed: int) -> Float[Tensor, "b 3 h2 w2"]:
        return self._grey(self.inner.sample(lr, seed))

    def _grey(self, restored: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        return restored.clamp(0, 1).mean(1, keepdim=True).expand(-1, 3, -1, -1)


class Grey(Wrapped):
    """A colour rescaler for images of one channel: it sees R = G = B, and the mean of what it gives is the grey."""

    def downscale(self, hr: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h2 w2"]:
        return self.inner.downscale(hr.expand(-1, 3, -1, -1)).mean(1, keepdim=True)

    def upscale(self, lr: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h2 w2"]:
        return self.inner.upscale(lr.expand(-1, 3, -1, -1)).mean(1, keepdim=True)

    def sample(self, lr: Float[Tensor, "b 1 h w"], seed: int) -> Float[Tensor, "b 1 h2 w2"]:
        return self.inner.sample(lr.expand(-1, 3, -1, -1), seed).mean(1, keepdim=True)
