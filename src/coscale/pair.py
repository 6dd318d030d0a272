"""A rescaler for images in memory: what goes in as a Pillow image, an array or a tensor comes out as one."""

from dataclasses import replace
from operator import index

import torch
from torch import nn

from coscale import __version__
from coscale.arrays import Kind, carries_text, photos_of
from coscale.choices import Runtime
from coscale.collaborate import Coscale, Method, Watch
from coscale.errors import ImageError, SettingsError
from coscale.files import StrPath
from coscale.image import Photo
from coscale.lrfile import KEY, Origin, origin_in, write_lr
from coscale.pipeline import check_pair, decode_photo, encode_photo
from coscale.rescalers import Maps, Precision, Rescaler, declared
from coscale.rescalers.steps import Steps
from coscale.tiles import ANY_ROOM, Room
from coscale.weights import load as named
from coscale.weights import upscaler
from coscale.weights.load import CPU, Loaded

_COSCALE = Coscale()


class Pair(Loaded):
    """A rescaler that takes and gives images in memory.

    An image is one of

    - a Pillow image of any mode but those of 32 bit, which is turned upright where its EXIF data say so,
    - a numpy array, H x W x 3 (RGB), H x W x 1 or H x W (grey), of uint8, uint16 or floats in [0, 1],
    - a torch tensor, C x H x W or B x C x H x W with 1 or 3 channels, of uint8 or floats in [0, 1].

    What comes out is of the same kind and always 8 bit: a Pillow image of mode L, LA, RGB or RGBA; uint8 for integers;
    for floats multiples of 1/255 in their own type, on their own device.

    Any object with ``scale``, ``downscale`` and ``upscale`` is taken as a rescaler; what else it could declare, as a
    ``Rescaler`` does, is taken to be as for most.

    ``coscale.load`` and ``coscale.load_upscaler`` give one. ``Pair(name, rescaler)`` makes one of any object with
    ``scale``, ``downscale`` and ``upscale``, see ``Rescaler``.
    """

    def __init__(
        self,
        name: str,
        rescaler: Maps | Rescaler,
        weights_hash: str = "",
        device: torch.device = CPU,
        compiled: Rescaler | None = None,
        steps: Steps | None = None,
        by_runtime: Rescaler | None = None,
    ) -> None:
        super().__init__(name, declared(rescaler), weights_hash, device, compiled, steps, by_runtime)

    @torch.inference_mode(False)
    def downscale(
        self,
        image: Kind,
        method: Method = _COSCALE,
        *,
        precision: Precision = "float32",
        room: Room = ANY_ROOM,
        watch: Watch | None = None,
        guarded: bool = True,
    ) -> Kind:
        """Give the LR of an image of any size, ``scale`` times smaller, rounded up.

        The LR of a Pillow image has its origin in ``info["coscale"]``, which ``upscale`` and ``save`` read, and may be
        in colour where the image is grey; arrays and tensors of one channel have an LR of one. No gradient flows
        through, and it does not matter whether PyTorch takes gradients where this is called.

        Arguments:
            image: the image; the photos of a batch are taken one by one.
            method: improves the LR; ``PLAIN`` leaves it as the rescaler makes it.
            precision, room, guarded: as in ``encode_photo``.
            watch: called after each pass, for each photo.

        Raises ImageError for what is no image, and MemoryNeededError.
        """
        photos, back = photos_of(image)
        found = [
            encode_photo(
                photo,
                self,
                method,
                precision=precision,
                room=room,
                guarded=guarded,
                noted=carries_text(image),
                watch=watch,
            )
            for photo in photos
        ]
        return back([replace(one.lr, text={KEY: one.origin.to_text()}) for one in found])

    @torch.inference_mode(False)
    def upscale(
        self,
        lr: Kind,
        size: tuple[int, int] | None = None,
        *,
        seed: int | None = None,
        room: Room = ANY_ROOM,
        precision: Precision = "float32",
    ) -> Kind:
        """Give the image that an LR restores to, of ``scale`` times its size or of the original's ``size``.

        ``size`` is (height, width) in pixels; a Pillow image with an origin, as ``downscale`` gives it and as
        ``PIL.Image.open`` reads it from an LR file, says it itself. What has more than 8 bit is rounded to them first,
        as a file would. ``seed``, which draws the latent, and ``precision`` are as in ``decode_photo``. Raises
        ImageError for what is no image, SettingsError for a size that is not that of this LR's original, RescalerError
        when the origin names another rescaler, and LRFileError when it is damaged or the image was resized since.
        """
        photos, back = photos_of(lr)
        return back(
            [
                decode_photo(_rounded(one), self, self._origin(one, size), seed, room, precision=precision)
                for one in photos
            ]
        )

    def save(self, lr: Kind, path: StrPath, size: tuple[int, int] | None = None) -> None:
        """Write an LR as an LR file, which ``coscale upscale``, ``read_lr`` and ``upscale`` restore.

        ``size`` is the original's (height, width), as in ``upscale``. Raises as ``upscale`` and ``write_lr`` do, and
        ImageError for a batch of several.
        """
        photos, _ = photos_of(lr)
        if len(photos) > 1:
            raise ImageError(f"this is a batch of {len(photos)} images; save them one by one")
        height, width = photos[0].size
        origin = self._origin(photos[0], size) or self._made(height * self.scale, width * self.scale)
        origin.check_size(photos[0])
        check_pair(origin, self)
        write_lr(path, photos[0], origin)

    def _origin(self, lr: Photo, size: tuple[int, int] | None) -> Origin | None:
        """What the LR notes, or else what ``size`` says."""
        noted = origin_in(lr.text, "the LR image")
        if size is None:
            return noted
        try:
            height, width = map(index, size)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"size is {size!r}; give the original's (height, width) in pixels") from error
        if noted and (noted.height, noted.width) != (height, width):
            raise SettingsError(
                f"size is {height} x {width}, but the LR image notes {noted.height} x {noted.width}; leave size out"
            )
        if (-(-height // self.scale), -(-width // self.scale)) != lr.size:
            most = " x ".join(str(side * self.scale) for side in lr.size)
            raise SettingsError(
                f"size is {height} x {width}, which no LR of {lr.size[0]} x {lr.size[1]} is of at x{self.scale}; "
                f"give the original's (height, width), at most {most}"
            )
        return noted or self._made(height, width)

    def _made(self, height: int, width: int) -> Origin:
        return Origin(self.name, self.weights_hash, self.scale, width, height, __version__)


@torch.inference_mode(False)
def load(
    name: str,
    weights: StrPath | None = None,
    device: torch.device | str = "cpu",
    compiled: bool = False,
    runtime: Runtime = "torch",
) -> Pair:
    """Give the rescaler ``name`` with its bundled weights, or with those of a checkpoint (.safetensors or an official
    .pth).

    ``coscale models`` lists the names.

    Arguments:
        name: of the rescaler; or ``hf:owner/name``, a repository of the Hugging Face hub that ``coscale card`` made,
            ``hf:owner/name@revision`` for one state of it (``pip install 'coscale[hub]'``).
        weights: a checkpoint, in place of the bundled weights.
        device: where it computes.
        compiled: whether it is also compiled for gradients, which pays for large photos and for many of one size.
        runtime: what runs it where no gradient is needed. ncnn (``pip install 'coscale[fast]'``) takes two thirds of
            the time of PyTorch for the light pairs on a CPU, and differs from it by a thousandth of a grey level; auto
            takes it where it is installed.

    Raises RescalerError for an unknown name, for a checkpoint that is missing, damaged or of another network, and for
    a repository that cannot be fetched or whose weights are not what its manifest says.
    """
    return Pair(**vars(named.load(name, weights, device, compiled, runtime)))


@torch.inference_mode(False)
def load_upscaler(
    source: StrPath | nn.Module,
    scale: int | None = None,
    device: torch.device | str = "cpu",
    compiled: bool = False,
    trust: bool = False,
) -> Pair:
    """Bicubic as downscaler, and as upscaler a super-resolution network, which ``source`` is or is the file of.

    A file is a checkpoint (.pth, .pt, .safetensors) of a known architecture, of which nothing is run; or a program: a
    TorchScript file, one of torch.export (.pt2), or a network that torch.save wrote whole. A program can do whatever
    its user can, so it is run only with ``trust``. A module, which needs none, takes and gives
    B x 3 x H x W, RGB in [0, 1]; for others, and for sides that must be a multiple, give a ``SuperResolution`` of it.
    ``scale`` is needed where the weights do not tell it, and checked where they do. ``compiled`` as in ``load``.
    Raises RescalerError when the source cannot be used, is a program that is not trusted, or has another scale.
    """
    return Pair(**vars(upscaler.load_upscaler(source, scale, device, compiled, trust)))


def _rounded(lr: Photo) -> Photo:
    return replace(lr, pixels=lr.levels)
