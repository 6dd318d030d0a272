"""A light pair run by ncnn, whose Winograd convolutions take two thirds of PyTorch's time on a CPU: without gradients.

The extra ``fast`` installs it. It computes in float32, and differs from PyTorch by about a thousandth of a grey level,
which turns one in some thousand values over when they are rounded.
Source: Winograd's F(6, 3) and F(4, 3) (Lavin and Gray, CVPR 2016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale import resize
from coscale.rescalers.base import Wrapped

if TYPE_CHECKING:
    from coscale.rescalers.light import Convolutions, Light

_MAGIC = 7767517  # begins ncnn's texts


class ByNcnn(Wrapped):
    """A ``Light`` whose convolutions ncnn computes, on as many threads as PyTorch has now. No gradient flows."""

    def __init__(self, light: Light) -> None:
        super().__init__(light)
        self._down, self._up = _net(light.down), _net(light.up)

    @torch.no_grad()
    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        added = _run(self._down, F.pixel_unshuffle(hr.float(), self.scale))
        return resize.downscale(hr, self.scale) + added

    @torch.no_grad()
    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        return F.pixel_shuffle(lr.repeat_interleave(self.scale**2, 1) + _run(self._up, lr.float()), self.scale)


def _net(network: Convolutions) -> Any:
    """The network in ncnn's own words, a layer a line: its kind and name, what goes in and out, and its numbers."""
    from ncnn import Net  # type: ignore[attr-defined]

    lines, weights = ["Input in 0 1 x"], []

    def convolution(conv: nn.Conv2d, before: str, after: str, relu: bool = False) -> None:
        assert conv.bias is not None
        side, pad = conv.kernel_size[0], int(conv.padding[0])
        numbers = f"0={conv.out_channels} 1={side} 4={pad} 5=1 6={conv.weight.numel()} 9={int(relu)}"
        lines.append(f"Convolution {after} 1 1 {before} {after} {numbers}")
        # A tag of four zero bytes says that float32 follows.
        weights.extend((np.zeros(1, np.float32), conv.weight.detach().numpy().ravel(), conv.bias.detach().numpy()))

    def read_by(name: str, *readers: str) -> None:
        """ncnn wants it said when several layers read the same."""
        lines.append(f"Split {name}s 1 {len(readers)} {name} {' '.join(readers)}")

    convolution(network.head, "x", "f0")
    for number, block in enumerate(network.blocks):
        here, there = f"f{number}", f"f{number + 1}"
        read_by(here, f"{here}a", f"{here}b")
        convolution(block.first, f"{here}a", f"{here}c", relu=True)  # type: ignore[arg-type]
        convolution(block.second, f"{here}c", f"{here}d")  # type: ignore[arg-type]
        lines.append(f"BinaryOp {there} 2 1 {here}b {here}d {there} 0=0")
    convolution(network.tail, f"f{len(network.blocks)}", "y")
    blobs = sum(int(line.split()[3]) for line in lines)
    net: Any = Net()
    option = net.opt
    option.num_threads = torch.get_num_threads()
    option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = option.use_bf16_storage = False
    if net.load_param_mem("\n".join([str(_MAGIC), f"{len(lines)} {blobs}", *lines]) + "\n"):
        raise RuntimeError("ncnn does not understand the network")
    net.load_model_mem(np.concatenate(weights).astype(np.float32).tobytes())
    return net


def _run(net: Any, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
    from ncnn import Mat, PoolAllocator  # type: ignore[attr-defined]

    out = []
    # Those of the net would keep for ever what its largest pass took, which PyTorch then takes once more.
    blobs, workspace = PoolAllocator(), PoolAllocator()
    for image in x.contiguous():
        with net.create_extractor() as extractor:
            extractor.set_blob_allocator(blobs)
            extractor.set_workspace_allocator(workspace)
            extractor.input("x", Mat(image.numpy()).clone())
            failed, found = extractor.extract("y")
            if failed:
                raise MemoryError("ncnn ran out of memory")
            out.append(torch.from_numpy(np.array(found)))
            del found  # before its allocator
    return torch.stack(out)
