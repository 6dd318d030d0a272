"""SRCNN (Dong et al., "Image Super-Resolution Using Deep Convolutional Networks", ECCV 2014): three convolutions.

It sharpens an image that bicubic has upscaled, so its weights fit any scale, and do not tell the one that they are for.
The published ones see Y alone. Parameter names are those of the usual PyTorch checkpoints: ``conv1`` to ``conv3``, or
``features.0``, ``map.0`` and ``reconstruction``.
"""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale import resize
from coscale.rescalers.superres import SuperResolution

NAMES = ("conv1", "conv2", "conv3")
LAYOUTS = (NAMES, ("features.0", "map.0", "reconstruction"))


class SRCNN(nn.Module):
    """Bicubic, then patches, a non-linear mapping, and reconstruction; 9-1-5 and 9-5-5 are the published kernels."""

    def __init__(
        self, scale: int, channels: int = 1, widths: Sequence[int] = (64, 32), kernels: Sequence[int] = (9, 1, 5)
    ) -> None:
        super().__init__()
        self.scale = scale
        sizes = (channels, *widths, channels)
        self.conv1, self.conv2, self.conv3 = (
            nn.Conv2d(sizes[i], sizes[i + 1], kernels[i], padding=kernels[i] // 2) for i in range(3)
        )

    def forward(self, lr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        x = resize.upscale(lr, self.scale)
        return self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))


def recognise(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether a checkpoint is one of SRCNN: three convolutions and nothing else."""
    return any(set(tensors) == {f"{n}.{kind}" for n in names for kind in ("weight", "bias")} for names in LAYOUTS)


def build(tensors: Mapping[str, Tensor], scale: int | None) -> tuple[SuperResolution, dict[str, Tensor]]:
    """Give the network that a checkpoint is of, for ``scale``, and its tensors by our names."""
    assert scale is not None
    names = next(names for names in LAYOUTS if f"{names[0]}.weight" in tensors)
    renamed = {
        f"{ours}.{kind}": tensors[f"{theirs}.{kind}"]
        for ours, theirs in zip(NAMES, names, strict=True)
        for kind in ("weight", "bias")
    }
    weights = [renamed[f"{name}.weight"] for name in NAMES]
    channels = weights[0].shape[1]
    network = SRCNN(scale, channels, [w.shape[0] for w in weights[:2]], [w.shape[-1] for w in weights])
    return SuperResolution(network, scale, channels=channels), renamed
