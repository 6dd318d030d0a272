"""A row of results as JSON has it, for tests that need one without measuring."""

from typing import Any


def row_of_json(**changes: Any) -> dict[str, Any]:
    """Give a whole row with these values."""
    texts = dict.fromkeys(("set", "image", "rescaler", "weights_hash", "method", "device", "coscale", "torch"), "x")
    numbers = ("psnr_y", "ssim_y", "psnr_rgb", "lr_psnr_bicubic", "lr_psnr_g", "encode_seconds", "decode_seconds")
    counts = dict.fromkeys(("height", "width", "lr_bytes"), 8)
    return {**texts, **counts, **dict.fromkeys(numbers, 1.0), "arguments": {}, "before": None, **changes}
