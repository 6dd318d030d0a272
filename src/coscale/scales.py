"""Which scale restores a photo best from a file of a size: none at all, or one of several pairs.

A codec at full size is the better tool above about half a bit a pixel, a small image below. Where the two meet depends
on the photo, so each is made, restored and compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coscale.colour import luma as luma_of
from coscale.errors import SettingsError
from coscale.image import Photo
from coscale.metrics import psnr
from coscale.objectives import gain_of
from coscale.pipeline import Encoded, decode_photo
from coscale.tiles import ANY_ROOM, Room
from coscale.weights.load import Loaded

AUTO = ("bicubic-x1", "coded-x2")  # the photo itself, and the pairs for LR files that lose something


@dataclass(frozen=True)
class Chosen:
    """The best of what was made.

    - ``pair``, ``encoded``: the pair and what it made.
    - ``gains``: by how many dB of the objective it is better than each of the others, by their names.
    - ``refused``: why the others could not be made.
    """

    pair: Loaded
    encoded: Encoded
    gains: dict[str, float]
    refused: dict[str, str]

    @property
    def said(self) -> str:
        """Say in one line what was chosen, and by how much."""
        better = [f"{gain:.2f} dB better than {name}" for name, gain in self.gains.items()]
        return ", ".join([f"{self.pair.name} is best", *better, *(f"{name} cannot" for name in self.refused)])


def best_of(
    photo: Photo,
    pairs: Sequence[Loaded],
    encode: Callable[[Loaded], Encoded],
    room: Room = ANY_ROOM,
    luma: float = 0.5,
) -> Chosen:
    """Make a photo's file by each pair and give the one that restores it best, by RGB-MSE + ``luma`` Y-MSE.

    Arguments:
        photo: the photo.
        pairs: the pairs, of which one may have scale 1.
        encode: what a pair makes of it, in the bytes that are asked for.
        room: the tiles that files are restored in.
        luma: the weight of Y.

    Raises SettingsError where none can make it.
    """
    made: list[tuple[float, Loaded, Encoded]] = []
    refused: dict[str, str] = {}
    for pair in pairs:
        try:
            encoded = encode(pair)
        except SettingsError as error:
            refused[pair.name] = str(error)
            continue
        made.append((_loss(encoded, pair, photo, room, luma), pair, encoded))
    if not made:
        raise SettingsError("; ".join(f"{name}: {why}" for name, why in refused.items()))
    least, pair, encoded = min(made, key=lambda one: one[0])
    gains = {other.name: gain_of(loss, least) for loss, other, _ in made if other is not pair}
    return Chosen(pair, encoded, gains, refused)


def _loss(encoded: Encoded, pair: Loaded, photo: Photo, room: Room, luma: float) -> float:
    """The objective of what the file restores to, over the whole photo."""
    storage = encoded.storage
    restored = decode_photo(storage.decode(storage.encode(encoded.lr)), pair, encoded.origin, room=room)
    rgb, y = (float(psnr(restored.pixels, photo.pixels, *part, alpha=photo.alpha)) for part in ((), (luma_of,)))
    return 10 ** (-rgb / 10) + luma * 10 ** (-y / 10)
