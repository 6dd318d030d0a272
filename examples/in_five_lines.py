"""A photo to a small PNG and back, with Pillow: python examples/in_five_lines.py [PHOTO]"""

import sys
from pathlib import Path

from PIL import Image

import coscale

PHOTO = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "butterfly.png"

pair = coscale.load("light-x2")
lr = pair.downscale(Image.open(PHOTO), coscale.Coscale("fast"))
pair.save(lr, "demo/photo.x2.png")
restored = pair.upscale(Image.open("demo/photo.x2.png"))
restored.save("demo/restored.png")

print(f"demo/photo.x2.png is {lr.width} x {lr.height}, demo/restored.png {restored.width} x {restored.height}")
