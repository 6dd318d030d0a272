"""Your own storage: how a small image becomes bytes, and comes back without loss. Here BMP, and the note in front."""

from pathlib import Path

import coscale
from coscale.image import Photo, from_bytes, to_bytes
from coscale.lrfile import KEY, lr_bytes
from coscale.storage import Lossless

PHOTO = Path(__file__).parent / "butterfly.png"


class Bmp(Lossless):
    """BMP, behind the length of the note and the note; for photos in colour, without transparency and profile."""

    name = "bmp"
    suffix = ".bmp"

    def encode(self, lr: Photo) -> bytes:
        note = lr.text.get(KEY, "").encode()
        return len(note).to_bytes(4, "big") + note + to_bytes(lr, ".bmp")

    def decode(self, data: bytes) -> Photo:
        length = 4 + int.from_bytes(data[:4], "big")
        photo = from_bytes(data[length:], "the small image")
        return Photo(photo.colour, text={KEY: data[4:length].decode()})


def main() -> None:
    photo = coscale.Photo(coscale.read(PHOTO).colour[..., 64:160, 64:160])
    pair = coscale.load("light-x2")
    encoded = coscale.encode_photo(photo, pair)
    data = lr_bytes(encoded.lr, encoded.origin, Bmp())
    same = Bmp().decode(data).colour.equal(encoded.lr.colour)
    print(f"{len(data)} bytes as BMP, which give {'the same' if same else 'another'} small image")


if __name__ == "__main__":
    main()
