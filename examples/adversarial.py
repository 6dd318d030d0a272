"""The paper's HCD in both directions: descent makes an LR that restores better, ascent one that restores worse.

Either LR lies in the same small ball around the plain one, and looks like it.
"""

from pathlib import Path

import coscale

PHOTO = Path(__file__).parent / "butterfly.png"


def main() -> None:
    photo = coscale.Photo(coscale.read(PHOTO).colour[..., 64:160, 64:160])
    pair = coscale.load("light-x2")
    plain = coscale.encode_photo(photo, pair, coscale.PLAIN)
    print(f"{'':16}restored   LR against the plain one   PSNR in dB")
    for title, method in (
        ("plain", coscale.PLAIN),
        ("collaborative", coscale.HCD(hr_steps=0, lr_steps=6)),
        ("adversarial", coscale.HCD(hr_steps=0, lr_steps=6, direction="ascent")),
    ):
        encoded = coscale.encode_photo(photo, pair, method)
        restored = coscale.decode_photo(encoded.lr, pair, encoded.origin)
        gap = (encoded.lr.colour - plain.lr.colour).square().mean()
        error = (restored.colour - photo.colour).square().mean()
        print(f"{title:16}{-10 * error.log10():8.2f}   {-10 * gap.log10():24.2f}")


if __name__ == "__main__":
    main()
