"""What the paper reports, as data: "Downscaled Representation Matters: Improving Image Rescaling with Collaborative
Downscaled Images" (ICCV 2023), tables 1 to 3 and what is said of its figures. PSNR in dB and SSIM, both of Y.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """Means over a set; an SSIM that is not reported is None."""

    psnr: float
    ssim: float | None = None


TITLE = "Downscaled Representation Matters (ICCV 2023)"
SETS = ("Set5", "Set14", "BSD100", "Urban100", "DIV2K")


def _row(*figures: float | None) -> dict[str, Score]:
    """PSNR and SSIM by turns, for each set; None for what is not reported."""
    pairs = zip(SETS, figures[::2], figures[1::2], strict=True)
    return {name: Score(psnr, ssim) for name, psnr, ssim in pairs if psnr is not None}


BICUBIC, CAR, IRN, HCFLOW = "Bicubic & Bicubic", "CAR & EDSR", "IRN", "HCFlow"
# Table 1: reconstruction at x4.
TABLE_1 = {
    BICUBIC: _row(28.42, 0.8104, 26.00, 0.7027, 25.96, 0.6675, 23.14, 0.6577, 26.66, 0.8521),
    "Bicubic & SRCNN": _row(30.48, 0.8628, 27.50, 0.7513, 26.90, 0.7101, 24.52, 0.7221, None, None),
    "Bicubic & RDN": _row(32.47, 0.8990, 28.81, 0.7871, 27.72, 0.7419, 26.61, 0.8028, None, None),
    "Bicubic & EDSR": _row(32.62, 0.8984, 28.94, 0.7901, 27.79, 0.7437, 26.86, 0.8080, 29.38, 0.9032),
    "Bicubic & RCAN": _row(32.63, 0.9002, 28.87, 0.7889, 27.77, 0.7436, 26.82, 0.8087, 30.77, 0.8460),
    "Bicubic & RFANet": _row(32.66, 0.9004, 28.88, 0.7894, 27.79, 0.7442, 26.92, 0.8112, 31.41, 0.9187),
    "Bicubic & RRDB": _row(32.74, 0.9012, 29.00, 0.7915, 27.84, 0.7455, 27.03, 0.8152, 30.92, 0.8486),
    "Bicubic & SwinIR": _row(32.72, 0.9021, 28.94, 0.7914, 27.83, 0.7459, 27.07, 0.8164, None, None),
    "TAD & TAU": _row(31.81, None, 28.63, None, 28.51, None, 26.63, None, 31.16, None),
    CAR: _row(33.88, 0.9174, 30.31, 0.8382, 29.15, 0.8001, 29.28, 0.8711, 32.82, 0.8837),
    IRN: _row(36.19, 0.9451, 32.67, 0.9015, 31.64, 0.8826, 31.41, 0.9157, 35.07, 0.9318),
    HCFLOW: _row(36.29, 0.9468, 33.02, 0.9065, 31.74, 0.8864, 31.62, 0.9206, 35.32, 0.9346),
}
TABLE_1_HCD = {
    IRN: _row(36.63, 0.9488, 33.21, 0.9076, 32.03, 0.8894, 31.76, 0.9180, 35.20, 0.9324),
    HCFLOW: _row(36.99, 0.9506, 33.56, 0.9116, 32.22, 0.8919, 32.00, 0.9231, 35.36, 0.9352),
}

# At x2, as the table in IRN's paper (ECCV 2020) has them.
AT_X2 = {
    IRN: _row(43.99, 0.9871, 40.79, 0.9778, 41.32, 0.9876, None, None, None, None),
    CAR: _row(38.94, 0.9658, 35.61, 0.9404, 33.83, 0.9262, None, None, None, None),
}

# Tables 2 and 3: IRN at x2 on Set5, by itself and by (N_x, N_y), the steps in the LR's and in the HR's domain.
IRN_X2 = AT_X2[IRN]["Set5"]
TABLE_2 = {(15, 0): Score(44.45, 0.9880), (0, 15): Score(44.37, 0.9879), (15, 15): Score(44.67, 0.9886)}


@dataclass(frozen=True)
class Timed:
    """A score, and the seconds that downscaling and upscaling take."""

    score: Score
    downscaling: float
    upscaling: float


TABLE_3 = {
    1: Timed(Score(44.10, 0.9872), 0.33, 0.03),
    5: Timed(Score(44.52, 0.9882), 1.61, 0.03),
    10: Timed(Score(44.61, 0.9884), 2.98, 0.03),
    15: Timed(Score(44.67, 0.9886), 3.97, 0.03),
    20: Timed(Score(44.66, 0.9872), 5.26, 0.03),
}
ADVERSARIAL, COLLABORATIVE = -0.93, 1.29  # figure 2: what ascent and descent do to one LR, in dB
GOOD_ALPHA = (0.04, 0.08)  # figure 6
GOOD_EPS = 0.3  # figure 7

# The rescalers here that are, or stand in the place of, a system of table 1; a network of the user's is told by a
# name that its file's has in it.
_BY_NAME = {
    "bicubic-x4": BICUBIC,
    "srcnn-x4": "Bicubic & SRCNN",
    "tad-x4": "TAD & TAU",
    "car-x4": "CAR & EDSR",
    "car-x4-small": "CAR & EDSR",
    "irn-x4": IRN,
    "irn-x4-4b": IRN,
    "hcflow-x4": HCFLOW,
}


def system_of(rescaler: str) -> str | None:
    """Give the system of table 1 that a rescaler is; None for one that the paper has not."""
    if rescaler in _BY_NAME:
        return _BY_NAME[rescaler]
    words = re.split(r"[^a-z0-9]+", rescaler.removeprefix("bicubic+").lower())
    if not rescaler.startswith("bicubic+") or any("gan" in word for word in words):  # GANs are trained for other ends
        return None
    upscalers = {system.split(" & ")[1].lower(): system for system in TABLE_1 if system.startswith("Bicubic & ")}
    return next((upscalers[word] for word in words if word in upscalers and word != "bicubic"), None)
