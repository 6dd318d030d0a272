"""What else than PyTorch can run a rescaler where no gradient is needed, and whether it gives the same."""

import warnings

import torch

from coscale.choices import Runtime
from coscale.errors import CoscaleWarning
from coscale.rescalers import Rescaler

_AGREEMENT = 0.1  # of a grey level, on a small image; more than float noise, and less than one sees
_SIDE = 24  # of that image, in LR pixels


def quick_of(rescaler: Rescaler, name: str, runtime: Runtime, device: torch.device) -> Rescaler | None:
    """Give the maps of a rescaler by a faster runtime, without gradients; None where PyTorch is to run them.

    ``auto`` takes what is installed. Warns where ``ncnn`` is asked for and cannot be had, or disagrees with PyTorch.
    """
    if runtime == "torch":
        return None
    reason = None if device.type == "cpu" else "ncnn runs on the CPU"
    quick = None
    if reason is None:
        try:
            quick = rescaler.quick()
        except ImportError:
            reason = "ncnn is not installed: pip install 'coscale[fast]'"
        else:
            reason = _objection(rescaler, quick) if quick else f"ncnn does not run {name}"
    if reason is None:
        return quick
    if runtime == "ncnn" or quick:
        warnings.warn(f"goes on with PyTorch: {reason}", CoscaleWarning, stacklevel=3)
    return None


@torch.no_grad()
def _objection(rescaler: Rescaler, quick: Rescaler) -> str | None:
    """Say by how much a runtime differs, where that is too much."""
    lr = torch.rand(1, 3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    try:
        hr = rescaler.upscale(lr)
        differences = (quick.upscale(lr) - hr, quick.downscale(hr) - rescaler.downscale(hr))
    except Exception as error:  # whatever another runtime fails of, PyTorch is there
        return f"ncnn fails ({str(error) or type(error).__name__})"
    worst = 255 * max(float(each.abs().max()) for each in differences)
    return None if worst <= _AGREEMENT else f"ncnn differs from it by {worst:.1f} grey levels"
