"""How a restored photo looks, by measures that were fitted to what people see: SSIMULACRA2 and Butteraugli.

SSIMULACRA2 is by the Python package of that name. Butteraugli is by libjxl's program butteraugli_main (in Debian's
package libjxl-devtools); its 3-norm is taken, which says more of a whole photo than its worst place does.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from coscale.errors import DataError
from coscale.reproduce.codecs import Pixels

_PROGRAM = "butteraugli_main"
_SIDE = 8  # the least that they measure
SSIMULACRA2, BUTTERAUGLI = "ssimulacra2", "butteraugli"
GETTING: Mapping[str, str] = {
    SSIMULACRA2: "SSIMULACRA2, which needs pip install 'coscale[rates]'",
    BUTTERAUGLI: f"Butteraugli, which needs libjxl's {_PROGRAM} on the path",
}


def measures_here() -> frozenset[str]:
    """Give the measures that this machine has, by their names in the rows."""
    here = {SSIMULACRA2: find_spec("ssimulacra2"), BUTTERAUGLI: shutil.which(_PROGRAM)}
    return frozenset(name for name, found in here.items() if found)


def perceptual(restored: Pixels, original: Pixels, measures: frozenset[str]) -> dict[str, float]:
    """Give some measures of a restored photo: SSIMULACRA2 up to 100 for equals, Butteraugli from 0 for equals.

    There is none for images of fewer than 8 pixels a side. Raises DataError where a measure cannot be taken.
    """
    if min(original.shape[:2]) < _SIDE:
        return {}
    with TemporaryDirectory(prefix="coscale-") as folder:
        paths = Path(folder) / "original.png", Path(folder) / "restored.png"
        for path, image in zip(paths, (original, restored), strict=True):
            Image.fromarray(image).save(path, compress_level=1)
        return {name: _TAKEN_BY[name](*paths) for name in sorted(measures)}


def _ssimulacra2(original: Path, restored: Path) -> float:
    from ssimulacra2 import compute_ssimulacra2

    return float(compute_ssimulacra2(original, restored))


def _butteraugli(original: Path, restored: Path) -> float:
    done = subprocess.run([_PROGRAM, str(original), str(restored)], capture_output=True, text=True)  # noqa: S603
    found = re.search(r"^3-norm: ([\d.eE+-]+)$", done.stdout, re.MULTILINE)
    if found is None:
        raise DataError(f"{_PROGRAM} gave no 3-norm; install that of libjxl 0.7 or later, or take it off the path")
    return float(found[1])


_TAKEN_BY: Mapping[str, Callable[[Path, Path], float]] = {SSIMULACRA2: _ssimulacra2, BUTTERAUGLI: _butteraugli}
