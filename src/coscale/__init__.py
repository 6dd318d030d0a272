"""coscale: image rescaling with collaborative downscaled images.

The names below load what they need when they are first used, so that importing the package stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from coscale._version import __version__ as __version__

if TYPE_CHECKING:
    from coscale.collaborate import HCD, PLAIN, Coscale, Result
    from coscale.errors import CoscaleError
    from coscale.image import Photo, read, write
    from coscale.lrfile import Origin, read_lr, write_lr
    from coscale.measurement import Measurement
    from coscale.pair import Pair, load, load_upscaler
    from coscale.pipeline import Encoded, decode_photo, encode_photo, write_and_measure
    from coscale.rescalers import Rescaler
    from coscale.weights.load import Loaded

# None of these may be the name of a module here: importing that module would put it in the name's place.
_HOMES = {
    "HCD": "coscale.collaborate",
    "PLAIN": "coscale.collaborate",
    "Coscale": "coscale.collaborate",
    "CoscaleError": "coscale.errors",
    "Encoded": "coscale.pipeline",
    "Loaded": "coscale.weights.load",
    "Measurement": "coscale.measurement",
    "Origin": "coscale.lrfile",
    "Pair": "coscale.pair",
    "Photo": "coscale.image",
    "Rescaler": "coscale.rescalers",
    "Result": "coscale.collaborate",
    "decode_photo": "coscale.pipeline",
    "encode_photo": "coscale.pipeline",
    "load": "coscale.pair",
    "load_upscaler": "coscale.pair",
    "read": "coscale.image",
    "read_lr": "coscale.lrfile",
    "write": "coscale.image",
    "write_and_measure": "coscale.pipeline",
    "write_lr": "coscale.lrfile",
}
__all__ = [
    "HCD",
    "PLAIN",
    "Coscale",
    "CoscaleError",
    "Encoded",
    "Loaded",
    "Measurement",
    "Origin",
    "Pair",
    "Photo",
    "Rescaler",
    "Result",
    "decode_photo",
    "encode_photo",
    "load",
    "load_upscaler",
    "read",
    "read_lr",
    "write",
    "write_and_measure",
    "write_lr",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'coscale' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
