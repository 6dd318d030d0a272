"""A photo as a rescaler sees it, and what of that goes into the LR file: padding, grey, transparency, profile."""

from dataclasses import dataclass, replace

from jaxtyping import Float, UInt8
from torch import Tensor

from coscale import __version__, resize
from coscale.areas import Areas
from coscale.cells import ComparedPhoto
from coscale.colour import is_grey
from coscale.image import Photo
from coscale.lrfile import Origin, can_note
from coscale.quantize import quantize
from coscale.rescalers import Grey, Greyed, Rescaler
from coscale.resize import pad
from coscale.weights.load import Loaded


@dataclass(frozen=True)
class Frame:
    """A photo as the rescaler of a pair sees it.

    - ``hr``: on the pair's device, padded to multiples of the scale, hidden colours filled; 1 x 3 x H x W, or of one
      channel where its LR has to be; grey levels where the photo has them and hides nothing.
    - ``alpha``: the opacity of ``hr``; None where all of it is seen.
    - ``grey``: whether the photo is grey and may have an LR in colour.
    """

    photo: Photo
    pair: Loaded
    hr: Float[Tensor, "1 c h w"] | UInt8[Tensor, "1 c h w"]
    alpha: Float[Tensor, "1 1 h w"] | None
    grey: bool

    @property
    def lr_size(self) -> tuple[int, int]:
        """Give (height, width) of the LR."""
        return self.hr.shape[-2] // self.pair.scale, self.hr.shape[-1] // self.pair.scale

    def shown_to(self, rescaler: Rescaler) -> Rescaler:
        """Give a rescaler for images of these channels."""
        if self.grey:
            return Greyed(rescaler)
        return Grey(rescaler) if self.hr.shape[1] == 1 else rescaler

    @property
    def original(self) -> ComparedPhoto:
        """Give what the guard compares with."""
        return ComparedPhoto(self.hr, self.photo.size, self.pair.scale)

    def lr_photo(self, lr: UInt8[Tensor, "1 c h2 w2"], areas: Areas | None) -> tuple[Photo, Origin]:
        """Give what the LR file holds: the LR with what goes along, and its note."""
        photo, pair, lr = self.photo, self.pair, lr.cpu()
        if self.grey and is_grey(lr) and (photo.icc is None or photo.mode == "L"):
            lr = lr[:, :1].contiguous()
        alpha = None
        if photo.alpha is not None:
            alpha = quantize(resize.downscale(pad(photo.alpha, pair.scale), pair.scale))
        height, width = photo.size
        origin = Origin(
            *(pair.name, pair.weights_hash, pair.scale, width, height, __version__),
            grey=photo.mode if self.grey else None,
            # A profile for grey has no place beside an LR in colour.
            profile=photo.icc if lr.shape[1] != photo.channels else None,
            bicubic=areas,
            shown=True if pair.rescaler.shown_by else None,
        )
        icc = None if origin.profile else photo.icc
        return replace(photo, pixels=lr, alpha=alpha, icc=icc, text={}), origin


def framed(photo: Photo, pair: Loaded, noted: bool) -> Frame:
    """Give ``photo`` as ``pair`` sees it.

    A grey photo, of one channel or of three that are equal, is shown in colour where its LR is ``noted`` to be of one:
    an LR in colour holds more.
    """
    grey = noted and is_grey(photo.pixels) and can_note(photo.icc)
    hr = pad(photo.shown[:, :1] if grey else photo.shown, pair.scale).to(pair.device)
    hr = hr.expand(-1, 3, -1, -1) if grey else hr
    # Where nothing is transparent a method need not look, and does what it does without.
    if photo.alpha is None or bool((photo.alpha == 1).all()):
        alpha = None
    else:
        alpha = pad(photo.alpha, pair.scale).to(pair.device)
    return Frame(photo, pair, hr, alpha, grey)
