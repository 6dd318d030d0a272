"""The same for numpy arrays and torch tensors: what goes in as one comes out as one, always 8 bit."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import coscale

PHOTO = Path(__file__).parent / "butterfly.png"


def main() -> None:
    pair, method = coscale.load("light-x2"), coscale.Coscale("fast")

    levels = np.asarray(Image.open(PHOTO))[:127, :125]  # H x W x 3, uint8; no multiples of the scale
    lr = pair.downscale(levels, method)
    restored = pair.upscale(lr, size=levels.shape[:2])
    print(f"array: {levels.shape} {levels.dtype} -> {lr.shape} {lr.dtype} -> {restored.shape} {restored.dtype}")
    print(f"PSNR {psnr(restored / 255, levels / 255):.2f} dB")

    batch = torch.from_numpy(np.stack((levels, levels[::-1]))).permute(0, 3, 1, 2) / 255  # B x 3 x H x W in [0, 1]
    small = pair.downscale(batch, method=coscale.PLAIN)  # as the rescaler alone makes it
    large = pair.upscale(small, size=(127, 125))
    print(f"tensor: {tuple(batch.shape)} -> {tuple(small.shape)} -> {tuple(large.shape)}, {large.dtype}")
    print(f"PSNR {psnr(large[0].permute(1, 2, 0).numpy(), levels / 255):.2f} dB without a method")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * np.log10(np.square(a - b).mean())


if __name__ == "__main__":
    main()
