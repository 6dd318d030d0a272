"""What settings can be chosen from, as types that take no import but this; the command's options come from them."""

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]
AskedPrecision = Literal["auto", "float32", "bfloat16"]
Runtime = Literal["auto", "torch", "ncnn"]
ExportPrecision = Literal["float32", "float16"]
MethodName = Literal["none", "hcd", "coscale"]
Effort = Literal["instant", "fast", "balanced", "best"]
Norm = Literal["l2", "linf"]
ObjectiveName = Literal["psnr", "ssim", "perceptual"]
LossName = Literal["mse", "l1", "y-mse"]
Start = Literal["random", "zero"]
PhotoFormat = Literal["png", "jpg", "webp", "avif", "jxl", "tif", "bmp"]
LRTarget = Literal["original", "collaborative"]
Direction = Literal["descent", "ascent"]
Keep = Literal["best", "last"]
EngineName = Literal["local", "ray"]
Target = Literal["table1", "table2", "table3", "fig1", "fig2", "fig5", "fig6", "fig7", "fig8", "rates"]
