"""coscale: image rescaling with collaborative downscaled images.

The names below load what they need when they are first used, so that importing the package stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coscale.collaborate import HCD, Result, collaborate
    from coscale.decode import decode
    from coscale.encode import Encoded, encode
    from coscale.errors import CoscaleError
    from coscale.image import Photo, read, write
    from coscale.lrfile import Origin, read_lr, write_lr
    from coscale.weights.load import Loaded, load

__version__ = "0.1.0"

_HOMES = {
    "HCD": "coscale.collaborate",
    "Result": "coscale.collaborate",
    "collaborate": "coscale.collaborate",
    "decode": "coscale.decode",
    "Encoded": "coscale.encode",
    "encode": "coscale.encode",
    "CoscaleError": "coscale.errors",
    "Photo": "coscale.image",
    "read": "coscale.image",
    "write": "coscale.image",
    "Origin": "coscale.lrfile",
    "read_lr": "coscale.lrfile",
    "write_lr": "coscale.lrfile",
    "Loaded": "coscale.weights.load",
    "load": "coscale.weights.load",
}
__all__ = [
    "HCD",
    "CoscaleError",
    "Encoded",
    "Loaded",
    "Origin",
    "Photo",
    "Result",
    "collaborate",
    "decode",
    "encode",
    "load",
    "read",
    "read_lr",
    "write",
    "write_lr",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'coscale' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
