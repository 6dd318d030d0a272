"""coscale: image rescaling with collaborative downscaled images.

The names below load what they need when they are first used, so that importing the package stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coscale.collaborate import HCD, Coscale, Result
    from coscale.decode import decode_photo
    from coscale.encode import Encoded, encode_photo
    from coscale.errors import CoscaleError
    from coscale.image import Photo, read, write
    from coscale.lrfile import Origin, read_lr, write_lr
    from coscale.pair import Pair, load, load_upscaler
    from coscale.weights.load import Loaded

__version__ = "0.1.0"

# None of these may be the name of a module here: importing that module would put it in the name's place.
_HOMES = {
    "HCD": "coscale.collaborate",
    "Coscale": "coscale.collaborate",
    "CoscaleError": "coscale.errors",
    "Encoded": "coscale.encode",
    "Loaded": "coscale.weights.load",
    "Origin": "coscale.lrfile",
    "Pair": "coscale.pair",
    "Photo": "coscale.image",
    "Result": "coscale.collaborate",
    "decode_photo": "coscale.decode",
    "encode_photo": "coscale.encode",
    "load": "coscale.pair",
    "load_upscaler": "coscale.pair",
    "read": "coscale.image",
    "read_lr": "coscale.lrfile",
    "write": "coscale.image",
    "write_lr": "coscale.lrfile",
}
__all__ = [
    "HCD",
    "Coscale",
    "CoscaleError",
    "Encoded",
    "Loaded",
    "Origin",
    "Pair",
    "Photo",
    "Result",
    "decode_photo",
    "encode_photo",
    "load",
    "load_upscaler",
    "read",
    "read_lr",
    "write",
    "write_lr",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'coscale' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
