"""The curvature of the objective at an LR: which errors of the LR an upscaler amplifies, and which it hardly does.

    H = J' W J                               J: the derivative of f, W of the objective; the same everywhere in an image
    descend    x - step inverse(H) gradient  what is amplified little goes as far as what is amplified much
    round      level = round(x - the e that makes up best for the errors before it), value by value, row by row

An upscaler amplifies some frequencies and colours tenfold. Plain gradient steps hardly move the others; and rounding
each value for itself spreads its error over all of them alike, where fed back to the values that come after, the error
goes where it costs least. H is found once for an upscaler, from a few passes over pictures of noise that falls with
frequency as photos do.
Sources: error diffusion (Floyd and Steinberg, 1976); the same with a Hessian, for weights of networks: GPTQ (Frantar et
al., ICLR 2023).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from coscale.colour import luma
from coscale.remembered import remembered
from coscale.rescalers import Rescaler
from coscale.strips import strips

_PAST = ((-1, -1), (-1, 0), (-1, 1), (0, -1))  # the neighbours, in rows and columns, that are rounded before a pixel
_LEAN = 2  # a row may be rounded as far as so many pixels behind the row above: its upper right neighbour is done then
_FRONTS = _LEAN + 1  # how far back, in pixels that are rounded at once, the farthest of these neighbours is
_AHEAD = 4  # how far the values that are still to come are taken into account
_SIDE, _PROBES = 64, 4  # of the pictures that H is found on, and how many there are
_RIDGE = 0.01  # what is added to H's diagonal, as a share of it: what a few probes cannot tell
_REACH = 4  # of the inverse, in pixels
_FARTHEST = 1.0  # levels that a value may be moved by before it is rounded
_UNITS = 1000  # the cache keeps whole numbers
Images = Float[Tensor, "b 3 h w"]
_Place = tuple[int, int, int]  # row, column and channel, from the pixel that is rounded
_METHOD = "curvature 1"  # what is kept under this name was found as it is here


@dataclass(frozen=True)
class Curvature:
    """What follows from it, for images of three channels.

    - ``past``: what a value makes up for of the errors of the 4 neighbours that are rounded before it: 4 x 3 x 3,
      neighbour, its channel, the value's.
    - ``within``: the same of the channels before it in its own pixel: 3 x 3.
    - ``inverse``: what a gradient is convolved with, to a step in the same direction that is as long in all
      directions: 3 x 3 x side x side.
    """

    past: NDArray[np.float32]
    within: NDArray[np.float32]
    inverse: NDArray[np.float32]

    def step(self, slope: Images) -> Images:
        """Give the step that a gradient asks for, of any length."""
        kernel, out = torch.from_numpy(self.inverse).to(slope), torch.empty_like(slope)
        height, width = slope.shape[-2:]
        for rows in strips(height, width):
            above, below = min(rows.start, _REACH), min(height - rows.stop, _REACH)
            part = slope[..., rows.start - above : rows.stop + below, :]
            edges = (_REACH, _REACH, _REACH - above, _REACH - below)
            out[..., rows, :] = F.conv2d(F.pad(part, edges, mode="replicate"), kernel)
        return out

    def rounded(self, lr: Images) -> UInt8[Tensor, "b 3 h w"]:
        """Round images to grey levels, each value to one of those next to it."""
        out = torch.empty_like(lr, dtype=torch.uint8)
        for image, rounded in zip(lr, out, strict=True):
            rounded.copy_(torch.from_numpy(self._levels(image)).permute(2, 0, 1))
        return out

    def _levels(self, image: Tensor) -> NDArray[np.float32]:
        """The levels of an image, rows x columns x channels."""
        channels, height, width = image.shape
        # Flat, and with rows so long that the pixels which can be rounded at once, one of each row and each further
        # behind, lie at one distance from each other. A level takes the place of the value that it was rounded from.
        row = width + _LEAN
        values = np.zeros((height * row, channels), np.float32)
        shown = values.reshape(height, row, channels)[:, :width]
        shown[:] = image.detach().cpu().permute(1, 2, 0).numpy()
        shown *= 255
        # The errors of the last fronts, by row from that above the image on; 0 where a front has no pixel.
        errors = [np.zeros((height + 1, channels), np.float32) for _ in range(_FRONTS + 1)]
        weights = self.past.reshape(-1, channels)
        for front in range(width + _LEAN * (height - 1)):
            top, bottom = max(0, -(-(front - width + 1) // _LEAN)), min(height - 1, front // _LEAN)
            first = top * row + front - _LEAN * top
            places = slice(first, first + (row - _LEAN) * (bottom - top) + 1, row - _LEAN)
            errors.insert(0, errors.pop())
            errors[0][:] = 0
            before = [errors[-_LEAN * y - x][top + 1 + y : bottom + 2 + y] for y, x in _PAST]
            pull = np.concatenate(before, 1) @ weights
            aim, error = values[places], errors[0][top + 1 : bottom + 2]
            for channel in range(channels):
                shift = pull[:, channel] + error[:, :channel] @ self.within[:channel, channel]
                level = np.rint(aim[:, channel] - shift.clip(-_FARTHEST, _FARTHEST)).clip(0, 255)
                error[:, channel] = level - aim[:, channel]
                aim[:, channel] = level
        return shown


def curvature_of(rescaler: Rescaler, luma_weight: float, device: torch.device) -> Curvature:
    """Give that of an upscaler of three channels, for the objective RGB-MSE + ``luma_weight`` Y-MSE."""
    key = f"{_METHOD}: {rescaler.identity} {luma_weight:g}" if rescaler.identity else ""

    def find() -> list[int]:
        kernel = _hessian(rescaler, luma_weight, device)
        size = np.trace(kernel[0, 0]) / 3
        if not np.isfinite(kernel).all() or size <= 0:  # of an upscaler that does not look at its input
            kernel, size = np.zeros_like(kernel), 1.0
        kernel /= size
        return [round(_UNITS * value) for part in (_feedback(kernel), _inverse(kernel)) for value in part.ravel()]

    feedback = 9 * (len(_PAST) + 1)
    found = remembered(key, find, feedback + 9 * (2 * _REACH + 1) ** 2)
    values = np.array(found, np.float32) / np.float32(_UNITS)
    fed_back = values[:feedback].reshape(-1, 3, 3)
    return Curvature(fed_back[:-1], fed_back[-1], values[feedback:].reshape(3, 3, 2 * _REACH + 1, 2 * _REACH + 1))


@torch.enable_grad()
def _hessian(rescaler: Rescaler, luma_weight: float, device: torch.device) -> NDArray[np.float64]:
    """H as a kernel: side x side x 3 x 3, what a value's gradient gets from an error so many rows and columns away."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(3, 3, _SIDE, _SIDE)
    for _ in range(_PROBES):
        picture = _picture(generator)
        noise = torch.randn(picture.shape, generator=generator) / 255
        x = picture.to(device).requires_grad_()
        restored = rescaler.upscale(x)
        with torch.no_grad():
            moved = rescaler.upscale((picture + noise).to(device))
            change, of_luma = moved - restored, luma(moved) - luma(restored)
        weighed = (restored * change).mean(1, keepdim=True) + luma_weight * luma(restored) * of_luma
        (answer,) = torch.autograd.grad(weighed.sum(), x)
        spectra = torch.fft.fft2(answer[0].cpu())[:, None] * torch.fft.fft2(noise[0])[None].conj()
        total += torch.fft.ifft2(spectra).real / noise.square().mean()
    back = total.flip(2, 3).roll((1, 1), (2, 3)).transpose(0, 1)
    return (total + back).permute(2, 3, 0, 1).double().numpy()


def _picture(generator: torch.Generator) -> Tensor:
    """Noise of a spectrum like that of photos, mostly grey, 1 x 3 x side x side."""
    rows, columns = torch.fft.fftfreq(_SIDE)[:, None], torch.fft.rfftfreq(_SIDE)
    frequency = (rows**2 + columns**2).sqrt().clamp(min=1 / _SIDE)
    white = torch.fft.rfft2(torch.randn(3, _SIDE, _SIDE, generator=generator))
    shaped = torch.fft.irfft2(white / frequency**1.5, s=(_SIDE, _SIDE))
    shaped = shaped / shaped.std((1, 2), keepdim=True)
    return (0.5 + 0.18 * shaped[:1] + 0.05 * (shaped - shaped.mean(0, keepdim=True))).clamp(0, 1)[None]


def _inverse(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """inverse(H + its mean), as a kernel of channel x channel x rows x columns."""
    near = (
        np.abs(np.fft.fftfreq(_SIDE, 1 / _SIDE)) <= 2 * _REACH
    )  # farther away there is little but noise of the probes
    kernel = kernel * (near[:, None] & near)[..., None, None]
    spectrum = np.fft.fft2(kernel, axes=(0, 1)) + np.eye(3)
    around = np.fft.ifft2(np.linalg.inv(spectrum), axes=(0, 1)).real
    places = np.arange(-_REACH, _REACH + 1)
    # A convolution of PyTorch goes through its kernel the other way round.
    return around[-places][:, -places].transpose(2, 3, 0, 1)


def _feedback(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """What H asks for: neighbours and the pixel itself x channel of the error x channel of the value.

    With the errors before a value known and those after it still free to make up, the cost is least where the value and
    those after it are - inverse(H of these) (H between these and those before) (the errors before).
    """
    kernel = kernel.copy()
    kernel[0, 0] += _RIDGE * np.eye(3)

    def between(first: list[_Place], second: list[_Place]) -> NDArray[np.float64]:
        return np.array([[kernel[y - v, x - u, c, d] for v, u, d in second] for y, x, c in first])

    around = range(-_AHEAD, _AHEAD + 1)
    found = np.zeros((len(_PAST) + 1, 3, 3))
    later = [(y, x, c) for y in range(_AHEAD + 1) for x in around if (y, x) > (0, 0) for c in range(3)]
    for channel in range(3):
        free = [(0, 0, c) for c in range(channel, 3)] + later
        known = [(y, x, c) for y, x in (*_PAST, (0, 0)) for c in range(3)]
        known = known[: len(known) - 3 + channel]
        taken = np.linalg.solve(between(free, free), between(free, known))[0]
        found[:, :, channel] = np.pad(taken, (0, found[:, :, 0].size - len(taken))).reshape(-1, 3)
    return found
